import { expect, test } from "bun:test";
import { SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import {
  encodeTree,
  MODE,
  parseTree,
  sortEntries,
  sortName,
  type TreeEntry,
} from "../../../src/gitwire/object/tree.ts";
import { type ComparedTree, compareTrees, reduceTrees } from "../../../src/gitwire/object/tree-difference.ts";
import { type Random, random } from "../../support/random.ts";
import { codeOf } from "../../support/streams.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

/** Entries with names that are each other's beginnings, files and trees of one name included. */
function randomEntries(rnd: Random, format: typeof TEST_FORMAT): TreeEntry[] {
  const entries = new Map<string, TreeEntry>();
  for (let n = rnd.int(rnd.pick([3, 20, 80])); n > 0; n--) {
    const name =
      rnd.pick(["a", "ab", "a.b", "a-", "a0", "b", "\xff", "\xc3\xa9", "z"]) + rnd.pick(["", "", `${rnd.int(30)}`]);
    const mode = rnd.pick([MODE.tree, MODE.file, MODE.executable, MODE.gitlink]);
    entries.set(name, {
      name,
      mode,
      oid: rnd.pick([rnd.bytes(format.rawSize), Buffer.alloc(format.rawSize, 7)]).toString("hex"),
    });
  }
  return sortEntries([...entries.values()]);
}

function edit(entries: readonly TreeEntry[], rnd: Random, format: typeof TEST_FORMAT): TreeEntry[] {
  const edited = entries.filter(() => rnd.int(12) > 0);
  for (let n = rnd.int(3); n > 0 && edited.length > 0; n--) {
    const at = rnd.int(edited.length);
    edited[at] = { ...edited[at]!, oid: rnd.bytes(format.rawSize).toString("hex") };
  }
  const names = new Set(edited.map(({ name }) => name));
  if (rnd.int(2) === 0)
    edited.push(
      ...randomEntries(rnd, format)
        .filter(({ name }) => !names.has(name))
        .slice(0, 3),
    );
  return sortEntries(edited);
}

const text = ({ mode, name, oid }: TreeEntry): string => `${mode.toString(8)} ${name} ${oid}`;

/** What a comparison tells, line by line. */
function told(format: typeof TEST_FORMAT, before: Buffer, after: Buffer): { lines: string[]; compared: ComparedTree } {
  const lines: string[] = [];
  const compared = compareTrees(format, before, after, {
    added: (entry, old) => lines.push(`+ ${text(entry.entry())} < ${old === undefined ? "" : text(old.entry())}`),
    removed: (entry) => lines.push(`- ${text(entry.entry())}`),
  });
  return { lines, compared };
}

test("finds what a comparison entry by entry finds", () => {
  const rnd = random("tree difference");
  for (let round = 0; round < 1_500; round++) {
    const format = rnd.pick([SHA1, SHA256]);
    const before = randomEntries(rnd, format);
    const after = rnd.int(5) === 0 ? randomEntries(rnd, format) : edit(before, rnd, format);
    const added: string[] = [];
    const removed: string[] = [];
    const compared = compareTrees(format, encodeTree(format, before), encodeTree(format, after), {
      added: (entry, old) => added.push(`${text(entry.entry())} < ${old === undefined ? "" : text(old.entry())}`),
      removed: (entry) => removed.push(text(entry.entry())),
    });
    const [was, is] = [new Set(before.map(text)), new Set(after.map(text))];
    const sort = (entry: TreeEntry): boolean => entry.mode === MODE.tree;
    const expected = after
      .filter((entry) => !was.has(text(entry)))
      .map((entry) => {
        const old = before.find((other) => other.name === entry.name && sort(other) === sort(entry));
        return `${text(entry)} < ${old === undefined ? "" : text(old)}`;
      });
    expect(added).toEqual(expected);
    expect(compared).toEqual({
      entries: after.length,
      inOrder: true,
      hasTree: [...before, ...after].some(({ mode }) => mode === MODE.tree),
    });
    expect(removed).toEqual(before.map(text).filter((line) => !is.has(line)));
  }
});

test("trees in no order: nothing new is passed over", () => {
  const rnd = random("unsorted trees");
  for (let round = 0; round < 500; round++) {
    const [before, after] = [
      rnd.shuffle(randomEntries(rnd, TEST_FORMAT)),
      rnd.shuffle(randomEntries(rnd, TEST_FORMAT)),
    ];
    const added = new Set<string>();
    compareTrees(TEST_FORMAT, encodeTree(TEST_FORMAT, before), encodeTree(TEST_FORMAT, after), {
      added: (entry) => added.add(text(entry.entry())),
      removed: () => {},
    });
    const was = new Set(before.map(text));
    for (const entry of after) if (!was.has(text(entry))) expect(added).toContain(text(entry));
  }
});

test("says whether the newer tree is in order, where the older one is", () => {
  const rnd = random("trees in order");
  let disordered = 0;
  for (let round = 0; round < 1_500; round++) {
    const before = randomEntries(rnd, SHA1);
    const after = edit(before, rnd, SHA1);
    for (let n = rnd.int(3); n > 0 && after.length > 0; n--) {
      const [from, to] = [rnd.int(after.length), rnd.int(after.length)];
      const moved = after[from]!;
      if (rnd.int(2) === 0) after.splice(from, 1);
      after.splice(to, 0, rnd.int(2) === 0 ? moved : { ...moved, oid: rnd.bytes(20).toString("hex") });
    }
    const names = after.map(sortName);
    const inOrder = names.every((name, i) => i === 0 || names[i - 1]! < name);
    if (!inOrder) disordered++;
    const compared = compareTrees(SHA1, encodeTree(SHA1, before), encodeTree(SHA1, after), {
      added: () => {},
      removed: () => {},
    });
    expect(compared).toMatchObject({ entries: after.length, inOrder });
  }
  expect(disordered).toBeGreaterThan(300);
});

test("reduced to what differs, trees compare as they did whole", () => {
  const rnd = random("reduced trees");
  let reducedOnes = 0;
  for (let round = 0; round < 1_500; round++) {
    const format = rnd.pick([SHA1, SHA256]);
    const entries = randomEntries(rnd, format);
    const after = rnd.int(4) === 0 ? randomEntries(rnd, format) : edit(entries, rnd, format);
    if (rnd.int(8) === 0) rnd.shuffle(after);
    const whole = told(format, encodeTree(format, entries), encodeTree(format, after));
    const reduced = reduceTrees(format, encodeTree(format, entries), encodeTree(format, after));
    if (reduced === undefined) continue;
    reducedOnes++;
    expect(whole.compared.inOrder).toBe(true);
    expect(told(format, reduced.before, reduced.after).lines).toEqual(whole.lines);
    expect(reduced.compared).toEqual(whole.compared);
  }
  expect(reducedOnes).toBeGreaterThan(300);
});

test("trees that are malformed, in no order or quite different are not reduced", () => {
  const file = (name: string, digit: string): TreeEntry => ({ mode: MODE.file, name, oid: digit.repeat(40) });
  const [a, b, c] = [file("a", "1"), file("b", "1"), file("c", "1")];
  const many = Array.from({ length: 20 }, (_, i) => file(`d${String(i).padStart(2, "0")}`, "1"));
  const of = (before: TreeEntry[], after: TreeEntry[]): boolean =>
    reduceTrees(SHA1, encodeTree(SHA1, before), encodeTree(SHA1, after)) !== undefined;
  expect(of([a, b, ...many], [a, file("b", "2"), ...many])).toBe(true);
  expect(of([a, b, c, ...many], [a, c, b, ...many])).toBe(false);
  expect(of([a, b], [file("a", "2"), b])).toBe(false);
  const torn = encodeTree(SHA1, [a, b, ...many]).subarray(0, -1);
  expect(reduceTrees(SHA1, encodeTree(SHA1, [a, b, ...many]), torn)).toBeUndefined();
});

test("a torn tree is malformed, on either side", async () => {
  const rnd = random("torn trees");
  const tree = encodeTree(
    TEST_FORMAT,
    sortEntries(
      Array.from({ length: 5 }, (_, i) => ({
        mode: MODE.file,
        name: `f${i}`,
        oid: rnd.bytes(TEST_FORMAT.rawSize).toString("hex"),
      })),
    ),
  );
  const other = encodeTree(
    TEST_FORMAT,
    sortEntries([{ mode: MODE.file, name: "f2", oid: rnd.bytes(TEST_FORMAT.rawSize).toString("hex") }]),
  );
  const nothing = { added: () => {}, removed: () => {} };
  for (let length = 1; length < tree.length; length++) {
    const torn = tree.subarray(0, length);
    const isWhole = (await codeOf(() => parseTree(TEST_FORMAT, torn))) === "no error";
    for (const [before, after] of [
      [torn, other],
      [other, torn],
    ] as const) {
      const code = await codeOf(() => compareTrees(TEST_FORMAT, before, after, nothing));
      expect(code).toBe(isWhole ? "no error" : "BAD_OBJECT");
    }
  }
});
