import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../../src/errors.ts";
import { shellQuote } from "../../../src/gitwire/transport/environment.ts";
import {
  type HttpUrl,
  httpBase,
  isSameRepository,
  origin,
  parseUrl,
  redactUrl,
} from "../../../src/gitwire/transport/url.ts";
import { tryGit } from "../../support/git.ts";
import { tempDir } from "../../support/temp.ts";

/** What real git hands to ssh for an address: its arguments, or undefined where it refuses or does not use ssh. */
function gitSshArguments(address: string): string[] | undefined {
  const dir = tempDir("url");
  const log = path.join(dir, "log");
  const script = path.join(dir, "fake-ssh");
  fs.writeFileSync(script, `#!/bin/sh\nfor a; do printf '%s\\0' "$a"; done > ${log}\nexit 1\n`, { mode: 0o755 });
  tryGit(dir, ["ls-remote", "--", address], { env: { GIT_SSH: script, GIT_SSH_VARIANT: "ssh", GIT_PROTOCOL: "" } });
  if (!fs.existsSync(log)) return undefined;
  const words = fs.readFileSync(log, "utf8").split("\0").slice(0, -1);
  return words.filter((word) => word !== "-o" && word !== "SendEnv=GIT_PROTOCOL");
}

function ourSshArguments(address: string): string[] | undefined {
  try {
    const url = parseUrl(address);
    if (url.kind !== "ssh") return undefined;
    const port = url.port === undefined ? [] : ["-p", url.port];
    return [...port, url.destination, `git-upload-pack ${shellQuote(url.path)}`];
  } catch (error) {
    expect(error).toBeInstanceOf(KvError);
    return undefined;
  }
}

const SSH_ADDRESSES = [
  "host:path",
  "host:/abs/path.git",
  "user@host:~bob/x",
  "host:/~bob/x",
  "user@host.example.com:a/b c.git",
  "host:it's!here",
  "[::1]:path",
  "[user@::1]:path",
  "user@[::1]:path",
  "user@[2001:db8::1]:/p",
  "[host:2222]:path",
  "[user@host:2222]:path",
  "user@[host:2222]:path",
  "ssh://host/path",
  "ssh://host:22/path",
  "ssh://host:/path",
  "ssh://user@host:2222/~bob/x.git",
  "ssh://user@host/~/x.git",
  "ssh://[::1]/path",
  "ssh://[::1]:2222/path",
  "ssh://user@[::1]:2222/path",
  "ssh://user@[fe80::1]/p",
  "ssh://us%65r@host/p%20q",
  "ssh://host/%7Ebob/x",
  "git+ssh://host/path",
  "ssh+git://host/path",
  "ssh://host:99999/path",
  "ssh://host:port/path",
  "ssh://user:pw@host/path",
  "ssh://user:pw@host:22/path",
  "ssh://host",
  "ssh://-oProxyCommand=evil/path",
  "ssh://-oProxyCommand=evil:22/path",
  "ssh://[-oProxyCommand=evil]:22/path",
  "-oProxyCommand=evil:path",
  "host:-path",
  "./host:path",
  "/abs:path",
  "a/b:c",
  "host:a:b",
];

for (const address of SSH_ADDRESSES) {
  test(`git gives ssh the same arguments for ${address}`, () => {
    expect(ourSshArguments(address)).toEqual(gitSshArguments(address));
  });
}

test("a host that is an option is refused with a reason", () => {
  expect(() => parseUrl("ssh://-oProxyCommand=evil/path")).toThrow(/looks like an option/);
  expect(() => parseUrl("host:-path")).toThrow(/looks like an option/);
});

test("local paths and file URLs", () => {
  for (const [address, local] of [
    ["/srv/x.git", "/srv/x.git"],
    ["../x", "../x"],
    ["x.git", "x.git"],
    ["./a:b", "./a:b"],
    ["file:///srv/x%20y.git", "/srv/x y.git"],
    ["file://host/share", "//host/share"],
  ] as const) {
    expect(parseUrl(address)).toEqual({ kind: "local", path: local });
  }
});

