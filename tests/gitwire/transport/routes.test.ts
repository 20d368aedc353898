/** Ways to a server that fetch does not know: SOCKS, addresses of `http.curloptResolve`, and proxies on terms of their own. */

import { afterAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { lsRefs } from "../../../src/gitwire/protocol/fetch-pack.ts";
import { connect } from "../../../src/gitwire/transport/connect.ts";
import type { ConnectOptions } from "../../../src/gitwire/transport/connect-options.ts";
import { resolvedAddresses } from "../../../src/gitwire/transport/curl-resolve.ts";
import { DigestChallenge } from "../../../src/gitwire/transport/digest.ts";
import { gitProxy } from "../../../src/gitwire/transport/git-daemon.ts";
import { AGENT, connectOptions } from "../../support/connect.ts";
import { failureOf } from "../../support/failure.ts";
import { startHttpBackend } from "../../support/http-backend.ts";
import { startDigest, startSecureProxy, startSocks } from "../../support/proxies.ts";
import { repositoryWith } from "../../support/push.ts";

const VECTORS = path.join(import.meta.dir, "../../vectors/tls");
const CA = path.join(VECTORS, "ca.pem");
const CERT = path.join(VECTORS, "server.pem");
const KEY = path.join(VECTORS, "server.key");
const read = (file: string): string => fs.readFileSync(file, "utf8");
const { dir } = repositoryWith(1);
const server = startHttpBackend(path.dirname(dir), { closes: true });
const secure = startHttpBackend(path.dirname(dir), { tls: { cert: read(CERT), key: read(KEY) } });
const stops: (() => void)[] = [() => server.stop(), () => secure.stop()];
afterAll(() => {
  for (const stop of stops) stop();
});

async function list(base: string, options: ConnectOptions): Promise<number> {
  const transport = await connect(`${base}/${path.basename(dir)}`, "git-upload-pack", options);
  try {
    return (await lsRefs(transport, [], { agent: AGENT })).refs.length;
  } finally {
    await transport.close();
  }
}

const through = (proxy: string, more: [string, string][] = []): ConnectOptions =>
  connectOptions([["http.proxy", proxy], ["http.sslCAInfo", CA], ...more]);

test("SOCKS proxies: who looks the name up, and what it is asked for", async () => {
  const plain = await startSocks(server.port);
  const tunnel = await startSocks(secure.port);
  stops.push(plain.stop, tunnel.stop);
  const at = `127.0.0.1:${plain.port}`;
  for (const [scheme, asked] of [
    ["socks5h", "5 git.invalid:8080"],
    ["socks4a", "4 git.invalid:8080 "],
  ] as const) {
    plain.asked.length = 0;
    expect(await list("http://git.invalid:8080", through(`${scheme}://${at}`))).toBe(2);
    expect([...new Set(plain.asked)]).toEqual([asked]);
  }
  for (const [scheme, asked] of [
    ["socks5", "5 127.0.0.1:8080"],
    ["socks4", "4 127.0.0.1:8080 "],
    ["socks", "4 127.0.0.1:8080 "],
  ] as const) {
    plain.asked.length = 0;
    expect(await list("http://127.0.0.1:8080", through(`${scheme}://${at}`))).toBe(2);
    expect([...new Set(plain.asked)]).toEqual([asked]);
  }
  // TLS is with the server behind the proxy, whose name the certificate has to have.
  expect(await list("https://localhost:444", through(`socks5h://127.0.0.1:${tunnel.port}`))).toBe(2);
  expect(tunnel.asked[0]).toBe("5 localhost:444");
  const other = await failureOf(list("https://other.invalid", through(`socks5h://127.0.0.1:${tunnel.port}`)));
  expect([other.code, other.message]).toEqual(["NETWORK", expect.stringContaining("certificate")]);
});

test("SOCKS proxies: logins and refusals", async () => {
  const proxy = await startSocks(server.port, "me:p@ss");
  stops.push(proxy.stop);
  const at = `127.0.0.1:${proxy.port}`;
  expect(await list("http://git.invalid", through(`socks5h://me:p%40ss@${at}`))).toBe(2);
  for (const login of ["me:wrong@", ""]) {
    const { code, message } = await failureOf(list("http://git.invalid", through(`socks5h://${login}${at}`)));
    expect([code, message]).toEqual(["UNAUTHENTICATED", expect.stringContaining("SOCKS")]);
    expect(message).not.toContain("wrong");
  }
  const unknown = await failureOf(list("http://git.invalid", through(`socks4a://you@${at}`)));
  expect(unknown.code).toBe("UNAUTHENTICATED");
  const refused = await failureOf(list("http://refuse.invalid", through(`socks5h://me:p%40ss@${at}`)));
  expect([refused.code, refused.message]).toEqual(["NETWORK", expect.stringContaining("refuses the connection")]);
  const gone = await failureOf(list("http://git.invalid", through("socks5h://127.0.0.1:1")));
  expect([gone.code, gone.message]).toEqual(["NETWORK", expect.stringContaining("connection refused")]);
  const unresolved = await failureOf(list("http://git.invalid", through(`socks5://me:p%40ss@${at}`)));
  expect([unresolved.code, unresolved.hint]).toEqual(["NETWORK", expect.stringContaining("socks5h")]);
});

test("http.curloptResolve", async () => {
  const entry = (host: string, port: number, address: string): [string, string] => [
    "http.curloptResolve",
    `${host}:${port}:${address}`,
  ];
  const options = connectOptions([
    ["http.curloptResolve", "this is forgotten"],
    ["http.curloptResolve", ""],
    entry("git.invalid", server.port, "[::1],127.0.0.1"),
    entry("localhost", secure.port, "127.0.0.1"),
    ["http.sslCAInfo", CA],
  ]);
  expect(await list(`http://git.invalid:${server.port}`, options)).toBe(2);
  expect(await list(`https://localhost:${secure.port}`, options)).toBe(2);
  const bad = await failureOf(list(server.url, connectOptions([["http.curloptResolve", "git.invalid"]])));
  expect([bad.code, bad.message]).toEqual(["CONFIG", expect.stringContaining("git.invalid")]);
  expect(resolvedAddresses(["*:80:1.2.3.4", "a:80:5.6.7.8", "[::1]:443:[::2]"], "A", 80)).toEqual(["5.6.7.8"]);
  expect(resolvedAddresses(["*:80:1.2.3.4", "a:80:5.6.7.8", "-a:80"], "a", 80)).toEqual(["1.2.3.4"]);
  expect(resolvedAddresses(["[::1]:443:[::2]"], "[::1]", 443)).toEqual(["::2"]);
  expect(resolvedAddresses(["+a:80:5.6.7.8"], "a", 81)).toBeUndefined();
});

test.each(["MD5", "SHA-256"] as const)("http.proxyAuthMethod=digest, %s", async (algorithm) => {
  const proxy = await startDigest(server.port, secure.port, algorithm);
  stops.push(proxy.stop);
  const digest: [string, string][] = [["http.proxyAuthMethod", "digest"]];
  const named = `http://me:p%40ss@127.0.0.1:${proxy.port}`;
  expect(await list("http://git.invalid", through(named, digest))).toBe(2);
  expect(proxy.asked.slice(0, 2).map((line) => line.split(" ").at(-1))).toEqual(["-", "Digest"]);
  proxy.asked.length = 0;
  expect(await list("https://localhost:444", through(named, digest))).toBe(2);
  expect(proxy.asked.slice(0, 2)).toEqual(["CONNECT localhost:444 -", "CONNECT localhost:444 Digest"]);
  for (const base of ["http://git.invalid", "https://localhost:444"]) {
    const { code } = await failureOf(list(base, through(named.replace("p%40ss", "wrong"), digest)));
    expect(code).toBe("UNAUTHENTICATED");
  }
});

test("digests: the examples of RFC 2617 and RFC 7616", () => {
  const old = DigestChallenge.find(
    'Basic realm="x", Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"',
  )!;
  expect(old.answer("Mufasa", "Circle Of Life", "GET", "/dir/index.html", "0a4f113b")).toContain(
    'response="6629fae49393a05397450978507c4ef1"',
  );
  const nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
  const cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
  const both = `Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="${nonce}", opaque="x"`;
  expect(DigestChallenge.find(both)!.answer("Mufasa", "Circle of Life", "GET", "/dir/index.html", cnonce)).toContain(
    'response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"',
  );
  for (const unknown of [
    'Digest realm="r"',
    'Digest nonce="n", algorithm=SHA-512',
    'Digest nonce="n", qop="auth-int"',
    "NTLM",
  ]) {
    expect(DigestChallenge.find(unknown)).toBeUndefined();
  }
});

test("http.proxySSLCAInfo, proxySSLCert and proxySSLKey", async () => {
  const proxy = await startSecureProxy(secure.port, {
    cert: read(CERT),
    key: read(KEY),
    ca: read(CA),
    requestCert: true,
    rejectUnauthorized: true,
  });
  stops.push(proxy.stop);
  const own: [string, string][] = [
    ["http.proxySSLCAInfo", CA],
    ["http.proxySSLCert", CERT],
    ["http.proxySSLKey", KEY],
  ];
  const address = `https://localhost:${proxy.port}`;
  expect(await list("https://localhost:444", through(address, own))).toBe(2);
  expect(proxy.asked[0]).toBe("CONNECT localhost:444 HTTP/1.1");
  const without = await failureOf(list("https://localhost:444", through(address, own.slice(0, 1))));
  expect(without.code).toBe("NETWORK");
  const clear = await failureOf(list("http://git.invalid", through(address, own)));
  expect([clear.code, clear.message]).toEqual(["UNSUPPORTED", expect.stringContaining("http.proxySSLCert")]);
});

test("core.gitProxy and GIT_PROXY_COMMAND: the first that fits", () => {
  const of = (host: string, entries: string[], env = {}): string | undefined =>
    gitProxy(
      host,
      connectOptions(
        entries.map((entry) => ["core.gitProxy", entry]),
        env,
      ),
    );
  const entries = ["none for inner.example", "/bin/a for example", "/bin/b"];
  expect(["x.inner.example", "example", "y.example", "notexample", "z"].map((host) => of(host, entries))).toEqual([
    undefined,
    "/bin/a",
    "/bin/a",
    "/bin/b",
    "/bin/b",
  ]);
  expect(of("z", entries, { GIT_PROXY_COMMAND: "/bin/c" })).toBe("/bin/c");
  expect(of("z", [])).toBeUndefined();
});
