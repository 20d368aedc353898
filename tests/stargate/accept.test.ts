/** Transactions of several namespaces that are accepted together: one rename, one row each, all or none whenever the process dies. */

import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { KvError } from "../../src/errors.ts";
import { writePack } from "../../src/gitwire/store/object-writer.ts";
import { type AcceptedPush, accept } from "../../src/stargate/accept.ts";
import { Gate, type Stage } from "../../src/stargate/gate.ts";
import { loadSettings } from "../../src/stargate/settings.ts";
import { fsck, git } from "../support/git.ts";
import { type Planned, TestClient, TestStargate } from "../support/stargate.ts";

setDefaultTimeout(60_000);

const NAMESPACES = ["a", "b", "c"];

/** A repository with a transaction in each namespace, and its folder. */
async function prepared(): Promise<string> {
  const one = await TestStargate.start();
  const client = new TestClient(one.dir, one.loginUrl(one.token()));
  for (const ns of NAMESPACES) await client.set({ first: "1" }, ns);
  client.repo.close();
  await one.stop();
  return one.dir;
}

let gate: Gate | undefined;
afterEach(() => {
  gate?.close();
  gate = undefined;
});

async function open(dir: string, onStage: (stage: Stage) => void = () => {}): Promise<Gate> {
  gate = await Gate.open({
    dir,
    settings: loadSettings(dir),
    env: process.env,
    clock: systemClock,
    log: () => {},
    role: "test",
    onStage,
  });
  return gate;
}

/** Plans the next transaction of `ns`, its objects in the repository. */
function plan(dir: string, ns: string): Planned {
  const client = new TestClient(dir, "");
  const planned = client.plan({ second: "2" }, ns);
  writePack(client.repo.objects, planned.pack.finish());
  client.repo.close();
  return planned;
}

/** Accepts what was planned for `ns`. */
function acceptPlanned(gate: Gate, ns: string, planned: Planned, push: Partial<AcceptedPush> = {}): Promise<void> {
  const entry = { kind: "txn", ns, txn: planned.txn, seq: 2, oid: planned.ledger, updates: planned.commands } as const;
  const by = { who: "tester", door: undefined, signer: undefined, keysSet: 1, keysDel: 0 };
  return accept(gate, { ...entry, ...by }, { quarantine: undefined, objects: gate.repo.objects, ...push });
}

const tipOf = (dir: string, ns: string): string => git(dir, "rev-parse", `refs/kv/${ns}`);

describe("transactions that come at once", () => {
  test("go through each step together", async () => {
    const dir = await prepared();
    const stages: Stage[] = [];
    const gate = await open(dir, (stage) => stages.push(stage));
    const plans = NAMESPACES.map((ns) => plan(dir, ns));
    await Promise.all(NAMESPACES.map((ns, i) => acceptPlanned(gate, ns, plans[i]!)));
    expect(stages).toEqual(["synced", "synced", "synced", "locked", "journaled", "migrated", "moved", "done"]);
    expect(NAMESPACES.map((ns) => tipOf(dir, ns))).toEqual(plans.map(({ ledger }) => ledger));
    expect(gate.journal.newest(3).map(({ txn, done }) => [txn, done])).toEqual(
      plans.map(({ txn }): [string, boolean] => [txn, true]).reverse(),
    );
    expect(fsck(dir)).toBe("");
  });

  test("are let in without the one whose tip has moved", async () => {
    const dir = await prepared();
    const gate = await open(dir);
    const plans = NAMESPACES.map((ns) => plan(dir, ns));
    git(dir, "update-ref", "refs/kv-index/b", git(dir, "rev-parse", "refs/kv/b"));
    const outcomes = await Promise.allSettled(NAMESPACES.map((ns, i) => acceptPlanned(gate, ns, plans[i]!)));
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect((outcomes[1] as PromiseRejectedResult).reason).toMatchObject({ code: "CAS_CONFLICT" });
    expect(tipOf(dir, "a")).toBe(plans[0]!.ledger);
    expect(tipOf(dir, "c")).toBe(plans[2]!.ledger);
    expect(tipOf(dir, "b")).not.toBe(plans[1]!.ledger);
    expect(gate.journal.find("txn", "b", plans[1]!.txn)).toBeUndefined();
  });

  test("are let in without the one that is refused under the locks", async () => {
    const dir = await prepared();
    const gate = await open(dir);
    const plans = NAMESPACES.map((ns) => plan(dir, ns));
    const recheck = (): void => {
      throw new KvError("POLICY_STALE", "the policy changed");
    };
    const outcomes = await Promise.allSettled(
      NAMESPACES.map((ns, i) => acceptPlanned(gate, ns, plans[i]!, ns === "c" ? { recheck } : {})),
    );
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected"]);
    expect(gate.journal.find("txn", "c", plans[2]!.txn)).toBeUndefined();
    expect(fs.readdirSync(dir).filter((name) => name.endsWith(".lock"))).toEqual([]);
  });

  test("do not wait for a lock that only one of them needs", async () => {
    const dir = await prepared();
    const gate = await open(dir);
    const plans = NAMESPACES.map((ns) => plan(dir, ns));
    const lock = path.join(dir, "refs/kv/a.lock");
    fs.mkdirSync(path.dirname(lock), { recursive: true });
    fs.writeFileSync(lock, "");
    const [a, ...others] = NAMESPACES.map((ns, i) => acceptPlanned(gate, ns, plans[i]!));
    await Promise.all(others);
    expect(Bun.peek.status(a!)).toBe("pending");
    fs.unlinkSync(lock);
    await a;
    expect(NAMESPACES.map((ns) => tipOf(dir, ns))).toEqual(plans.map(({ ledger }) => ledger));
  });

  test("are all refused where the objects of one cannot be brought in, and leave no row", async () => {
    const dir = await prepared();
    const gate = await open(dir);
    const plans = NAMESPACES.map((ns) => plan(dir, ns));
    const before = NAMESPACES.map((ns) => tipOf(dir, ns));
    const quarantine = {
      copies: () => [],
      migrate: () => {
        throw new KvError("STORAGE", "the disk is full");
      },
    } as unknown as AcceptedPush["quarantine"];
    const outcomes = await Promise.allSettled(
      NAMESPACES.map((ns, i) => acceptPlanned(gate, ns, plans[i]!, ns === "b" ? { quarantine } : {})),
    );
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    expect(NAMESPACES.map((ns) => tipOf(dir, ns))).toEqual(before);
    expect(gate.journal.unfinished()).toEqual([]);
    // And the next ones go on.
    await acceptPlanned(gate, "a", plans[0]!);
    expect(tipOf(dir, "a")).toBe(plans[0]!.ledger);
  });
});

