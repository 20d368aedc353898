/** Asks the Stargate behind the push URL how it stands, over HTTP or SSH. */

import { AGENT } from "../agent.ts";
import { KvError } from "../errors.ts";
import { readAll } from "../gitwire/protocol/byte-stream.ts";
import type { ConnectOptions } from "../gitwire/transport/connect-options.ts";
import { HttpTransport } from "../gitwire/transport/http.ts";
import { connectSsh } from "../gitwire/transport/ssh.ts";
import { parseUrl, redactUrl } from "../gitwire/transport/url.ts";
import { pushUrl } from "./remote-session.ts";
import type { Status } from "./stargate-status.ts";
import type { Workspace } from "./workspace.ts";

/** Longest status that is read, in bytes. */
const STATUS_BYTES = 16 * 1024 * 1024;

/** The status of the Stargate. Throws NETWORK, UNAUTHENTICATED, UNSUPPORTED (a push URL that is a path), PROTOCOL. */
export async function askStatus(workspace: Workspace): Promise<Status> {
  const address = pushUrl(workspace);
  const { env, signal } = workspace.around;
  const options: ConnectOptions = { config: workspace.repo.config, env, agent: AGENT, signal };
  const bytes = await requestStatus(address, options);
  try {
    return JSON.parse(bytes.toString("utf8")) as Status;
  } catch (cause) {
    throw new KvError("PROTOCOL", `${redactUrl(address)} does not answer as a Stargate`, { cause });
  }
}

async function requestStatus(address: string, options: ConnectOptions): Promise<Buffer> {
  const url = parseUrl(address);
  if (url.kind === "http" || url.kind === "https") {
    const transport = new HttpTransport(url, "git-upload-pack", options);
    try {
      return await transport.resource("kv/status", STATUS_BYTES);
    } finally {
      await transport.close();
    }
  }
  if (url.kind !== "ssh") {
    throw new KvError("UNSUPPORTED", `the push URL ${redactUrl(address)} is no Stargate that can be asked`, {
      hint: "run 'git-kv-stargate status' there",
    });
  }
  const transport = await connectSsh(url, redactUrl(address), "git-upload-pack", {
    ...options,
    program: "git-kv-stargate status",
  });
  try {
    return await readAll((await transport.greeting()).rest(), STATUS_BYTES);
  } finally {
    await transport.close();
  }
}
