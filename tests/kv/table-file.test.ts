/** Files of `.git/kv` that are put in their place whole, and what killed processes left of them. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { replaceTable } from "../../src/kv/table-file.ts";
import { executable } from "../support/executable.ts";
import { git } from "../support/git.ts";
import { ENV, kvOk } from "../support/scene.ts";
import { tempDir } from "../support/temp.ts";

test("what killed processes left of the same file goes; what one that lives is writing stays, and every other file", async () => {
  const dir = path.join(tempDir("tables"), "kv");
  const dead = Bun.spawn(["/bin/true"]);
  await dead.exited;
  const living = Bun.spawn(["/bin/sleep", "600"]);
  try {
    fs.mkdirSync(dir);
    const gone = [`t-main.${dead.pid}.tmp`, `t-main.${process.pid}.tmp`, "t-main.1.tmp"];
    const kept = [`t-main.${living.pid}.tmp`, `t-other.${dead.pid}.tmp`, "t-main.x.tmp", `t-main.2.${dead.pid}.tmp`];
    for (const name of [...gone, ...kept]) fs.writeFileSync(path.join(dir, name), "half");
    // Its number is that of another process by now.
    const long = new Date(Date.now() - 2 * 60 * 60_000);
    fs.utimesSync(path.join(dir, "t-main.1.tmp"), long, long);
    replaceTable(path.join(dir, "t-main"), Buffer.from("whole"), true);
    expect(fs.readdirSync(dir).sort()).toEqual(["t-main", ...kept].sort());
    expect(fs.readFileSync(path.join(dir, "t-main"), "utf8")).toBe("whole");
  } finally {
    living.kill();
  }
});

test("a command that is killed while it writes one leaves nothing for good", async () => {
  const dir = tempDir("killed");
  kvOk(dir, "init");
  for (let i = 0; i < 4; i++) kvOk(dir, "set", "k", String(i));
  fs.rmSync(path.join(dir, ".git/kv"), { recursive: true, force: true });
  const left = (): string[] => fs.readdirSync(path.join(dir, ".git/kv")).filter((name) => name.endsWith(".tmp"));
  const inject = ["-f", "-o", "/dev/null", "-e", "inject=rename:signal=KILL"];
  await Bun.spawn(["strace", ...inject, executable("git-kv"), "history", "k"], {
    cwd: dir,
    env: ENV,
    stdin: "ignore",
    stdout: "ignore",
    stderr: "ignore",
  }).exited;
  expect(left()).toHaveLength(1);
  expect(kvOk(dir, "history", "k").split("\n")).toHaveLength(4);
  expect(left()).toEqual([]);
  expect(git(dir, "log", "--format=%s", "-1", "refs/kv/main")).toBe("set k");
});
