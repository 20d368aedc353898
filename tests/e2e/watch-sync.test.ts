/** `watch` and `stargate sync` as people run them: the compiled programs, over HTTP and through a real sshd, across restarts. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { executable } from "../support/executable.ts";
import { fsck, git, tryGit } from "../support/git.ts";
import { ENV, kv, kvOk, Scene, Serving } from "../support/scene.ts";
import { newKey } from "../support/signing.ts";
import { type Sshd, startSshd } from "../support/sshd.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

let scene: Scene;
let sshd: Sshd;
let app: string;

beforeAll(async () => {
  const key = newKey();
  scene = await Scene.start(TEST_FORMAT.name, { adminKey: `${key.file}.pub` });
  app = scene.clone("app");
  git(app, "config", "gpg.format", "ssh");
  git(app, "config", "user.signingKey", key.file);
  kvOk(app, "set", "cfg:first", "1", "--wait");
});
afterAll(async () => {
  sshd?.stop();
  await scene.serving.stop();
});

/** A `git kv watch --follow` in a process of its own. */
class Watcher {
  readonly #child;
  #out = "";
  said = "";

  constructor(dir: string, ...args: string[]) {
    this.#child = Bun.spawn([executable("git-kv"), "watch", "--follow", "--json", ...args], {
      cwd: dir,
      env: ENV,
      stdout: "pipe",
      stderr: "pipe",
    });
    void this.#read(this.#child.stdout, (text) => {
      this.#out += text;
    });
    void this.#read(this.#child.stderr, (text) => {
      this.said += text;
    });
  }

  /** `seq key` of every complete line so far. */
  get seen(): string[] {
    const lines = this.#out.split("\n").slice(0, -1);
    const records = lines.map((line) => JSON.parse(line) as { seq: number; key: string; error?: unknown });
    // The last line says that it was interrupted.
    return records.filter(({ error }) => error === undefined).map(({ seq, key }) => `${seq} ${key}`);
  }

  /** Waits until it has told of `key`. */
  async told(key: string): Promise<void> {
    for (const end = Date.now() + 50_000; !this.seen.some((line) => line.endsWith(` ${key}`)); await Bun.sleep(20)) {
      if (Date.now() > end) throw new Error(`not told of ${key}: ${this.#out}${this.said}`);
    }
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGINT");
    await this.#child.exited;
  }

  async #read(stream: ReadableStream<Uint8Array>, take: (text: string) => void): Promise<void> {
    for await (const chunk of stream) take(Buffer.from(chunk).toString("utf8"));
  }
}

test("watch tells of every change once, through a restart of the Stargate, and goes on where a stopped one ended", async () => {
  const since = git(scene.repo, "rev-list", "--count", "refs/kv/main");
  const all = new Watcher(app, "--since", since);
  const some = new Watcher(app, "--since", since, "--prefix", "user:");
  kvOk(app, "set", "cfg:a", "1");
  kvOk(app, "set", "user:1", "1");
  await all.told("user:1");
  await some.told("user:1");
  const { port } = new URL(scene.serving.url);
  expect(await scene.serving.stop()).toBe(0);
  scene.serving = await Serving.start(scene.repo, Number(port));
  kvOk(app, "del", "cfg:a");
  kvOk(app, "set", "user:2", "1");
  await all.told("user:2");
  await some.told("user:2");
  const first = Number(since) + 1;
  const expected = [`${first} cfg:a`, `${first + 1} user:1`, `${first + 2} cfg:a`, `${first + 3} user:2`];
  expect(all.seen).toEqual(expected);
  expect(some.seen).toEqual([expected[1]!, expected[3]!]);
  await all.stop();
  await some.stop();
  kvOk(app, "set", "cfg:away", "1");
  const again = new Watcher(app, "--since", String(first + 3));
  await again.told("cfg:away");
  kvOk(app, "set", "cfg:last", "1");
  await again.told("cfg:last");
  await again.stop();
  expect(again.seen).toEqual([`${first + 4} cfg:away`, `${first + 5} cfg:last`]);
  // Without --follow it tells what there is, and ends.
  const once = kv(app, "watch", "--since", String(first + 3));
  expect([once.status, once.stdout]).toEqual([0, `${first + 4}\tset\tcfg:away\n${first + 5}\tset\tcfg:last\n`]);
});

