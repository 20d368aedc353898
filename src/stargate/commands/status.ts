/** `git-kv-stargate status`: how a repository's Stargate stands. */

import type { Context } from "../../cli/context.ts";
import { KvError } from "../../errors.ts";
import type { Repository } from "../../gitwire/repo.ts";
import { describeStatus, type Status } from "../../kv/stargate-status.ts";
import { statusOf } from "../status.ts";
import { oneRepository } from "./common.ts";
import { callDaemon, withGate } from "./stdio.ts";

export async function run(context: Context): Promise<void> {
  await printStatus(context, oneRepository(context), context.out.json);
}

/** Prints the status of `repo`, as a line of JSON or for people. */
export async function printStatus(context: Context, repo: Repository, json: boolean): Promise<void> {
  const { out } = context;
  const status = (await askDaemon(context, repo)) ?? (await offline(context, repo));
  if (json) out.record(status);
  else for (const line of describeStatus(status)) out.line(line);
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
  return withGate(context, repo, "status", async (served) => ({
    ...statusOf(served, context.clock.now()),
    role: "stopped",
  }));
}
