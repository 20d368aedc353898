/**
 * Git's own transport, `git://`: a TCP connection that names the service and the repository in its first packet and then carries
 * the conversation. Nobody is authenticated and nothing is encrypted (git: gitprotocol-pack "Git Transport").
 *
 *     git-proto-request = request-command SP pathname NUL [ host-parameter NUL ] [ NUL extra-parameters ]
 *     host-parameter    = "host=" hostname [ ":" port ]
 *     extra-parameters  = 1*( "version=" 1DIGIT NUL )
 */

import * as net from "node:net";
import { asBuffer } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import { pktLine } from "../protocol/pkt-line.ts";
import type { Service } from "../protocol/ref-advertisement.ts";
import type { ConnectOptions } from "./connect-options.ts";
import { type Connection, StreamTransport } from "./stream-transport.ts";
import type { GitUrl } from "./url.ts";

const PORT = 9418;
const HINT =
  "check that the host can be reached, that the repository exists and that the daemon serves it (git daemon --enable)";

/** Connects and asks for the service. Throws NETWORK where nobody answers. */
export async function connectDaemon(
  url: GitUrl,
  shownUrl: string,
  service: Service,
  options: ConnectOptions,
): Promise<StreamTransport> {
  const command = gitProxy(url.host, options);
  const connection =
    command === undefined
      ? overSocket(await open(url, shownUrl, options.signal), shownUrl, options.signal)
      : await throughCommand(command, url, shownUrl, options);
  const { version = 0 } = options;
  const host = url.port === undefined ? url.host : `${url.host}:${url.port}`;
  const extra = version > 0 ? `\0version=${version}\0` : "";
  await connection.output.write(pktLine(`${service} ${url.path}\0host=${host}\0${extra}`));
  return new StreamTransport(shownUrl, service, connection);
}

/**
 * The program that makes connections to `host` (git: `core.gitProxy`, GIT_PROXY_COMMAND), or undefined. An entry may end with
 * ` for DOMAIN`; the first that fits counts, and `none` stands for no program.
 */
export function gitProxy(host: string, { config, env }: Pick<ConnectOptions, "config" | "env">): string | undefined {
  if (env.GIT_PROXY_COMMAND !== undefined) return env.GIT_PROXY_COMMAND || undefined;
  for (const entry of config.getAll("core.gitproxy")) {
    const at = entry.indexOf(" for ");
    const domain = at < 0 ? "" : entry.slice(at + 5);
    if (at >= 0 && host !== domain && !host.endsWith(`.${domain}`)) continue;
    const command = at < 0 ? entry : entry.slice(0, at);
    return command === "none" ? undefined : command;
  }
  return undefined;
}

/** A connection over a program that is told host and port, and carries the bytes. */
async function throughCommand(
  command: string,
  url: GitUrl,
  shownUrl: string,
  { env, onMessage, signal }: ConnectOptions,
): Promise<Connection> {
  const { startProcess } = await import("./process-connection.ts");
  return startProcess({
    command: [command, url.host.replace(/^\[(.*)\]$/, "$1"), String(url.port ?? PORT)],
    env,
    shownUrl,
    hints: { notStarted: "core.gitProxy or GIT_PROXY_COMMAND names it", silent: HINT },
    ...(onMessage && { onMessage }),
    ...(signal && { signal }),
  });
}

function open(url: GitUrl, shownUrl: string, signal: AbortSignal | undefined): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const host = url.host.replace(/^\[(.*)\]$/, "$1");
    const socket = net.connect({ host, port: url.port ?? PORT });
    const failed = (cause?: Error): void => {
      socket.destroy();
      reject(new KvError("NETWORK", `cannot connect to ${shownUrl}`, { hint: HINT, ...(cause && { cause }) }));
    };
    const stop = (): void => failed();
    signal?.addEventListener("abort", stop, { once: true });
    socket.once("error", failed);
    socket.once("connect", () => {
      signal?.removeEventListener("abort", stop);
      socket.off("error", failed);
      resolve(socket);
    });
  });
}

function overSocket(socket: net.Socket, shownUrl: string, signal: AbortSignal | undefined): Connection {
  const broken = (cause?: unknown): KvError => new KvError("NETWORK", `the connection to ${shownUrl} broke`, { cause });
  // Errors surface where the socket is read or written.
  socket.on("error", () => {});
  const stop = (): void => void socket.destroy(broken());
  signal?.addEventListener("abort", stop, { once: true });
  const chunks = socket[Symbol.asyncIterator]();
  return {
    input: {
      read: async () => {
        try {
          const { done, value } = await chunks.next();
          return done === true ? undefined : asBuffer(value as Uint8Array);
        } catch (cause) {
          throw broken(cause);
        }
      },
    },
    output: {
      write: (bytes) =>
        new Promise((resolve, reject) => {
          socket.write(bytes, (cause) => (cause ? reject(broken(cause)) : resolve()));
        }),
    },
    explainSilence: async () =>
      new KvError("NETWORK", `${shownUrl} ended the connection without a word`, { hint: HINT }),
    close: async (inOrder) => {
      signal?.removeEventListener("abort", stop);
      if (inOrder) socket.end();
      socket.destroySoon();
    },
  };
}
