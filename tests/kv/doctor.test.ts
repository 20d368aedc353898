/** The doctor on a clone that is in order, and on one thing after the other that is not. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { commit } from "../../src/kv/commit.ts";
import { type Diagnosis, diagnose, failureOf } from "../../src/kv/doctor.ts";
import { fetchAccepted } from "../../src/kv/fetch.ts";
import { POLICY_REF } from "../../src/kv/namespace.ts";
import { configureRemote } from "../../src/kv/setup.ts";
import { git } from "../support/git.ts";
import { policyPush, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { TestKey } from "../support/test-key.ts";
import { countingClock, newRepository, type WorkspaceOptions, workspaceAt } from "../support/workspace.ts";

const home = tempDir("home");
const ENV = {
  HOME: home,
  XDG_CONFIG_HOME: home,
  SSH_AUTH_SOCK: undefined,
  GIT_AUTHOR_NAME: "A",
  GIT_AUTHOR_EMAIL: "a@b.c",
};
const clock = { ...countingClock(), now: Date.now };
let stargate: TestStargate;
let client: TestClient;
let clone: string;
let keyFile: string;

beforeAll(async () => {
  const mirror = path.join(tempDir("host"), "mirror.git");
  git("/", "init", "-q", "--bare", `--object-format=${TEST_FORMAT.name}`, mirror);
  stargate = await TestStargate.start({ mirror, upkeep: false });
  const login = stargate.loginUrl(stargate.token("admin"));
  client = new TestClient(stargate.dir, login);
  await client.set({ k: "v" });
  keyFile = path.join(home, "key");
  spawnSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "me@example.com", "-f", keyFile]);
  clone = path.join(tempDir("clone"), "c");
  git("/", "init", "-q", `--object-format=${TEST_FORMAT.name}`, clone);
  git(clone, "remote", "add", "origin", mirror);
  configureRemote(workspaceAt(clone), login);
  await fetchAccepted(workspaceAt(clone));
});
afterAll(() => stargate.stop());

async function examine(
  dir: string,
  options: WorkspaceOptions & { offline?: boolean } = {},
): Promise<Map<string, Diagnosis>> {
  const workspace = workspaceAt(dir, { clock, env: ENV, ...options });
  const found = new Map<string, Diagnosis>();
  for await (const diagnosis of diagnose(workspace, { offline: options.offline ?? false }))
    found.set(diagnosis.check, diagnosis);
  workspace.repo.close();
  return found;
}

/** What is not in order. */
function complaintsOf(found: ReadonlyMap<string, Diagnosis>): string[] {
  return [...found.values()].flatMap(({ check, status, code }) =>
    status === "ok" ? [] : [`${check} ${code ?? status}`],
  );
}

test("a store of its own, and a folder without a namespace", async () => {
  const dir = newRepository(TEST_FORMAT);
  expect(complaintsOf(await examine(dir))).toEqual(["namespace NS_NOT_FOUND"]);
  await commit(workspaceAt(dir), { create: { epoch: "e1" } }, () => {});
  const found = await examine(dir);
  expect(complaintsOf(found)).toEqual([]);
  expect([...found.keys()]).toEqual([
    ...["clone", "disk", "identity", "namespace", "remote", "reads", "policy", "key", "clock"],
  ]);
  expect(failureOf({ check: "x", status: "fail", message: "m", code: "NS_NOT_FOUND" }).exit).toBe(6);
});

test("a clone of a Stargate: in order, and then one thing after the other", async () => {
  const first = await examine(clone);
  expect(complaintsOf(first).filter((text) => !text.startsWith("mirror"))).toEqual(["policy warn"]);
  expect(first.get("stargate")?.message).toMatch(/takes pushes, is at transaction \d+/);
  expect(first.get("key")?.message).toBe("no signature is required");
  expect([...(await examine(clone, { offline: true })).keys()]).not.toContain("stargate");
  // The policy is pinned, and then another one.
  git(clone, "fetch", "-q", stargate.dir, `+${POLICY_REF}:${POLICY_REF}`);
  git(clone, "config", "kv.policyRoot", git(clone, "rev-parse", POLICY_REF));
  expect((await examine(clone)).get("policy")?.status).toBe("ok");
  git(clone, "config", "kv.policyRoot", "0".repeat(TEST_FORMAT.hexSize));
  expect((await examine(clone)).get("policy")).toMatchObject({ status: "fail", code: "POLICY_UNTRUSTED" });
  git(clone, "config", "kv.policyRoot", git(clone, "rev-parse", POLICY_REF));
  // A clock that is an hour behind.
  const late = { ...countingClock(), now: () => Date.now() - 3_600_000 };
  expect((await examine(clone, { clock: late })).get("clock")).toMatchObject({
    status: "warn",
    message: expect.stringContaining("60 min behind"),
  });
  // Refspecs that somebody removed, and a push URL that is the mirror's.
  const refspec = git(clone, "config", "--get-all", "remote.origin.fetch")
    .split("\n")
    .find((line) => line.includes("kv-index"))!;
  git(clone, "config", "--unset", "remote.origin.fetch", "kv-index");
  expect((await examine(clone, { offline: true })).get("remote")).toMatchObject({
    status: "fail",
    hint: "git kv remote setup",
  });
  git(clone, "config", "--add", "remote.origin.fetch", refspec);
  const pushUrl = git(clone, "config", "remote.origin.pushurl");
  git(clone, "config", "remote.origin.pushurl", git(clone, "config", "remote.origin.url"));
  expect((await examine(clone, { offline: true })).get("push-url")).toMatchObject({ status: "fail", code: "CONFIG" });
  git(clone, "config", "remote.origin.pushurl", "http://127.0.0.1:1/kv.git");
  expect((await examine(clone)).get("stargate")).toMatchObject({ status: "fail", code: "NETWORK" });
  git(clone, "config", "remote.origin.pushurl", pushUrl);
});

