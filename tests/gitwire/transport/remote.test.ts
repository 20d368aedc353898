import { expect, test } from "bun:test";
import { findRemote, rewriteUrl } from "../../../src/gitwire/transport/remote.ts";
import { gitConfig } from "../../support/connect.ts";
import { git } from "../../support/git.ts";
import { tempDir } from "../../support/temp.ts";

type Config = readonly (readonly [name: string, value: string])[];

/** What real git makes of the same configuration: the addresses of the remote `origin`. */
function gitAddresses(config: Config, push: boolean): string[] {
  const dir = tempDir("remote");
  git(dir, "init", "-q");
  for (const [name, value] of config) git(dir, "config", "--add", name, value);
  return git(dir, "remote", "get-url", "--all", ...(push ? ["--push"] : []), "origin").split("\n");
}

const CASES: Readonly<Record<string, Config>> = {
  "an address": [["remote.origin.url", "https://a.example/x"]],
  "an address and a push address": [
    ["remote.origin.url", "https://a.example/x"],
    ["remote.origin.pushurl", "ssh://b.example/x"],
    ["remote.origin.pushurl", "ssh://c.example/x"],
  ],
  "the longest insteadOf wins": [
    ["remote.origin.url", "gh:org/x"],
    ["url.https://long.example/.insteadof", "gh:org/"],
    ["url.https://short.example/.insteadof", "gh:"],
    ["url.https://other.example/.insteadof", "gl:"],
  ],
  "the first of two equally long ones wins": [
    ["remote.origin.url", "gh:x"],
    ["url.https://first.example/.insteadof", "gh:"],
    ["url.https://second.example/.insteadof", "gh:"],
  ],
  "pushInsteadOf rewrites what a push uses": [
    ["remote.origin.url", "https://a.example/x"],
    ["url.ssh://git@a.example/.pushinsteadof", "https://a.example/"],
    ["url.https://mirror.example/.insteadof", "https://a.example/"],
  ],
  "pushInsteadOf does not touch a pushurl, insteadOf does": [
    ["remote.origin.url", "https://a.example/x"],
    ["remote.origin.pushurl", "https://a.example/y"],
    ["url.ssh://git@a.example/.pushinsteadof", "https://a.example/"],
    ["url.https://mirror.example/.insteadof", "https://a.example/"],
  ],
  "only the addresses that pushInsteadOf matches are pushed to": [
    ["remote.origin.url", "https://a.example/x"],
    ["remote.origin.url", "https://b.example/x"],
    ["url.ssh://git@a.example/.pushinsteadof", "https://a.example/"],
  ],
};

for (const [name, config] of Object.entries(CASES)) {
  test(`as git: ${name}`, () => {
    const remote = findRemote(gitConfig(config), "origin");
    expect(remote.configured).toBe(true);
    expect([...remote.urls]).toEqual(gitAddresses(config, false));
    expect([...remote.pushUrls]).toEqual(gitAddresses(config, true));
  });
}

test("an address is a remote of its own", () => {
  const config = gitConfig([
    ["url.https://host.example/.insteadof", "h:"],
    ["url.ssh://host.example/.pushinsteadof", "h:"],
  ]);
  const remote = findRemote(config, "h:x");
  expect([remote.configured, remote.urls, remote.pushUrls]).toEqual([
    false,
    ["https://host.example/x"],
    ["ssh://host.example/x"],
  ]);
  expect(rewriteUrl(config, "h:y")).toBe("https://host.example/y");
  expect(rewriteUrl(config, "/srv/y")).toBe("/srv/y");
});

test("refspecs, programs and the proxy are handed on; an empty url clears those before", () => {
  const remote = findRemote(
    gitConfig([
      ["remote.origin.url", "https://old.example/x"],
      ["remote.origin.url", ""],
      ["remote.origin.url", "https://new.example/x"],
      ["remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"],
      ["remote.origin.fetch", "+refs/kv/*:refs/kv-remotes/origin/kv/*"],
      ["remote.origin.uploadpack", "/opt/up"],
      ["remote.origin.receivepack", "/opt/rp"],
      ["remote.origin.proxy", ""],
      ["remote.origin.proxyAuthMethod", "basic"],
    ]),
    "origin",
  );
  expect(remote).toEqual({
    name: "origin",
    configured: true,
    urls: ["https://new.example/x"],
    pushUrls: ["https://new.example/x"],
    fetch: ["+refs/heads/*:refs/remotes/origin/*", "+refs/kv/*:refs/kv-remotes/origin/kv/*"],
    uploadPack: "/opt/up",
    receivePack: "/opt/rp",
    proxy: "",
    proxyAuthMethod: "basic",
  });
});