/** What a kill after each stage leaves to the restart. */
const OUTCOMES: readonly (readonly [Stage, "dropped" | "finished" | "had moved"])[] = [
  ["locked", "dropped"],
  ["journaled", "finished"],
  ["migrated", "finished"],
  ["moved", "had moved"],
];

test.each(OUTCOMES)("kill -9 after '%s': all of them are %s", async (stage, outcome) => {
  const dir = await prepared();
  const before = NAMESPACES.map((ns) => tipOf(dir, ns));
  const plans = NAMESPACES.map((ns) => plan(dir, ns));
  const file = path.join(dir, "..", "plans.json");
  fs.writeFileSync(file, JSON.stringify(plans.map(({ commands, txn, ledger }) => ({ commands, txn, ledger }))));
  const source = (name: string): string => JSON.stringify(path.join(import.meta.dir, "..", "..", "src", name));
  const script = `
    const { Gate } = await import(${source("stargate/gate.ts")});
    const { accept } = await import(${source("stargate/accept.ts")});
    const { loadSettings } = await import(${source("stargate/settings.ts")});
    const { systemClock: clock } = await import(${source("clock.ts")});
    const dir = ${JSON.stringify(dir)};
    const onStage = (stage) => { if (stage === ${JSON.stringify(stage)}) process.kill(process.pid, "SIGKILL"); };
    const gate = await Gate.open({ dir, settings: loadSettings(dir), env: {}, clock, log() {}, role: "test", onStage });
    const plans = JSON.parse(require("node:fs").readFileSync(${JSON.stringify(file)}, "utf8"));
    const by = { who: "tester", door: undefined, signer: undefined, keysSet: 1, keysDel: 0 };
    await Promise.all(plans.map(({ commands: updates, txn, ledger }, i) => accept(gate,
      { kind: "txn", ns: ${JSON.stringify(NAMESPACES)}[i], txn, seq: 2, oid: ledger, updates, ...by },
      { quarantine: undefined, objects: gate.repo.objects })));`;
  expect(await Bun.spawn([process.execPath, "-e", script], { stdout: "ignore", stderr: "inherit" }).exited).not.toBe(0);

  const again = await TestStargate.start({ dir });
  const isKept = outcome !== "dropped";
  expect(NAMESPACES.map((ns) => tipOf(dir, ns))).toEqual(isKept ? plans.map(({ ledger }) => ledger) : before);
  const recovered = again.log
    .filter(({ component }) => component === "recovery")
    .map((line) => [line.ns, line.outcome]);
  expect(recovered).toEqual(isKept ? NAMESPACES.map((ns) => [ns, outcome]) : []);
  expect(fs.readdirSync(dir).filter((name) => name.endsWith(".lock"))).toEqual([]);
  expect(fsck(dir)).toBe("");
  await again.stop();
});

test("writers of many namespaces at once: fewer steps than transactions, and nothing lost", async () => {
  let journaled = 0;
  const one = await TestStargate.start({
    onStage: (stage) => {
      if (stage === "journaled") journaled++;
    },
  });
  const token = one.token();
  const names = Array.from({ length: 8 }, (_, i) => `n${i}`);
  const rounds = 10;
  await Promise.all(
    names.map(async (ns) => {
      const client = new TestClient(one.dir, one.loginUrl(token));
      for (let i = 0; i < rounds; i++) await client.set({ [`k${i}`]: `${i}` }, ns);
      client.repo.close();
    }),
  );
  for (const ns of names) expect(git(one.dir, "rev-list", "--count", `refs/kv/${ns}`)).toBe(`${rounds}`);
  expect(journaled).toBeLessThan(names.length * rounds);
  expect(fsck(one.dir)).toBe("");
  await one.stop();
});
