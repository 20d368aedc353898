/** Arguments that are not UTF-8 are refused, not changed. */

import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { undecodableArgument } from "../../src/cli/arguments.ts";
import { tempDir } from "../support/temp.ts";

test("an argument is looked at again only where a character stands for unknown bytes", () => {
  const raw = path.join(tempDir("cmdline"), "cmdline");
  fs.writeFileSync(raw, Buffer.from("/usr/bin/git-kv\0set\0k\0\xff\0", "latin1"));
  expect(undecodableArgument(["set", "k", "\ufffd"], raw)).toBe(3);
  expect(undecodableArgument(["set", "k", "v"], raw)).toBeUndefined();
  fs.writeFileSync(raw, "/usr/bin/\xffgit-kv\0set\0k\0\ufffd\0");
  expect(undecodableArgument(["set", "k", "\ufffd"], raw)).toBeUndefined();
  expect(undecodableArgument(["set", "k", "\ufffd"], `${raw}.none`)).toBeUndefined();
});

test("the program ends with 4 and writes nothing", () => {
  const dir = tempDir("arguments");
  const program = path.resolve(import.meta.dir, "../../bin/git-kv.ts");
  // Only a shell can make such an argument for us.
  const kv = (script: string) =>
    spawnSync("bash", ["-c", `kv() { '${process.execPath}' '${program}' "$@"; }; ${script}`], { cwd: dir });
  expect(kv("kv init").status).toBe(0);
  for (const script of ["kv set $'\\xff' v", "kv set k $'a\\xc3'", "kv get $'\\xed\\xa0\\x80'"]) {
    const { status, stderr } = kv(script);
    expect([script, status, stderr.toString()]).toEqual([script, 4, expect.stringContaining("is not UTF-8")]);
  }
  expect(kv("kv set \ufffd v; kv list").stdout.toString()).toEndWith("\n\ufffd\n");
});
