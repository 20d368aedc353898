/** What a brief verb has the runtime compile: that is most of what a start takes that is ours (docs/design/271). */

import { beforeAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { executable } from "../support/executable.ts";
import { ENV, kvOk } from "../support/scene.ts";
import { tempDir } from "../support/temp.ts";

let dir: string;

beforeAll(() => {
  dir = tempDir("start-up");
  kvOk(dir, "init");
  kvOk(dir, "set", "cfg:theme", "dark");
  kvOk(dir, "set", "cfg:theme", "light");
});

/** What the runtime says with one of its options set. */
function told(option: string, ...args: string[]): string {
  const run = spawnSync(executable("git-kv"), args, {
    cwd: dir,
    encoding: "latin1",
    env: { ...ENV, [option]: "1" },
    maxBuffer: 2 ** 28,
  });
  expect(run.status).toBe(0);
  return run.stdout + run.stderr;
}

/** Functions of arrays that are written in JavaScript: compiled from their text in each process, 30 to 60 us each. */
const COMPILED =
  /^(?:some|every|filter|flatMap|flatIntoArray|performIteration|findLast|forEach|reduce|generatorResume)#/gm;

test.each(["version", "get cfg:theme"])("%s needs none of the array functions that are compiled first", (line) => {
  const text = told("BUN_JSC_dumpGeneratedBytecodes", ...line.split(" "));
  expect(text).toMatch(/^runVerb#/m);
  expect(text.match(COMPILED) ?? []).toEqual([]);
});

test("get compiles few regular expressions, and none of those that take long", () => {
  const found = told("BUN_JSC_dumpCompiledRegExpPatterns", "get", "cfg:theme").match(/^RegExp pattern for \/.*/gm)!;
  expect(found.length).toBeGreaterThan(0);
  expect(found.length).toBeLessThanOrEqual(8);
  expect(found.join("\n")).not.toContain("reserved");
});
