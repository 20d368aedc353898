/** Connections by a route: to given addresses, through a SOCKS proxy, or by CONNECT through an HTTP proxy on terms of ours. */

import * as net from "node:net";
import * as tls from "node:tls";
import { KvError } from "../../errors.ts";
import { bare } from "./curl-resolve.ts";
import { DigestChallenge } from "./digest.ts";
import { takeHead } from "./socket-reader.ts";
import { askSocks, type SocksKind } from "./socks.ts";
import type { TlsSettings } from "./tls-settings.ts";

/** How to come to a server where fetch alone cannot. */
export interface Route {
  /** The server, an IPv6 address without brackets. */
  readonly host: string;
  readonly port: number;
  /** The server's addresses, where they are not looked up. */
  readonly addresses: readonly string[] | undefined;
  readonly proxy: ProxyHop | undefined;
}

export interface ProxyHop {
  readonly kind: SocksKind | "http" | "https";
  readonly host: string;
  readonly port: number;
  readonly addresses: readonly string[] | undefined;
  readonly user: string | undefined;
  readonly password: string | undefined;
  /** Whether the login goes by Digest instead of Basic. */
  readonly digest: boolean;
  /** For an https:// proxy. */
  readonly tls: TlsSettings | undefined;
}

/** Connects. Throws NETWORK or UNAUTHENTICATED. */
export async function dial(route: Route): Promise<net.Socket> {
  const { proxy, host, port, addresses } = route;
  if (proxy === undefined) return connectTo(host, port, addresses);
  if (proxy.kind === "http" || proxy.kind === "https") return connectThrough(route, proxy);
  const socket = await connectTo(proxy.host, proxy.port, proxy.addresses);
  const { kind, user, password } = proxy;
  await during(socket, () => askSocks(socket, { kind, user, password, host, port, addresses }));
  return socket;
}

/** Asks for a tunnel, and once more where the proxy gives a challenge that is to be answered. */
async function connectThrough({ host, port }: Route, proxy: ProxyHop): Promise<net.Socket> {
  const target = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const { user, password = "" } = proxy;
  let login =
    user === undefined || proxy.digest ? undefined : `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
  for (let isFirst = true; ; isFirst = false) {
    const socket = await connectTo(proxy.host, proxy.port, proxy.addresses, proxy.tls);
    const head = await during(socket, async () => {
      const lines = [`CONNECT ${target} HTTP/1.1`, `Host: ${target}`];
      if (login !== undefined) lines.push(`Proxy-Authorization: ${login}`);
      socket.write(`${lines.join("\r\n")}\r\n\r\n`);
      return takeHead(socket);
    });
    const status = Number(/^HTTP\/1\.[01] ([0-9]{3})/.exec(head)?.[1] ?? 0);
    if (status >= 200 && status < 300) return socket;
    socket.destroy();
    const challenge = status === 407 && isFirst && proxy.digest ? DigestChallenge.find(challenges(head)) : undefined;
    if (challenge === undefined || user === undefined) throw noTunnel(status);
    login = challenge.answer(user, password, "CONNECT", target);
  }
}

function challenges(head: string): string {
  return [...head.matchAll(/^proxy-authenticate:[ \t]*(.*)$/gim)].map(([, value]) => value!.trim()).join("\n");
}

function noTunnel(status: number): Error {
  // As fetch says it.
  return Object.assign(new Error(`the proxy opens no tunnel (HTTP ${status})`), { code: "ERR_PROXY_TUNNEL", status });
}

/** A connection to the first of the addresses that answers, or to what the host's name leads to; with TLS where settings are given. */
async function connectTo(
  host: string,
  port: number,
  addresses: readonly string[] | undefined,
  settings?: TlsSettings,
): Promise<net.Socket> {
  let failure: unknown;
  for (const address of addresses ?? [bare(host)]) {
    try {
      const socket = await opened(net.connect({ host: address, port }), "connect");
      if (settings === undefined) return socket;
      const { minVersion, ...rest } = settings;
      const options: tls.ConnectionOptions = {
        ...rest,
        socket,
        ...(net.isIP(host) === 0 && { servername: host }),
        host,
      };
      if (minVersion !== undefined) options.minVersion = minVersion === 0x0304 ? "TLSv1.3" : "TLSv1.2";
      return await opened(tls.connect(options), "secureConnect");
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

function opened(socket: net.Socket, event: "connect" | "secureConnect"): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.once(event, () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}

/** What `ask` finds out over `socket`, which is closed where that fails. */
async function during<T>(socket: net.Socket, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    socket.destroy();
    throw error instanceof KvError
      ? error
      : new KvError("NETWORK", "the proxy broke the connection off", { cause: error });
  }
}
