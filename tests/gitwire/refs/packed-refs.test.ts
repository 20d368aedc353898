import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import type { KvError } from "../../../src/errors.ts";
import { SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { PACKED_REFS_HEADER, PackedRefs } from "../../../src/gitwire/refs/packed-refs.ts";
import { compareRefNames } from "../../../src/gitwire/refs/ref-name.ts";
import { git } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { makeFixture, newRepository } from "./fixture.ts";

const fixture = makeFixture();
const none = () => undefined;

function id(n: number): string {
  return n.toString(16).padStart(TEST_FORMAT.hexSize, "0");
}

function build(names: readonly string[], peeled: (name: string) => string | undefined = none): Buffer {
  const changes = names.map((name, i) => ({ name, oid: id(i + 1), peeled: peeled(name) }));
  return Buffer.concat(PackedRefs.empty(TEST_FORMAT).rewrite(changes, none));
}

test("what git packs is read, by name and in order, tags peeled", () => {
  for (const format of [SHA1, SHA256]) {
    const objects = format === TEST_FORMAT ? fixture : makeFixture(format);
    const loose: Record<string, string> = { "refs/tags/t": objects.tag, "refs/other/t": objects.tag };
    for (let i = 0; i < 40; i++) loose[`refs/heads/b${i % 3 === 0 ? "/" : "-"}${i}`] = objects.commits[i % 6]!;
    const dir = newRepository(objects, { loose });
    git(dir, "pack-refs", "--all", "--prune");
    const packed = PackedRefs.parse(format, fs.readFileSync(path.join(dir, "packed-refs")));
    const entries = [...packed.entries()];
    expect(Object.fromEntries(entries.map(({ name, oid }) => [name, oid]))).toEqual(loose);
    expect(entries.map(({ name }) => name)).toEqual(Object.keys(loose).sort());
    for (const [name, oid] of Object.entries(loose)) expect(packed.find(name)?.oid).toBe(oid);
    for (const name of ["refs/tags/t", "refs/other/t"]) {
      expect(packed.find(name)).toMatchObject({ peeled: objects.commits[0], peelKnown: true });
    }
    expect(packed.find("refs/heads/b-1")).toMatchObject({ peeled: undefined, peelKnown: true });
    for (const name of ["refs/heads/b", "refs/a", "refs/z", "", "refs/heads/b-1x"])
      expect(packed.find(name)).toBeUndefined();
  }
});

test("lookups and rewrites agree with a plain map, whatever the names", () => {
  const rng = random("packed-refs");
  for (let round = 0; round < 30; round++) {
    const model = new Map<string, { oid: string; peeled: string | undefined }>();
    let packed = PackedRefs.empty(TEST_FORMAT);
    const newName = () =>
      `refs/${rng.pick(["a", "é", "heads", "\u{1f642}"])}/${rng.pick(["", "x-", "x/"])}${rng.int(12)}`;
    for (let step = 0; step < 8; step++) {
      const names = [...new Set(Array.from({ length: rng.int(12) }, newName))].sort(compareRefNames);
      const changes = names.map((name) => {
        const oid = rng.int(4) === 0 ? undefined : id(1 + rng.int(1e6));
        return { name, oid, peeled: oid !== undefined && rng.int(3) === 0 ? id(rng.int(1e6)) : undefined };
      });
      for (const { name, oid, peeled } of changes) {
        if (oid === undefined) model.delete(name);
        else model.set(name, { oid, peeled });
      }
      packed = PackedRefs.parse(TEST_FORMAT, Buffer.concat(packed.rewrite(changes, none)));
    }
    const expected = [...model]
      .sort(([a], [b]) => compareRefNames(a, b))
      .map(([name, v]) => ({ name, ...v, peelKnown: true }));
    expect([...packed.entries()]).toEqual(expected);
    for (const prefix of ["refs/a/", "refs/é/x", "refs/heads/x-1", "refs/"]) {
      const fitting = expected.filter(({ name }) => name.startsWith(prefix));
      expect([...packed.entries(prefix)]).toEqual(fitting);
      expect(packed.hasPrefix(prefix)).toBe(fitting.length > 0);
    }
    for (let i = 0; i < 20; i++) {
      const name = newName();
      expect(packed.find(name)?.oid).toBe(model.get(name)?.oid as string);
    }
  }
});

test("an old file without traits is sorted, and peeled when it is rewritten", () => {
  const text = `${id(2)} refs/tags/b\n${id(1)} refs/heads/a\n${id(3)} refs/tags/c\n^${id(9)}\n`;
  const packed = PackedRefs.parse(TEST_FORMAT, Buffer.from(text));
  expect(packed.find("refs/tags/b")).toMatchObject({ oid: id(2), peelKnown: false });
  const asked: string[] = [];
  const rewritten = Buffer.concat(
    packed.rewrite([{ name: "refs/heads/new", oid: id(7), peeled: undefined }], (oid) => {
      asked.push(oid);
      return oid === id(2) ? id(8) : undefined;
    }),
  ).toString();
  expect(asked).toEqual([id(1), id(2)]);
  expect(rewritten).toBe(
    `${PACKED_REFS_HEADER}${id(1)} refs/heads/a\n${id(7)} refs/heads/new\n${id(2)} refs/tags/b\n^${id(8)}\n${id(3)} refs/tags/c\n^${id(9)}\n`,
  );
});

test('"peeled" alone speaks for refs/tags/ only', () => {
  const text = `# pack-refs with: peeled \n${id(1)} refs/heads/a\n${id(2)} refs/tags/b\n`;
  const packed = PackedRefs.parse(TEST_FORMAT, Buffer.from(text));
  expect(packed.find("refs/heads/a")?.peelKnown).toBe(false);
  expect(packed.find("refs/tags/b")?.peelKnown).toBe(true);
});

test("damage is told or harmless: cut anywhere, any byte changed", () => {
  const whole = build(["refs/heads/a", "refs/heads/b", "refs/tags/c"], (name) =>
    name.includes("tags") ? id(9) : undefined,
  );
  const look = (bytes: Buffer) => {
    try {
      const packed = PackedRefs.parse(TEST_FORMAT, bytes);
      packed.find("refs/heads/b");
      packed.find("refs/tags/c");
      for (const entry of packed.entries()) expect(entry.oid).toMatch(/^[0-9a-f]{40,64}$/);
      return [...packed.entries()].length;
    } catch (error) {
      expect((error as KvError).code).toBe("CORRUPT");
      return -1;
    }
  };
  expect(look(whole)).toBe(3);
  for (let cut = 1; cut < whole.length; cut++) {
    const found = look(whole.subarray(0, cut));
    if (whole[cut - 1] !== 10) expect(found).toBe(-1);
  }
  for (let at = 0; at < whole.length; at++) {
    for (const flip of [0x01, 0x20, 0x80]) {
      const bytes = Buffer.from(whole);
      bytes[at]! ^= flip;
      look(bytes);
    }
  }
});

test("names that are not UTF-8 are kept in the file and left out of lists", () => {
  const strange = Buffer.concat([Buffer.from(`${PACKED_REFS_HEADER}${id(1)} refs/heads/`), Buffer.from([0xff, 10])]);
  const packed = PackedRefs.parse(TEST_FORMAT, strange);
  expect([...packed.entries()]).toEqual([]);
  const after = Buffer.concat(packed.rewrite([{ name: "refs/heads/a", oid: id(2), peeled: undefined }], none));
  expect(after.includes(Buffer.from([0x2f, 0xff, 0x0a]))).toBe(true);
});
