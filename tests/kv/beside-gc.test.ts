/** What comes from elsewhere, beside a `git gc --prune=now` that runs when the objects are here and the refs have not moved yet. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import type { Repository } from "../../src/gitwire/repo.ts";
import { Quarantine } from "../../src/gitwire/store/quarantine.ts";
import { applyPolicy } from "../../src/kv/apply-policy.ts";
import { commit } from "../../src/kv/commit.ts";
import { fetchAccepted, fetchMirror, trackingRefspecs } from "../../src/kv/fetch.ts";
import { parseKey } from "../../src/kv/key.ts";
import { POLICY_REF } from "../../src/kv/namespace.ts";
import { findPolicy } from "../../src/kv/setup.ts";
import type { Workspace } from "../../src/kv/workspace.ts";
import { git } from "../support/git.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { complaints, newRepository, workspaceAt } from "../support/workspace.ts";

setDefaultTimeout(120_000);

/** Packing refs would wait for the locks of the writer. */
const GC = ["-c", "gc.packRefs=false", "gc", "-q", "--prune=now"] as const;
const POLICY = "version: 1\nnamespaces:\n  main: {}\n";

/** Runs the garbage collector whenever refs are about to move; returns how often it did. */
function collectBeforeMoves(repo: Repository): () => number {
  let runs = 0;
  const begin = repo.refs.begin.bind(repo.refs);
  repo.refs.begin = async (...args) => {
    runs++;
    git(repo.gitDir, ...GC);
    return begin(...args);
  };
  return () => runs;
}

/** Two repositories, the second of which reads from the first. */
async function pair(): Promise<{ origin: string; dir: string; workspace: Workspace }> {
  const [origin, dir] = [newRepository(TEST_FORMAT), newRepository(TEST_FORMAT)];
  await set(origin, "a");
  git(dir, "config", "remote.origin.url", origin);
  for (const refspec of trackingRefspecs("origin")) git(dir, "config", "--add", "remote.origin.fetch", refspec);
  return { origin, dir, workspace: workspaceAt(dir) };
}

async function set(dir: string, key: string): Promise<void> {
  const options = { ctype: undefined, expires: undefined, labels: undefined };
  const value = { kind: "bytes", data: Buffer.from(key) } as const;
  const create = git(dir, "for-each-ref", "refs/kv") === "" ? { epoch: "e1" } : undefined;
  await commit(workspaceAt(dir), { ...(create && { create }) }, (use) =>
    use({ op: "set", key: parseKey(key), value, options, condition: undefined }),
  );
}

const keeps = (dir: string): string[] =>
  fs.readdirSync(path.join(dir, "objects/pack")).filter((name) => name.endsWith(".keep"));

test.each([
  ["the mirror", fetchMirror, "refs/kv-remotes/origin/kv/main"],
  ["the Stargate", fetchAccepted, "refs/kv/main"],
] as const)("what is fetched from %s stays until its refs have moved", async (_, fetch, ref) => {
  const { origin, dir, workspace } = await pair();
  const runs = collectBeforeMoves(workspace.repo);
  for (const key of ["b", "c"]) {
    await set(origin, key);
    await fetch(workspace);
    expect(git(dir, "rev-parse", ref)).toBe(git(origin, "rev-parse", "refs/kv/main"));
    expect(complaints(dir)).toBe("");
  }
  expect(runs()).toBe(2);
  expect(keeps(dir)).toEqual([]);
  // Nothing is kept for good: what no ref names goes.
  git(dir, "update-ref", "-d", ref);
  for (const name of git(dir, "for-each-ref", "--format=%(refname)").split("\n")) git(dir, "update-ref", "-d", name);
  git(dir, ...GC);
  expect(git(dir, "count-objects", "-v")).toContain("in-pack: 0\n");
});

test("a policy that is applied stays until its ref has moved", async () => {
  const dir = newRepository(TEST_FORMAT);
  const workspace = workspaceAt(dir);
  const runs = collectBeforeMoves(workspace.repo);
  const applied = await applyPolicy(workspace, { text: POLICY, name: "policy.yaml", message: undefined });
  expect(applied.kind).toBe("applied");
  expect(runs()).toBe(1);
  expect(git(dir, "rev-parse", POLICY_REF)).toBe(applied.oid);
  expect(git(dir, "cat-file", "blob", `${POLICY_REF}:policy.yaml`)).toBe(POLICY.trimEnd());
  expect(complaints(dir)).toBe("");
  expect(keeps(dir)).toEqual([]);
});

test("a policy that is read from the remote, which no ref here names, stays while it is read", async () => {
  const { origin, dir, workspace } = await pair();
  await applyPolicy(workspaceAt(origin), { text: POLICY, name: "policy.yaml", message: undefined });
  const { objects } = workspace.repo;
  const read = objects.read.bind(objects);
  let runs = 0;
  objects.read = (oid) => {
    if (runs++ === 0) git(dir, ...GC);
    return read(oid);
  };
  expect(Object.keys((await findPolicy(workspace)).file.namespaces ?? {})).toEqual(["main"]);
  expect(runs).toBeGreaterThan(1);
  expect(keeps(dir)).toEqual([]);
});

test("a quarantine that is in use stays", () => {
  const dir = newRepository(TEST_FORMAT);
  const { repo } = workspaceAt(dir);
  const quarantine = Quarantine.create(repo.objectsDir);
  const temporary = path.join(quarantine.packDir, "tmp_pack_abcdef");
  fs.writeFileSync(temporary, "half a pack");
  git(dir, ...GC);
  git(dir, "prune", "--expire=now");
  expect(fs.readFileSync(temporary, "latin1")).toBe("half a pack");
  quarantine.discard();
  expect(fs.readdirSync(repo.objectsDir).sort()).toEqual(["info", "pack"]);
});
