import { expect, test } from "bun:test";
import {
  hashObject,
  type ObjectFormat,
  type ObjectKind,
  type Oid,
  SHA1,
  SHA256,
} from "../../../src/gitwire/object/oid.ts";
import { encodeTree, MODE, parseTree, sortEntries, type TreeEntry } from "../../../src/gitwire/object/tree.ts";
import { findDisconnection } from "../../../src/gitwire/protocol/connectivity.ts";
import { MemoryObjects } from "../../support/memory-objects.ts";
import { type Random, random } from "../../support/random.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

/** Files by path; a path has at most two directories. */
type Files = Map<string, Oid>;

/** What a push adds to, as objects apart from those it brings. */
class Sides {
  readonly all: MemoryObjects;
  readonly old = new Map<Oid, ObjectKind>();
  readonly fresh = new Map<Oid, ObjectKind>();

  /** What a view of a push asks: the kind of the raw id at `bytes[at]` among those that came. */
  readonly newKind = (bytes: Buffer, at: number): ObjectKind | undefined =>
    this.fresh.get(bytes.hexSlice(at, at + this.all.format.rawSize));

  constructor(format: ObjectFormat) {
    this.all = new MemoryObjects(format);
  }

  write(side: Map<Oid, ObjectKind>, kind: ObjectKind, data: Buffer): Oid {
    const oid = this.all.write(kind, data);
    if (!this.old.has(oid)) side.set(oid, kind);
    return oid;
  }

  tree(side: Map<Oid, ObjectKind>, files: Files): Oid {
    const entries: TreeEntry[] = [];
    const below = new Map<string, Files>();
    for (const [file, oid] of files) {
      const slash = file.indexOf("/");
      if (slash < 0) entries.push({ mode: MODE.file, name: file, oid });
      else {
        const dir = file.slice(0, slash);
        below.set(dir, (below.get(dir) ?? new Map()).set(file.slice(slash + 1), oid));
      }
    }
    for (const [name, inner] of below) entries.push({ mode: MODE.tree, name, oid: this.tree(side, inner) });
    return this.write(side, "tree", encodeTree(this.all.format, sortEntries(entries)));
  }

  commit(side: Map<Oid, ObjectKind>, tree: Oid, parent?: Oid): Oid {
    const parents = parent === undefined ? "" : `parent ${parent}\n`;
    const ident = "A <a@example.org> 1 +0000";
    const text = `tree ${tree}\n${parents}author ${ident}\ncommitter ${ident}\n\nx\n`;
    return this.write(side, "commit", Buffer.from(text));
  }

  /** Whether everything below the new tree `oid` is here and of its kind, found by looking at each entry. */
  isWhole(oid: Oid): boolean {
    const object = this.fresh.has(oid) ? this.all.read(oid) : undefined;
    if (object === undefined) return this.old.get(oid) === "tree";
    return parseTree(this.all.format, object.data).every((entry) => {
      if (entry.mode === MODE.gitlink) return true;
      if (entry.mode === MODE.tree) return this.isWhole(entry.oid);
      return (this.fresh.get(entry.oid) ?? this.old.get(entry.oid)) === "blob";
    });
  }
}

function randomFiles(rnd: Random, sides: Sides): Files {
  const files: Files = new Map();
  for (let n = rnd.pick([3, 40, 90]); n > 0; n--) {
    const dir = rnd.pick(["", `${rnd.int(4)}/`, `${rnd.int(4)}/${rnd.int(2)}/`]);
    files.set(`${dir}f${rnd.int(400)}`, sides.write(sides.old, "blob", rnd.bytes(6)));
  }
  return files;
}

/** Files moved between directories and their parents, some changed: a few are not here, or no blobs. */
function moved(rnd: Random, sides: Sides, files: Files): Files {
  const next: Files = new Map();
  const shape = rnd.pick(["same", "folded", "split"]);
  for (const [file, oid] of files) {
    const parts = file.split("/");
    if (shape === "folded" && parts.length > 1) parts.splice(parts.length - 2, 1);
    if (shape === "split") parts.splice(parts.length - 1, 0, String(file.charCodeAt(file.length - 1) % 3));
    next.set(parts.join("/"), oid);
  }
  const strangers = [
    () => sides.write(sides.fresh, "blob", rnd.bytes(6)),
    () => sides.write(sides.fresh, "blob", rnd.bytes(6)),
    () => hashObject(sides.all.format, "blob", rnd.bytes(6)),
    () => rnd.pick([...sides.old.keys()]),
  ];
  for (let n = rnd.int(3); n > 0; n--) next.set(`f${400 + rnd.int(9)}`, rnd.pick(strangers)());
  return next;
}

test("finds what is missing, wherever entries moved to, as looking at each of them does", async () => {
  const rnd = random("connectivity");
  const verdicts = { whole: 0, broken: 0 };
  for (let round = 0; round < 600; round++) {
    const sides = new Sides(rnd.pick([SHA1, SHA256]));
    const files = randomFiles(rnd, sides);
    const parent = sides.commit(sides.old, sides.tree(sides.old, files));
    const tree = sides.tree(sides.fresh, moved(rnd, sides, files));
    const tip = sides.commit(sides.fresh, tree, parent);
    // A new tree may be left out of the pack, too.
    const trees = [...sides.fresh].filter(([, kind]) => kind === "tree");
    if (rnd.int(6) === 0 && trees.length > 0) sides.fresh.delete(rnd.pick(trees)[0]);
    const view = {
      objects: {
        format: sides.all.format,
        read: (oid: Oid) => (sides.fresh.has(oid) || sides.old.has(oid) ? sides.all.read(oid) : undefined),
        has: (oid: Oid) => sides.fresh.has(oid) || sides.old.has(oid),
      },
      newKind: sides.newKind,
      oldKind: (oid: Oid) => sides.old.get(oid),
      fsck: undefined,
    };
    const gap = await findDisconnection(view, [tip]);
    const isWhole = sides.isWhole(tree);
    expect({ round, isWhole: gap === undefined }).toEqual({ round, isWhole });
    verdicts[isWhole ? "whole" : "broken"]++;
  }
  expect(verdicts.whole).toBeGreaterThan(100);
  expect(verdicts.broken).toBeGreaterThan(50);
});

test("does not look up what a folded directory held before", async () => {
  const sides = new Sides(TEST_FORMAT);
  const files: Files = new Map();
  for (let i = 0; i < 64; i++) files.set(`${i % 4}/f${i}`, sides.write(sides.old, "blob", Buffer.from(`value ${i}`)));
  const parent = sides.commit(sides.old, sides.tree(sides.old, files));
  const folded: Files = new Map([...files].map(([file, oid]) => [file.slice(2), oid]));
  const tip = sides.commit(sides.fresh, sides.tree(sides.fresh, folded), parent);
  const asked: Oid[] = [];
  const oldKind = (oid: Oid): ObjectKind | undefined => {
    asked.push(oid);
    return sides.old.get(oid);
  };
  const view = { objects: sides.all, newKind: sides.newKind, oldKind, fsck: undefined };
  expect(await findDisconnection(view, [tip])).toBeUndefined();
  expect(asked).toEqual([parent]);
});
