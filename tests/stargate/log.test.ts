/** `git-kv-stargate log`: every way in leaves its line, every refusal too, and nothing of a value. */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { setConfig } from "../../src/gitwire/config/config-edit.ts";
import { git } from "../support/git.ts";
import { gitAsync, tryGitAsync } from "../support/git-async.ts";
import { run } from "../support/signing.ts";
import { policyPush, STARGATE_PROGRAM, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TestKey } from "../support/test-key.ts";

setDefaultTimeout(60_000);

const VALUE = "a value that must never be seen";

let stargate: TestStargate;
let dir: string;

/** A client whose "ssh" runs `script` here; `$cmd` is the command it was asked to run. */
function clientThrough(script: string, env: Record<string, string> = {}): TestClient {
  const file = path.join(tempDir("ssh"), "ssh");
  fs.writeFileSync(file, `#!/bin/sh\nfor cmd; do :; done\n${script}\n`, { mode: 0o755 });
  return new TestClient(dir, `ssh://host${dir}`, { GIT_SSH_COMMAND: file, GIT_SSH_VARIANT: "simple", ...env });
}

function log(...args: string[]): { status: number; out: string; err: string } {
  const done = Bun.spawnSync([...STARGATE_PROGRAM, "log", "--repo", dir, ...args], { stdout: "pipe", stderr: "pipe" });
  return { status: done.exitCode, out: done.stdout.toString(), err: done.stderr.toString() };
}

