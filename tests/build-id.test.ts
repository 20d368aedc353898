/** What a build says it was made from. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { hashOfSources } from "../scripts/defines.ts";
import { tempDir } from "./support/temp.ts";

test("the hash of the sources changes with each of them, and with nothing else", () => {
  const root = tempDir("sources");
  const write = (name: string, text: string): string => {
    fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    fs.writeFileSync(path.join(root, name), text);
    return hashOfSources(root);
  };
  fs.mkdirSync(path.join(root, "src"));
  write("bun.lock", "1");
  const first = write("src/kv/policy.ts", "a");
  expect(hashOfSources(root)).toBe(first);
  expect(write("docs/a.md", "a")).toBe(first);
  const others = [
    write("src/kv/policy.ts", "b"),
    write("src/kv/other.ts", "b"),
    write("src/kv/other.ts", ""),
    write("bun.lock", "2"),
  ];
  expect(new Set([first, ...others]).size).toBe(5);
});
