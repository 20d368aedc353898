/** An audit by several threads says what one thread says, in the same order, whatever becomes of the threads. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { Oid } from "../../src/gitwire/object/oid.ts";
import { PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import { openRepository, type Repository } from "../../src/gitwire/repo.ts";
import { writePack } from "../../src/gitwire/store/object-writer.ts";
import { etagOf } from "../../src/kv/etag.ts";
import { namespacePolicy } from "../../src/kv/policy.ts";
import { rehashing } from "../../src/kv/rehashing-source.ts";
import { replayJob } from "../../src/kv/replay-job.ts";
import { ReplayPool, type ReplayThreads } from "../../src/kv/replay-pool.ts";
import { type Finding, verifyLedger } from "../../src/kv/verify.ts";
import { gitKv } from "../support/executable.ts";
import { filesOf, forge, treeOf } from "../support/forge.ts";
import { git } from "../support/git.ts";
import { KvModel } from "../support/kv-model.ts";
import { random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

/** So many that a thread is called (replay-pool.ts), and a batch goes to it. */
const TRANSACTIONS = 1_350;
/** Audits that are compared begin here. */
const SINCE = 1_000;

let model: KvModel;
let repo: Repository;
let forgeries: number;
let since: Oid;

/** A long ledger, some of whose transactions are forged. */
beforeAll(() => {
  model = new KvModel(TEST_FORMAT);
  const { int } = random("replay-pool");
  forgeries = 0;
  for (let seq = 1; seq <= TRANSACTIONS; seq++) {
    if (seq <= SINCE || int(20) > 0) {
      model.commit([model.set(`key ${int(300)}`, `value ${seq}`)]);
      if (seq === SINCE) since = model.state!.ledger.oid;
      continue;
    }
    const base = model.state!;
    const files = filesOf(model.objects, base.ledger.tree);
    files.set(`data/${seq}`, { mode: 0o100644, oid: model.objects.write("blob", Buffer.from("forged")) });
    const tree = treeOf(model.objects, files);
    model.state = forge(model.objects, base, { tree, indexTree: base.ledger.indexTree, keysSet: 1 });
    forgeries++;
    // The next one takes it back, which is not right either.
    model.state = forge(model.objects, model.state, {
      tree: base.ledger.tree,
      indexTree: base.ledger.indexTree,
      keysSet: 0,
    });
    forgeries++;
    seq++;
  }
  const dir = tempDir("replay-pool");
  git(dir, "init", "-q", `--object-format=${TEST_FORMAT.name}`);
  repo = openRepository(dir);
  const pack = new PackBuilder(repo.format);
  for (const { kind, data } of model.objects.objects.values()) pack.write(kind, data);
  writePack(repo.objects, pack.finish());
  git(dir, "update-ref", "refs/kv/main", model.state!.ledger.oid);
  git(dir, "update-ref", "refs/kv-index/main", model.state!.index!);
});
afterAll(() => repo.close());

async function verified(threads?: Partial<ReplayThreads>): Promise<{ findings: Finding[]; transactions: number }> {
  const findings: Finding[] = [];
  const { transactions } = await verifyLedger(rehashing(repo.objects), {
    ns: "main",
    tip: model.state!,
    since,
    etagOf,
    judge: async () => ({ rules: namespacePolicy(undefined, "main"), signer: undefined, problems: [] }),
    chunks: { tip: () => undefined, isComplete: true },
    ...(threads && { threads: { place: repo.objects.place, ...threads } }),
    signal: new AbortController().signal,
    found: (finding) => findings.push(finding),
    progress: () => {},
  });
  return { findings, transactions };
}

