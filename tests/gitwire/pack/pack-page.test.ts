/** Pages of a pack's file: what is read in turn from some places is read once from each. */

import { expect, spyOn, test } from "bun:test";
import { ENTRY } from "../../../src/gitwire/pack/pack-entry.ts";
import { PackFile } from "../../../src/gitwire/pack/pack-file.ts";
import { PAGE_BYTES, page } from "../../../src/gitwire/pack/pack-page.ts";
import { deflate } from "../../../src/gitwire/pack/zlib.ts";
import { random } from "../../support/random.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { encodeEntry, handPack } from "./fixtures.ts";

const COUNT = 4_000;

test("entries read in turn from four places, and from five", () => {
  const rng = random("pack-page");
  const entries = Array.from({ length: COUNT }, () => {
    const data = rng.bytes(rng.int(400));
    return { type: ENTRY.blob, data, stream: deflate(data) };
  });
  const encoded = entries.map((entry) => encodeEntry(entry));
  const offsets: number[] = [];
  for (let i = 0, at = 12; i < COUNT; at += encoded[i++]!.length) offsets.push(at);
  const bytes = handPack(TEST_FORMAT, entries);
  const readsOf = (places: number): number => {
    // Another opening each time: nothing is known of it.
    const file = new PackFile("held.pack", TEST_FORMAT, bytes);
    const reads = spyOn(file, "readUpTo");
    const part = COUNT / places;
    for (let i = 0; i < part; i++) {
      for (let place = 0; place < places; place++) {
        const n = place * part + i;
        const { size } = page.header(file, offsets[n]!);
        expect(size).toBe(entries[n]!.data.length);
        const { length } = encoded[n]!;
        expect(page.end - page.at).toBeGreaterThanOrEqual(length);
        expect(page.bytes.subarray(page.at, page.at + length).equals(encoded[n]!)).toBe(true);
      }
    }
    return reads.mock.calls.length;
  };
  // What is left of a page may be too short to be sure of an entry.
  const once = bytes.length / (PAGE_BYTES - 1_024);
  for (const places of [1, 2, 4]) expect(readsOf(places)).toBeLessThan(once + 2 * places);
  expect(readsOf(5)).toBe(COUNT);
});
