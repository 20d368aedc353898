/** A repository that git made shallow: what is here answers, and what is not says why. */

import { beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { git } from "../support/git.ts";
import { kv, kvOk } from "../support/scene.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

const REFSPECS = ["+refs/kv/*:refs/kv/*", "+refs/kv-index/*:refs/kv-index/*"];
const HINT = "hint: 'git fetch --unshallow' brings it\n";

let whole: string;

beforeAll(() => {
  whole = tempDir("whole");
  git(whole, "init", "-q", `--object-format=${TEST_FORMAT.name}`);
  kvOk(whole, "init");
  for (let i = 1; i <= 6; i++) kvOk(whole, "set", "k", `v${i}`);
});

function shallow(depth: number): string {
  const dir = tempDir("shallow");
  git(dir, "init", "-q", `--object-format=${TEST_FORMAT.name}`);
  git(dir, "fetch", "-q", "--depth", String(depth), `file://${path.join(whole, ".git")}`, ...REFSPECS);
  return dir;
}

describe("of a ledger of seven transactions the newest three", () => {
  test("are read, compared and written on", () => {
    const dir = shallow(3);
    expect(kvOk(dir, "get", "k")).toBe("v6");
    expect(kvOk(dir, "get", "k", "--at", "5")).toBe("v4");
    expect(kvOk(dir, "diff", "-1")).toBe("~ k");
    expect(kvOk(dir, "history", "k", "--limit", "2").split("\n")).toHaveLength(2);
    expect(kvOk(dir, "log").split("\n")).toHaveLength(3);
    expect(kvOk(dir, "watch", "--since", "5").split("\n")).toHaveLength(2);
    kvOk(dir, "set", "k", "v7");
    expect(kvOk(dir, "get", "k", "--at", "-1")).toBe("v6");
  });

  test("name the transaction at which they begin", () => {
    const [only] = kvOk(shallow(1), "history", "k").split("\n");
    expect(only).toMatch(/^[0-9a-f]{12}\t.*\tset\t6\tunsigned\tset k\t/);
  });

  test("say that there were others", () => {
    const dir = shallow(3);
    const said = "error: this repository is shallow: what was before transaction 5 of 'main' is not here\n";
    for (const args of [
      ["get", "k", "--at", "3"],
      ["get", "k", "--at", "2000-01-01"],
      ["diff", "1"],
      ["revert", "2"],
      ["history", "k", "--epochs"],
      ["epoch", "list"],
      ["verify"],
    ]) {
      const run = kv(dir, ...args);
      expect([args, run.status, run.stderr]).toEqual([args, 6, said + HINT]);
      expect(run.stdout).not.toContain("BAD_OBJECT");
    }
    expect(kv(dir, "watch", "--since", "1")).toMatchObject({ status: 6, stdout: "" });
  });

  test("become seven", () => {
    const dir = shallow(3);
    git(dir, "fetch", "-q", "--unshallow", `file://${path.join(whole, ".git")}`, ...REFSPECS);
    expect(kv(dir, "verify").status).toBe(0);
    expect(kvOk(dir, "get", "k", "--at", "3")).toBe("v2");
    expect(kvOk(dir, "history", "k").split("\n")).toHaveLength(6);
  });
});

test("a commit that is missing without that is damage", () => {
  const dir = shallow(3);
  fs.rmSync(path.join(dir, ".git", "shallow"));
  expect(kv(dir, "get", "k", "--at", "2000-01-01")).toMatchObject({ status: 5 });
  expect(kv(dir, "verify").status).toBe(8);
});
