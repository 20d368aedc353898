/** Writes the manual pages of both programs into a folder: `bun scripts/man-pages.ts DIR`. */

import * as fs from "node:fs";
import * as path from "node:path";
import { version } from "../package.json";
import { manPages } from "../src/cli/man-page.ts";
import { PROGRAM as KV } from "../src/commands/table.ts";
import { PROGRAM as STARGATE } from "../src/stargate/commands/table.ts";

const dir = process.argv[2];
if (dir === undefined) throw new Error("usage: bun scripts/man-pages.ts DIR");
fs.mkdirSync(dir, { recursive: true });
const pages = new Map<string, string>();
for (const program of [KV, STARGATE]) {
  // `git kv stargate status` and `git-kv-stargate status` are one name to man, which shows both, one after the other.
  for (const { file, text } of await manPages(program, version)) pages.set(file, (pages.get(file) ?? "") + text);
}
for (const [file, text] of pages) fs.writeFileSync(path.join(dir, file), text);
