/**
 * kill -9 after every step of an accept: what was acknowledged is there after a restart, what was not is there whole or not at
 * all, and nothing else is left over.
 */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import type { Stage } from "../../src/stargate/gate.ts";
import { TokenStore } from "../../src/stargate/tokens.ts";
import { fsck, git, tryGit } from "../support/git.ts";
import { noise } from "../support/noise.ts";
import { large, TestClient, TestStargate } from "../support/stargate.ts";

/** A daemon in a process of its own that kills itself at `stage`, from the moment the file `armed` exists. */
async function startDoomed(dir: string, stage: Stage): Promise<{ url: string; arm(): void; exited: Promise<number> }> {
  const armed = path.join(dir, "..", `armed-${stage}`);
  const support = path.join(import.meta.dir, "..", "support", "stargate.ts");
  const script = `
    const { TestStargate } = await import(${JSON.stringify(support)});
    const fs = require("node:fs");
    const s = await TestStargate.start({ dir: ${JSON.stringify(dir)}, onStage: (stage) => {
      if (stage === ${JSON.stringify(stage)} && fs.existsSync(${JSON.stringify(armed)})) process.kill(process.pid, "SIGKILL");
    }});
    console.log(s.url);`;
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
  const { value } = await child.stdout.getReader().read();
  const url = new TextDecoder().decode(value).trim();
  return { url, arm: () => fs.writeFileSync(armed, ""), exited: child.exited };
}

/** What each stage leaves to the restart. */
const OUTCOMES: readonly (readonly [Stage, "dropped" | "kept", string | undefined])[] = [
  ["synced", "dropped", undefined],
  ["locked", "dropped", undefined],
  ["journaled", "kept", "finished"],
  ["migrated", "kept", "finished"],
  ["moved", "kept", "had moved"],
  ["done", "kept", "had moved"],
];

/** Stages at which a large value and the start of an epoch are tried too: before anything, with the row alone, with everything. */
const WITH_MORE: ReadonlySet<Stage> = new Set(["locked", "journaled", "moved"]);

/** What a transaction is, by the refs it moves. */
type What = "of two refs" | "of three refs" | "that begins an epoch";
const EPOCH_REFS = ["refs/kv-epoch/main", "refs/kv-archive/main@e1", "refs/kv-index-archive/main@e1"];

