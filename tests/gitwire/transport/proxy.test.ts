import { afterAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import type { KvError } from "../../../src/errors.ts";
import { lsRefs } from "../../../src/gitwire/protocol/fetch-pack.ts";
import { connect } from "../../../src/gitwire/transport/connect.ts";
import type { ConnectOptions } from "../../../src/gitwire/transport/connect-options.ts";
import { bypassesProxy, proxyFor } from "../../../src/gitwire/transport/proxy.ts";
import { type HttpUrl, parseUrl } from "../../../src/gitwire/transport/url.ts";
import { AGENT, connectOptions } from "../../support/connect.ts";
import { failureOf } from "../../support/failure.ts";
import { startHttpBackend } from "../../support/http-backend.ts";
import { repositoryWith } from "../../support/push.ts";
import { tempDir } from "../../support/temp.ts";

const VECTORS = path.join(import.meta.dir, "../../vectors/tls");
const { dir } = repositoryWith(1);
// A connection that is kept would hide the next request from the proxy's log.
const server = startHttpBackend(path.dirname(dir), { closes: true });
const secure = startHttpBackend(path.dirname(dir), {
  tls: {
    cert: fs.readFileSync(path.join(VECTORS, "server.pem"), "utf8"),
    key: fs.readFileSync(path.join(VECTORS, "server.key"), "utf8"),
  },
});

/** The login of me:wrong. */
const WRONG = Buffer.from("me:wrong").toString("base64");

/** A proxy that sends every request to `server` and every tunnel to `secure`, whatever host is asked for. */
const heads: string[] = [];
const proxy = net.createServer((client) => {
  client.once("data", (first) => {
    const head = first.toString("latin1").split("\r\n\r\n", 1)[0]!;
    heads.push(head);
    if (head.includes("/refuse/") || head.includes("CONNECT refuse.") || head.includes(WRONG)) {
      client.end("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
      return;
    }
    const tunnel = head.startsWith("CONNECT ");
    const upstream = net.connect(tunnel ? secure.port : server.port, "127.0.0.1", () => {
      if (tunnel) client.write("HTTP/1.1 200 Connection established\r\n\r\n");
      else upstream.write(first.toString("latin1").replace(/ http:\/\/[^/ ]+/, " "), "latin1");
      client.pipe(upstream).pipe(client);
    });
    upstream.on("error", () => client.destroy());
    client.on("error", () => upstream.destroy());
  });
  client.on("error", () => {});
});
await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
const PROXY = `http://127.0.0.1:${(proxy.address() as net.AddressInfo).port}`;
afterAll(() => {
  server.stop();
  secure.stop();
  proxy.close();
});

async function list(base: string, options: ConnectOptions): Promise<number> {
  heads.length = 0;
  const transport = await connect(`${base}/${path.basename(dir)}`, "git-upload-pack", options);
  try {
    return (await lsRefs(transport, [], { agent: AGENT })).refs.length;
  } finally {
    await transport.close();
  }
}

test("http.proxy, with a password", async () => {
  const withLogin = PROXY.replace("://", "://me:p%40ss@");
  expect(await list("http://git.invalid", connectOptions([["http.proxy", withLogin]]))).toBe(2);
  expect(heads[0]).toStartWith(
    `GET http://git.invalid/${path.basename(dir)}/info/refs?service=git-upload-pack HTTP/1.1`,
  );
  expect(heads[0]).toContain(`Proxy-Authorization: Basic ${Buffer.from("me:p@ss").toString("base64")}`);
});

test("https goes through a tunnel", async () => {
  const options = connectOptions([
    ["http.proxy", PROXY],
    ["http.sslCAInfo", path.join(VECTORS, "ca.pem")],
  ]);
  expect(await list("https://localhost:444", options)).toBe(2);
  expect(heads[0]).toStartWith("CONNECT localhost:444 HTTP/1.1");
});

test("the environment's proxy by git's rules, whatever the process's own says", async () => {
  expect(await list("http://git.invalid", connectOptions([], { http_proxy: PROXY }))).toBe(2);
  expect(heads).toHaveLength(2);
  expect(await list("http://git.invalid", connectOptions([], { ALL_PROXY: PROXY }))).toBe(2);
  expect(heads).toHaveLength(2);
  const saved = { http_proxy: process.env.http_proxy, NO_PROXY: process.env.NO_PROXY };
  process.env.http_proxy = "http://127.0.0.1:1";
  process.env.NO_PROXY = "git.invalid";
  try {
    expect(await list(server.url, connectOptions())).toBe(2);
    expect(await list("http://git.invalid", connectOptions([["http.proxy", PROXY]]))).toBe(2);
    expect(process.env.http_proxy).toBe("http://127.0.0.1:1");
  } finally {
    for (const [name, value] of Object.entries(saved)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
});

test("a direct connection where the proxy is bypassed", async () => {
  const http_proxy = "http://127.0.0.1:1";
  expect(await list(server.url, connectOptions([], { http_proxy, no_proxy: "example.com, 127.0.0.1" }))).toBe(2);
  expect(await list(server.url, connectOptions([["http.proxy", ""]], { http_proxy }))).toBe(2);
  expect(await list(server.url, { ...connectOptions([["http.proxy", http_proxy]]), proxy: "" })).toBe(2);
});

test("errors: a proxy that is not there, wants a password, or is of a kind we do not speak", async () => {
  const failure = async (base: string, value: string): Promise<KvError> => {
    try {
      await list(base, connectOptions([["http.proxy", value]]));
    } catch (error) {
      return error as KvError;
    }
    throw new Error("it succeeded");
  };
  const gone = await failure("http://git.invalid", "http://me:secret@127.0.0.1:1");
  expect([gone.code, gone.message]).toEqual(["NETWORK", expect.stringContaining("through the proxy")]);
  expect(gone.message).not.toContain("secret");
  const refused = await failure("http://git.invalid/refuse", PROXY);
  expect([refused.code, refused.hint]).toEqual(["UNAUTHENTICATED", expect.stringContaining("http.proxy")]);
  expect((await failure("http://git.invalid", "gopher://me:secret@127.0.0.1:1")).code).toBe("UNSUPPORTED");
});

test("http.proxyAuthMethod: a password is not sent by Basic where another method is asked for", async () => {
  const withLogin = PROXY.replace("://", "://me:secret@");
  const attempt = (method: string, proxy: string, env = {}) =>
    list(
      "http://git.invalid",
      connectOptions(
        [
          ["http.proxy", proxy],
          ["http.proxyAuthMethod", method],
        ],
        env,
      ),
    );
  for (const method of ["negotiate", "ntlm"]) {
    const { code, message } = await failureOf(attempt(method, withLogin));
    expect([code, message]).toEqual(["UNSUPPORTED", expect.stringContaining(method)]);
    expect(heads).toEqual([]);
    expect(await attempt(method, PROXY)).toBe(2);
  }
  for (const method of ["anyauth", "basic"]) expect(await attempt(method, withLogin)).toBe(2);
  const error = await failureOf(attempt("basic", withLogin, { GIT_HTTP_PROXY_AUTHMETHOD: "ntlm" }));
  expect(error.code).toBe("UNSUPPORTED");
});

test("which proxy", () => {
  const http = parseUrl("http://host.example/x") as HttpUrl;
  const https = parseUrl("https://host.example/x") as HttpUrl;
  expect(proxyFor(http, undefined, { HTTP_PROXY: "http://p" })).toBeUndefined();
  expect(proxyFor(https, undefined, { HTTPS_PROXY: "http://p" })).toBe("http://p");
  expect(proxyFor(https, undefined, { https_proxy: "p:8080", HTTPS_PROXY: "http://q" })).toBe("http://p:8080");
  expect(proxyFor(http, "http://c", { http_proxy: "http://p" })).toBe("http://c");
  expect(proxyFor(http, "http://c", { no_proxy: ".example" })).toBeUndefined();
});

test("no_proxy", () => {
  const url = parseUrl("http://git.example.com:8080/x") as HttpUrl;
  for (const list of [
    "*",
    "git.example.com",
    "example.com",
    ".example.com",
    "x, GIT.example.com",
    "example.com:8080",
  ]) {
    expect([list, bypassesProxy(url, list)]).toEqual([list, true]);
  }
  for (const list of ["", ",", "ample.com", "git.example.com.org", "example.com:80", "xgit.example.com", "."]) {
    expect([list, bypassesProxy(url, list)]).toEqual([list, false]);
  }
  const v6 = parseUrl("http://[::1]:80/x") as HttpUrl;
  expect(bypassesProxy(v6, "::1")).toBe(true);
  expect(bypassesProxy(v6, "[::1]")).toBe(true);
  expect(bypassesProxy(v6, "::2")).toBe(false);
  const v4 = parseUrl("http://10.9.200.1/x") as HttpUrl;
  for (const list of ["10.0.0.0/8", "10.9.200.1/32", "0.0.0.0/0", "x, 10.9.128.0/17"])
    expect([list, bypassesProxy(v4, list)]).toEqual([list, true]);
  for (const list of ["10.9.0.0/17", "10.9.200.0/32", "11.0.0.0/8", "10.0.0.0/33", "10.0.0.0/", "/8", "10.0.0/8"])
    expect([list, bypassesProxy(v4, list)]).toEqual([list, false]);
  // As in curl, small letters come first.
  const http = { http_proxy: "http://p" };
  expect(proxyFor(url, undefined, { ...http, no_proxy: "*", NO_PROXY: "" })).toBeUndefined();
  expect(proxyFor(url, undefined, { ...http, no_proxy: "x", NO_PROXY: "*" })).toBe("http://p");
});

/** A credential helper that gives `password`, and what it was told. */
function helper(password: string): { command: string; told: () => string } {
  const log = path.join(tempDir("helper"), "log");
  const answer = `test "$1" = get && printf 'password=${password}\\n'`;
  return {
    command: `!f() { (printf '%s: ' "$1"; sort | tr '\\n' ' '; echo) >>'${log}'; ${answer}; }; f`,
    told: () => fs.readFileSync(log, "utf8").replace(/capability\[\]=authtype /g, ""),
  };
}

test("the password of a user in the proxy's address comes from a credential helper, who hears how it fared", async () => {
  const named = PROXY.replace("://", "://me@");
  const host = PROXY.slice("http://".length);
  const right = helper("p@ss");
  for (const base of ["http://git.invalid", "https://localhost:444"]) {
    const options = connectOptions([
      ["http.proxy", named],
      ["http.sslCAInfo", path.join(VECTORS, "ca.pem")],
      [`credential.${PROXY}.helper`, right.command],
    ]);
    expect(await list(base, options)).toBe(2);
    expect(heads[0]).toContain(`Proxy-Authorization: Basic ${Buffer.from("me:p@ss").toString("base64")}`);
  }
  const asked = `host=${host} protocol=http username=me`;
  // Once for a connection, however many requests it makes.
  expect(right.told()).toBe(
    `get:  ${asked} \nstore:  host=${host} password=p@ss protocol=http username=me \n`.repeat(2),
  );
  const wrong = helper("wrong");
  for (const base of ["http://git.invalid", "https://refuse.invalid"]) {
    const error = await failureOf(
      list(
        base,
        connectOptions([
          ["http.proxy", named],
          ["credential.helper", wrong.command],
        ]),
      ),
    );
    expect([error.code, error.message]).toEqual(["UNAUTHENTICATED", expect.stringContaining("the proxy for")]);
  }
  expect(wrong.told()).toBe(
    `get:  ${asked} \nerase:  host=${host} password=wrong protocol=http username=me \n`.repeat(2),
  );
  const none = await failureOf(list("http://git.invalid", connectOptions([["http.proxy", named]])));
  expect([none.code, none.message]).toEqual(["UNAUTHENTICATED", `there is no password for the proxy ${named}`]);
  expect(heads).toEqual([]);
});

test("remote.<name>.proxyAuthMethod goes before http.proxyAuthMethod", async () => {
  const options = connectOptions([
    ["http.proxy", PROXY.replace("://", "://me:secret@")],
    ["http.proxyAuthMethod", "basic"],
  ]);
  const { code, message } = await failureOf(list("http://git.invalid", { ...options, proxyAuthMethod: "ntlm" }));
  expect([code, message]).toEqual(["UNSUPPORTED", expect.stringContaining("ntlm")]);
  expect(heads).toEqual([]);
});
