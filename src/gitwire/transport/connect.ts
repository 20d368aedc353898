/** Opens a connection to a repository, whatever its address (git: connect.c, transport.c). */

import { KvError } from "../../errors.ts";
import type { GitConfig } from "../config.ts";
import type { Service } from "../protocol/ref-advertisement.ts";
import type { Transport } from "../protocol/transport.ts";
import type { ConnectOptions } from "./connect-options.ts";
import { isTrue } from "./environment.ts";
import { parseUrl, type RemoteUrl, redactUrl } from "./url.ts";

/**
 * Connects to the repository at `address`. Over ssh and HTTP nothing has been asked when this returns: that comes with
 * the first greeting or request. Throws INPUT_INVALID, UNSUPPORTED, NETWORK, or what opening a local repository throws.
 */
export async function connect(address: string, service: Service, options: ConnectOptions): Promise<Transport> {
  // What aborts later breaks the connection; what has happened already is not told again.
  options.signal?.throwIfAborted();
  const url = parseUrl(address);
  const shown = redactUrl(address);
  checkAllowed(url, options);
  const chosen = { ...options, version: protocolVersion(service, options) };
  // Loaded when needed: each of the four brings a good deal with it.
  switch (url.kind) {
    case "local":
      return (await import("./local.ts")).connectLocal(url.path, service, chosen);
    case "ssh":
      return (await import("./ssh.ts")).connectSsh(url, shown, service, chosen);
    case "git":
      return (await import("./git-daemon.ts")).connectDaemon(url, shown, service, chosen);
    default:
      return new (await import("./http.ts")).HttpTransport(url, service, chosen);
  }
}

/** There is no push in protocol v2: git asks for v0 then. */
function protocolVersion(service: Service, { version, config }: ConnectOptions): 0 | 1 | 2 {
  const wanted = version ?? configuredVersion(config);
  return wanted === 2 && service === "git-receive-pack" ? 0 : wanted;
}

function configuredVersion(config: GitConfig): 0 | 1 | 2 {
  const value = config.get("protocol.version");
  if (value === "0") return 0;
  return value === "1" ? 1 : 2;
}

/** `protocol.<name>.allow`, `protocol.allow` and GIT_ALLOW_PROTOCOL (git: git-config `protocol.allow`). */
function checkAllowed(url: RemoteUrl, { config, env }: ConnectOptions): void {
  const name = url.kind === "local" ? "file" : url.kind;
  const list = env.GIT_ALLOW_PROTOCOL;
  const policy = config.get(`protocol.${name}.allow`) ?? config.get("protocol.allow") ?? defaultPolicy(name);
  const byUser = env.GIT_PROTOCOL_FROM_USER === undefined || isTrue(env.GIT_PROTOCOL_FROM_USER);
  const allowed =
    list === undefined ? policy === "always" || (policy === "user" && byUser) : list.split(":").includes(name);
  if (allowed) return;
  throw new KvError("UNSUPPORTED", `transport '${name}' is not allowed here`, {
    hint: `git config protocol.${name}.allow and GIT_ALLOW_PROTOCOL decide`,
  });
}

function defaultPolicy(name: string): string {
  return name === "file" ? "user" : "always";
}