describe("kill -9", () => {
  const WHATS: readonly What[] = ["of two refs", "of three refs", "that begins an epoch"];
  const cases = OUTCOMES.flatMap(([stage, outcome, recovery]) =>
    (WITH_MORE.has(stage) ? WHATS : WHATS.slice(0, 1)).map((what) => [stage, what, outcome, recovery] as const),
  );
  test.each(cases)(
    "after '%s' the transaction %s is %s",
    async (stage, what, outcome, recovery) => {
      const pieces = what === "of three refs";
      const isEpoch = what === "that begins an epoch";
      const first = await TestStargate.start();
      const { dir } = first;
      const token = new TokenStore(path.join(dir, "stargate")).add("me", "admin", undefined, systemClock);
      const before = new TestClient(dir, first.loginUrl(token));
      const acknowledged = await before.set({ a: "1" });
      await first.stop();

      const doomed = await startDoomed(dir, stage);
      const address = doomed.url.replace("http://", `http://me:${token}@`);
      const client = new TestClient(dir, address);
      const second = await client.set({ b: "2" });
      doomed.arm();
      const values = { c: "3", ...(pieces && { big: large(noise("recovery", 1_200_000)) }) };
      const planned = isEpoch ? await client.planEpoch("e2") : client.plan(values);
      await expect(client.push(planned)).rejects.toMatchObject({ code: "NETWORK" });
      expect(await doomed.exited).not.toBe(0);

      const again = await TestStargate.start({ dir });
      const tip = git(dir, "rev-parse", "refs/kv/main");
      expect(tip).toBe(outcome === "kept" ? planned.ledger : second);
      // Both refs of a transaction, or none.
      const seq = (ref: string): string =>
        git(dir, "log", "-1", "--format=%(trailers:key=KV-Seq,valueonly)", ref).trim();
      expect(seq("refs/kv-index/main")).toBe(seq("refs/kv/main"));
      const chunks = tryGit(dir, ["rev-parse", "--verify", "-q", "refs/kv-chunks/main@e1"]).stdout.toString().trim();
      expect(chunks).toBe(pieces && outcome === "kept" ? planned.commands[2]!.newOid : "");
      const isKept = outcome === "kept";
      const archived = EPOCH_REFS.map((ref) =>
        tryGit(dir, ["rev-parse", "-q", "--verify", ref]).stdout.toString().trim(),
      );
      const old = [second, planned.commands.find(({ ref }) => ref === "refs/kv-index/main")!.oldOid];
      expect(archived).toEqual(isEpoch && isKept ? [planned.ledger, ...old] : ["", "", ""]);
      const line = isEpoch && isKept ? archived[1]! : tip;
      expect(git(dir, "merge-base", acknowledged, line)).toBe(acknowledged);
      expect(again.log.find((line) => line.component === "recovery" && line.txn === planned.txn)?.outcome).toBe(
        recovery,
      );
      expect(fsck(dir)).toBe("");
      expect(tryGit(dir, ["pack-refs", "--all"]).status).toBe(0);
      expect(fs.readdirSync(dir).filter((name) => name.endsWith(".lock"))).toEqual([]);

      // The client asks again, as it does after a broken connection: the answer is the same whatever happened.
      const retry = new TestClient(dir, again.loginUrl(token));
      const result = [...(await retry.push(planned)).refs.values()];
      expect(result.every(({ ok }) => ok)).toBe(true);
      expect(git(dir, "rev-parse", "refs/kv/main")).toBe(planned.ledger);
      expect(git(dir, "rev-list", "--count", "refs/kv/main")).toBe(isEpoch ? "1" : "3");
      await again.stop();
    },
    20_000,
  );

  for (const stage of ["journaled", "migrated"] as const) {
    test(`a power cut that takes the files of a small push, ${stage}: the journal still has its objects`, async () => {
      const first = await TestStargate.start();
      const { dir } = first;
      const token = new TokenStore(path.join(dir, "stargate")).add("me", "write", undefined, systemClock);
      await new TestClient(dir, first.loginUrl(token)).set({ a: "1" });
      await first.stop();
      const folder = path.join(dir, "objects/pack");
      const before = fs.readdirSync(folder);
      const doomed = await startDoomed(dir, stage);
      const client = new TestClient(dir, doomed.url.replace("http://", `http://me:${token}@`));
      doomed.arm();
      const planned = client.plan({ c: "1" });
      await expect(client.push(planned)).rejects.toMatchObject({ code: "NETWORK" });
      await doomed.exited;
      // Until it is migrated it was nowhere but in memory.
      const files = fs.readdirSync(folder).filter((name) => !before.includes(name) && !name.endsWith(".keep"));
      expect(files.length).toBe(stage === "journaled" ? 0 : 2);
      expect(fs.readdirSync(path.join(dir, "objects")).filter((name) => name.startsWith("."))).toEqual([]);
      for (const name of files) {
        fs.rmSync(path.join(folder, name));
        fs.writeFileSync(path.join(folder, name), "");
      }
      const again = await TestStargate.start({ dir });
      expect(git(dir, "rev-parse", "refs/kv/main")).toBe(planned.ledger);
      expect(again.log.find((line) => line.component === "recovery" && line.txn === planned.txn)?.outcome).toBe(
        "finished",
      );
      expect(fsck(dir)).toBe("");
      await again.stop();
    }, 20_000);
  }

  test("a row whose refs have moved on by other hands is dropped, not forced", async () => {
    const first = await TestStargate.start();
    const { dir } = first;
    const token = new TokenStore(path.join(dir, "stargate")).add("me", "write", undefined, systemClock);
    const client = new TestClient(dir, first.loginUrl(token));
    await client.set({ a: "1" });
    const kept = await client.set({ b: "1" });
    await first.stop();
    const doomed = await startDoomed(dir, "journaled");
    const late = new TestClient(dir, doomed.url.replace("http://", `http://me:${token}@`));
    doomed.arm();
    const planned = late.plan({ c: "1" });
    await expect(late.push(planned)).rejects.toMatchObject({ code: "NETWORK" });
    await doomed.exited;
    // Somebody repairs by hand what the Stargate would have done.
    for (const lock of ["packed-refs.lock", "refs/kv/main.lock", "refs/kv-index/main.lock"])
      fs.rmSync(path.join(dir, lock), { force: true });
    git(dir, "update-ref", "refs/kv/main", `${kept}^`);
    const again = await TestStargate.start({ dir });
    expect(git(dir, "rev-parse", "refs/kv/main")).toBe(git(dir, "rev-parse", `${kept}^`));
    expect(again.log.find((line) => line.component === "recovery" && line.txn === planned.txn)?.outcome).toBe(
      "dropped",
    );
    await again.stop();
  }, 20_000);
});

describe("a disk that fails", () => {
  test("stops the Stargate once a record is written and nobody knows the rest", async () => {
    let fail = false;
    const packed = (): string => path.join(one.dir, "packed-refs");
    const one = await TestStargate.start({
      onStage: (stage) => {
        if (!fail || stage !== "migrated") return;
        // A folder in its place cannot be replaced by the new file.
        fs.renameSync(packed(), `${packed()}.kept`);
        fs.mkdirSync(path.join(packed(), "x"), { recursive: true });
      },
    });
    const client = new TestClient(one.dir, one.loginUrl(one.token()));
    const tip = await client.set({ a: "1" });
    fail = true;
    const result = [...(await client.push(client.plan({ b: "1" }))).refs.values()];
    expect(result.every(({ ok }) => !ok)).toBe(true);
    fail = false;
    fs.rmSync(packed(), { recursive: true });
    fs.renameSync(`${packed()}.kept`, packed());
    const after = [...(await client.push(client.plan({ b: "2" }))).refs.values()];
    expect(after.map((outcome) => (outcome.ok ? "ok" : outcome.reason))[0]).toContain("STORAGE");
    expect(git(one.dir, "rev-parse", "refs/kv/main")).toBe(tip);
    await one.stop();
    const again = await TestStargate.start({ dir: one.dir });
    const retry = new TestClient(one.dir, again.loginUrl(again.token()));
    await retry.set({ c: "1" });
    expect(fsck(one.dir)).toBe("");
    await again.stop();
  });
});
