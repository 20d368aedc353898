/** `git-kv-stargate status`: how a repository's Stargate stands. */

import type { Context } from "../../cli/context.ts";
import { KvError } from "../../errors.ts";
import type { Repository } from "../../gitwire/repo.ts";
import { describeStatus, type Status } from "../../kv/stargate-status.ts";
import { statusOf } from "../status.ts";
import { oneRepository } from "./common.ts";
import { callDaemon, withGateToRead } from "./stdio.ts";

export async function run(context: Context): Promise<void> {
  const { out } = context;
  const status = await readStatus(context, oneRepository(context));
  if (out.json) out.record(status);
  else for (const line of describeStatus(status)) out.line(line);
}

/** The status of `repo`. Throws NOT_LEADER where another process leads it that cannot be asked, PROTOCOL. */
export async function readStatus(context: Context, repo: Repository): Promise<Status> {
  return (await askDaemon(context, repo)) ?? offline(context, repo);
}

async function askDaemon({ env }: Context, repo: Repository): Promise<Status | undefined> {
  const chunks: Buffer[] = [];
  const call = {
    service: "status",
    repo: repo.gitDir,
    protocol: "",
    user: "local",
    scope: "read",
    door: "stdio",
  } as const;
  const duplex = {
    input: { read: async () => undefined },
    output: { write: async (bytes: Uint8Array) => void chunks.push(Buffer.from(bytes)) },
  };
  if (!(await callDaemon(repo, env, call, duplex))) return undefined;
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8")) as Status;
  } catch (cause) {
    throw new KvError("PROTOCOL", "the daemon gave no status", { cause });
  }
}

/** No daemon runs: what the files say. */
function offline(context: Context, repo: Repository): Promise<Status> {
  return withGateToRead(context, repo, "status", async (served) => ({
    ...statusOf(served, context.clock.now()),
    role: "stopped",
  }));
}