test("findings and their order are those of one thread, whoever helps, and also where no helper can be started", async () => {
  const alone = await verified();
  expect(alone.transactions).toBe(model.state!.ledger.seq - SINCE);
  expect(alone.findings.filter(({ code }) => code !== "ATTESTATION_MISMATCH").length).toBe(forgeries);
  const worker = new URL("file:///nowhere/replay-worker.ts");
  for (const threads of [
    { helpers: 3, alone: 5, batch: 16 },
    { helpers: 2, alone: 0, batch: 10_000 },
    { helpers: 2, alone: 0, batch: 8, worker },
  ])
    expect(await verified(threads)).toEqual(alone);
});

test("where many are to come helpers replay from the first one on, and else not before there were some", async () => {
  const job = replayJob(undefined, model.state!, { maxKeys: 10, maxInline: 1 << 20 });
  for (const [transactions, byHelpers] of [
    [4_095, 0],
    [4_096, 8],
  ] as const) {
    const pool = new ReplayPool(rehashing(repo.objects), etagOf, {
      place: repo.objects.place,
      helpers: 1,
      batch: 4,
    });
    pool.expect(transactions);
    const replays = Array.from({ length: 8 }, () => pool.replay(job));
    for (const replay of replays) expect(await replay.wait()).toMatchObject({ kind: "wrong", code: "TXN_TOO_LARGE" });
    expect(pool.byHelpers).toBe(byHelpers);
    await pool.close();
  }
});

test("helpers do a part of the work, and what is left undone is done when asked for", async () => {
  const pool = new ReplayPool(rehashing(repo.objects), etagOf, {
    place: repo.objects.place,
    helpers: 1,
    alone: 0,
    batch: 4,
  });
  // The whole state as one transaction, which is more than the limits let in.
  const job = replayJob(undefined, model.state!, { maxKeys: 10, maxInline: 1 << 20 });
  const replays = Array.from({ length: 21 }, () => pool.replay(job));
  pool.flush();
  const outcomes = await Promise.all(replays.map((replay) => replay.wait()));
  expect(new Set(outcomes.map((outcome) => JSON.stringify(outcome))).size).toBe(1);
  expect(outcomes[0]).toMatchObject({ kind: "wrong", code: "TXN_TOO_LARGE" });
  expect(pool.byHelpers).toBeGreaterThan(0);
  expect(pool.byHelpers).toBeLessThan(21);
  await pool.close();
});

test("a large transaction is a helper's, however few there were; whoever waits for it may leave", async () => {
  const objects = rehashing(repo.objects);
  const pool = new ReplayPool(objects, etagOf, { place: repo.objects.place, helpers: 0, large: 0 });
  const job = replayJob(undefined, model.state!, { maxKeys: 1_000, maxInline: 1 << 20 });
  const left = new AbortController();
  const [one, other] = [pool.replay(job), pool.replay(job)];
  expect(one.outcome).toBeUndefined();
  const waiting = one.wait(left.signal);
  left.abort(new Error("left"));
  expect(await waiting.catch((error: Error) => error.message)).toBe("left");
  expect(await one.wait(left.signal).catch((error: Error) => error.message)).toBe("left");
  expect((await other.wait()).kind).toBe("wrong");
  expect(one.outcome).toEqual(other.outcome);
  expect(pool.byHelpers).toBe(2);
  await pool.close();
  const alone = new ReplayPool(objects, etagOf);
  expect(alone.replay(job).outcome).toEqual(one.outcome);
});

test("the compiled program starts helpers where there are processors for them", () => {
  const traced = path.join(tempDir("trace"), "trace");
  const run = gitKv(["verify", "--json"], { cwd: repo.worktree!, env: { ...process.env, GIT_KV_TRACE: traced } });
  expect(run.status).toBe(8);
  const [, here, helpers] = /: (\d+) transactions replayed here, (\d+) by helpers/.exec(
    fs.readFileSync(traced, "utf8"),
  )!;
  expect(Number(here) + Number(helpers)).toBe(model.state!.ledger.seq);
  if (os.availableParallelism() > 1) expect(Number(helpers)).toBeGreaterThan(0);
});
