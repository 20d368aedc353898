/** The compiled executable and nothing else: no clone, no git, no home, no PATH, from every kind of host. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { executable, type Run, runProgram } from "../support/executable.ts";
import { git } from "../support/git.ts";
import { startGitDaemon } from "../support/git-daemon.ts";
import { kvOk, Scene } from "../support/scene.ts";
import { type Sshd, startSshd } from "../support/sshd.ts";
import { tempDir } from "../support/temp.ts";
import { OTHER_FORMAT } from "../support/test-format.ts";

let scene: Scene;
let sshd: Sshd;
let daemon: { readonly port: number; stop(): void };
let url: string;
let oid: string;
const large = Buffer.alloc(2_500_000, "0123456789abcdef!");

beforeAll(async () => {
  scene = await Scene.start();
  url = scene.url.replace("http://", `http://t:${scene.token}@`);
  const clone = scene.clone("writer");
  kvOk(clone, "set", "cfg:theme", "dark");
  kvOk(clone, "set", "cfg:theme", "light");
  fs.writeFileSync(path.join(clone, "large"), large);
  kvOk(clone, "set", "model", "--file", "large");
  oid = kvOk(clone, "set", "cfg:lang", "en", "--wait");
  git(scene.github, "config", "uploadpack.allowFilter", "true");
  sshd = await startSshd();
  daemon = await startGitDaemon(scene.root);
});
afterAll(async () => {
  daemon.stop();
  sshd.stop();
  await scene.serving.stop();
});

const cwd = tempDir("nowhere");
const cache = path.join(cwd, "cache");

/** Runs the executable with no more of an environment than is given. */
const bare = (env: Record<string, string>, ...args: string[]): Run =>
  runProgram(executable("git-kv"), args, { cwd, env: { XDG_CACHE_HOME: cache, ...env } });

const answer = (env: Record<string, string>, ...args: string[]): string => {
  const { status, stdout, stderr } = bare(env, ...args);
  expect([status, stderr]).toEqual([0, ""]);
  return stdout;
};

