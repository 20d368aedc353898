/**
 * Asks a SOCKS proxy for a connection to a host (RFC 1928, RFC 1929 for the login; SOCKS 4 and 4a as curl and ssh speak them).
 *
 *     5:   greeting  = 05 n-methods *method               answer  = 05 method              methods: 00 none, 02 login
 *          login     = 01 len user len password           answer  = 01 00
 *          request   = 05 01 00 address port              answer  = 05 00 00 address port
 *          address   = 01 4*octet / 03 len name / 04 16*octet
 *     4:   request   = 04 01 port 4*octet user 00 [name 00]    answer = 00 5a 6*octet       with a name: 4a, octets 0.0.0.1
 */

import { lookup } from "node:dns/promises";
import * as net from "node:net";
import { KvError } from "../../errors.ts";
import { take } from "./socket-reader.ts";

export type SocksKind = "socks4" | "socks4a" | "socks5" | "socks5h";

export interface SocksRequest {
  readonly kind: SocksKind;
  readonly user: string | undefined;
  readonly password: string | undefined;
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  /** What `http.curloptResolve` says the host's addresses are. */
  readonly addresses: readonly string[] | undefined;
}

/** Makes the connection through the proxy that `socket` leads to. Throws NETWORK or UNAUTHENTICATED where it says no. */
export async function askSocks(socket: net.Socket, request: SocksRequest): Promise<void> {
  if (request.kind === "socks4" || request.kind === "socks4a") return askSocks4(socket, request);
  await greet(socket, request);
  const port = Buffer.from([request.port >> 8, request.port & 0xff]);
  socket.write(Buffer.concat([Buffer.from([5, 1, 0]), await address5(request), port]));
  const [, reply = 0xff, , type] = await take(socket, 4);
  if (reply !== 0) throw refused(REPLIES[reply] ?? `code ${reply}`);
  const length = type === 1 ? 4 : type === 4 ? 16 : (await take(socket, 1))[0]!;
  await take(socket, length + 2);
}

const REPLIES: Readonly<Record<number, string>> = {
  1: "a general failure",
  2: "its rules do not allow the connection",
  3: "the network cannot be reached",
  4: "the host cannot be reached",
  5: "the host refuses the connection",
  6: "it took too long",
  7: "it does not know the command",
  8: "it does not know that kind of address",
};

async function greet(socket: net.Socket, { user, password = "" }: SocksRequest): Promise<void> {
  socket.write(Buffer.from(user === undefined ? [5, 1, 0] : [5, 2, 0, 2]));
  const [version, method] = await take(socket, 2);
  if (version !== 5) throw refused("it does not speak SOCKS 5");
  if (method === 0) return;
  if (method !== 2 || user === undefined) throw unauthenticated("it wants a login");
  socket.write(Buffer.concat([Buffer.from([1]), counted(user), counted(password)]));
  if ((await take(socket, 2))[1] !== 0) throw unauthenticated("it refuses the user or the password");
}

/** The host by name (socks5h), or by an address that is looked up here. */
async function address5(request: SocksRequest): Promise<Buffer> {
  const { kind, host } = request;
  if (kind === "socks5h" && request.addresses === undefined && net.isIP(host) === 0) {
    return Buffer.concat([Buffer.from([3]), counted(host)]);
  }
  const address = await addressOf(request, 0);
  return net.isIPv4(address)
    ? Buffer.from([1, ...address.split(".").map(Number)])
    : Buffer.concat([Buffer.from([4]), ipv6Bytes(address)]);
}

async function askSocks4(socket: net.Socket, request: SocksRequest): Promise<void> {
  const { kind, host, port, user = "" } = request;
  const named = kind === "socks4a" && request.addresses === undefined && net.isIP(host) === 0;
  const octets = named ? [0, 0, 0, 1] : (await addressOf(request, 4)).split(".").map(Number);
  const name = named ? `${host}\0` : "";
  socket.write(Buffer.from([4, 1, port >> 8, port & 0xff, ...octets, ...Buffer.from(`${user}\0${name}`)]));
  const [, reply] = await take(socket, 8);
  if (reply === 0x5a) return;
  if (reply === 0x5c || reply === 0x5d) throw unauthenticated("it does not know the user");
  throw refused("it refuses the connection, or the host cannot be reached");
}

async function addressOf({ addresses, host }: SocksRequest, family: 0 | 4): Promise<string> {
  const known = addresses?.find((address) => family === 0 || net.isIPv4(address));
  if (known !== undefined) return known;
  try {
    return (await lookup(host, { family })).address;
  } catch (cause) {
    throw new KvError("NETWORK", `the address of ${host} is not known here`, {
      cause,
      hint: "socks5h:// and socks4a:// leave the name to the proxy",
    });
  }
}

/** The 16 octets of an IPv6 address. */
function ipv6Bytes(address: string): Buffer {
  const [head = "", tail] = address.split("::").map((part) => part.replace(/%.*$/, ""));
  const words = (part: string): number[] =>
    part === ""
      ? []
      : part.split(":").flatMap((word) => (word.includes(".") ? dotted(word) : [Number.parseInt(word, 16)]));
  const before = words(head);
  const after = tail === undefined ? [] : words(tail);
  const all = [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
  return Buffer.from(all.flatMap((word) => [word >> 8, word & 0xff]));
}

function dotted(address: string): number[] {
  const [a = 0, b = 0, c = 0, d = 0] = address.split(".").map(Number);
  return [a * 256 + b, c * 256 + d];
}

/** `text` behind its length. */
function counted(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length > 255)
    throw new KvError("INPUT_INVALID", "a user, a password and a host for SOCKS have 255 bytes at most");
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}

function refused(why: string): KvError {
  return new KvError("NETWORK", `the SOCKS proxy does not connect: ${why}`);
}

function unauthenticated(why: string): KvError {
  return new KvError("UNAUTHENTICATED", `the SOCKS proxy does not connect: ${why}`, {
    hint: "write user and password into the proxy's address: http.proxy = socks5h://user:password@host:port",
  });
}
