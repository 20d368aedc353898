/** What transactions changed, written down: against what comparing the trees says, whatever is in the table's file. */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { openKv } from "git-kv";
import { SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import { bringUp, MOST_KEYS } from "../../src/kv/change-rows.ts";
import { type ChangeTable, changeRowSize } from "../../src/kv/change-table.ts";
import { recordsBetween } from "../../src/kv/differences.ts";
import { type Revision, revisionsOf } from "../../src/kv/history.ts";
import { parseKey } from "../../src/kv/key.ts";
import { changesFile, completeChanges, followChanges, openChanges } from "../../src/kv/key-changes.ts";
import { LedgerLookup } from "../../src/kv/ledger-lookup.ts";
import type { Operation } from "../../src/kv/operation.ts";
import type { NamespaceState } from "../../src/kv/state.ts";
import { diffStates, readDifferences } from "../../src/kv/state-diff.ts";
import { KvModel } from "../support/kv-model.ts";
import { type Random, random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { newRepository, workspaceAt } from "../support/workspace.ts";

const ALL = Number.POSITIVE_INFINITY;
const KEYS = [...Array.from({ length: 12 }, (_, i) => `k${i}`), `long:${"z".repeat(300)}`, "é"];

/** A ledger with the states it had, and a place for the tables. */
class World {
  readonly model: KvModel;
  readonly states: NamespaceState[] = [];
  readonly live = new Set<string>();
  readonly dir = path.join(tempDir("changes"), "kv");

  constructor(model = new KvModel()) {
    this.model = model;
  }

  get file(): string {
    return path.join(this.dir, "changes-main");
  }

  commit(operations: readonly Operation[]): void {
    // Setting a key to what it has is none.
    if (this.model.commit(operations).kind === "planned") this.states.push(this.model.state!);
  }

  /** A transaction of sets, deletions and keys that come again; now and then one of more keys than are told apart. */
  grow(seeded: Random): void {
    const { model, live } = this;
    const operations: Operation[] = [];
    if (seeded.int(25) === 0)
      for (let i = 0; i <= MOST_KEYS; i++) operations.push(model.set(`many:${i}`, `${this.states.length}`));
    for (const key of seeded.shuffle(KEYS).slice(0, 1 + seeded.int(4))) {
      if (live.has(key) && seeded.int(3) === 0) {
        operations.push(model.del(key));
        live.delete(key);
      } else {
        const expires = seeded.int(4) === 0 ? { expires: 2_000_000_000 + seeded.int(100) } : {};
        operations.push(model.set(key, `v${seeded.int(3)}`, expires));
        live.add(key);
      }
    }
    this.commit(operations);
  }

  async open(tip = this.states.at(-1)!): Promise<{ lookup: LedgerLookup; changes: ChangeTable }> {
    const { objects } = this.model;
    const lookup = await LedgerLookup.open({ objects, file: path.join(this.dir, "transactions-main") }, tip.ledger);
    return { lookup, changes: openChanges(this.file, objects, lookup) };
  }

  async bringUp(most = ALL, tip = this.states.at(-1)!): Promise<ChangeTable> {
    const { lookup, changes } = await this.open(tip);
    await bringUp(changes, this.model.objects, lookup, { most });
    return changes;
  }

  async history(tip: NamespaceState, key: string, changes?: ChangeTable): Promise<Revision[]> {
    const { lookup, changes: own } = await this.open();
    const revisions: Revision[] = [];
    const { objects } = this.model;
    for await (const each of revisionsOf(objects, tip, parseKey(key), lookup, { changes })) revisions.push(each);
    own.close();
    lookup.close();
    return revisions;
  }

  /** Everything that is asked of the table, compared with what the trees say. */
  async agrees(seeded: Random, changes: ChangeTable, runs = 12): Promise<void> {
    const told = ({ rev, meta, made }: Revision): unknown => [rev, meta, made?.oid];
    for (let run = 0; run < runs; run++) {
      const [a, b] = [seeded.pick(this.states), seeded.pick(this.states)];
      const key = seeded.pick([...KEYS, "many:3", "never"]);
      const found = await this.history(a, key, changes);
      expect(found.map(told)).toEqual((await this.history(a, key)).map(told));
      for (const { state, meta } of found) {
        expect((await this.history(state, key))[0]?.meta).toEqual(meta);
      }
      const records = recordsBetween(changes, a.ledger.seq, b.ledger.seq);
      if (records === undefined) continue;
      const prefix = seeded.pick(["", "k1"]);
      expect(readDifferences(this.model.objects, records, prefix)).toEqual(
        await diffStates(this.model.objects, a, b, prefix),
      );
    }
  }
}

describe("the table of changed keys", () => {
  for (const format of [SHA1, SHA256]) {
    test(`says what the trees say, however it grew: ${format.name}`, async () => {
      const seeded = random(`key-changes ${format.name}`);
      const world = new World(new KvModel(format));
      for (let i = 0; i < 90; i++) {
        world.grow(seeded);
        if (seeded.int(8) > 0) continue;
        const changes = await world.bringUp(seeded.pick([4, 20, ALL]));
        await world.agrees(seeded, changes, 4);
        changes.close();
      }
      const grown = await world.bringUp();
      await world.agrees(seeded, grown);
      grown.close();
      fs.rmSync(world.file);
      const anew = await world.bringUp();
      expect([anew.first, anew.last]).toEqual([1, world.states.length]);
      await world.agrees(seeded, anew, 30);
      anew.close();
    });
  }

  test("spares all trees but those of the newest state", async () => {
    const world = new World();
    for (let i = 0; i < 300; i++) world.commit([world.model.set(i % 15 === 0 ? "k" : `other:${i}`, `${i}`)]);
    const changes = await world.bringUp();
    const { reads } = world.model.objects;
    reads.tree = 0;
    reads.commit = 0;
    expect((await world.history(world.states.at(-1)!, "k", changes)).length).toBe(20);
    expect(reads.tree).toBeLessThanOrEqual(4);
    // Each revision's own, and the one the newest was built on.
    expect(reads.commit).toBe(21);
    reads.tree = 0;
    expect(recordsBetween(changes, 100, 200)?.length).toBe(94);
    expect(reads.tree).toBe(0);
  });

  test("begins with the newest, grows by a few at a time, and leaves a long way to be walked", async () => {
    const world = new World();
    for (let i = 0; i < 50; i++) world.commit([world.model.set("k", `${i}`)]);
    const reach = async (most: number): Promise<number[]> => {
      const table = await world.bringUp(most);
      const range = [table.first, table.last];
      table.close();
      return range;
    };
    expect(await reach(10)).toEqual([41, 50]);
    for (let i = 0; i < 10; i++) world.commit([world.model.set("k", `more ${i}`)]);
    expect(await reach(5)).toEqual([41, 50]);
    await world.agrees(random("key-changes gap"), (await world.open()).changes);
    expect(await reach(10)).toEqual([41, 60]);
    expect((await world.history(world.states.at(-1)!, "k", (await world.open()).changes)).length).toBe(60);
  });

  test("is not believed where a byte is not what was written, nor where it is cut", async () => {
    const seeded = random("key-changes damage");
    const world = new World();
    for (let i = 0; i < 40; i++) world.grow(seeded);
    (await world.bringUp()).close();
    const good = fs.readFileSync(world.file);
    for (let run = 0; run < 150; run++) {
      const bytes = Buffer.from(good);
      const at = run < 30 ? run : seeded.int(bytes.length);
      bytes[at]! ^= 1 << seeded.int(8);
      fs.writeFileSync(world.file, run % 5 === 4 ? good.subarray(0, at) : bytes);
      const { changes } = await world.open();
      await world.agrees(seeded, changes, 3);
      changes.close();
    }
    fs.writeFileSync(world.file, Buffer.from(good).fill(0, 100, 100 + 20 * 64));
    const zeroed = (await world.open()).changes;
    // Behind the first transaction, whose row tells nothing.
    expect(recordsBetween(zeroed, 1, zeroed.last)).toBeUndefined();
    zeroed.close();
    expect(fs.existsSync(world.file)).toBe(false);
    await world.agrees(seeded, await world.bringUp());
  });

  test("leaves no row of a ledger that went on otherwise", async () => {
    const seeded = random("key-changes replaced");
    const world = new World();
    for (let i = 0; i < 60; i++) world.grow(seeded);
    (await world.bringUp()).close();
    for (const kept of [40, 1, 0]) {
      world.states.splice(kept);
      world.live.clear();
      world.model.state = world.states.at(-1);
      if (kept === 40) {
        // Set back and not gone on yet.
        const { changes } = await world.open();
        // The last one may have had more rows.
        expect(changes.last).toBe(39);
        await world.agrees(seeded, changes);
      }
      for (let i = 0; i < 30; i++) world.commit([world.model.set(seeded.pick(KEYS), `other ${kept} ${i}`)]);
      const changes = await world.bringUp();
      expect([changes.first, changes.last]).toEqual([1, kept + 30]);
      await world.agrees(seeded, changes);
      changes.close();
    }
  });

  test("is written by two at a time", async () => {
    const seeded = random("key-changes two");
    const world = new World();
    for (let i = 0; i < 30; i++) world.grow(seeded);
    (await world.bringUp()).close();
    for (let i = 0; i < 30; i++) world.grow(seeded);
    const [early, late] = [await world.open(world.states[44]), await world.open()];
    const { objects } = world.model;
    await Promise.all([
      bringUp(late.changes, objects, late.lookup, { most: ALL }),
      bringUp(early.changes, objects, early.lookup, { most: ALL }),
    ]);
    await world.agrees(seeded, (await world.open()).changes);
    // One that holds a file which was replaced since.
    const old = await world.open();
    fs.rmSync(world.file);
    (await world.bringUp(20)).close();
    for (let i = 0; i < 5; i++) world.grow(seeded);
    const { lookup } = await world.open();
    await bringUp(old.changes, objects, lookup, { most: ALL });
    await world.agrees(seeded, (await world.open()).changes);
  });

  test("costs time and nothing else where it cannot be written", async () => {
    const seeded = random("key-changes folder");
    const world = new World();
    fs.mkdirSync(path.dirname(world.dir), { recursive: true });
    fs.writeFileSync(world.dir, "a file where the folder would be");
    for (let i = 0; i < 20; i++) world.grow(seeded);
    const changes = await world.bringUp();
    expect(changes.count).toBe(0);
    await world.agrees(seeded, changes);
  });

  test("begins where the ledger here begins", async () => {
    const world = new World();
    for (let i = 0; i < 60; i++) world.commit([world.model.set(`k${i % 5}`, `${i}`)]);
    world.model.objects.objects.delete(world.states[29]!.ledger.oid);
    const changes = await world.bringUp();
    expect([changes.first, changes.last]).toEqual([32, 60]);
    const found = await world.history(world.states.at(-1)!, "k2", changes);
    expect(found.map(({ rev }) => rev)).toEqual(
      (await world.history(world.states.at(-1)!, "k2")).map(({ rev }) => rev),
    );
    expect(found.length).toBeGreaterThan(5);
  });

  test("ends when it is told to", async () => {
    const world = new World();
    for (let i = 0; i < 300; i++) world.commit([world.model.set(`k${i}`, "x")]);
    const { lookup, changes } = await world.open();
    const told = { most: ALL, signal: AbortSignal.abort(new Error("told to")) };
    const ending = bringUp(changes, world.model.objects, lookup, told);
    expect(await ending.then(() => "went on", String)).toBe("Error: told to");
    await world.agrees(random("key-changes told"), (await world.open()).changes, 3);
  });
});

test("in a clone: begun by who looks back, kept up by a fetch where many came, completed on demand", async () => {
  const dir = newRepository(TEST_FORMAT);
  const kv = openKv({ dir });
  const workspace = workspaceAt(dir);
  const file = changesFile(workspace.repo, "main");
  const look = async (key: string): Promise<number> => {
    let count = 0;
    for await (const _ of kv.history(key)) count++;
    return count;
  };
  const rows = (): number => (fs.statSync(file).size - 30) / changeRowSize(TEST_FORMAT);
  await kv.init();
  await kv.set("k", "first");
  await followChanges(workspaceAt(dir));
  expect(fs.existsSync(file)).toBe(false);
  expect(await look("k")).toBe(1);
  expect(rows()).toBe(2);
  for (let i = 0; i < 130; i++) await kv.set(`k${i % 3}`, `${i}`);
  await followChanges(workspaceAt(dir));
  expect(rows()).toBe(132);
  for (let i = 0; i < 5; i++) await kv.set("k0", `more ${i}`);
  await followChanges(workspaceAt(dir));
  expect(rows()).toBe(132);
  expect((await kv.diff("-2")).map(({ key }) => key)).toEqual(["k0"]);
  expect(rows()).toBe(137);
  expect(await look("k0")).toBe(49);
  fs.rmSync(file);
  for (let i = 0; i < 150; i++) await kv.set("k1", `again ${i}`);
  expect(await look("k2")).toBe(43);
  expect(rows()).toBe(64);
  await completeChanges(workspaceAt(dir));
  expect(rows()).toBe(287);
  expect(await look("k1")).toBe(193);
  kv.close();
}, 60_000);
