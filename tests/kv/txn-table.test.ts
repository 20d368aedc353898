/** The table of transactions by itself: what a time costs, whatever the clocks said. */

import { expect, spyOn, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { RowStack, TxnTable } from "../../src/kv/txn-table.ts";
import { random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

/** In more than 300 blocks. */
const COUNT = 20_000;

/** A table with a row for each of these times, added in portions as they come. */
function tableOf(times: readonly number[], portions: readonly number[] = [times.length]): TxnTable {
  const table = TxnTable.open(path.join(tempDir("table"), "t"), TEST_FORMAT);
  let from = 0;
  for (const count of portions) {
    const rows = new RowStack(TEST_FORMAT);
    for (let i = from + count - 1; i >= from; i--) {
      rows.push({
        oid: i.toString(16).padStart(TEST_FORMAT.hexSize, "0"),
        txn: `${i}`.padStart(26, "0"),
        time: times[i]!,
      });
    }
    table.replaceAfter(from, rows);
    table.save();
    from += count;
  }
  return table;
}

test("a time is found in a few reads, though one clock was years ahead at the beginning", () => {
  for (const first of [1_000, 10 ** 12]) {
    const times = Array.from({ length: COUNT }, (_, i) => (i === 0 ? first : 10_000 + i * 10));
    const table = tableOf(times);
    const reads = spyOn(fs, "readSync");
    for (const seq of [2, 3, 4_097, 10_000, 12_345, COUNT - 1, COUNT]) {
      reads.mockClear();
      expect(table.newestAt(10_005 + (seq - 1) * 10, COUNT)).toBe(seq);
      expect(reads.mock.calls.length).toBeLessThan(60);
    }
    expect(table.newestAt(9_999, COUNT)).toBe(first < 9_999 ? 1 : undefined);
    reads.mockRestore();
    table.close();
  }
});

test("as looking at every row has it, whatever the times and the portions they came in", () => {
  const rng = random("txn table");
  for (let round = 0; round < 20; round++) {
    const portions = Array.from({ length: 1 + rng.int(6) }, () => 1 + rng.int(90));
    const count = portions.reduce((sum, each) => sum + each, 0);
    const times = Array.from({ length: count }, () => rng.int(500));
    const table = tableOf(times, portions);
    for (let i = 0; i < 60; i++) {
      const [time, last] = [rng.int(520), 1 + rng.int(count)];
      const at = times.slice(0, last).findLastIndex((each) => each <= time);
      expect(table.newestAt(time, last)).toBe(at < 0 ? undefined : at + 1);
    }
    table.close();
  }
});
