/** A file that stays in memory while it is small holds what a file would. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { HeldFile } from "../../../src/gitwire/pack/held-file.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { listDir } from "./fixtures.ts";

test("writes, reads and cuts as a file does, in memory and beyond it", () => {
  const rng = random("held file");
  for (const most of [0, 500, 1_000_000]) {
    const dir = tempDir("held");
    const file = new HeldFile(() => dir, "tmp_", most, 100);
    let expected = Buffer.alloc(0);
    for (let step = 0; step < 200; step++) {
      const at = rng.int(expected.length + 1);
      if (step % 20 === 19) {
        file.truncate(at);
        expected = expected.subarray(0, at);
        continue;
      }
      const bytes = rng.bytes(1 + rng.int(400));
      file.write(bytes, at);
      const after = expected.subarray(Math.min(at + bytes.length, expected.length));
      expected = Buffer.concat([expected.subarray(0, at), bytes, after]);
      const from = rng.int(expected.length + 1);
      const into = Buffer.alloc(500);
      const got = file.read(into, 500, from);
      expect(into.subarray(0, got).equals(expected.subarray(from, from + 500))).toBe(true);
    }
    expect(file.held?.equals(expected)).toBe(most === 1_000_000 ? true : undefined);
    expect(listDir(dir).length).toBe(most === 1_000_000 ? 0 : 1);
    file.commit(path.join(dir, "done"), { fsync: false });
    file.discard();
    expect(listDir(dir)).toEqual(["done"]);
    expect(fs.readFileSync(path.join(dir, "done")).equals(expected)).toBe(true);
  }
});

test("discarded it leaves nothing", () => {
  const dir = tempDir("held");
  for (const most of [0, 100]) {
    const file = new HeldFile(() => dir, "tmp_", most);
    file.write(Buffer.from("some bytes"), 0);
    file.discard();
    expect(listDir(dir)).toEqual([]);
  }
});
