/** docs/reference is what the programs' tables make of it; every answer in it is checked in tests/e2e/answers.test.ts. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { reference } from "../../scripts/reference.ts";

const DIR = path.join(import.meta.dir, "../../docs/reference");

test("is up to date: `bun scripts/reference.ts` writes it", async () => {
  const files = await reference();
  expect(fs.readdirSync(DIR).sort()).toEqual([...files.keys()].sort());
  for (const [name, content] of files) expect(fs.readFileSync(path.join(DIR, name), "utf8")).toBe(content);
});
