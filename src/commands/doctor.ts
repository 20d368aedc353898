/** `git kv doctor`: says what is in order and what is not, with the way out. */

import type { Context } from "../cli/context.ts";
import { EXIT } from "../errors.ts";
import { diagnose, failureOf } from "../kv/doctor.ts";
import { openWorkspace } from "./open.ts";
import { inColumn } from "./txn-facts.ts";

export async function run(context: Context): Promise<number> {
  const { flags, out } = context;
  const workspace = openWorkspace(context);
  let status: number = EXIT.ok;
  for await (const diagnosis of diagnose(workspace, { offline: flags.on("offline") })) {
    const { check, status: verdict, message, hint } = diagnosis;
    if (verdict === "fail" && status === EXIT.ok) status = failureOf(diagnosis).exit;
    if (out.json) out.record(diagnosis);
    else {
      out.line(`${verdict.padEnd(4)}  ${check.padEnd(9)}  ${inColumn(message)}`);
      if (hint !== undefined) out.line(`${" ".repeat(17)}hint: ${inColumn(hint)}`);
    }
    out.flush();
  }
  return status;
}
