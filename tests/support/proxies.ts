/** Little proxies of several kinds on the loopback, which lead every connection to one port, whatever host is asked for. */

import * as net from "node:net";
import * as tls from "node:tls";
import { DigestChallenge } from "../../src/gitwire/transport/digest.ts";
import { take } from "../../src/gitwire/transport/socket-reader.ts";

export interface TestProxy {
  readonly port: number;
  /** What was asked for, one line a connection or request. */
  readonly asked: string[];
  stop(): void;
}

async function listen(server: net.Server, asked: string[]): Promise<TestProxy> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as net.AddressInfo).port, asked, stop: () => server.close() };
}

function join(client: net.Socket, port: number, greeting: string | Buffer): void {
  const upstream = net.connect(port, "127.0.0.1", () => {
    client.write(greeting);
    client.pipe(upstream).pipe(client);
  });
  upstream.on("error", () => client.destroy());
}

/** A SOCKS proxy of versions 4 and 5. With `login`, `user:password` is wanted (version 4: the user). */
export function startSocks(port: number, login?: string): Promise<TestProxy> {
  const asked: string[] = [];
  const server = net.createServer((client) => {
    client.on("error", () => {});
    serveSocks(client, port, asked, login).catch(() => client.destroy());
  });
  return listen(server, asked);
}

async function serveSocks(client: net.Socket, port: number, asked: string[], login: string | undefined): Promise<void> {
  const [version, second] = await take(client, 2);
  if (version === 4) {
    const at = (await take(client, 2)).readUInt16BE(0);
    const address = await take(client, 4);
    const user = await upToZero(client);
    const host = address.readUInt32BE(0) === 1 ? await upToZero(client) : address.join(".");
    asked.push(`4 ${host}:${at} ${user}`);
    const isKnown = login === undefined || user === login;
    return join(client, port, Buffer.from([0, isKnown ? 0x5a : 0x5d, 0, 0, 0, 0, 0, 0]));
  }
  const methods = await take(client, second!);
  if (login !== undefined && !methods.includes(2)) return void client.end(Buffer.from([5, 0xff]));
  client.write(Buffer.from([5, login === undefined ? 0 : 2]));
  if (login !== undefined) {
    await take(client, 1);
    const given = `${await counted(client)}:${await counted(client)}`;
    client.write(Buffer.from([1, given === login ? 0 : 1]));
    if (given !== login) return void client.end();
  }
  const type = (await take(client, 4))[3];
  const host =
    type === 3
      ? await counted(client)
      : type === 1
        ? (await take(client, 4)).join(".")
        : (await take(client, 16)).hexSlice();
  asked.push(`5 ${host}:${(await take(client, 2)).readUInt16BE(0)}`);
  if (host === "refuse.invalid") return void client.end(Buffer.from([5, 5, 0, 1, 0, 0, 0, 0, 0, 0]));
  join(client, port, Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
}

async function counted(client: net.Socket): Promise<string> {
  const [length = 0] = await take(client, 1);
  return (await take(client, length)).toString();
}

async function upToZero(client: net.Socket): Promise<string> {
  let text = "";
  for (let byte = (await take(client, 1))[0]!; byte !== 0; byte = (await take(client, 1))[0]!)
    text += String.fromCharCode(byte);
  return text;
}

/** An HTTP proxy with a login by Digest (`user`, `password`); tunnels go to `secure`, requests to `plain`. */
export function startDigest(plain: number, secure: number, algorithm: "MD5" | "SHA-256"): Promise<TestProxy> {
  const asked: string[] = [];
  const challenge = `Digest realm="a \\"proxy\\"", nonce="n0", qop="auth,auth-int", algorithm=${algorithm}, opaque="o"`;
  const server = net.createServer((client) => {
    client.on("error", () => {});
    client.once("data", (first) => {
      const head = first.toString("latin1").split("\r\n\r\n", 1)[0]!;
      const [method = "", uri = ""] = head.split(" ");
      const given = /^Proxy-Authorization: (.*)$/im.exec(head)?.[1];
      asked.push(`${method} ${uri} ${given?.split(" ", 1)[0] ?? "-"}`);
      const cnonce = /cnonce="([^"]*)"/.exec(given ?? "")?.[1] ?? "";
      const expected = DigestChallenge.find(challenge)!.answer("me", "p@ss", method, uri, cnonce);
      if (given !== expected) {
        client.end(
          `HTTP/1.1 407 Login\r\nProxy-Authenticate: ${challenge}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
        );
      } else if (method === "CONNECT") join(client, secure, "HTTP/1.1 200 Go\r\n\r\n");
      else {
        const upstream = net.connect(plain, "127.0.0.1", () => {
          upstream.write(first.toString("latin1").replace(/ http:\/\/[^/ ]+/, " "), "latin1");
          client.pipe(upstream).pipe(client);
        });
      }
    });
  });
  return listen(server, asked);
}

/** An https:// proxy that wants a client's certificate and opens tunnels to `port`. */
export function startSecureProxy(port: number, options: tls.TlsOptions): Promise<TestProxy> {
  const asked: string[] = [];
  const server = tls.createServer(options, (client) => {
    client.on("error", () => {});
    client.once("data", (first) => {
      const head = first.toString("latin1").split("\r\n", 1)[0]!;
      asked.push(head);
      join(client, port, "HTTP/1.1 200 Go\r\n\r\n");
    });
  });
  return listen(server, asked);
}
