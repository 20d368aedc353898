/** docs/attacks.md: every test that it names is there, and no file of attacks is left out. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";

const root = path.join(import.meta.dir, "../..");
const folder = path.join(root, "tests/stargate/attacks");
const page = fs.readFileSync(path.join(root, "docs/attacks.md"), "utf8");
const rows = [...page.matchAll(/^\| .+ \| `([a-z-]+\.test\.ts)`: (.+?) \| .+ \|$/gm)].map(
  ([, file, name]) => [file!, name!] as const,
);

test("each row names a test", () => {
  const lines = page.split("\n").filter((line) => line.startsWith("| "));
  // The head of the table is none.
  expect(rows.length).toBe(lines.length - 1);
  expect(rows.length).toBeGreaterThan(30);
});

test("every test that is named is there", () => {
  for (const [file, name] of rows)
    expect([file, name, fs.readFileSync(path.join(folder, file), "utf8").includes(`test("${name}"`)]).toEqual([
      file,
      name,
      true,
    ]);
});

test("every file of attacks is named", () => {
  const named = new Set(rows.map(([file]) => file));
  // What is taken is no attack: that file shows that an audit passes all of it.
  const files = fs.readdirSync(folder).filter((file) => file !== "accepted.test.ts");
  expect(files.filter((file) => !named.has(file))).toEqual([]);
});
