/** Finding transactions by number, name and time: against a plain list of what was committed, whatever is in the table's file. */

import { afterEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import type { LedgerCommit } from "../../src/kv/attestation.ts";
import { LedgerLookup } from "../../src/kv/ledger-lookup.ts";
import type { NamespaceState } from "../../src/kv/state.ts";
import { KvModel } from "../support/kv-model.ts";
import { type Random, random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";

const START = 1_700_000_000;
/** Rows that are put into the file at a time, and more than a block of them. */
const MANY = 180;

const opened: LedgerLookup[] = [];
afterEach(() => {
  for (const lookup of opened.splice(0)) lookup.close();
});

/** A ledger, its transactions oldest first, and a place for the table. */
class World {
  readonly model = new KvModel();
  readonly states: NamespaceState[] = [];
  readonly file = path.join(tempDir("table"), "kv", "transactions-main");

  constructor(times: readonly number[]) {
    for (const time of times) this.commit(time);
  }

  commit(time: number): void {
    this.model.at = time;
    this.model.commit([this.model.set(`k${this.states.length % 7}`, `${this.states.length}`)]);
    this.states.push(this.model.state!);
  }

  get tip(): LedgerCommit {
    return this.states.at(-1)!.ledger;
  }

  async open(tip = this.tip): Promise<LedgerLookup> {
    const lookup = await LedgerLookup.open({ objects: this.model.objects, file: this.file }, tip);
    opened.push(lookup);
    return lookup;
  }

  /** What the newest transaction dated `time` or before is, by looking at all of them. */
  newestAt(time: number, count = this.states.length): number | undefined {
    const at = this.states.slice(0, count).findLastIndex(({ ledger }) => timeOf(ledger) <= time);
    return at < 0 ? undefined : at + 1;
  }
}

const timeOf = ({ commit }: LedgerCommit): number => Number(/> (\d+) /.exec(commit.committer)![1]);

/** Times of a ledger whose writers' clocks disagree. */
function crookedTimes(seeded: Random, count: number): number[] {
  return Array.from({ length: count }, (_, i) => START + i * 10 + seeded.int(60) - (seeded.int(50) === 0 ? 3_000 : 0));
}

async function everything(world: World, lookup: LedgerLookup, count = world.states.length): Promise<void> {
  for (const { ledger } of world.states.slice(0, count)) {
    // All near the ends, where rows come from two places, and some of the rest.
    if (ledger.seq > 12 && ledger.seq < count - 80 && ledger.seq % 7 > 0) continue;
    expect((await lookup.at(ledger.seq))?.oid).toBe(ledger.oid);
    expect((await lookup.named(ledger.txn))?.oid).toBe(ledger.oid);
    expect((await lookup.builtOn(ledger.parent, ledger.seq))?.oid).toBe(ledger.oid);
    expect(await lookup.contains(ledger)).toBe(true);
  }
  for (const seq of [0, -1, count + 1, 1.5]) expect(await lookup.at(seq)).toBeUndefined();
  expect(await lookup.named("01JBAXF5Z8J8M7R2TK99999999")).toBeUndefined();
}

describe("a lookup", () => {
  test("finds every transaction by number, name and parent: from the objects, from the file, and from both", async () => {
    const world = new World(Array.from({ length: MANY }, (_, i) => START + i));
    await everything(world, await world.open());
    const size = fs.statSync(world.file).size;
    await everything(world, await world.open());
    for (let i = 0; i < 5; i++) world.commit(START + MANY + i);
    await everything(world, await world.open());
    // A few new ones are walked to; the file is left alone until they are more.
    expect(fs.statSync(world.file).size).toBe(size);
    for (let i = 0; i < 60; i++) world.commit(START + 2 * MANY + i);
    await everything(world, await world.open());
    expect(fs.statSync(world.file).size).toBeGreaterThan(size);
    await everything(world, await world.open());
    // Of a reader whose mirror lags.
    await everything(world, await world.open(world.states[50]!.ledger), 51);
  });

  test("reads no more than it must once the file is there", async () => {
    const world = new World(Array.from({ length: MANY }, (_, i) => START + i));
    (await world.open()).close();
    const lookup = await world.open();
    const before = world.model.objects.reads.commit;
    await lookup.at(100);
    await lookup.newestAt(START + 20);
    await lookup.named(world.states[30]!.ledger.txn);
    expect(world.model.objects.reads.commit - before).toBe(3);
  });

  test("finds times although the clocks of writers disagree", async () => {
    const seeded = random("ledger-lookup");
    for (let run = 0; run < 4; run++) {
      const world = new World(crookedTimes(seeded, MANY));
      (await world.open()).close();
      const added = seeded.int(20);
      for (let i = 0; i < added; i++) world.commit(START + 2_000 + seeded.int(500));
      const lookup = await world.open();
      for (let i = 0; i < 60; i++) {
        const time = START - 4_000 + seeded.int(8_000);
        expect((await lookup.newestAt(time))?.seq).toBe(world.newestAt(time));
      }
      const early = await world.open(world.states[60]!.ledger);
      expect((await early.newestAt(START + 10 ** 6))?.seq).toBe(61);
      expect((await early.newestAt(START + 300))?.seq).toBe(world.newestAt(START + 300, 61));
    }
  });

  test("one clock that was far ahead or far behind spoils no more than its own transaction", async () => {
    const times = Array.from({ length: MANY }, (_, i) => START + i * 10);
    times[20] = 10 ** 14;
    times[150] = 1_000;
    const world = new World(times);
    (await world.open()).close();
    const lookup = await world.open();
    expect((await lookup.newestAt(START + 1_000_000))?.seq).toBe(MANY);
    expect((await lookup.newestAt(START + 1_600))?.seq).toBe(161);
    expect((await lookup.newestAt(START + 500))?.seq).toBe(151);
    expect(await lookup.newestAt(999)).toBeUndefined();
  });

  test("a file that is damaged, cut, foreign, of another ledger or made up is made anew", async () => {
    const world = new World(Array.from({ length: MANY }, (_, i) => START + i));
    (await world.open()).close();
    const good = fs.readFileSync(world.file);
    const rowSize = (good.length - 24) / MANY;
    const swapped = Buffer.from(good);
    good.copy(swapped, 24 + 5 * rowSize, 24 + 9 * rowSize, 24 + 10 * rowSize);
    const zeroed = Buffer.from(good).fill(0, 24 + 70 * rowSize, 24 + 130 * rowSize);
    const longer = Buffer.from(good);
    longer.writeUIntBE(10 ** 9, 14, 6);
    const shifted = Buffer.from(good);
    shifted.writeUIntBE(7, 8, 6);
    const fewer = Buffer.from(good);
    fewer.writeUIntBE(40, 14, 6);
    const others = new World(Array.from({ length: 120 }, (_, i) => START + 5 + i));
    (await others.open()).close();
    const files = [
      good.subarray(0, 10),
      good.subarray(0, -1),
      Buffer.alloc(0),
      Buffer.from("something else, long enough"),
    ];
    files.push(swapped, zeroed, longer, shifted, fewer, fs.readFileSync(others.file));
    for (const bytes of files) {
      fs.writeFileSync(world.file, bytes);
      await everything(world, await world.open());
      await everything(world, await world.open());
      expect(fs.readFileSync(world.file).equals(good)).toBe(true);
    }
  });

  test("a byte that is wrong, wherever it is, never means another transaction", async () => {
    const seeded = random("damaged table");
    const world = new World(crookedTimes(seeded, MANY));
    (await world.open()).close();
    const good = fs.readFileSync(world.file);
    const rowSize = (good.length - 24) / MANY;
    for (let column = 0; column < rowSize; column++) {
      const bytes = Buffer.from(good);
      const damaged = 1 + seeded.int(MANY);
      bytes[24 + (damaged - 1) * rowSize + column]! ^= 1 << seeded.int(8);
      fs.writeFileSync(world.file, bytes);
      const lookup = await world.open();
      const { ledger } = world.states[damaged - 1]!;
      const time = timeOf(ledger) + seeded.int(40) - 20;
      expect((await lookup.newestAt(time))?.seq).toBe(world.newestAt(time));
      fs.writeFileSync(world.file, bytes);
      expect((await (await world.open()).named(ledger.txn))?.oid).toBe(ledger.oid);
      fs.writeFileSync(world.file, bytes);
      expect((await (await world.open()).at(damaged))?.oid).toBe(ledger.oid);
      expect(fs.readFileSync(world.file).equals(good)).toBe(true);
    }
  });

  test("a file that becomes shorter while it is read is made anew", async () => {
    const world = new World(Array.from({ length: MANY }, (_, i) => START + i));
    (await world.open()).close();
    const lookup = await world.open();
    fs.truncateSync(world.file, 24);
    await everything(world, lookup);
  });

  test("a ledger that goes on otherwise from the middle leaves no row of the old one", async () => {
    const world = new World(Array.from({ length: MANY }, (_, i) => START + i));
    (await world.open()).close();
    const old = world.states.splice(120);
    world.model.state = world.states.at(-1);
    for (let i = 0; i < 50; i++) world.commit(START + 10_000 + i);
    await everything(world, await world.open());
    const lookup = await world.open();
    for (const { ledger } of old) {
      expect(await lookup.contains(ledger)).toBe(false);
      if (ledger.seq > 170) expect(await lookup.at(ledger.seq)).toBeUndefined();
    }
    // And back, as a clone that follows two remotes does.
    world.states.splice(120, Number.POSITIVE_INFINITY, ...old);
    await everything(world, await world.open());
  });

  test("a folder that cannot be written to costs time and nothing else", async () => {
    const world = new World(Array.from({ length: 50 }, (_, i) => START + i));
    fs.mkdirSync(path.dirname(path.dirname(world.file)), { recursive: true });
    fs.writeFileSync(path.dirname(world.file), "a file where the folder would be");
    await everything(world, await world.open());
  });

  test("history that ends before its beginning is told by what is there", async () => {
    const world = new World(Array.from({ length: MANY }, (_, i) => START + i));
    world.model.objects.objects.delete(world.states[99]!.ledger.oid);
    const lookup = await world.open();
    expect(lookup.first).toBe(101);
    expect(await lookup.at(100)).toBeUndefined();
    expect((await lookup.at(101))?.oid).toBe(world.states[100]!.ledger.oid);
    expect(await lookup.newestAt(START + 50)).toBeUndefined();
    expect(await lookup.named(world.states[98]!.ledger.txn)).toBeUndefined();
  });

  test("ends when it is told to", async () => {
    const world = new World(Array.from({ length: 1_100 }, (_, i) => START + i));
    const place = { objects: world.model.objects, file: world.file, signal: AbortSignal.abort(new Error("told to")) };
    expect(String(await LedgerLookup.open(place, world.tip).catch((error) => error))).toContain("told to");
  });
});
