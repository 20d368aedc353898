import { afterAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { lsRefs } from "../../../src/gitwire/protocol/fetch-pack.ts";
import { connect } from "../../../src/gitwire/transport/connect.ts";
import type { ConnectOptions } from "../../../src/gitwire/transport/connect-options.ts";
import { AGENT, connectOptions } from "../../support/connect.ts";
import { failureOf } from "../../support/failure.ts";
import { startHttpBackend } from "../../support/http-backend.ts";
import { repositoryWith } from "../../support/push.ts";
import { tempDir } from "../../support/temp.ts";

const VECTORS = path.join(import.meta.dir, "../../vectors/tls");
const CA = path.join(VECTORS, "ca.pem");
const { dir } = repositoryWith(1);
const server = startHttpBackend(path.dirname(dir), {
  tls: tls("server.pem"),
  intercept: (_, url) =>
    url.pathname.startsWith("/down") ? Response.redirect(plain.url + url.search, 302) : undefined,
});
const plain = startHttpBackend(path.dirname(dir), {
  intercept: (_, url) =>
    url.pathname.startsWith("/up/")
      ? Response.redirect(`${server.url}${url.pathname.slice(3)}${url.search}`, 302)
      : undefined,
});
afterAll(() => {
  server.stop();
  plain.stop();
});

function tls(cert: string): { cert: string; key: string } {
  return {
    cert: fs.readFileSync(path.join(VECTORS, cert), "utf8"),
    key: fs.readFileSync(path.join(VECTORS, "server.key"), "utf8"),
  };
}

async function list(base: string, options: ConnectOptions): Promise<number> {
  const transport = await connect(`${base}/${path.basename(dir)}`, "git-upload-pack", options);
  try {
    return (await lsRefs(transport, [], { agent: AGENT })).refs.length;
  } finally {
    await transport.close();
  }
}

test("a certificate of an unknown authority is refused, with a way out", async () => {
  const error = await failureOf(list(server.url, connectOptions()));
  expect(error.code).toBe("NETWORK");
  expect(error.message).toContain("its certificate is not trusted");
  expect(error.hint).toContain("http.sslCAInfo");
  expect(server.requests).toHaveLength(0);
});

test("http.sslCAInfo, GIT_SSL_CAINFO and http.sslVerify", async () => {
  expect(await list(server.url, connectOptions([["http.sslCAInfo", CA]]))).toBe(2);
  expect(await list(server.url, connectOptions([[`http.${server.url}.sslCAInfo`, CA]]))).toBe(2);
  expect(await list(server.url, connectOptions([], { GIT_SSL_CAINFO: CA }))).toBe(2);
  expect(await list(server.url, connectOptions([["http.sslVerify", "false"]]))).toBe(2);
  expect(await list(server.url, connectOptions([], { GIT_SSL_NO_VERIFY: "1" }))).toBe(2);
  await failureOf(list(server.url, connectOptions([["http.https://other.example.sslVerify", "false"]])));
});

test("http.sslCAPath and GIT_SSL_CAPATH: a folder of authorities, named by their hash", async () => {
  const folder = tempDir("authorities");
  const { stdout } = Bun.spawnSync(["openssl", "x509", "-noout", "-hash", "-in", CA]);
  fs.copyFileSync(CA, path.join(folder, `${stdout.toString().trim()}.0`));
  expect(await list(server.url, connectOptions([["http.sslCAPath", folder]]))).toBe(2);
  expect(await list(server.url, connectOptions([], { GIT_SSL_CAPATH: folder }))).toBe(2);
  const { code, hint } = await failureOf(list(server.url, connectOptions([["http.sslCAPath", tempDir("empty")]])));
  expect([code, hint]).toEqual(["CONFIG", expect.stringContaining("openssl rehash")]);
});

test("a key with a password is an error, not a question", async () => {
  const key = path.join(tempDir("key"), "locked.key");
  const source = path.join(VECTORS, "server.key");
  Bun.spawnSync(["openssl", "pkcs8", "-topk8", "-in", source, "-out", key, "-passout", "pass:secret"]);
  const options = [
    ["http.sslCAInfo", CA],
    ["http.sslCert", path.join(VECTORS, "server.pem")],
    ["http.sslKey", key],
  ] as const;
  expect((await failureOf(list(server.url, connectOptions(options)))).exit).toBe(5);
});

test("a name the certificate does not have is refused", async () => {
  const elsewhere = startHttpBackend(path.dirname(dir), { tls: tls("elsewhere.pem") });
  const error = await failureOf(list(elsewhere.url, connectOptions([["http.sslCAInfo", CA]])));
  elsewhere.stop();
  expect([error.code, error.message]).toEqual(["NETWORK", expect.stringContaining("its certificate is not trusted")]);
  expect(elsewhere.requests).toHaveLength(0);
});

test("a certificate file that is not there, and pinning, are errors", async () => {
  const missing = await failureOf(list(server.url, connectOptions([["http.sslCAInfo", "/nonexistent.pem"]])));
  expect([missing.code, missing.message]).toEqual(["CONFIG", expect.stringContaining("/nonexistent.pem")]);
  const pinned = await failureOf(list(server.url, connectOptions([["http.pinnedPubkey", "sha256//x"]])));
  expect(pinned.code).toBe("UNSUPPORTED");
});

test("http.sslCert and http.sslKey, GIT_SSL_CERT and GIT_SSL_KEY: the certificate of the client", async () => {
  const strict = startHttpBackend(path.dirname(dir), {
    tls: { ...tls("server.pem"), clientCa: fs.readFileSync(CA, "utf8") },
  });
  const [cert, key] = [path.join(VECTORS, "server.pem"), path.join(VECTORS, "server.key")];
  const both = path.join(tempDir("pem"), "both.pem");
  fs.writeFileSync(both, fs.readFileSync(cert, "latin1") + fs.readFileSync(key, "latin1"));
  const given = (...more: [string, string][]) => connectOptions([["http.sslCAInfo", CA], ...more]);
  try {
    expect((await failureOf(list(strict.url, given()))).code).toBe("NETWORK");
    expect(strict.requests).toHaveLength(0);
    expect(await list(strict.url, given(["http.sslCert", cert], ["http.sslKey", key]))).toBe(2);
    expect(await list(strict.url, given(["http.sslCert", both]))).toBe(2);
    const env = { GIT_SSL_CERT: cert, GIT_SSL_KEY: key };
    expect(await list(strict.url, connectOptions([["http.sslCAInfo", CA]], env))).toBe(2);
    // A connection that is kept from before serves nobody else.
    expect((await failureOf(list(strict.url, given()))).code).toBe("NETWORK");
  } finally {
    strict.stop();
  }
});

test("http.sslVersion and GIT_SSL_VERSION: that version of TLS or a newer one; http.sslCipherList", async () => {
  // Git's own server side has no say in this: OpenSSL speaks TLS 1.2 and nothing else here.
  const child = Bun.spawn(
    [
      "openssl",
      "s_server",
      "-accept",
      "127.0.0.1:0",
      "-tls1_2",
      "-www",
      "-cert",
      path.join(VECTORS, "server.pem"),
    ].concat("-key", path.join(VECTORS, "server.key")),
    { stdout: "pipe", stderr: "ignore", stdin: "pipe" },
  );
  try {
    let said = "";
    for await (const chunk of child.stdout) {
      said += new TextDecoder().decode(chunk);
      if (/ACCEPT \S+:\d+\n/.test(said)) break;
    }
    const old = `https://localhost:${/ACCEPT \S+:(\d+)/.exec(said)![1]}`;
    const attempt = async (config: [string, string][], env = {}) =>
      (await failureOf(list(old, connectOptions([["http.sslCAInfo", CA], ...config], env)))).code;
    // It is no git server, but it is reached.
    expect(await attempt([])).toBe("UNSUPPORTED");
    expect(await attempt([["http.sslVersion", "tlsv1.2"]])).toBe("UNSUPPORTED");
    expect(await attempt([["http.sslVersion", "tlsv1"]])).toBe("UNSUPPORTED");
    expect(await attempt([["http.sslVersion", "tlsv1.3"]])).toBe("NETWORK");
    expect(await attempt([["http.sslVersion", "tlsv1.2"]], { GIT_SSL_VERSION: "tlsv1.3" })).toBe("NETWORK");
    // The certificate's key is an elliptic one.
    expect(await attempt([["http.sslCipherList", "ECDHE-ECDSA-AES256-GCM-SHA384"]])).toBe("UNSUPPORTED");
    expect(await attempt([["http.sslCipherList", "ECDHE-RSA-AES256-GCM-SHA384"]])).toBe("NETWORK");
  } finally {
    child.kill();
    await child.exited;
  }
  const ssl = await failureOf(list(server.url, connectOptions([["http.sslVersion", "sslv3"]])));
  expect([ssl.code, ssl.message]).toEqual(["UNSUPPORTED", "http.sslVersion is sslv3, which is not spoken here"]);
  expect(
    await list(
      server.url,
      connectOptions([
        ["http.sslCAInfo", CA],
        ["http.sslVersion", "tlsv1.3"],
      ]),
    ),
  ).toBe(2);
});

test("paths of certificates may begin with ~/", async () => {
  const home = tempDir("home");
  fs.copyFileSync(CA, path.join(home, "ca.pem"));
  expect(await list(server.url, connectOptions([["http.sslCAInfo", "~/ca.pem"]], { HOME: home }))).toBe(2);
});

test("a redirect may lead up to https, not down from it", async () => {
  const options = connectOptions([["http.sslCAInfo", CA]]);
  expect(await list(`${plain.url}/up`, options)).toBe(2);
  plain.requests.length = 0;
  const error = await failureOf(list(`${server.url}/down`, options));
  expect(error.code).toBe("NETWORK");
  expect(plain.requests).toHaveLength(0);
});

test("https to a port that speaks no TLS", async () => {
  const error = await failureOf(list(`https://127.0.0.1:${plain.port}`, connectOptions()));
  expect([error.code, error.message]).toEqual(["NETWORK", expect.stringContaining("TLS")]);
});
