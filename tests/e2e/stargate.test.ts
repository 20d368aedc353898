/** The whole path with the compiled executables: clones, a Stargate over HTTP and SSH, and the mirror. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { executable } from "../support/executable.ts";
import { fsck, git, gitBytes, gitInput, tryGit } from "../support/git.ts";
import { ENV, kv, kvOk, Scene, Serving, stargateOk } from "../support/scene.ts";
import { startSshd } from "../support/sshd.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

/** The daemon starts in about a tenth of a second; the mirror follows in about as much. */
const SLOW = 60_000;

describe.each([TEST_FORMAT.name])("a Stargate with a mirror, %s", (format) => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await Scene.start(format);
  }, SLOW);
  afterAll(async () => {
    await scene.serving.stop();
  });

  test(
    "set, read your own write, wait, read the mirror with stock git",
    async () => {
      const app = scene.clone("app");
      const oid = kvOk(app, "set", "cfg:theme", "dark");
      expect(kv(app, "get", "cfg:theme").stdout).toBe("dark");
      expect(git(scene.repo, "rev-parse", "refs/kv/main")).toBe(oid);
      kvOk(app, "wait", "--oid", oid, "--visible-on=github");
      expect(git(scene.github, "rev-parse", "refs/kv/main")).toBe(oid);
      expect(git(scene.github, "rev-parse", "refs/kv-mirror/main")).toBe(oid);
      expect(git(scene.github, "show", "refs/kv/main:data/cfg%3Atheme")).toBe("dark");
      expect(kv(app, "get", "cfg:theme", "--read-from=github").stdout).toBe("dark");
      expect(kv(app, "get", "cfg:theme", "--read-from", "stargate").stdout).toBe("dark");
      for (const dir of [app, scene.repo, scene.github]) expect(fsck(dir)).toBe("");
    },
    SLOW,
  );

  test(
    "git kv clone: sets up, checks the default branch out, brings the keys",
    () => {
      const env = { ...ENV, GIT_CONFIG_COUNT: "1" };
      const key = `http.${scene.serving.url}/.extraHeader`;
      const child = Bun.spawnSync([executable("git-kv"), "clone", "github.git", "by-git-kv"], {
        cwd: scene.root,
        env: { ...env, GIT_CONFIG_KEY_0: key, GIT_CONFIG_VALUE_0: `Authorization: Bearer ${scene.token}` },
      });
      expect(child.stderr.toString()).toContain("cloned into");
      expect(child.exitCode).toBe(0);
      const dir = path.join(scene.root, "by-git-kv");
      expect(child.stdout.toString()).toStartWith(`Configured origin.pushurl → ${scene.url}\n`);
      expect(kv(dir, "get", "cfg:theme").stdout).toBe("dark");
      expect(git(dir, "status", "--porcelain")).toBe("");
      expect(fs.existsSync(path.join(dir, ".kv", "policy.yaml"))).toBe(true);
      expect(git(dir, "rev-parse", "HEAD")).toBe(git(scene.github, "rev-parse", "HEAD"));
      expect(git(dir, "rev-parse", "--abbrev-ref", "@{upstream}")).toStartWith("origin/");
      expect(fsck(dir)).toBe("");
      expect(kv(scene.root, "clone", "github.git", "by-git-kv").status).toBe(4);
      expect(kv(scene.root, "clone", "no-such.git").status).toBe(5);
      expect(fs.existsSync(path.join(scene.root, "no-such"))).toBe(false);
    },
    SLOW,
  );

  test(
    "a clone of the Stargate itself keeps the login it was given, and never shows it",
    () => {
      const address = scene.url.replace("://", `://me:${scene.token}@`);
      const dir = path.join(scene.root, "of-the-stargate");
      const cloned = kv(scene.root, "clone", address, dir);
      expect({ status: cloned.status, stderr: cloned.stderr }).toMatchObject({ status: 0 });
      expect(cloned.stdout + cloned.stderr).not.toContain(scene.token);
      const oid = kvOk(dir, "set", "cfg:straight", "1");
      expect(git(scene.repo, "rev-parse", "refs/kv/main")).toBe(oid);
      kvOk(dir, "wait", "--oid", oid);
      expect(git(scene.github, "rev-parse", "refs/kv-mirror/main")).toBe(oid);
      kvOk(scene.root, "wait", "--oid", oid, "--repo", address);
      const doctor = kv(dir, "doctor");
      expect(doctor.stdout).toMatch(/^ok +push-url +http:\/\/me:\*\*\*@/m);
      expect(doctor.stdout + doctor.stderr).not.toContain(scene.token);
    },
    SLOW,
  );

  test(
    "a write that would be nowhere but in this clone is refused, and one made on purpose is told apart",
    () => {
      const app = scene.clone("strays");
      kvOk(app, "set", "cfg:first", "1");
      git(app, "config", "kv.remote", "nope");
      expect(kv(app, "set", "cfg:stray", "1").stderr).toContain("kv.remote is 'nope'");
      git(app, "config", "--unset", "kv.remote");
      expect(kv(scene.repo, "set", "cfg:stray", "1").status).toBe(3);
      const raw = path.join(scene.root, "raw");
      git(scene.root, "clone", "-q", "github.git", raw);
      expect(kv(raw, "init").stderr).toContain("git kv remote setup");
      kvOk(raw, "fetch");
      expect(kv(raw, "set", "cfg:stray", "1").status).toBe(5);
      // Undone on purpose, the clone is on its own; set up again it says so, and how to go on.
      kvOk(app, "remote", "setup", "--undo");
      kvOk(app, "set", "cfg:stray", "1");
      for (const verb of [
        ["remote", "setup"],
        ["set", "cfg:second", "1"],
      ]) {
        const { status, stderr } = kv(app, ...verb);
        expect([status, stderr]).toEqual([3, expect.stringContaining("is not part of the Stargate's")]);
      }
      for (const ref of ["refs/kv/main", "refs/kv-index/main"]) git(app, "update-ref", "-d", ref);
      kvOk(app, "set", "cfg:second", "1");
      expect(kv(app, "get", "cfg:stray").status).toBe(6);
    },
    SLOW,
  );

  test(
    "two clones that write at once lose nothing",
    async () => {
      const clones = [scene.clone("one"), scene.clone("two")];
      const writers = clones.flatMap((dir, c) =>
        Array.from({ length: 4 }, (_, i) =>
          Bun.spawn([executable("git-kv"), "set", `race:${c}:${i}`, "v"], {
            cwd: dir,
            env: ENV,
            stdout: "ignore",
            stderr: "inherit",
          }),
        ),
      );
      for (const writer of writers) expect(await writer.exited).toBe(0);
      const [one] = clones;
      kvOk(one!, "fetch", "--read-from", "stargate");
      expect(kvOk(one!, "list", "--prefix", "race:", "--count")).toBe("8");
      expect(fsck(scene.repo)).toBe("");
    },
    SLOW,
  );

  test(
    "conditions are judged where the decision is made",
    () => {
      const [one, two] = [path.join(scene.root, "one"), path.join(scene.root, "two")];
      kvOk(one, "fetch", "--read-from", "stargate");
      kvOk(two, "fetch", "--read-from", "stargate");
      const tree = git(one, "rev-parse", "refs/kv/main^{tree}");
      kvOk(two, "set", "cas", "two was first");
      // One does not know yet: its plan is sound, the Stargate refuses it.
      const late = kv(one, "set", "cas", "one was late", "--expect-tree", tree);
      expect(late).toMatchObject({ status: 2, stdout: "" });
      expect(kv(one, "set", "cas", "x", "--if-absent").status).toBe(2);
      expect(kv(one, "get", "cas").stdout).toBe("two was first");
      // Without a condition it is planned again on the new tip.
      kvOk(two, "set", "other", "1");
      expect(kv(one, "set", "cas", "one again").status).toBe(0);
      expect(kv(one, "get", "other").stdout).toBe("1");
    },
    SLOW,
  );

  test(
    "a mirror that lags never moves a clone backwards",
    () => {
      const app = path.join(scene.root, "app");
      const watermark = git(scene.github, "rev-parse", "refs/kv/main");
      kvOk(app, "fetch");
      const oid = kvOk(app, "set", "lag", "new");
      // As if the mirror had not got it: back to what it was.
      kvOk(app, "wait", "--oid", oid);
      for (const ref of ["refs/kv/main", "refs/kv-mirror/main"]) git(scene.github, "update-ref", ref, watermark);
      kvOk(app, "fetch");
      git(app, "fetch", "-q");
      expect(git(app, "rev-parse", "refs/kv-remotes/origin/kv/main")).toBe(watermark);
      expect(kv(app, "get", "lag").stdout).toBe("new");
      expect(kv(app, "get", "lag", "--read-from", "mirror").status).toBe(6);
      expect(kv(app, "wait", "--oid", oid, "--timeout", "300ms").status).toBe(10);
      for (const ref of ["refs/kv/main", "refs/kv-mirror/main"]) git(scene.github, "update-ref", ref, oid);
      // A history of its own with a higher number is no newer state.
      const foreign = gitInput(
        scene.github,
        gitBytes(scene.github, "cat-file", "commit", watermark)
          .toString()
          .replace(/^KV-Seq: .*$/m, "KV-Seq: 999"),
        ...["hash-object", "-t", "commit", "-w", "--stdin"],
      );
      git(scene.github, "update-ref", "refs/kv/main", foreign);
      expect(kv(app, "fetch").stderr).toContain("warning: the ledger of 'main' on the mirror is not part of");
      expect(kv(app, "get", "lag").stdout).toBe("new");
      git(scene.github, "update-ref", "refs/kv/main", oid);
      kvOk(app, "fetch");
      expect(kv(app, "set", "lag", "newer", "--wait").status).toBe(0);
    },
    SLOW,
  );

  test("status, as text and JSON", () => {
    const app = path.join(scene.root, "app");
    expect(kvOk(app, "stargate", "status")).toContain("namespace main: seq ");
    const status = JSON.parse(kvOk(app, "stargate", "status", "--json"));
    expect(status).toMatchObject({
      name: "kv.git",
      role: "leader",
      format,
      namespaces: [{ ns: "main", verify: "replay" }],
    });
  });

  test("another namespace", () => {
    const app = path.join(scene.root, "app");
    kvOk(app, "set", "k", "staging", "--ns", "staging");
    expect(kv(app, "get", "k", "--ns", "staging").stdout).toBe("staging");
    expect(kv(app, "get", "k").status).toBe(6);
    expect(kv(app, "init", "--ns", "third").status).toBe(0);
    expect(git(scene.repo, "log", "--format=%s", "refs/kv/third")).toBe("init third");
  });

  test(
    "no token, no answer, undo",
    async () => {
      const dir = path.join(scene.root, "anonymous");
      git(scene.root, "clone", "-q", "github.git", "anonymous");
      const refused = kv(dir, "remote", "setup");
      expect(refused).toMatchObject({ status: 5, stdout: "" });
      expect(tryGit(dir, ["config", "remote.origin.pushurl"]).status).toBe(1);
      scene.giveToken(dir);
      kvOk(dir, "remote", "setup");
      git(dir, "config", "--unset", `http.${scene.serving.url}/.extraHeader`);
      const before = git(dir, "for-each-ref");
      const unauthorised = kv(dir, "set", "k", "v");
      expect(unauthorised.status).toBe(5);
      expect(unauthorised.stderr).toContain("token");
      expect(git(dir, "for-each-ref")).toBe(before);
      kvOk(dir, "remote", "setup", "--undo");
      expect(tryGit(dir, ["config", "remote.origin.pushurl"]).status).toBe(1);
      expect(git(dir, "config", "--get-all", "remote.origin.fetch")).toBe("+refs/heads/*:refs/remotes/origin/*");
      expect(git(dir, "for-each-ref", "refs/kv-remotes")).toBe("");
    },
    SLOW,
  );

  test(
    "down: says which URL, keeps the clone as it was, and goes on where it was when it is up again",
    async () => {
      const app = path.join(scene.root, "app");
      const port = Number(new URL(scene.serving.url).port);
      expect(await scene.serving.stop()).toBe(0);
      const before = git(app, "for-each-ref");
      const run = kv(app, "set", "k", "while down");
      expect(run.status).toBe(5);
      expect(run.stderr).toContain(scene.serving.url);
      expect(git(app, "for-each-ref")).toBe(before);
      scene.serving = await Serving.start(scene.repo, port);
      expect(kv(app, "set", "k", "up again").status).toBe(0);
      expect(await scene.serving.stop("SIGKILL")).toBeNull();
      scene.serving = await Serving.start(scene.repo, port);
      expect(kv(app, "get", "k", "--read-from", "stargate").stdout).toBe("up again");
      expect(fsck(scene.repo)).toBe("");
    },
    SLOW,
  );

  test(
    "Ctrl-C while the push is under way: here and there all or nothing",
    async () => {
      const app = path.join(scene.root, "app");
      kvOk(app, "fetch", "--read-from", "stargate");
      const lines = Array.from(
        { length: 1500 },
        (_, i) => `{"op":"set","key":"int:${i}","value":"${"x".repeat(200)}${i}"}`,
      );
      fs.writeFileSync(path.join(app, "int.jsonl"), lines.join("\n"));
      for (const delay of [60, 150, 300]) {
        const child = spawn(executable("git-kv"), ["mset", "--file", "int.jsonl"], {
          cwd: app,
          env: ENV,
          stdio: "ignore",
        });
        // It may be done before it is told to stop, or told before it hears: then the signal ends it, which a shell calls 130 too.
        const ended = new Promise((resolve) =>
          child.once("exit", (code, signal) => resolve(signal === "SIGINT" ? 130 : code)),
        );
        await Bun.sleep(delay);
        child.kill("SIGINT");
        const status = await ended;
        expect([0, 130]).toContain(status as number);
        kvOk(app, "fetch", "--read-from", "stargate");
        expect(["0", "1500"]).toContain(kvOk(app, "list", "--prefix", "int:", "--count"));
        kvOk(app, "mset", "--file", "int.jsonl");
        expect(kvOk(app, "list", "--prefix", "int:", "--count")).toBe("1500");
        fs.writeFileSync(path.join(app, "gone.jsonl"), lines.map((_, i) => `{"op":"del","key":"int:${i}"}`).join("\n"));
        kvOk(app, "mset", "--file", "gone.jsonl");
      }
      expect(
        fs.readdirSync(path.join(app, ".git", "objects", "pack")).filter((name) => name.startsWith("tmp")),
      ).toEqual([]);
      for (const dir of [app, scene.repo]) expect(fsck(dir)).toBe("");
    },
    SLOW * 2,
  );
});

