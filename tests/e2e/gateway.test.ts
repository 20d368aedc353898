/** The compiled gateway: called by git's names, ended by signals, killed while it works. */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { executable } from "../support/executable.ts";
import { fsck, git, tryGit } from "../support/git.ts";
import { gitAsync, tryGitAsync } from "../support/git-async.ts";
import { random } from "../support/random.ts";
import { Serving, stargateOk } from "../support/scene.ts";
import { TestClient, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";

const SLOW = 60_000;

function setUp(): { dir: string; token: string } {
  const root = tempDir("gateway");
  const dir = path.join(root, "kv.git");
  stargateOk(root, "init", "--repo", "kv.git");
  return { dir, token: stargateOk(root, "token", "add", "--repo", "kv.git", "--name", "test") };
}

const login = (serving: Serving, token: string): string =>
  `${serving.url.replace("http://", `http://me:${token}@`)}/kv.git`;

describe("called by git's names", () => {
  test(
    "it is git-upload-pack and git-receive-pack for the real git",
    async () => {
      const root = tempDir("names");
      const bin = path.join(root, "bin");
      fs.mkdirSync(bin);
      for (const name of ["git-upload-pack", "git-receive-pack"])
        fs.symlinkSync(executable("git-kv-stargate"), path.join(bin, name));
      const programs = ["-c", "protocol.version=2"];
      git(root, "init", "-q", "-b", "main", "source");
      const source = path.join(root, "source");
      fs.writeFileSync(path.join(source, "f"), "x".repeat(200_000));
      git(source, "add", ".");
      git(source, "commit", "-q", "-m", "one");
      await gitAsync(root, ...programs, "clone", "-q", `--upload-pack=${bin}/git-upload-pack`, `file://${source}`, "w");
      const work = path.join(root, "w");
      expect(git(work, "rev-parse", "HEAD")).toBe(git(source, "rev-parse", "HEAD"));
      git(work, "commit", "-q", "--allow-empty", "-m", "two");
      await gitAsync(work, "push", "-q", `--receive-pack=${bin}/git-receive-pack`, "origin", "HEAD:topic");
      expect(git(source, "rev-parse", "topic")).toBe(git(work, "rev-parse", "HEAD"));
      expect(fsck(source)).toBe("");
    },
    SLOW,
  );

  test("the hooks it installs judge a stock push by path", async () => {
    const { dir } = setUp();
    const work = path.join(tempDir("w"), "w");
    await gitAsync("/", "clone", "-q", dir, work);
    const run = await tryGitAsync(work, ["push", "origin", "HEAD:refs/kv/main", "HEAD:refs/kv-index/main"]);
    expect(run.stderr).toContain("ATTESTATION_MISSING: the ledger commit has no trailer block");
    expect(tryGit(dir, ["rev-parse", "-q", "--verify", "refs/kv/main"]).status).not.toBe(0);
  });
});

describe("signals", () => {
  test(
    "SIGTERM ends it with 0 after what is under way",
    async () => {
      const { dir, token } = setUp();
      const serving = await Serving.start(dir);
      const client = new TestClient(dir, login(serving, token));
      const planned = client.plan(Object.fromEntries(Array.from({ length: 2_000 }, (_, i) => [`k${i}`, `${i}`])));
      const pushing = client.push(planned);
      // Under way is what has a quarantine: a request that has not arrived yet is not.
      const isUnderWay = (): boolean =>
        fs.readdirSync(path.join(dir, "objects")).some((name) => name.startsWith(".tmp-kv-incoming"));
      const deadline = Date.now() + SLOW / 2;
      while (!isUnderWay() && Date.now() < deadline) await Bun.sleep(1);
      expect(isUnderWay()).toBe(true);
      const ended = serving.stop("SIGTERM");
      expect(verdict(await pushing)).toBe("ok");
      expect(await ended).toBe(0);
      expect(git(dir, "rev-parse", "refs/kv/main")).toBe(planned.ledger);
    },
    SLOW,
  );

  test(
    "killed at any moment under load, nothing acknowledged is lost and nothing is half there",
    async () => {
      const seeded = random("gateway kills");
      const { dir, token } = setUp();
      const acknowledged: string[] = [];
      let serving = await Serving.start(dir);
      acknowledged.push(await new TestClient(dir, login(serving, token)).set({ first: "1" }));
      for (let round = 0; round < 6; round++) {
        const client = new TestClient(dir, login(serving, token));
        // The clock starts with the first answer: on a busy machine nothing would be acknowledged otherwise.
        let killed: Promise<unknown> | undefined;
        for (let i = 0; ; i++) {
          const planned = client.plan({ [`r${round}`]: `${i}` });
          const result = await client.push(planned).catch(() => undefined);
          if (result === undefined) break;
          if (verdict(result) === "ok") acknowledged.push(planned.ledger);
          killed ??= Bun.sleep(seeded.int(120)).then(() => serving.stop("SIGKILL"));
        }
        await killed;
        serving = await Serving.start(dir);
        const ledger = new Set(git(dir, "rev-list", "refs/kv/main").split("\n"));
        expect(acknowledged.filter((oid) => !ledger.has(oid))).toEqual([]);
        const trailers = (ref: string): string =>
          git(dir, "log", "-1", "--format=%(trailers:key=KV-Txn,valueonly)", ref);
        expect(trailers("refs/kv-index/main")).toBe(trailers("refs/kv/main"));
        expect(Number(git(dir, "rev-list", "--count", "refs/kv/main"))).toBe(
          Number(git(dir, "rev-list", "--count", "refs/kv-index/main")),
        );
      }
      expect(acknowledged.length).toBeGreaterThan(6);
      expect(fsck(dir)).toBe("");
      expect(await serving.stop()).toBe(0);
    },
    SLOW,
  );
});