function records(...args: string[]): Record<string, unknown>[] {
  const { status, out, err } = log("--json", ...args);
  expect([status, err]).toEqual([0, ""]);
  return out
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** What ssh-keygen calls the key. */
async function fingerprintOf(line: string): Promise<string> {
  const file = path.join(tempDir("key"), "key.pub");
  fs.writeFileSync(file, `${line}\n`);
  return run("ssh-keygen", ["-l", "-f", file]).split(" ")[1]!;
}

const program = STARGATE_PROGRAM.map((word) => `'${word}'`).join(" ");

beforeAll(async () => {
  stargate = await TestStargate.start();
  ({ dir } = stargate);
  // Stock git runs the hooks of the repository; they are told whose push it is by the environment.
  setConfig(path.join(dir, "config"), "safe.directory", "*");
});

afterAll(() => stargate.stop());

test("each way in leaves its line: who, when, how many keys, and the door", async () => {
  const started = Date.now();
  await new TestClient(dir, stargate.loginUrl(stargate.token("write", "ci"))).set({ a: VALUE, b: VALUE });
  await clientThrough(`SSH_ORIGINAL_COMMAND="$cmd" exec ${program} shell --repo '${dir}' --user alice`).set({ a: "2" });
  await clientThrough(`exec ${program} receive-pack '${dir}'`, { USER: "bob" }).set({ b: undefined });
  await clientThrough(`exec git receive-pack '${dir}'`, { USER: "carol" }).set({ c: "1", d: "1" }, "other");
  const lines = records();
  expect(
    lines.map(({ result, ns, seq, who, door, keysSet, keysDel }) => [result, ns, seq, who, door, keysSet, keysDel]),
  ).toEqual([
    ["accepted", "other", 1, "carol", "hook", 2, 0],
    ["accepted", "main", 3, "bob", "stdio", 0, 1],
    ["accepted", "main", 2, "alice", "ssh", 1, 0],
    ["accepted", "main", 1, "ci", "http", 2, 0],
  ]);
  for (const { time, oid, ns } of lines) {
    expect(Date.parse(String(time))).toBeGreaterThanOrEqual(started);
    expect(git(dir, "merge-base", "--is-ancestor", String(oid), `refs/kv/${ns}`)).toBe("");
  }
});

test("refusals have their code, who and through which door", async () => {
  const client = new TestClient(dir, stargate.loginUrl(stargate.token("write", "late")));
  const planned = client.plan({ a: VALUE });
  await client.set({ z: "1" });
  expect(verdict(await client.push(planned))).toBe("CAS_CONFLICT");
  const broken = client.plan({ y: VALUE });
  const { objects: _, ...noPack } = broken;
  expect(verdict(await client.push({ ...noPack, pack: client.plan({ x: "1" }).pack }))).toBe(
    "missing necessary objects",
  );
  const stock = clientThrough(`exec git receive-pack '${dir}'`, { USER: "carol" });
  expect(verdict(await stock.push(planned))).not.toBe("ok");
  const [hook, pack, conflict] = records("--rejected");
  expect(conflict).toMatchObject({ result: "rejected", ns: "main", code: "CAS_CONFLICT", who: "late", door: "http" });
  expect(pack).toMatchObject({ result: "rejected", ns: "main", code: "BAD_OBJECT", who: "late", door: "http" });
  expect(hook).toMatchObject({ result: "rejected", ns: "main", code: "CAS_CONFLICT", who: "carol", door: "hook" });
});

test("the key that signed stands in the line, and a policy has a line of its own", async () => {
  const other = await TestStargate.start();
  const admin = new TestClient(other.dir, other.loginUrl(other.token("admin", "root")));
  const key = new TestKey("alice");
  const list = JSON.stringify([key.line]);
  const rules = `{ require_signed_commits: true, writers: ${list} }`;
  const policy = `version: 1\nstargate: { admins: ${list} }\nnamespaces: { main: ${rules} }\n`;
  expect(verdict(await admin.push(policyPush(admin, policy)))).toBe("ok");
  expect(verdict(await admin.push(key.signed(admin, admin.plan({ s: "1" }))))).toBe("ok");
  await other.stop();
  const done = Bun.spawnSync([...STARGATE_PROGRAM, "log", "--json", "--repo", other.dir], { stdout: "pipe" });
  const [signed, changed] = done.stdout.toString().trim().split("\n");
  const fingerprint = await fingerprintOf(key.line);
  expect(JSON.parse(signed!)).toMatchObject({ kind: "txn", who: "root", signer: fingerprint });
  // There was nobody before who could have had to sign it.
  expect(JSON.parse(changed!)).toMatchObject({ kind: "policy", ns: "", who: "root", door: "http", signer: null });
});

test("who signed a policy stands in its line", async () => {
  const other = await TestStargate.start();
  const admin = new TestClient(other.dir, other.loginUrl(other.token("admin", "root")));
  const key = new TestKey("alice");
  const policy = `version: 1\nstargate: { admins: ${JSON.stringify([key.line])} }\n`;
  expect(verdict(await admin.push(policyPush(admin, policy)))).toBe("ok");
  const next = policyPush(admin, `${policy}namespaces: { main: {} }\n`, undefined, (text) => key.signCommit(text));
  expect(verdict(await admin.push(next))).toBe("ok");
  await other.stop();
  const done = Bun.spawnSync([...STARGATE_PROGRAM, "log", "--json", "--repo", other.dir], { stdout: "pipe" });
  const [signed] = done.stdout.toString().trim().split("\n");
  expect(JSON.parse(signed!)).toMatchObject({ kind: "policy", signer: await fingerprintOf(key.line) });
});

test("branches and tags have lines too, with every ref, and so have their refusals", async () => {
  const work = path.join(tempDir("work"), "w");
  const url = stargate.loginUrl(stargate.token("write", "dev"));
  await gitAsync("/", "clone", "-q", url, work);
  await gitAsync(work, "commit", "-q", "--allow-empty", "-m", "one");
  await gitAsync(work, "push", "-q", "origin", "HEAD:refs/heads/topic", "HEAD:refs/tags/v1");
  const oid = git(work, "rev-parse", "HEAD");
  await gitAsync(work, "push", "-q", "origin", ":refs/tags/v1");
  await gitAsync(work, "commit", "-q", "--amend", "--allow-empty", "-m", "another");
  git(dir, "config", "receive.denyNonFastForwards", "true");
  await stargate.daemon.reload();
  expect((await tryGitAsync(work, ["push", "-q", "-f", "origin", "HEAD:refs/heads/topic"])).status).not.toBe(0);
  const zero = "0".repeat(oid.length);
  const [refused, deleted, pushed] = records();
  expect(pushed).toMatchObject({ result: "accepted", kind: "branch", ns: "", who: "dev", door: "http", oid });
  expect(pushed!.refs).toEqual([
    { ref: "refs/heads/topic", oldOid: zero, newOid: oid },
    { ref: "refs/tags/v1", oldOid: zero, newOid: oid },
  ]);
  expect(deleted!.refs).toEqual([{ ref: "refs/tags/v1", oldOid: oid, newOid: zero }]);
  expect(refused).toMatchObject({ result: "rejected", code: "REF_FORBIDDEN", who: "dev", door: "http" });
  expect(refused!.message).toBe("refs/heads/topic: non-fast-forward");
  expect(log().out).toContain(`\taccepted\t-\tdev (http)\trefs/tags/v1 deleted (was ${oid})\n`);
});

test("namespace, time and number narrow it; values are never in it", () => {
  expect(records("--ns", "other").map(({ ns }) => ns)).toEqual(["other"]);
  expect(records("--limit", "2")).toHaveLength(2);
  expect(records("--since", "1h").length).toBe(records().length);
  expect(records("--since", `@${Math.floor(Date.now() / 1000) + 60}`)).toEqual([]);
  const { out } = log("--limit", "1000");
  expect(out).toContain("\taccepted\tmain\tci (http)\t#1 2 set, 0 del\t");
  expect(out).toContain("\trejected\tmain\tlate (http)\tCAS_CONFLICT: ");
  expect(out + JSON.stringify(records())).not.toContain(VALUE);
});

test("what cannot be asked is said", () => {
  for (const args of [
    ["--limit", "0"],
    ["--limit", "x"],
    ["--ns", "Not valid"],
    ["--since", "tomorrow"],
  ]) {
    const { status, out, err } = log(...args);
    expect([status === 64 || status === 4, out]).toEqual([true, ""]);
    expect(err).toStartWith("error: ");
  }
  const plain = tempDir("plain");
  git(plain, "init", "-q", "--bare");
  const done = Bun.spawnSync([...STARGATE_PROGRAM, "log", "--repo", plain], { stdout: "pipe", stderr: "pipe" });
  expect([done.exitCode, done.stderr.toString()]).toEqual([
    5,
    expect.stringContaining("has no journal") as unknown as string,
  ]);
});
