/** Entries between the two readings of an import: all of them come back, in the order that keeps transactions apart in the tries. */

import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { MODE, parseTree } from "../../../src/gitwire/object/tree.ts";
import { commit } from "../../../src/kv/commit.ts";
import { etagOf } from "../../../src/kv/etag.ts";
import { EntrySpool } from "../../../src/kv/snapshot/entry-spool.ts";
import { type ImportEntry, NO_OPTIONS } from "../../../src/kv/snapshot/item.ts";
import { readJsonLines } from "../../../src/kv/snapshot/json-lines.ts";
import { LineCursor } from "../../../src/kv/snapshot/line-cursor.ts";
import { stateAt } from "../../../src/kv/state.ts";
import type { ByteReader } from "../../../src/lines.ts";
import { type Random, random } from "../../support/random.ts";
import { importAll, READING } from "../../support/snapshots.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { newRepository, workspaceAt } from "../../support/workspace.ts";

const firstByte = (key: string): number => createHash("sha256").update(key, "latin1").digest()[0]!;

function entryOf(rng: Random, key: string, size: number): ImportEntry {
  const data = rng.bytes(size);
  const labels = rng.int(3) === 0 ? { "2": "x", team: "é😀" } : undefined;
  return {
    kind: "entry",
    place: `line ${key}`,
    key,
    value: { kind: "bytes", data },
    options: {
      ctype: rng.pick([undefined, "text/plain", "application/json"]),
      expires: rng.pick([undefined, "never", 1_900_000_000]),
      labels,
    },
    etag: rng.int(2) === 0 ? etagOf(data) : undefined,
  };
}

async function allOf(spool: EntrySpool): Promise<{ entries: ImportEntry[]; bytes: number }> {
  const entries: ImportEntry[] = [];
  let bytes = 0;
  const onBytes = (count: number): void => {
    bytes += count;
  };
  for await (const some of spool.items(onBytes)) for (const item of some) entries.push(item as ImportEntry);
  return { entries, bytes };
}

describe("what was spooled", () => {
  test("comes back as it was, by the first byte of its key's hash", async () => {
    const rng = random("entry spool");
    const spool = new EntrySpool(tempDir("spool"));
    const given: ImportEntry[] = [];
    for (let i = 0; i < 3_000; i++)
      given.push(entryOf(rng, `k\xc3\xa9y ${i}`, rng.int(rng.int(20) === 0 ? 2_000 : 60)));
    // Longer than what a bucket has in memory, and as long.
    for (const size of [200_000, 64 * 1_024, 65_480, 0]) given.push(entryOf(rng, `size ${size}`, size));
    for (const entry of given) spool.add(entry, firstByte(entry.key));
    expect(spool.isWhole).toBe(true);
    const { entries, bytes } = await allOf(spool);
    expect(bytes).toBe(spool.bytes);
    const places = given.map((entry, i) => ({ entry, i, first: firstByte(entry.key) }));
    const wanted = places.sort((a, b) => a.first - b.first || a.i - b.i).map(({ entry }) => entry);
    expect(entries.map(({ key }) => key)).toEqual(wanted.map(({ key }) => key));
    for (const [i, { value, options, etag }] of wanted.entries()) {
      expect(entries[i]!.options).toEqual(options);
      expect(entries[i]!.value).toEqual({ ...value, etag } as ImportEntry["value"]);
    }
    spool.close();
  });

  test("is not there where a value comes in a stream, or the file cannot be written", () => {
    const rng = random("entry spool, broken");
    const streamed = new EntrySpool(tempDir("spool"));
    streamed.add(entryOf(rng, "a", 10), 0);
    streamed.add(
      { kind: "entry", place: "", key: "b", value: { kind: "stream", read: () => undefined }, options: NO_OPTIONS },
      1,
    );
    streamed.add(entryOf(rng, "c", 10), 2);
    expect(streamed.isWhole).toBe(false);
    const file = path.join(tempDir("spool"), "file");
    fs.writeFileSync(file, "");
    const unwritable = new EntrySpool(path.join(file, "folder"));
    unwritable.add(entryOf(rng, "a", 10), 0);
    expect(unwritable.isWhole).toBe(true);
    unwritable.add(entryOf(rng, "b", 100_000), 0);
    expect(unwritable.isWhole).toBe(false);
  });
});

test("the transactions of a spooled import write each directory of the tries about once", async () => {
  const keys = 3_000;
  const most = 500;
  const lines = Array.from({ length: keys }, (_, i) => JSON.stringify({ key: `key ${i}`, value: `${i}` })).join("\n");
  const itemsOf = (read: ByteReader) => readJsonLines(new LineCursor(read, 1_000_000), READING);
  const treesOf = async (spooled: boolean): Promise<{ written: number; held: number }> => {
    const workspace = workspaceAt(newRepository(TEST_FORMAT));
    await commit(workspace, { create: { epoch: "e1" } }, () => {});
    const { transactions } = await importAll(workspace, lines, itemsOf, { most, spooled });
    expect(transactions).toBe(keys / most);
    const { objects } = workspace.repo;
    const treesBelow = (oid: string): string[] => {
      const entries = parseTree(objects.format, objects.read(oid)!.data);
      return [oid, ...entries.flatMap((entry) => (entry.mode === MODE.tree ? treesBelow(entry.oid) : []))];
    };
    const written = new Set<string>();
    for (let at = workspace.requireState(); at.data !== undefined; at = stateAt(objects, at.ledger.parent!))
      for (const oid of treesBelow(at.data)) written.add(oid);
    return { written: written.size, held: treesBelow(workspace.requireState().data!).length };
  };
  const spooled = await treesOf(true);
  const inOrder = await treesOf(false);
  expect(spooled.held).toBe(inOrder.held);
  expect(spooled.written).toBeLessThan(spooled.held * 2);
  expect(inOrder.written).toBeGreaterThan(inOrder.held * 4);
}, 60_000);
