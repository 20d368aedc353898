/** `git kv stargate status`: how the Stargate behind the push URL stands. */

import type { Context } from "../cli/context.ts";
import { askStatus } from "../kv/ask-stargate.ts";
import { describeStatus } from "../kv/stargate-status.ts";
import { openWorkspace } from "./open.ts";

export async function run(context: Context): Promise<void> {
  const { out } = context;
  const status = await askStatus(openWorkspace(context));
  if (out.json) out.record(status);
  else for (const line of describeStatus(status)) out.line(line);
}