test("what keeps reads and writes from their place: locks, settings, refs that are gone, another remote", async () => {
  const dir = path.join(tempDir("broken"), "c");
  const broken = async (spoil: () => void): Promise<Map<string, Diagnosis>> => {
    fs.rmSync(dir, { recursive: true, force: true });
    fs.cpSync(clone, dir, { recursive: true });
    spoil();
    return examine(dir, { offline: true });
  };
  const inGit = (name: string): string => path.join(dir, ".git", name);
  expect((await broken(() => {})).get("locks")).toBeUndefined();
  for (const name of ["packed-refs.lock", "refs/kv-remotes/origin/kv/main.lock"]) {
    const found = await broken(() => {
      fs.mkdirSync(path.dirname(inGit(name)), { recursive: true });
      fs.writeFileSync(inGit(name), "");
    });
    expect(found.get("locks")).toMatchObject({ status: "warn", message: expect.stringContaining(inGit(name)) });
  }
  const looping = await broken(() => {
    fs.symlinkSync("loop", inGit("refs/loop"));
    fs.symlinkSync("..", inGit("refs/heads/up"));
    fs.symlinkSync("nowhere", inGit("refs/heads/main.lock"));
  });
  expect(looping.get("locks")).toMatchObject({ status: "warn", message: expect.stringContaining("heads/main.lock") });
  const config = (...args: string[]) => broken(() => git(dir, "config", ...args));
  expect((await config("kv.readFrom", "nowhere")).get("reads")).toMatchObject({ code: "INPUT_INVALID" });
  expect((await config("kv.autoFetch", "perhaps")).get("reads")).toMatchObject({ code: "CONFIG" });
  expect((await config("kv.readFrom", "mirror")).get("reads")).toMatchObject({ status: "ok" });
  expect((await config("kv.remote", "upstream")).get("remote")).toMatchObject({
    code: "CONFIG",
    message: expect.stringContaining("kv.remote is 'upstream'"),
  });
  expect((await examine(stargate.dir, { offline: true })).get("remote")).toMatchObject({ status: "warn" });
  const noIndex = await broken(() => {
    for (const ref of git(dir, "for-each-ref", "--format=%(refname)").split("\n"))
      if (ref.includes("/kv-index/")) git(dir, "update-ref", "-d", ref);
  });
  expect(noIndex.get("namespace")).toMatchObject({ code: "CORRUPT", hint: "git kv fetch" });
  const guessed = await config("user.useConfigOnly", "true");
  expect(guessed.get("identity")).toMatchObject({ status: "ok" });
  const nobody = workspaceAt(dir, { clock, env: { ...ENV, GIT_AUTHOR_EMAIL: undefined } });
  for await (const { check, message } of diagnose(nobody, { offline: true }))
    if (check === "identity")
      expect(message).toBe("there is no user.email, and user.useConfigOnly forbids to guess it");
  const shallow = await broken(() => fs.writeFileSync(inGit("shallow"), `${git(dir, "rev-parse", "refs/kv/main")}\n`));
  expect(shallow.get("clone")).toMatchObject({ status: "warn", hint: "git fetch --unshallow" });
});

test("the key: none, one that may not write, one that may", async () => {
  const admin = new TestKey("admin");
  const line = fs.readFileSync(`${keyFile}.pub`, "utf8").trim();
  const policy = (writer: string): string =>
    `version: 1\nstargate: { admins: ["${admin.line}"] }\nnamespaces: { main: { require_signed_commits: true, writers: ["${writer}"] } }\n`;
  const apply = async (text: string): Promise<void> => {
    const push = policyPush(client, text, undefined, (made) => admin.signCommit(made));
    expect(verdict(await client.push(push))).toBe("ok");
    git(clone, "fetch", "-q", stargate.dir, `+${POLICY_REF}:${POLICY_REF}`);
  };
  await apply(policy(new TestKey("somebody").line));
  expect((await examine(clone, { offline: true })).get("key")).toMatchObject({ status: "fail", code: "CONFIG" });
  git(clone, "config", "gpg.format", "ssh");
  git(clone, "config", "user.signingKey", keyFile);
  expect((await examine(clone, { offline: true })).get("key")).toMatchObject({
    status: "fail",
    code: "SIGNER_NOT_ALLOWED",
  });
  await apply(policy(line));
  expect((await examine(clone, { offline: true })).get("key")).toMatchObject({
    status: "ok",
    message: expect.stringMatching(/^SHA256:\S+ \(me@example\.com\) can sign and may write$/),
  });
});