test("a mirror that was away while an epoch began gets all of it in order, and watchers go on over it", async () => {
  const last = Number(git(scene.repo, "rev-list", "--count", "refs/kv/main"));
  const watcher = new Watcher(app, "--since", String(last));
  const away = `${scene.github}.away`;
  fs.renameSync(scene.github, away);
  kvOk(app, "set", "cfg:before", "1");
  kvOk(app, "epoch", "new", "--label", "e2");
  kvOk(app, "set", "cfg:after", "1");
  const tip = git(scene.repo, "rev-parse", "refs/kv/main");
  await watcher.told("cfg:after");
  await watcher.stop();
  // The epoch has a number of its own, and changes no key.
  expect(watcher.seen).toEqual([`${last + 1} cfg:before`, `${last + 3} cfg:after`]);
  fs.renameSync(away, scene.github);
  // A repair does not wait for the pause after a failure.
  expect(kv(app, "stargate", "sync", "--repair").status).toBe(0);
  kvOk(app, "wait", "--oid", tip, "--visible-on", "mirror");
  const refs = (dir: string): string[] =>
    git(dir, "for-each-ref", "refs/kv*/**")
      .split("\n")
      .filter((line) => !line.includes("refs/kv-mirror/"));
  expect(refs(scene.github)).toEqual(refs(scene.repo));
  expect(mirrorRef("refs/kv-archive/main@e1")).not.toBe("");
  expect(mirrorRef("refs/kv-mirror/main")).toBe(tip);
  expect(fsck(scene.github)).toBe("");
});

const mirrorRef = (ref: string): string =>
  tryGit(scene.github, ["rev-parse", "-q", "--verify", ref]).stdout.toString().trim();

interface Synced {
  readonly ref: string;
  readonly standing: string;
  readonly action: string;
}

/** The answer for `ref`, and the exit status. */
function sync(dir: string, ref: string, ...args: string[]): { status: number | null; of: Omit<Synced, "ref"> } {
  const run = kv(dir, "stargate", "sync", "--json", ...args);
  const { standing, action } = (JSON.parse(run.stdout) as { refs: Synced[] }).refs.find((one) => one.ref === ref)!;
  return { status: run.status, of: { standing, action } };
}

/** A commit of somebody else's on the mirror's ledger. */
function strange(): string {
  const tip = mirrorRef("refs/kv/main");
  const oid = git(scene.github, "commit-tree", "-m", "strange", "-p", tip, `${tip}^{tree}`);
  git(scene.github, "update-ref", "refs/kv/main", oid);
  return oid;
}

test("sync over HTTP: a token of scope write repairs, and only an admin's overwrites", () => {
  kvOk(app, "set", "cfg:sync", "1", "--wait");
  const table = kv(app, "stargate", "sync");
  expect(table.status).toBe(0);
  expect(table.stdout).toMatch(/refs\/kv\/main/);
  expect(kv(app, "stargate", "status").stdout).toContain("main");
  const oid = strange();
  expect(sync(app, "refs/kv/main")).toEqual({ status: 0, of: { standing: "ahead", action: "left" } });
  expect(sync(app, "refs/kv/main", "--repair")).toEqual({ status: 11, of: { standing: "ahead", action: "left" } });
  expect(mirrorRef("refs/kv/main")).toBe(oid);
  const force = kv(app, "stargate", "sync", "--force");
  expect(force.status).toBe(3);
  expect(force.stderr).toContain("admin");
  expect(mirrorRef("refs/kv/main")).toBe(oid);
  expect(kv(app, "stargate", "sync", "--force", "--repair").status).toBe(64);
});

test("sync through sshd: an admin's force overwrites what is strange, and all is equal then", async () => {
  sshd = await startSshd({
    forcedCommand: `${executable("git-kv-stargate")} shell --repo ${scene.repo} --user root --scope admin`,
  });
  const dir = path.join(scene.root, "by-ssh");
  git(scene.root, "clone", "-q", app, dir);
  git(dir, "remote", "set-url", "origin", `ssh://${sshd.user}@127.0.0.1:${sshd.port}${scene.repo}`);
  git(dir, "config", "core.sshCommand", sshd.command);
  const strangeOid = mirrorRef("refs/kv/main");
  expect(sync(dir, "refs/kv/main", "--dry-run").of).toEqual({ standing: "ahead", action: "left" });
  expect(sync(dir, "refs/kv/main", "--force")).toEqual({ status: 0, of: { standing: "ahead", action: "forced" } });
  expect(mirrorRef("refs/kv/main")).toBe(git(scene.repo, "rev-parse", "refs/kv/main"));
  for (const end = Date.now() + 20_000; !scene.serving.log.includes(strangeOid); await Bun.sleep(20)) {
    if (Date.now() > end) throw new Error("what was overwritten is not in the log");
  }
  const status = kv(dir, "stargate", "status", "--json");
  expect(JSON.parse(status.stdout)).toMatchObject({ mirror: { diverged: [] } });
  // What is missing is pushed, and the table says so.
  git(scene.github, "update-ref", "-d", "refs/kv-index/main");
  const repair = kv(dir, "stargate", "sync", "--repair");
  expect([repair.status, repair.stdout]).toEqual([
    0,
    expect.stringMatching(/refs\/kv-index\/main/) as unknown as string,
  ]);
  expect(mirrorRef("refs/kv-index/main")).toBe(git(scene.repo, "rev-parse", "refs/kv-index/main"));
});
