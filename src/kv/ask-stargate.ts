/** Asks the Stargate behind the push URL how it stands, or to sync its mirror, over HTTP or SSH. */

import { AGENT } from "../agent.ts";
import { KvError } from "../errors.ts";
import { readAll } from "../gitwire/protocol/byte-stream.ts";
import type { ConnectOptions } from "../gitwire/transport/connect-options.ts";
import { HttpTransport } from "../gitwire/transport/http.ts";
import { connectSsh } from "../gitwire/transport/ssh.ts";
import { parseUrl, redactUrl } from "../gitwire/transport/url.ts";
import { pushUrl } from "./remote-session.ts";
import type { Status } from "./stargate-status.ts";
import { requireNoError, type SyncReport, type SyncRequest, syncReport } from "./sync-report.ts";
import type { Workspace } from "./workspace.ts";

/** Longest answer that is read, in bytes. */
const ANSWER_BYTES = 16 * 1024 * 1024;

/** What a shell ends with that cannot find, or cannot run, a program, and git-shell where it does not know a command. */
const NO_SUCH_PROGRAM: readonly number[] = [126, 127, 128];

/** A question as it is put in both ways. */
interface Question {
  /** Below the repository's address, and what is posted there; undefined: nothing, it is got. */
  readonly tail: string;
  readonly json?: string;
  /** The command over SSH, without the repository. */
  readonly command: string;
}

/**
 * The status of the Stargate. Throws NETWORK, UNAUTHENTICATED, UNSUPPORTED (a push URL that is a path), PROTOCOL, and what the Stargate
 * says against it.
 */
export async function askStatus(workspace: Workspace): Promise<Status> {
  const status = (await ask(workspace, { tail: "kv/status", command: "git-kv-stargate status" })) as Status | null;
  requireNoError(status);
  if (Array.isArray(status?.namespaces)) return status;
  throw new KvError("PROTOCOL", `${redactUrl(pushUrl(workspace))} does not answer as a Stargate`);
}

/** Lets the Stargate sync its mirror. Throws as {@link askStatus}, and what the Stargate says against it. */
export async function askSync(workspace: Workspace, { mode, ns }: SyncRequest): Promise<SyncReport> {
  const command = `git-kv-stargate sync ${mode}${ns === undefined ? "" : ` --ns=${ns}`}`;
  return syncReport(await ask(workspace, { tail: "kv/sync", json: JSON.stringify({ mode, ns }), command }));
}

async function ask(workspace: Workspace, question: Question): Promise<unknown> {
  const address = pushUrl(workspace);
  const { env, signal } = workspace.around;
  const bytes = await answerTo(question, address, { config: workspace.repo.config, env, agent: AGENT, signal });
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch (cause) {
    throw new KvError("PROTOCOL", `${redactUrl(address)} does not answer as a Stargate`, { cause });
  }
}

async function answerTo({ tail, json, command }: Question, address: string, options: ConnectOptions): Promise<Buffer> {
  const url = parseUrl(address);
  if (url.kind === "http" || url.kind === "https") {
    const transport = new HttpTransport(url, "git-upload-pack", options);
    try {
      return await transport.resource(tail, ANSWER_BYTES, json);
    } finally {
      await transport.close();
    }
  }
  if (url.kind !== "ssh") {
    throw new KvError("UNSUPPORTED", `the push URL ${redactUrl(address)} is no Stargate that can be asked`, {
      hint: `run '${command.split(" ", 2).join(" ")}' there`,
    });
  }
  const transport = await connectSsh(url, redactUrl(address), "git-upload-pack", { ...options, program: command });
  try {
    return await readAll((await transport.greeting()).rest(), ANSWER_BYTES);
  } catch (error) {
    const status = error instanceof KvError ? error.data?.status : undefined;
    if (typeof status !== "number" || !NO_SUCH_PROGRAM.includes(status)) throw error;
    throw new KvError("UNSUPPORTED", `the host of ${redactUrl(address)} has no git-kv-stargate`, { cause: error });
  } finally {
    await transport.close();
  }
}
