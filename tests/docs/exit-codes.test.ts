/** docs/exit-codes.md has every code of the table, with its exit status. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { EXIT_TEXTS } from "../../src/cli/exit-texts.ts";
import { type Code, EXIT, isCode, KvError } from "../../src/errors.ts";

const root = path.join(import.meta.dir, "../..");
const page = fs.readFileSync(path.join(root, "docs/exit-codes.md"), "utf8");

test("every code is there with its exit status, and no other", () => {
  const rows = [...page.matchAll(/^\| `([A-Z_]+)` \| (\d+) \|/gm)].map(
    ([, code, exit]) => [code!, Number(exit)] as const,
  );
  for (const [code, exit] of rows) {
    expect([code, isCode(code)]).toEqual([code, true]);
    expect([code, new KvError(code as Code, "").exit]).toEqual([code, exit]);
  }
  const source = fs.readFileSync(path.join(root, "src/errors.ts"), "utf8");
  const table = source.slice(source.indexOf("const TABLE"), source.indexOf("} as const satisfies"));
  const codes = [...table.matchAll(/^ {2}([A-Z_]+):/gm)].map(([, code]) => code!);
  expect(rows.map(([code]) => code)).toEqual(codes);
});

test("every exit status is explained", () => {
  const statuses = [...page.matchAll(/^\| (\d+) \|/gm)].map(([, exit]) => Number(exit));
  expect(statuses).toEqual([...Object.values(EXIT), 141].sort((a, b) => a - b));
  const rows = [...page.matchAll(/^\| (\d+) \| (.+) \|$/gm)].map(([, exit, text]) => [Number(exit), text!] as const);
  expect(rows).toEqual([...EXIT_TEXTS]);
});
