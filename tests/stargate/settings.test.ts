/** Settings: flags over environment over file, and strict about the file. */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../src/errors.ts";
import { parseRepositorySpec, samePlace } from "../../src/stargate/registry.ts";
import { loadSettings, parseListen } from "../../src/stargate/settings.ts";
import { TokenStore } from "../../src/stargate/tokens.ts";
import { tempDir } from "../support/temp.ts";

function withFile(text: string): string {
  const dir = tempDir("settings");
  fs.writeFileSync(path.join(dir, "stargate.yaml"), text);
  return dir;
}

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(KvError);
    return (error as KvError).message;
  }
  return "no error";
}

describe("settings", () => {
  test("defaults", () => {
    const dir = tempDir("settings");
    expect(loadSettings(dir)).toEqual({
      listen: "127.0.0.1:8418",
      adminListen: { address: "127.0.0.1:9418", isDefault: true },
      backlogLimit: 10_000,
      webhooks: [],
      minFree: 256 * 1024 * 1024,
      socket: path.join(dir, "stargate", "socket"),
      policyPath: ".kv/policy.yaml",
      anonymousRead: false,
      mirrorRemote: undefined,
      mirrorPace: undefined,
      mirrorRefresh: 60_000,
      mirrorMaxPush: 1_900_000_000,
      mirrorTimeout: 300_000,
    });
  });

  test("flags win over the environment, the environment over the file", () => {
    const dir = withFile(
      "listen: 127.0.0.1:1\nanonymous_read: true\nmirror: { remote: up, interval: 2s, refresh: 1m, max_push: 2MB, timeout: 10s }\nsocket: s\n",
    );
    const env = { STARGATE_LISTEN: "127.0.0.1:2", STARGATE_SOCKET: "", STARGATE_ANONYMOUS_READ: "no" };
    expect(loadSettings(dir).listen).toBe("127.0.0.1:1");
    expect(loadSettings(dir).anonymousRead).toBe(true);
    expect(loadSettings(dir).socket).toBe(path.join(dir, "s"));
    expect(loadSettings(dir, {}, env).listen).toBe("127.0.0.1:2");
    expect(loadSettings(dir, {}, env).anonymousRead).toBe(false);
    expect(loadSettings(dir, { listen: "127.0.0.1:3" }, env).listen).toBe("127.0.0.1:3");
    expect(loadSettings(dir).mirrorPace).toEqual({ burst: 5, interval: 2_000 });
    expect(loadSettings(dir).mirrorMaxPush).toBe(2_000_000);
    expect(loadSettings(dir).mirrorTimeout).toBe(10_000);
    expect(loadSettings(dir).mirrorRemote).toBe("up");
    expect(loadSettings(dir, { mirrorRemote: "down" }).mirrorRemote).toBe("down");
  });

  test("unknown keys and wrong values are errors that name the key and the line", () => {
    const text = messageOf(() =>
      loadSettings(withFile("listen: 1\nmirror:\n  remot: x\n  burst: 0\nanonymous_read: maybe\n")),
    );
    expect(text).toContain("stargate.yaml:1: listen: must be text");
    expect(text).toContain("stargate.yaml:3: mirror.remot: unknown key");
    expect(text).toContain("stargate.yaml:4: mirror.burst: must be 1 or more");
    expect(text).toContain("stargate.yaml:5: anonymous_read: must be true or false");
    expect(messageOf(() => loadSettings(tempDir(), {}, { STARGATE_ANONYMOUS_READ: "perhaps" }))).toContain(
      "STARGATE_ANONYMOUS_READ",
    );
  });

  test("a folder in the place of the file is said to be one, and so it is of the tokens", () => {
    const dir = tempDir("settings");
    fs.mkdirSync(path.join(dir, "stargate.yaml"));
    fs.mkdirSync(path.join(dir, "tokens.json"));
    expect(messageOf(() => loadSettings(dir))).toBe(`${dir}/stargate.yaml is a folder where a file should be`);
    expect(messageOf(() => new TokenStore(dir).list())).toBe(`${dir}/tokens.json is a folder where a file should be`);
  });

  test("listening addresses", () => {
    expect(parseListen("127.0.0.1:8418")).toEqual({ hostname: "127.0.0.1", port: 8418 });
    expect(parseListen("0")).toEqual({ hostname: "127.0.0.1", port: 0 });
    expect(parseListen(":80")).toEqual({ hostname: "127.0.0.1", port: 80 });
    expect(parseListen("[::1]:80")).toEqual({ hostname: "::1", port: 80 });
    expect(parseListen("git.example.com:80").hostname).toBe("git.example.com");
    for (const bad of ["", "x", "a:b", "127.0.0.1:70000", "::1:80", "http://x:80"]) {
      expect(messageOf(() => parseListen(bad))).toContain("no address");
    }
  });
});

describe("names of repositories", () => {
  test("given, or the folder's", () => {
    expect(parseRepositorySpec("org/kv.git=/srv/x", "/")).toEqual({ name: "org/kv.git", dir: "/srv/x" });
    expect(parseRepositorySpec("/srv/kv.git", "/")).toEqual({ name: "kv.git", dir: "/srv/kv.git" });
    expect(parseRepositorySpec("work/.git", "/srv")).toEqual({ name: "work", dir: "/srv/work/.git" });
    expect(messageOf(() => parseRepositorySpec("/srv/a=b", "/"))).toContain("'a=b'");
  });

  test("that cannot be part of an address are refused", () => {
    for (const bad of ["../x=/srv/x", "a//b=/srv/x", "a b=/srv/x", ".hidden=/srv/x", "/srv/k v"]) {
      expect(messageOf(() => parseRepositorySpec(bad, "/"))).toContain("no name");
    }
  });

  test("an absolute path means a repository only where it is that folder", () => {
    expect(samePlace("/srv/kv.git", "/srv/kv.git")).toBe(true);
    expect(samePlace("/srv/kv.git", "/srv/kv")).toBe(true);
    expect(samePlace("/srv/kv.git", "/srv/../srv/kv.git/")).toBe(true);
    expect(samePlace("/srv/kv.git", "/srv/kv.git/objects")).toBe(false);
    expect(samePlace("/srv/kv.git", "/etc")).toBe(false);
  });
});
