/** Repositories on a file system that is read-only: a snapshot of a disk, a mounted copy. What only reads works there. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { executable, type Run, runProgram } from "../support/executable.ts";
import { ENV, kvOk, Scene } from "../support/scene.ts";
import { tempDir } from "../support/temp.ts";

const MAY_MOUNT = runProgram("unshare", ["-rm", "mount", "-t", "tmpfs", "none", "/mnt"], {}).status === 0;

/** Runs `line` in a shell for which all below `dir`, where it begins, is read-only. */
function reading(dir: string, line: string): Run {
  const mount = 'mount --bind . "$PWD" && mount -o remount,ro,bind "$PWD" && cd "$PWD"';
  return runProgram("unshare", ["-rm", "bash", "-c", `${mount} && ${line}`], { cwd: dir, env: ENV });
}

test.skipIf(!MAY_MOUNT)(
  "a clone is read, and a Stargate's repository looked at and backed up",
  async () => {
    const scene = await Scene.start();
    const clone = scene.clone("clone");
    kvOk(clone, "set", "cfg:theme", "dark");
    // Killed, so that the journal has not taken in all of what was written to it.
    await scene.serving.stop("SIGKILL");
    for (const line of [
      "get cfg:theme",
      "list",
      "history cfg:theme",
      "log",
      "diff 1",
      "verify",
      "snapshot --export -",
    ]) {
      expect(reading(clone, `git-kv ${line}`)).toMatchObject({ status: 0 });
    }

    // What is copied to be read does not stay.
    const copies = tempDir("copies");
    const there = (line: string): Run => {
      const run = reading(scene.repo, `TMPDIR=${copies} ${executable("git-kv-stargate")} ${line}`);
      expect(fs.readdirSync(copies)).toEqual([]);
      return run;
    };
    expect(there("status --repo .")).toMatchObject({ status: 0, stdout: expect.stringContaining("read-only") });
    expect(JSON.parse(there("status --repo . --json").stdout)).toMatchObject({
      ...{ role: "stopped", writable: false, error: "the file system is read-only" },
      namespaces: [{ ns: "main", seq: 1 }],
    });
    const log = there("log --repo . --json").stdout.trim().split("\n");
    expect(log.map((line) => JSON.parse(line)).find(({ ns }) => ns === "main")).toMatchObject({ result: "accepted" });
    expect(there("fsck --repo .")).toMatchObject({ status: 0, stdout: expect.stringContaining("no faults") });
    const backups = path.join(scene.root, "backups");
    expect(there(`backup --repo . --to ${backups}`)).toMatchObject({ status: 0 });
    expect(there("serve --repo . --listen 127.0.0.1:0").status).toBe(5);
  },
  60_000,
);

test("a store that this account may not write to is read, and a write says why it cannot be", () => {
  const dir = tempDir("theirs");
  kvOk(dir, "init");
  kvOk(dir, "set", "k", "v");
  for (const folder of [path.dirname(dir), dir]) fs.chmodSync(folder, 0o755);
  fs.chmodSync(path.join(dir, ".git"), 0o555);
  // Root may write everywhere.
  const asNobody = process.getuid?.() === 0 ? "setpriv --reuid=65534 --clear-groups" : "";
  const safe = "GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'";
  const run = (line: string): Run => {
    return runProgram("bash", ["-c", `${safe} ${asNobody} ${executable("git-kv")} ${line}`], { cwd: dir, env: ENV });
  };
  expect(run("get k")).toMatchObject({ status: 0, stdout: "v" });
  expect(run("set k w")).toMatchObject({
    status: 5,
    stderr: expect.stringMatching(/^error: EACCES: .*\nhint: this account may not do that/),
  });
  fs.chmodSync(path.join(dir, ".git"), 0o755);
});
