/** Sweeps that hand their windows on. */

import { expect, test } from "bun:test";
import { PackBuilder } from "../../../src/gitwire/pack/pack-builder.ts";
import { storeFinishedPack } from "../../../src/gitwire/pack/pack-install.ts";
import { Pack } from "../../../src/gitwire/pack/pack-reader.ts";
import { PackSweep } from "../../../src/gitwire/pack/pack-sweep.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

const rng = random("pack-sweep");

function packOf(count: number): Pack {
  const builder = new PackBuilder(TEST_FORMAT);
  for (let i = 0; i < count; i++) builder.write("blob", rng.bytes(1 + rng.int(3_000)));
  const source = { read: () => undefined, has: () => false, format: TEST_FORMAT };
  const stored = storeFinishedPack(tempDir("sweep"), builder.finish(), source, { fsync: false })!;
  return new Pack(stored.packPath, TEST_FORMAT);
}

test("a window that another sweep takes over holds that one's pack", () => {
  const packs = [packOf(3), packOf(200), packOf(20)];
  const sweeps = packs.map((pack) => new PackSweep(pack));
  for (let round = 0; round < 300; round++) {
    const which = rng.int(packs.length);
    const [pack, sweep] = [packs[which]!, sweeps[which]!];
    const { offsets } = pack.order();
    const from = rng.int(offsets.length);
    for (const offset of offsets.subarray(from, from + 1 + rng.int(10))) {
      expect(sweep.smallObject(offset)!.data.equals(pack.read(offset).data)).toBe(true);
    }
    if (rng.int(3) === 0) sweep.release();
  }
  for (const pack of packs) pack.close();
});
