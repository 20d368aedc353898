/** Differences of texts, against `git diff --no-index` and by applying them with `patch`'s rules. */

import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { unifiedDiff } from "../src/line-diff.ts";
import { random } from "./support/random.ts";
import { tempDir } from "./support/temp.ts";

const dir = tempDir("diff");

/** What git prints of the two, from the first hunk on, without what it says of functions behind `@@`. */
function byGit(before: string, after: string): string {
  fs.writeFileSync(path.join(dir, "a"), before);
  fs.writeFileSync(path.join(dir, "b"), after);
  const args = ["diff", "--no-index", "--no-color", "--diff-algorithm=minimal", "--no-indent-heuristic", "a", "b"];
  const { stdout } = spawnSync("git", args, { cwd: dir, encoding: "utf8" });
  return stdout
    .slice(Math.max(0, stdout.indexOf("\n@@") + 1))
    .replace(/^(@@ [^@]+ @@).*$/gm, "$1")
    .replace(/\n$/, "");
}

/** Puts a difference back on: what it must make of `before` is `after`. */
function apply(before: string, diff: string): string {
  const old = before === "" ? [] : before.replace(/\n$/, "").split("\n");
  const lines: string[] = [];
  let [at, ends] = [0, before.endsWith("\n")];
  let last = "";
  for (const line of diff.split("\n")) {
    const start = /^@@ -(\d+)(?:,(\d+))? /.exec(line);
    if (start !== null) {
      const from = Number(start[1]) - (start[2] === "0" ? 0 : 1);
      while (at < from) lines.push(old[at++]!);
    } else if (line.startsWith("\\")) {
      if (last === "-") ends = true;
      if (last === "+") ends = false;
    } else {
      last = line[0]!;
      if (last !== "+") expect(old[at++]).toBe(line.slice(1));
      if (last !== "-") lines.push(line.slice(1));
    }
  }
  lines.push(...old.slice(at));
  return lines.join("\n") + (ends && lines.length > 0 ? "\n" : "");
}

describe("the difference of two texts", () => {
  test.each([
    ["", "a\n", "@@ -0,0 +1 @@\n+a"],
    ["a\n", "", "@@ -1 +0,0 @@\n-a"],
    ["dark", "light", "@@ -1 +1 @@\n-dark\n+light"],
    ["a\nb\nc\n", "a\nB\nc\n", "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c"],
    ["a\n", "a", "@@ -1 +1 @@\n-a\n+a\n\\ No newline at end of file"],
    ["same", "same", ""],
  ])("of %j and %j", (before, after, expected) => {
    expect(unifiedDiff(before, after)).toBe(expected);
  });

  test("is what git prints where the shortest one is the only one", () => {
    const lines = Array.from({ length: 60 }, (_, i) => `line ${i}`);
    const changed = lines.flatMap((line, i) =>
      i === 3 ? [] : i === 30 ? ["thirty", "more"] : i === 36 ? ["36"] : [line],
    );
    const texts = [lines, changed, lines.slice(5), [...lines, "end"], ["begin", ...lines]].map(
      (t) => `${t.join("\n")}\n`,
    );
    for (const a of texts) for (const b of texts) expect(unifiedDiff(a, b)).toBe(a === b ? "" : byGit(a, b));
  });

  test("makes the one of the other, and is no longer than git's shortest", () => {
    const seeded = random("line-diff");
    for (let run = 0; run < 200; run++) {
      const text = (): string => {
        const lines = Array.from({ length: seeded.int(25) }, () => seeded.pick(["a", "b", "c", "", "longer"]));
        return lines.length === 0 ? "" : lines.join("\n") + (seeded.int(4) === 0 ? "" : "\n");
      };
      const [before, after] = [text(), text()];
      if (before === "\n" || after === "\n" || before === after) continue;
      const diff = unifiedDiff(before, after);
      if (before.endsWith("\n") === after.endsWith("\n")) expect(apply(before, diff)).toBe(after);
      if (run >= 25 || before.endsWith("\n") !== after.endsWith("\n") || !before.endsWith("\n")) continue;
      const edits = (text: string): number => text.split("\n").filter((line) => /^[-+]/.test(line)).length;
      expect(edits(diff)).toBe(edits(byGit(before, after)));
    }
  });

  test("takes texts that have nothing in common, whatever their size", () => {
    const text = (word: string): string => Array.from({ length: 20_000 }, (_, i) => `${word} ${i}\n`).join("");
    const diff = unifiedDiff(text("old"), text("new"));
    expect(diff.startsWith("@@ -1,20000 +1,20000 @@\n-old 0\n-old 1\n")).toBe(true);
    expect(diff.endsWith("\n+new 19999")).toBe(true);
  });
});
