import { expect, test } from "bun:test";
import type { GitObject } from "../../../src/gitwire/object/object.ts";
import { hashObject, type ObjectFormat, type Oid, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { ObjectArena } from "../../../src/gitwire/pack/object-arena.ts";
import { random } from "../../support/random.ts";

/** Objects of all kinds and sizes, some with what they changed. */
function someObjects(format: ObjectFormat, count: number): Map<Oid, GitObject> {
  const { int, bytes } = random(`object arena ${format.name}`);
  const objects = new Map<Oid, GitObject>();
  for (let i = 0; i < count; i++) {
    const kind = (["commit", "tree", "blob", "tag"] as const)[int(4)]!;
    const data = Buffer.concat([Buffer.from(`${i} `), bytes(int(50) === 0 ? int(70_000) : int(300))]);
    const change = {
      base: hashObject(format, "blob", bytes(8)),
      before: bytes(int(3) * 40),
      after: bytes(int(3) * 40),
      compared: { entries: int(300), inOrder: true, hasTree: int(2) === 0 },
    };
    objects.set(
      hashObject(format, kind, data),
      kind === "tree" && int(2) === 0 ? { kind, data, change } : { kind, data },
    );
  }
  return objects;
}

for (const format of [SHA1, SHA256]) {
  test(`what is put in comes out, by id as text or as bytes, ${format.name}`, () => {
    const objects = someObjects(format, 3_000);
    const arena = new ObjectArena(1 << 26);
    for (const [i, [oid, object]] of [...objects].entries()) {
      if (i % 2 === 0) arena.set(oid, object);
      else arena.add(Buffer.from(oid, "hex"), object);
    }
    for (const [oid, object] of objects) expect(arena.get(oid)).toEqual(object);
    expect(arena.get(format.zeroOid)).toBeUndefined();
  });
}

test("it holds copies: the buffers that were given are used again", () => {
  const arena = new ObjectArena(1 << 20);
  const data = Buffer.from("first");
  const oid = hashObject(SHA1, "blob", data);
  arena.set(oid, { kind: "blob", data });
  data.fill(0);
  expect(arena.get(oid)?.data.toString()).toBe("first");
});

test("an object that is there stays as it is and counts once", () => {
  const arena = new ObjectArena(1 << 20);
  arena.set(SHA1.emptyTree, { kind: "blob", data: Buffer.from("one") });
  const { bytes } = arena;
  arena.set(SHA1.emptyTree, { kind: "blob", data: Buffer.from("other") });
  expect([arena.get(SHA1.emptyTree)?.data.toString(), arena.bytes]).toEqual(["one", bytes]);
});

test("the budget is never passed, and the first stay", () => {
  const budget = 200_000;
  const arena = new ObjectArena(budget);
  const kept: Oid[] = [];
  for (const [oid, object] of someObjects(SHA1, 3_000)) {
    const changed = object.change === undefined ? 0 : 20 + object.change.before.length + object.change.after.length;
    const fits = arena.hasRoom(object.data.length + changed);
    arena.set(oid, object);
    expect(arena.get(oid) !== undefined).toBe(fits);
    if (fits) kept.push(oid);
    expect(arena.bytes).toBeLessThanOrEqual(budget);
  }
  expect(kept.length).toBeGreaterThan(0);
  expect(kept.length).toBeLessThan(3_000);
  for (const oid of kept) expect(arena.get(oid)).toBeDefined();
  expect(arena.hasRoom(budget - arena.bytes)).toBe(false);
});

test("an object above a quarter of the budget is not kept", () => {
  const arena = new ObjectArena(4_000);
  arena.set(SHA1.emptyTree, { kind: "blob", data: Buffer.alloc(1_000) });
  expect(arena.get(SHA1.emptyTree)).toBeUndefined();
  arena.set(SHA1.emptyTree, { kind: "blob", data: Buffer.alloc(900) });
  expect(arena.get(SHA1.emptyTree)?.data.length).toBe(900);
});

test("cleared, it is empty and takes objects again", () => {
  const arena = new ObjectArena(1 << 20);
  const object: GitObject = { kind: "blob", data: Buffer.from("a") };
  arena.set(SHA1.emptyTree, object);
  arena.clear();
  expect([arena.bytes, arena.get(SHA1.emptyTree)]).toEqual([0, undefined]);
  arena.set(SHA1.emptyTree, object);
  expect(arena.get(SHA1.emptyTree)).toEqual(object);
});