describe("over SSH, sshd's forced command being the Stargate's shell", () => {
  test(
    "set, status, and stock git",
    async () => {
      const root = tempDir("ssh");
      const repo = path.join(root, "kv.git");
      git(root, "init", "-q", "--bare", "github.git");
      const sshd = await startSshd({
        forcedCommand: `${executable("git-kv-stargate")} shell --repo ${repo} --user tester`,
      });
      const url = `ssh://${sshd.user}@127.0.0.1:${sshd.port}${repo}`;
      stargateOk(root, "init", "--repo", "kv.git", "--mirror-remote", path.join(root, "github.git"), "--push-url", url);
      const serving = await Serving.start(repo);
      try {
        const app = path.join(root, "app");
        git(root, "clone", "-q", "github.git", "app");
        git(app, "config", "core.sshCommand", sshd.command);
        kvOk(app, "remote", "setup");
        const oid = kvOk(app, "set", "k", "over ssh", "--wait");
        expect(git(path.join(root, "github.git"), "rev-parse", "refs/kv/main")).toBe(oid);
        expect(kv(app, "get", "k", "--read-from", "stargate").stdout).toBe("over ssh");
        expect(JSON.parse(kvOk(app, "stargate", "status", "--json"))).toMatchObject({ role: "leader" });
        git(app, "fetch", "-q", url, "refs/kv/main");
        expect(git(app, "rev-parse", "FETCH_HEAD")).toBe(oid);
        const direct = tryGit(app, ["push", "-q", url, "HEAD:refs/kv/main"]);
        expect(direct.status).not.toBe(0);
        expect(fsck(repo)).toBe("");
      } finally {
        await serving.stop();
        sshd.stop();
      }
    },
    SLOW,
  );
});