describe("with nothing but the executable", () => {
  test.each(["sha1", "sha256"])("many may begin with the same empty cache (%s)", async (format) => {
    const host = path.join(scene.root, `${format}.git`);
    git(scene.root, "init", "-q", "--bare", `--object-format=${format}`, host);
    git(host, "config", "uploadpack.allowFilter", "true");
    kvOk(host, "init");
    kvOk(host, "set", "cfg:theme", "light");
    for (let round = 0; round < 4; round++) {
      const env = { XDG_CACHE_HOME: tempDir("first") };
      const at = `git://127.0.0.1:${daemon.port}/${format}.git`;
      const command = [executable("git-kv"), "--repo", at, "get", "cfg:theme"];
      const runs = Array.from({ length: 8 }, () => Bun.spawn(command, { cwd, env, stdout: "pipe", stderr: "pipe" }));
      const answers = runs.map(
        async (run) => (await new Response(run.stdout).text()) + (await new Response(run.stderr).text()),
      );
      expect(await Promise.all(answers)).toEqual(Array.from(runs, () => "light"));
      expect(fs.readdirSync(path.join(env.XDG_CACHE_HOME, "git-kv"))).toHaveLength(1);
    }
  });

  test("a Stargate is read", () => {
    expect(answer({}, "--repo", url, "get", "cfg:theme")).toBe("light");
    expect(answer({ TMPDIR: tempDir("t"), XDG_CACHE_HOME: "" }, "--repo", url, "get", "cfg:lang")).toBe("en");
    const records = answer({}, "--repo", url, "get", "--json", "cfg:theme", "cfg:lang").trim().split("\n");
    expect(records.map((line) => (JSON.parse(line) as { value: string }).value)).toEqual(["light", "en"]);
    expect(answer({}, "--repo", url, "list")).toBe("cfg:lang\ncfg:theme\nmodel\n");
    expect(answer({}, "--repo", url, "list", "--prefix", "cfg:", "--long").split("\n")[1]).toMatch(
      /^5\tinline\t2\t.*\tcfg:theme$/,
    );
    expect(answer({}, "--repo", url, "get", "model", "--range", "-3")).toBe(large.subarray(-3).toString());
    expect(answer({}, "--repo", url, "get", "model", "-o", "out")).toBe("");
    expect(fs.readFileSync(path.join(cwd, "out")).equals(large)).toBe(true);
    expect(answer({}, "--repo", url, "watch", "--since", "2").split("\n")).toEqual([
      "3\tset\tmodel",
      "4\tset\tcfg:lang",
      "",
    ]);
    const revisions = answer({}, "--repo", url, "history", "cfg:theme", "--patch").split("\n");
    expect(revisions.filter((line) => /^[-+]/.test(line))).toEqual(["-dark", "+light", "+dark"]);
    expect(revisions[0]!.split("\t").slice(3, 5)).toEqual(["set", "2"]);
    const pieces = answer({}, "--repo", url, "history", "model").trim().split("\t").at(-1);
    expect(pieces).toMatch(/^\S+ [kM]?B in \d+ pieces, blake3:[0-9a-f]{12}$/);
    expect(answer({}, "--repo", url, "get", "cfg:theme", "--at", "1")).toBe("dark");
    const missing = bare({}, "--repo", url, "get", "none");
    expect([missing.status, missing.stderr]).toEqual([6, 'error: not found: "none"\n']);
    expect(bare({}, "--repo", scene.url, "get", "cfg:theme").status).toBe(5);
    const write = bare({}, "--repo", url, "set", "a", "b");
    expect([write.status, write.stderr]).toEqual([
      5,
      "error: this command needs a clone: get, list, history, wait, watch and serve do without\nhint: git kv clone URL, then run it there\n",
    ]);
  });

  test("a disk without room for the cache is said to be that", () => {
    const dir = tempDir("full");
    // A limit of what a file may have fails as a full disk does.
    const limited = 'trap "" XFSZ; ulimit -f 0; exec "$0" "$@"';
    const args = ["-c", limited, executable("git-kv"), "--repo", url, "get", "cfg:theme"];
    const run = runProgram("/bin/sh", args, { cwd, env: { XDG_CACHE_HOME: dir } });
    expect(run).toMatchObject({ status: 5, stdout: "" });
    expect(run.stderr).toStartWith(`error: cannot write the cache in ${path.join(dir, "git-kv")}/`);
    expect(run.stderr).toEndWith("hint: free space there, or name another folder in XDG_CACHE_HOME\n");
  });

  test("git daemon and sshd are read, and so is the wait for the mirror", () => {
    const git = `git://127.0.0.1:${daemon.port}/github.git`;
    expect(answer({}, "--repo", git, "get", "cfg:theme")).toBe("light");
    expect(answer({}, "--repo", git, "list", "--count")).toBe("3\n");
    answer({}, "--quiet", "--repo", git, "wait", "--oid", oid);
    const env = { GIT_SSH_COMMAND: sshd.command, PATH: process.env.PATH! };
    const ssh = `ssh://${sshd.user}@127.0.0.1:${sshd.port}${scene.github}`;
    expect(answer(env, "--repo", ssh, "get", "cfg:theme")).toBe("light");
    expect(answer(env, "--repo", ssh, "get", "model").length).toBe(large.length);
    expect(answer({}, "--repo", `file://${scene.github}`, "get", "cfg:lang")).toBe("en");
  });

  test("a connection that stays is asked only for what its greeting offers, and in the format it names", () => {
    git(scene.root, "clone", "-q", "--mirror", scene.github, "plain.git");
    const plain = `git://127.0.0.1:${daemon.port}/plain.git`;
    const warning = `warning: ${plain} cannot leave objects out of what it sends, so all of the newest state is fetched\n`;
    // Without a folder to keep it in, it is fetched again.
    for (const [where, said] of [
      [{}, warning],
      [{}, ""],
      [{ XDG_CACHE_HOME: "/dev/null/cache", TMPDIR: tempDir("t") }, warning],
    ] as const) {
      const run = bare(where, "--repo", plain, "get", "cfg:theme");
      expect([run.status, run.stdout, run.stderr]).toEqual([0, "light", said]);
    }
    const other = path.join(scene.root, "other");
    fs.mkdirSync(other);
    git(other, "init", "-q", "--bare", `--object-format=${OTHER_FORMAT.name}`, ".");
    git(other, "config", "uploadpack.allowFilter", "true");
    kvOk(other, "init", "-q");
    kvOk(other, "set", "a key", "in the other format");
    expect(answer({}, "--repo", `git://127.0.0.1:${daemon.port}/other`, "get", "a key")).toBe("in the other format");
    // Also where the first that is known of it is an id somebody gives; there is no mirror to wait for.
    const tip = git(other, "rev-parse", "refs/kv/main");
    const unasked = (...args: string[]): Run =>
      bare({ XDG_CACHE_HOME: tempDir("unasked") }, "--repo", `git://127.0.0.1:${daemon.port}/other`, ...args);
    expect(unasked("watch", "--since", tip)).toMatchObject({ status: 0, stdout: "", stderr: "" });
    expect(unasked("get", "--at", tip, "a key")).toMatchObject({ status: 0, stdout: "in the other format" });
    expect(unasked("wait", "--oid", tip, "--timeout", "100ms").status).toBe(10);
    expect(unasked("wait", "--oid", "f00", "--timeout", "100ms").status).toBe(4);
  });

  test("keys are served, until SIGTERM or Ctrl-C", async () => {
    for (const [signal, status] of [
      ["SIGTERM", 0],
      ["SIGINT", 130],
    ] as const) {
      const child = spawn(
        executable("git-kv"),
        ["--repo", url, "serve", "--listen", "127.0.0.1:0", "--interval", "50ms"],
        {
          cwd,
          env: { XDG_CACHE_HOME: cache },
          stdio: ["ignore", "ignore", "pipe"],
        },
      );
      const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
      let log = "";
      const address = await new Promise<string>((resolve, reject) => {
        void exited.then((code) => reject(new Error(`ended with ${code}: ${log}`)));
        child.stderr.on("data", (chunk: Buffer) => {
          log += chunk;
          const ready = /listening on (http:\S+)/.exec(log);
          if (ready !== null) resolve(ready[1]!);
        });
      });
      const response = await fetch(`${address}/v1/kv/cfg:lang`);
      expect([await response.text(), response.headers.get("x-kv-commit")?.length]).toEqual([
        status === 0 ? "en" : "de",
        oid.length,
      ]);
      const etag = encodeURIComponent(response.headers.get("etag")!);
      kvOk(path.join(scene.root, "writer"), "set", "cfg:lang", status === 0 ? "de" : "fr");
      const changed = await fetch(`${address}/v1/kv/cfg:lang?wait=60&since=${etag}`);
      expect(await changed.text()).toBe(status === 0 ? "de" : "fr");
      const body = Buffer.from(await (await fetch(`${address}/v1/kv/model`)).arrayBuffer());
      expect(body.equals(large)).toBe(true);
      child.kill(signal);
      expect(await exited).toBe(status);
    }
  });
});
