/** Deltas that are applied as they arrive: whichever are, the same comes out as where all wait for the end of the pack. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { hashObject } from "../../../src/gitwire/object/oid.ts";
import { DeltaBuilder } from "../../../src/gitwire/pack/delta.ts";
import { DeltaLimits } from "../../../src/gitwire/pack/delta-limits.ts";
import { EarlyDeltas } from "../../../src/gitwire/pack/early-deltas.ts";
import { EntryList } from "../../../src/gitwire/pack/entry-list.ts";
import { indexPack } from "../../../src/gitwire/pack/index-pack.ts";
import { ENTRY } from "../../../src/gitwire/pack/pack-entry.ts";
import { LIMITS } from "../../../src/limits.ts";
import { random } from "../../support/random.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { encodeEntry, type HandEntry, handPack } from "./fixtures.ts";
import { inChunks, options, refusal } from "./indexing.ts";

setDefaultTimeout(60_000);
const rng = random("early-deltas");

/** A pack in the making: its entries, where they are, and the objects they make. */
class Making {
  readonly entries: HandEntry[] = [];
  readonly objects: Buffer[] = [];
  readonly #offsets: number[] = [];
  #end = 12;

  blob(data: Buffer): this {
    return this.#add({ type: ENTRY.blob, data }, data);
  }

  /** A delta that puts a text of `grown` bytes and some more into the object of entry number `base`, named by its distance or by its id. */
  delta(base: number, grown: number, byId = false): this {
    const from = this.objects[base]!;
    const { delta, made } = edit(from, Buffer.from(`<${rng.int(1e9)}>${"x".repeat(grown)}`));
    if (byId)
      return this.#add({ type: ENTRY.refDelta, data: delta, base: hashObject(TEST_FORMAT, "blob", from) }, made);
    return this.#add({ type: ENTRY.ofsDelta, data: delta, base: this.#end - this.#offsets[base]! }, made);
  }

  get pack(): Buffer {
    return handPack(TEST_FORMAT, this.entries);
  }

  #add(entry: HandEntry, made: Buffer): this {
    this.entries.push(entry);
    this.objects.push(made);
    this.#offsets.push(this.#end);
    this.#end += encodeEntry(entry).length;
    return this;
  }
}

/** A delta that puts `text` into `from` somewhere, and what it makes. */
function edit(from: Buffer, text: Buffer): { delta: Buffer; made: Buffer } {
  const at = rng.int(from.length + 1);
  const builder = new DeltaBuilder();
  builder.copy(0, at);
  builder.insert(text);
  builder.copy(at, from.length - at);
  const made = Buffer.concat([from.subarray(0, at), text, from.subarray(at)]);
  return { delta: builder.finish(from.length, made.length), made };
}

test("bases near and far, small and large, named by place and by id: all make the same index", async () => {
  for (let round = 0; round < 12; round++) {
    const making = new Making().blob(Buffer.from(`round ${round} `.repeat(20)));
    for (let i = 1; i < 400; i++) {
      const grown = rng.int(40) === 0 ? 60_000 + rng.int(20_000) : rng.int(50);
      const base = rng.int(3) === 0 ? rng.int(i) : Math.max(0, i - 1 - rng.int(4));
      if (rng.int(4) === 0) making.blob(Buffer.from(`${i} ${"word ".repeat(30)}${"y".repeat(grown)}`));
      else making.delta(base, grown, rng.int(5) === 0);
    }
    const indexes: Buffer[] = [];
    // Nothing early; one piece of memory that is written over again and again; all that there is room for.
    for (const heldBytes of [0, 2 * 1024 * 1024, 256 * 1024 * 1024]) {
      const use = options(TEST_FORMAT);
      const { idxPath, objects } = (await indexPack(inChunks(making.pack, 5_000), { ...use, heldBytes }))!;
      for (const [i, data] of making.objects.entries()) {
        expect({ round, i, oid: objects.oid(i) }).toEqual({ round, i, oid: hashObject(TEST_FORMAT, "blob", data) });
      }
      indexes.push(fs.readFileSync(idxPath));
    }
    expect(indexes[1]!.equals(indexes[0]!) && indexes[2]!.equals(indexes[0]!)).toBe(true);
  }
});

test("a chain is as deep as it is, whichever of its deltas were early", async () => {
  const making = new Making().blob(Buffer.from("the first of a chain"));
  for (let i = 0; i < 30; i++) making.delta(i, i === 12 ? 70_000 : 1);
  for (const heldBytes of [0, 256 * 1024 * 1024]) {
    expect(await refusal(making.pack, { heldBytes, limits: { deltaDepth: 30 } })).toBe("accepted");
    expect(await refusal(making.pack, { heldBytes, limits: { deltaDepth: 29 } })).toBe("LIMIT_EXCEEDED");
    expect(await refusal(making.pack, { heldBytes, limits: { packInflatedBytes: 1_000_000 } })).toBe("LIMIT_EXCEEDED");
  }
});

test("a delta is applied as it arrives where its base is at hand, and left where it is not or makes much", () => {
  const list = new EntryList(TEST_FORMAT, 1_024);
  const early = new EarlyDeltas(list, new DeltaLimits(LIMITS), 256 * 1024);
  const base = Buffer.from("a base that is some words long");
  const oid = (entry: number): string => list.idOf(entry).toString("hex");
  const blob = (data: Buffer): number => {
    const entry = list.add(ENTRY.blob, 12 + list.count, 0);
    list.setId(entry, Buffer.from(hashObject(TEST_FORMAT, "blob", data), "hex"));
    early.note(entry, data, data.length);
    return entry;
  };
  const resolve = (on: number, delta: Buffer): boolean =>
    early.resolve(list.add(ENTRY.ofsDelta, 12 + list.count, 0), on, delta);
  const { delta, made } = edit(base, Buffer.from(" and more"));
  // Bases are kept from the first delta on.
  expect(resolve(blob(base), delta)).toBe(false);
  const first = blob(base);
  expect(resolve(first, delta)).toBe(true);
  expect([oid(first + 1), list.depthOf(first + 1)]).toEqual([hashObject(TEST_FORMAT, "blob", made), 1]);
  const again = edit(made, Buffer.from("!"));
  expect(resolve(first + 1, again.delta)).toBe(true);
  expect([oid(first + 2), list.depthOf(first + 2)]).toEqual([hashObject(TEST_FORMAT, "blob", again.made), 2]);
  expect(resolve(first, edit(base, Buffer.alloc(70_000, "z")).delta)).toBe(false);
  for (let i = 0; i < 5; i++) blob(Buffer.alloc(60_000, i));
  expect(resolve(first, delta)).toBe(false);
  expect(() => early.resolve(list.add(ENTRY.ofsDelta, 9_999, 0), blob(base), Buffer.of(0x80))).toThrow(
    "of the pack: a delta is damaged",
  );
});
