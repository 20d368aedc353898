/**
 * What comes to a process which cannot lead, because another one leads and cannot be asked: a push is refused before a pack is read, by its
 * code, with the leader's name and the way out, over SSH and behind a stock receive-pack; status and sync are answered the same.
 */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { configureRemote } from "../../src/kv/setup.ts";
import { installHooks } from "../../src/stargate/hooks.ts";
import { stargateDir } from "../../src/stargate/settings.ts";
import { executable } from "../support/executable.ts";
import { contents } from "../support/forged.ts";
import { git } from "../support/git.ts";
import { tryGitAsync } from "../support/git-async.ts";
import { type Sshd, startSshd } from "../support/sshd.ts";
import { TestClient, TestStargate } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { workspaceAt } from "../support/workspace.ts";

setDefaultTimeout(60_000);

const PROGRAM = executable("git-kv-stargate");
const LEADER = `process ${process.pid} on `;

let stargate: TestStargate;
let sshd: Sshd;
let stock: Sshd;
let http: TestClient;
let before: string;
let clone: string;

beforeAll(async () => {
  stargate = await TestStargate.start({ upkeep: false });
  const { dir } = stargate;
  installHooks(dir, [PROGRAM]);
  http = new TestClient(dir, stargate.loginUrl(stargate.token()));
  await http.set({ a: "1" });
  sshd = await startSshd({ forcedCommand: `${PROGRAM} shell --repo ${dir}` });
  stock = await startSshd({ forcedCommand: 'exec git-shell -c "$SSH_ORIGINAL_COMMAND"' });
  // The daemon leads on, and nobody finds it.
  fs.rmSync(path.join(stargateDir(dir), "socket"));
  before = contents(dir);
  clone = tempDir("clone");
  git(clone, "clone", "-q", dir, clone);
});
afterAll(async () => {
  sshd.stop();
  stock.stop();
  await stargate.stop();
});

const addressOf = ({ user, port }: Sshd, repo: string): string => `ssh://${user}@127.0.0.1:${port}${repo}`;

/** `git kv --json` in the clone; returns the exit status and the error it tells. */
async function kv(door: Sshd, ...args: string[]): Promise<[status: number, error: unknown]> {
  const workspace = workspaceAt(clone);
  configureRemote(workspace, addressOf(door, stargate.dir));
  workspace.repo.close();
  git(clone, "fetch", "-q", stargate.dir, "+refs/kv/*:refs/kv/*", "+refs/kv-index/*:refs/kv-index/*");
  git(clone, "fetch", "-q", stargate.dir, "+refs/kv-policy/*:refs/kv-policy/*");
  const env = { ...process.env, GIT_SSH_COMMAND: door.command };
  const child = Bun.spawn([executable("git-kv"), "--json", ...args], { cwd: clone, env, stderr: "ignore" });
  const said = await new Response(child.stdout).text();
  return [await child.exited, JSON.parse(said).error];
}

const REFUSAL = {
  code: "NOT_LEADER",
  exit: 9,
  message: expect.stringContaining(LEADER),
  hint: expect.stringContaining("try again in a moment"),
};

test("over SSH: git kv ends with 9, git says the code", async () => {
  expect(await kv(sshd, "set", "a", "2")).toEqual([9, REFUSAL]);
  const push = ["push", addressOf(sshd, stargate.dir), "HEAD:refs/heads/x"];
  const pushed = await tryGitAsync(clone, push, { env: { GIT_SSH_COMMAND: sshd.command } });
  expect(pushed.stderr.toString()).toContain(`remote error: NOT_LEADER: ${LEADER}`);
  expect(contents(stargate.dir)).toBe(before);
});

test("over SSH: status and sync end with 9 too, with the same words", async () => {
  expect(await kv(sshd, "stargate", "status")).toEqual([9, REFUSAL]);
  expect(await kv(sshd, "stargate", "sync")).toEqual([9, REFUSAL]);
  const env = { ...process.env, SSH_ORIGINAL_COMMAND: "git-kv-stargate status /nowhere.git" };
  const strange = Bun.spawnSync([PROGRAM, "shell", "--repo", stargate.dir], { env });
  expect(strange.exitCode).toBe(5);
  expect(JSON.parse(strange.stdout.toString()).error.code).toBe("NOT_A_REPOSITORY");
});

test("behind a stock receive-pack: the same, and a read is answered", async () => {
  expect(await kv(stock, "set", "a", "2")).toEqual([9, REFUSAL]);
  // git answers first and clears up its quarantine then.
  for (let tries = 0; tries < 500 && contents(stargate.dir) !== before; tries++) await Bun.sleep(20);
  expect(contents(stargate.dir)).toBe(before);
  const env = { GIT_SSH_COMMAND: sshd.command };
  const listed = await tryGitAsync(clone, ["ls-remote", addressOf(sshd, stargate.dir), "refs/kv/main"], { env });
  expect(listed.stdout.toString()).toBe(`${git(stargate.dir, "rev-parse", "refs/kv/main")}\trefs/kv/main\n`);
});

test("over HTTP whoever listens is the leader", async () => {
  await http.set({ a: "3" });
});
