/** A repository that git made shallow: what is here answers, and what is not says why. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { git, tryGit } from "../support/git.ts";
import { kv, kvOk, Scene, stargateOk } from "../support/scene.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

const REFSPECS = ["+refs/kv/*:refs/kv/*", "+refs/kv-index/*:refs/kv-index/*"];
const HINT = "hint: 'git fetch --unshallow' brings it\n";

let whole: string;

beforeAll(() => {
  whole = ledgerOf(6);
});

function ledgerOf(sets: number): string {
  const dir = tempDir("whole");
  git(dir, "init", "-q", `--object-format=${TEST_FORMAT.name}`);
  kvOk(dir, "init");
  for (let i = 1; i <= sets; i++) kvOk(dir, "set", "k", `v${i}`);
  return dir;
}

function shallow(depth: number, from = whole, refspecs: readonly string[] = REFSPECS): string {
  const dir = tempDir("shallow");
  git(dir, "init", "-q", `--object-format=${TEST_FORMAT.name}`);
  git(dir, "fetch", "-q", "--depth", String(depth), `file://${path.join(from, ".git")}`, ...refspecs);
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
    ]) {
      const run = kv(dir, ...args);
      expect([args, run.status, run.stderr]).toEqual([args, 6, said + HINT]);
      expect(run.stdout).not.toContain("BAD_OBJECT");
    }
    expect(kv(dir, "watch", "--since", "1")).toMatchObject({ status: 6, stdout: "" });
  });

  test("are audited from the oldest of them on, or one after it; that there were others is no finding", () => {
    const dir = shallow(3);
    const [newest, , oldest, before] = git(whole, "log", "--format=%H", "-4", "refs/kv/main").split("\n") as [
      string,
      ...string[],
    ];
    const said = "error: this repository is shallow: what was before transaction 5 of 'main' is not here\n";
    const hint = `hint: 'git fetch --unshallow' brings it; 'git kv verify --since ${oldest}' trusts the oldest one here and looks at the rest\n`;
    for (const args of [[], ["--all"], ["--since", before!], ["--since", git(whole, "rev-parse", "refs/kv/main~6")]]) {
      expect(kv(dir, "verify", ...args)).toMatchObject({ status: 6, stdout: "", stderr: said + hint });
    }
    expect(kvOk(dir, "verify", "--since", oldest!)).toMatch(/^main: 2 transactions to #7 .*no findings$/s);
    expect(kvOk(dir, "verify", "--since", newest)).toMatch(/^main: 0 transactions to #7 .*no findings$/s);
  });

  test("are audited also where large values came before and after", () => {
    const source = ledgerOf(1);
    for (let i = 0; i < 4; i++) {
      fs.writeFileSync(path.join(source, "large"), new Uint8Array(2_000_000).fill(i));
      kvOk(source, "set", `large${i}`, "--file", "large");
      kvOk(source, "set", "k", `after ${i}`);
    }
    for (const depth of [2, 3, 4, 5]) {
      const dir = shallow(depth, source, [...REFSPECS, "+refs/kv-chunks/*:refs/kv-chunks/*"]);
      for (let since = 1; since < depth; since++) {
        const from = git(source, "rev-parse", `refs/kv/main~${since}`);
        expect(kv(dir, "verify", "--since", from)).toMatchObject({ status: 0 });
      }
    }
  });

  test("are not audited where nobody can tell how the policy began", () => {
    const source = ledgerOf(0);
    for (const size of ["16KiB", "32KiB", "64KiB"]) {
      fs.writeFileSync(
        path.join(source, "policy.yaml"),
        `version: 1\nnamespaces: { main: { max_value_inline: ${size} } }\n`,
      );
      kvOk(source, "policy", "apply", "policy.yaml");
      kvOk(source, "set", "k", `v ${size}`);
    }
    const dir = shallow(2, source, [...REFSPECS, "+refs/kv-policy/current:refs/kv-policy/current"]);
    const run = kv(dir, "verify", "--since", git(source, "rev-parse", "refs/kv/main~1"));
    expect(run).toMatchObject({
      status: 6,
      stdout: "",
      stderr:
        "error: this repository is shallow: the first commits of the policy are not here\nhint: 'git fetch --unshallow' brings them\n",
    });
    expect(tryGit(dir, ["config", "kv.policyRoot"]).status).toBe(1);
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

test("a clone that a fetch with --depth made shallow says so, and a fetch or a write of ours brings what is between", async () => {
  const scene = await Scene.start();
  const writer = scene.clone("writer");
  const other = scene.clone("other");
  kvOk(writer, "set", "k", "1", "--wait");
  for (const heal of [["fetch"], ["set", "other", "1"]]) {
    kvOk(other, "fetch", "--read-from=stargate");
    const known = kvOk(other, "get", "k");
    for (const value of ["2", "3", "4"]) kvOk(writer, "set", "k", `${heal[0]} ${value}`, "--wait");
    // Over the transport, as a path is copied whole.
    git(other, "remote", "set-url", "origin", `file://${scene.github}`);
    git(other, "fetch", "-q", "--depth", "1");
    const behind = kv(other, "get", "k");
    expect([behind.stdout, behind.stderr]).toEqual([
      known,
      "warning: 'origin' has newer transactions of 'main', and those before them are not here: run 'git kv fetch'\n",
    ]);
    expect(kv(other, "verify")).toMatchObject({ status: 6, stdout: "" });
    const healed = kv(other, ...heal);
    expect([healed.status, healed.stderr.includes("warning")]).toEqual([0, heal[0] !== "fetch"]);
    expect(kvOk(other, "get", "k")).toBe(`${heal[0]} 4`);
    expect(kvOk(other, "verify")).toContain("no findings");
  }
  await scene.serving.stop();
}, 120_000);

describe("a clone whose fetch with --depth came after the start of an epoch", () => {
  let scene: Scene;
  let office: string;

  beforeAll(async () => {
    scene = await Scene.start();
    const admin = stargateOk(scene.root, "token", "add", "--repo", "kv.git", "--name", "root", "--scope", "admin");
    office = scene.clone("office");
    git(office, "config", `http.${scene.serving.url}/.extraHeader`, `Authorization: Bearer ${admin}`);
    kvOk(office, "set", "k", "1", "--wait");
  }, 60_000);
  afterAll(() => scene.serving.stop());

  /** Knows the state before, and has fetched one in which the new epoch has `sets` more transactions. */
  function away(name: string, sets: number, depth: number): string {
    const dir = scene.clone(name);
    kvOk(dir, "fetch", "--read-from=stargate");
    kvOk(office, "set", "k", `before ${name}`);
    kvOk(office, "epoch", "new", "--label", name);
    for (let i = 0; i < sets; i++) kvOk(office, "set", "k", `${name} ${i}`);
    kvOk(office, "wait", "--oid", git(office, "rev-parse", "refs/kv/main"));
    // Over the transport, as a path is copied whole.
    git(dir, "remote", "set-url", "origin", `file://${scene.github}`);
    git(dir, "fetch", "-q", "--depth", String(depth));
    return dir;
  }

  test.each([
    ["cut", 1, 1],
    ["longer", 4, 1],
    ["whole", 1, 2],
  ])(
    "is told what is missing, and has it after --unshallow (%s)",
    (name, sets, depth) => {
      const dir = away(name, sets, depth);
      const tip = git(dir, "rev-parse", "refs/kv-remotes/origin/kv/main");
      expect(kv(dir, "verify")).toMatchObject({ status: 6, stdout: "" });
      if (depth === 1) {
        // The ref of the epoch's first commit may lead to the whole ledger: its kv-index is not here then.
        const all = kv(dir, "verify", "--all");
        expect([all.status, all.stdout]).toEqual([6, ""]);
        expect(all.stderr).toMatch(
          /^error: this repository is shallow: what was before transaction \d+ of 'main' is not here\n/,
        );
        expect(all.stderr).toContain(`'git kv verify --since ${tip}' trusts the oldest one here`);
        expect(kvOk(dir, "verify", "--since", tip)).toContain("no findings");
      }
      if (fs.existsSync(path.join(dir, ".git", "shallow"))) git(dir, "fetch", "-q", "--unshallow");
      if (name !== "cut") {
        // There 'verify --all' has brought it.
        const cut = kv(dir, "verify");
        expect([cut.status, cut.stdout]).toEqual([6, ""]);
        expect(cut.stderr).toMatch(
          /^error: a new epoch of 'main' has begun after '\w+', of which the end is not here\nhint: 'git kv fetch' brings it, and so does 'git kv verify --all'\n$/,
        );
        kvOk(dir, "fetch");
      }
      expect(kvOk(dir, "get", "k")).toBe(`${name} ${sets - 1}`);
      expect(kvOk(dir, "verify")).toContain("no findings");
      expect(kvOk(dir, "verify", "--all")).toContain("no findings");
    },
    60_000,
  );
});