test("HTTP URLs", () => {
  const http = (address: string): HttpUrl => parseUrl(address) as HttpUrl;
  expect(http("https://example.com/org/x.git/")).toEqual({
    kind: "https",
    host: "example.com",
    port: undefined,
    user: undefined,
    password: undefined,
    path: "/org/x.git",
  });
  expect(http("http://u%40x:p%3aw@[::1]:8080/a b")).toEqual({
    kind: "http",
    host: "[::1]",
    port: 8080,
    user: "u@x",
    password: "p:w",
    path: "/a%20b",
  });
  expect(http("https://me@host").user).toBe("me");
  expect(http("https://me:@host").password).toBe("");
  expect(http("https://a@b:c@host/").user).toBe("a@b");
  expect(httpBase(http("https://u:p@Host:443/x?y=1"))).toBe("https://Host:443/x?y=1");
  expect(origin(http("https://u:p@Host/x"))).toBe(origin(http("https://host:443/y")));
  expect(origin(http("https://host/"))).not.toBe(origin(http("http://host/")));
  expect(http("http://host/é").path).toBe("/%C3%A9");
});

test("malformed addresses are INPUT_INVALID, others' transports UNSUPPORTED", () => {
  const code = (address: string): string => {
    try {
      parseUrl(address);
    } catch (error) {
      return (error as KvError).code;
    }
    return "none";
  };
  for (const address of [
    "",
    "http://",
    "http:///path",
    "http://host:99999/",
    "http://host:1x/",
    "http://ho st/",
    "http://host/#f",
    "http://host\nx/",
    "https://u%0ax@host/",
    "http://u%zz@host/",
    "ssh://",
    "ssh:///path",
    "file://",
    "host:",
  ]) {
    expect([address, code(address)]).toEqual([address, "INPUT_INVALID"]);
  }
  for (const address of ["ftp://host/x", "ext::sh -c x", "fd::3", "s3://bucket/x"]) {
    expect([address, code(address)]).toEqual([address, "UNSUPPORTED"]);
  }
});

test("passwords do not show", () => {
  expect(redactUrl("https://user:secret@host/x")).toBe("https://user:***@host/x");
  expect(redactUrl("https://user:se@cret@host/x")).toBe("https://user:***@host/x");
  expect(redactUrl("https://ghp_0123456789abcdefghijklmn@host/x")).toBe("https://***@host/x");
  expect(redactUrl("https://ghp_0123456789abcdefghijklmn:x-oauth-basic@host/x")).toBe("https://***:***@host/x");
  expect(redactUrl("ssh://git@host/x")).toBe("ssh://git@host/x");
  expect(redactUrl("git@host:x")).toBe("git@host:x");
  expect(redactUrl("/a@b")).toBe("/a@b");
  for (const address of ["https://user:sec/ret@host/x", "https://user:secret@host:9x/", "https://user:secret@host/#"]) {
    let message = "";
    try {
      parseUrl(address);
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).not.toBe("");
    expect(message).not.toMatch(/secret|sec\/ret|ret@/);
  }
});

test("the same repository: whoever logs in, and no other", () => {
  const url = "http://gateway.example/kv.git";
  for (const same of [url, "http://me:word@gateway.example/kv.git", "http://Gateway.example:80/kv.git/"]) {
    expect(isSameRepository(url, same)).toBe(true);
  }
  const others = [
    "https://gateway.example/kv.git",
    "http://gateway.example:8080/kv.git",
    "http://gateway.example/other",
  ];
  for (const other of [...others, "ssh://gateway.example/kv.git", "gateway.example/kv.git"]) {
    expect(isSameRepository(url, other)).toBe(false);
  }
  expect(isSameRepository("git@host:kv.git", "git@host:kv.git")).toBe(true);
});
