import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { alternateDirs } from "../../../src/gitwire/store/alternates.ts";
import { ObjectStore } from "../../../src/gitwire/store/object-store.ts";
import { git, gitInput } from "../../support/git.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { allObjects, makeRepo, repackOnce } from "../pack/fixtures.ts";

/** Makes object folders with the given `info/alternates`. */
function folders(root: string, files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.join(root, name, "info"), { recursive: true });
    fs.writeFileSync(path.join(root, name, "info", "alternates"), text);
  }
}

test("relative and absolute paths, comments, empty lines, nesting, loops, missing folders", () => {
  const root = tempDir();
  folders(root, {
    a: `# a comment\n../b\n\n${root}/c\n../missing\n../a\n`,
    b: "../d\n../a\n",
    c: "../d",
    d: "",
  });
  fs.symlinkSync(path.join(root, "b"), path.join(root, "alias"));
  expect(alternateDirs(path.join(root, "a"))).toEqual(["b", "d", "c"].map((name) => path.join(root, name)));
  expect(alternateDirs(path.join(root, "d"), [path.join(root, "alias"), path.join(root, "b")])).toEqual([
    path.join(root, "alias"),
    path.join(root, "a"),
    path.join(root, "c"),
  ]);
});

test("a file where the folder of the list should be, or no object folder at all, borrows nothing", () => {
  const root = tempDir();
  fs.mkdirSync(path.join(root, "a"));
  fs.writeFileSync(path.join(root, "a", "info"), "");
  expect(alternateDirs(path.join(root, "a"))).toEqual([]);
  expect(alternateDirs(path.join(root, "a", "info"))).toEqual([]);
  expect(alternateDirs(path.join(root, "none"))).toEqual([]);
});

test("quoted lines", () => {
  const root = tempDir();
  folders(root, { 'odd "name"': "", "tab\there": "", 'é"': "", a: "" });
  const lines = ['"../odd \\"name\\""', '"../tab\\there"', '"../\\303\\251\\""', '"unfinished', '"../b\\q"'];
  fs.writeFileSync(path.join(root, "a", "info", "alternates"), lines.join("\n"));
  expect(alternateDirs(path.join(root, "a")).map((dir) => path.basename(dir))).toEqual([
    'odd "name"',
    "tab\there",
    'é"',
  ]);
});

test("nesting ends where git's does", () => {
  const root = tempDir();
  const files: Record<string, string> = {};
  for (let i = 0; i < 9; i++) files[`n${i}`] = `../n${i + 1}\n`;
  folders(root, files);
  expect(alternateDirs(path.join(root, "n0")).map((dir) => path.basename(dir))).toEqual(["n1", "n2", "n3", "n4", "n5"]);
});

test("a store reads through the alternates that git reads through", () => {
  const far = makeRepo(TEST_FORMAT, 10);
  repackOnce(far, "ofs");
  const near = tempDir("near");
  git(near, "clone", "-q", "--bare", "--shared", far, "n");
  const clone = path.join(near, "n");
  const own = gitInput(clone, "own object", "hash-object", "-w", "--stdin");
  const store = new ObjectStore(path.join(clone, "objects"), TEST_FORMAT);
  const objects = allObjects(clone);
  expect(objects.size).toBeGreaterThan(30);
  for (const [oid, object] of objects) expect(store.read(oid)).toEqual(object);
  expect(store.read(own)?.data.toString()).toBe("own object");
  expect([store.packs().length, store.ownPacks().length]).toEqual([1, 0]);
  // The same by an option, as GIT_ALTERNATE_OBJECT_DIRECTORIES gives it.
  const bare = path.join(tempDir(), "objects");
  fs.mkdirSync(bare);
  const borrowing = new ObjectStore(bare, TEST_FORMAT, { alternates: [path.join(far, "objects")] });
  const [first] = objects.keys();
  expect(borrowing.has(first!) || borrowing.has(own)).toBe(true);
  expect(new ObjectStore(bare, TEST_FORMAT).has(first!)).toBe(false);
});
