/** Thin packs completed from a store: what is copied, what is made anew, and that git agrees with the result. */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { hashObject, type ObjectFormat, type Oid, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { createDelta } from "../../../src/gitwire/pack/delta-search.ts";
import { indexPack } from "../../../src/gitwire/pack/index-pack.ts";
import { PackBuilder } from "../../../src/gitwire/pack/pack-builder.ts";
import type { RawEntry } from "../../../src/gitwire/pack/pack-entry.ts";
import { Pack } from "../../../src/gitwire/pack/pack-reader.ts";
import { RecentBases } from "../../../src/gitwire/pack/recent-bases.ts";
import { ObjectStore } from "../../../src/gitwire/store/object-store.ts";
import { writeLoose, writePack } from "../../../src/gitwire/store/object-writer.ts";
import { Quarantine } from "../../../src/gitwire/store/quarantine.ts";
import { git, tryGit } from "../../support/git.ts";
import { type Random, random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { packsOf } from "../pack/fixtures.ts";
import { inChunks } from "../pack/indexing.ts";

const rng = random("thin-packs");

function emptyStore(format: ObjectFormat): { dir: string; store: ObjectStore } {
  const dir = tempDir("thin");
  git(dir, "init", "-q", "--bare", `--object-format=${format.name}`, ".");
  return { dir, store: new ObjectStore(path.join(dir, "objects"), format) };
}

/** `git fsck` has no complaint, whatever nothing refers to. */
function fsckClean(dir: string): void {
  const run = tryGit(dir, ["fsck", "--strict", "--full", "--no-dangling"]);
  expect(`${run.status} ${run.stdout}${run.stderr.replace(/notice: .*\n/g, "")}`).toBe("0 ");
}

function text(random: Random, size = 1_500): Buffer {
  return Buffer.from(Array.from({ length: size / 15 }, (_, i) => `line ${i} ${random.int(1000)}`).join("\n"));
}

/** `data` with a line or two of its own. */
function edited(data: Buffer, edit: string): Buffer {
  const lines = data.toString().split("\n");
  lines[rng.int(lines.length)] = edit;
  return Buffer.from(lines.join("\n"));
}

/** `held`: received as a server receives, which keeps small packs in memory and remembers what its objects are made of. */
type Way = "written" | "received" | "held";

/** Stores deltas of objects that are in the store, as a writer here does or as they arrive from outside. */
async function addDeltas(
  store: ObjectStore,
  way: Way,
  deltas: readonly (readonly [base: Buffer, data: Buffer])[],
): Promise<Pack> {
  const { format } = store;
  const builder = new PackBuilder(format);
  for (const [base, data] of deltas) {
    builder.writeDelta("blob", data, hashObject(format, "blob", base), createDelta(base, data)!);
  }
  const finished = builder.finish();
  if (way === "written") return new Pack(writePack(store, finished)!.packPath, format);
  const quarantine = Quarantine.prepare(store.objectsDir);
  if (way === "held") store.recentBases ??= new RecentBases(1024 * 1024);
  const bytes = Buffer.concat([...finished.chunks()]);
  const indexed = (await indexPack(inChunks(bytes, 0), {
    format,
    dir: quarantine.packDir,
    makeDir: () => quarantine.makeFolder(),
    mostHeld: way === "held" ? 128 * 1024 : 0,
    bases: store,
    unique: true,
  }))!;
  quarantine.hold(indexed);
  quarantine.migrate(store);
  return new Pack(path.join(store.objectsDir, "pack", path.basename(indexed.packPath)), format);
}

function writeWhole(store: ObjectStore, ...blobs: Buffer[]): Pack {
  const builder = new PackBuilder(store.format);
  for (const data of blobs) builder.write("blob", data);
  return new Pack(writePack(store, builder.finish())!.packPath, store.format);
}

/** The object's entry in the pack, and how many deltas lead from it to a whole object. */
function entryOf(pack: Pack, oid: Oid): RawEntry & { depth: number } {
  const offset = pack.find(oid);
  if (offset < 0) throw new Error(`${oid} is not in the pack`);
  const entry = pack.rawEntry(offset);
  let depth = 0;
  for (let at = pack.entryInfo(offset); at.kind === undefined; at = pack.entryInfo(at.baseOffset)) depth++;
  return { ...entry, depth };
}

for (const format of [SHA1, SHA256]) {
  for (const way of ["written", "received", "held"] as const) {
    const idOf = (data: Buffer): Oid => hashObject(format, "blob", data);

    describe(`${way}, ${format.name}`, () => {
      test("a base that lies whole in a pack is copied byte for byte", async () => {
        const { dir, store } = emptyStore(format);
        // Small, beyond one read, and beyond the window that entries are read through.
        const bases = [text(rng), text(rng, 30_000), rng.bytes(90_000), rng.bytes(400_000)];
        const from = writeWhole(store, ...bases);
        const pack = await addDeltas(
          store,
          way,
          bases.map((base) => [base, Buffer.concat([base, Buffer.from("more")])] as const),
        );
        expect(pack.count).toBe(8);
        for (const base of bases) {
          const [there, here] = [entryOf(from, idOf(base)), entryOf(pack, idOf(base))];
          expect(here.kind).toBe("blob");
          expect(here.data.equals(there.data)).toBe(true);
        }
        fsckClean(dir);
      });

      test("a base that is a delta becomes one of the whole object at the end of its chain", async () => {
        const { dir, store } = emptyStore(format);
        const versions = [text(rng, 4_500)];
        for (let i = 1; i < 60; i++)
          versions.push(edited(versions.at(-1)!, `edit ${i} ${rng.bytes(40).toString("hex")}`));
        writeWhole(store, versions[0]!);
        const depths: number[] = [];
        for (let i = 1; i < versions.length; i++) {
          const pack = await addDeltas(store, way, [[versions[i - 1]!, versions[i]!]]);
          depths.push(entryOf(pack, idOf(versions[i]!)).depth);
          // The object, its base, and the one at the end, unless that has just been made anew.
          expect(pack.count).toBe(depths.at(-1)! + 1);
        }
        expect(depths.slice(0, 5)).toEqual([1, 2, 2, 2, 2]);
        // Where the delta of all changes grew too large the base was made whole, and the next one starts there.
        const renewed = depths.slice(1).filter((depth) => depth === 1).length;
        expect(renewed).toBeGreaterThan(0);
        expect(renewed).toBeLessThan(15);
        expect(Math.max(...depths)).toBe(2);
        fsckClean(dir);
        for (const version of versions) {
          expect(new ObjectStore(store.objectsDir, format).read(idOf(version))!.data.equals(version)).toBe(true);
        }
      });

      test("bases that share a chain share its copy", async () => {
        const { dir, store } = emptyStore(format);
        const root = text(rng);
        const middle = edited(root, "middle");
        const tips = ["one", "two", "three"].map((name) => edited(middle, name));
        writeWhole(store, root);
        await addDeltas(store, way, [[root, middle], ...tips.map((tip) => [middle, tip] as const)]);
        const pack = await addDeltas(
          store,
          way,
          [root, middle, ...tips].map((base) => [base, edited(base, "the last edit")] as const),
        );
        // Five new ones, and of the five bases all.
        expect(pack.count).toBe(10);
        fsckClean(dir);
      });

      test("an object that comes back to what it was is not stored twice", async () => {
        const { dir, store } = emptyStore(format);
        const [first, second] = [text(rng), text(rng)];
        const changed = edited(first, "changed");
        writeWhole(store, first, second);
        await addDeltas(store, way, [[first, changed]]);
        // `first` again, as a delta of `changed`, whose own entry is a delta of `first`.
        const pack = await addDeltas(store, way, [
          [second, edited(second, "changed too")],
          [changed, first],
        ]);
        expect(pack.count).toBe(4);
        expect(entryOf(pack, idOf(changed)).kind).toBe("blob");
        fsckClean(dir);
        git(dir, "repack", "-a", "-d", "-q", "--keep-unreachable");
        fsckClean(dir);
        const reopened = new ObjectStore(store.objectsDir, format);
        for (const data of [first, second, changed]) expect(reopened.read(idOf(data))!.data.equals(data)).toBe(true);
      });

      test("bases that are loose, in an alternate, or damaged where they are found first", async () => {
        const { dir, store } = emptyStore(format);
        const other = emptyStore(format);
        const [loose, borrowed, damaged] = [text(rng), text(rng), text(rng, 3_000)];
        writeLoose(store, "blob", loose);
        writeWhole(other.store, borrowed);
        fs.writeFileSync(path.join(store.objectsDir, "info/alternates"), `${other.store.objectsDir}\n`);
        const reopened = new ObjectStore(store.objectsDir, format);
        const broken = writeWhole(reopened, damaged);
        const at = broken.entryInfo(broken.find(idOf(damaged))).dataOffset;
        const bytes = fs.readFileSync(broken.path);
        bytes[at + 20]! ^= 0xff;
        fs.chmodSync(broken.path, 0o644);
        fs.writeFileSync(broken.path, bytes);
        writeLoose(reopened, "blob", damaged);
        const deltas = [loose, borrowed, damaged].map((base) => [base, edited(base, "edit")] as const);
        const pack = await addDeltas(reopened, way, deltas);
        expect(pack.count).toBe(6);
        fs.rmSync(broken.path);
        fs.rmSync(broken.path.replace(".pack", ".idx"));
        fsckClean(dir);
      });

      test("generations of random edits, from packs of any size", async () => {
        const { dir, store } = emptyStore(format);
        let current = Array.from({ length: 60 }, () => text(rng, rng.pick([300, 1_500, 9_000, 20_000])));
        const ballast = Array.from({ length: rng.pick([0, 4_000]) }, (_, i) => Buffer.from(`ballast ${i}`));
        writeWhole(store, ...ballast, ...current);
        const all = new Set(current);
        for (let round = 0; round < 7; round++) {
          const deltas: [Buffer, Buffer][] = [];
          current = current.map((base, i) => {
            if (rng.int(3) === 0) return base;
            const next = edited(base, `${round} ${i}`);
            deltas.push([base, next]);
            all.add(next);
            return next;
          });
          const pack = await addDeltas(store, way, deltas);
          for (const offset of pack.order().offsets) pack.rawEntry(offset);
        }
        for (const reader of [store, new ObjectStore(store.objectsDir, format)]) {
          for (const data of all) expect(reader.read(idOf(data))!.data.equals(data)).toBe(true);
        }
        expect(packsOf(dir).length).toBe(8);
        fsckClean(dir);
      });
    });
  }
}
