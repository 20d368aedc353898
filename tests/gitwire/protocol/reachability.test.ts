/** Which objects may be wanted: all that the refs reach and nothing else, whatever was asked before. */

import { expect, test } from "bun:test";
import { SHA1 } from "../../../src/gitwire/object/oid.ts";
import { CommitGraph } from "../../../src/gitwire/protocol/commit-graph.ts";
import { findUnreachable } from "../../../src/gitwire/protocol/reachability.ts";
import { openRepository } from "../../../src/gitwire/repo.ts";
import { git, gitInput } from "../../support/git.ts";
import { type Random, random as randomOf } from "../../support/random.ts";
import { newRepository } from "../../support/workspace.ts";

/** A tree of two levels of folders with random files, written with git; its id. */
function randomTree(dir: string, random: Random): string {
  const file = (): string => gitInput(dir, String(random.int(1_000_000)), "hash-object", "-w", "--stdin");
  const folder = (depth: number): string => {
    const names = Array.from({ length: 1 + random.int(3) }, (_, i) => `n${i}`);
    const lines = names.map((name) =>
      depth > 0 && random.int(2) === 0 ? `040000 tree ${folder(depth - 1)}\t${name}` : `100644 blob ${file()}\t${name}`,
    );
    return gitInput(dir, `${lines.join("\n")}\n`, "mktree");
  };
  return folder(2);
}

test("as git rev-list --objects has it, over moving refs and in any order", async () => {
  const random = randomOf("reachability");
  const dir = newRepository(SHA1);
  const repo = openRepository(dir, {});
  for (let round = 0; round < 6; round++) {
    for (const ref of ["refs/heads/a", "refs/heads/b"]) {
      if (random.int(3) === 0) continue;
      const goesOn = git(dir, "for-each-ref", ref) !== "" && random.int(2) === 0;
      const parents = goesOn ? ["-p", ref] : [];
      const commit = git(dir, "commit-tree", "-m", `${round}`, ...parents, randomTree(dir, random));
      git(dir, "update-ref", ref, commit);
    }
    const tips = git(dir, "for-each-ref", "--format=%(refname) %(objectname)")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => ({ name: line.split(" ")[0]!, oid: line.split(" ")[1]! }));
    if (tips.length === 0) continue;
    const reached = new Set(
      git(dir, "rev-list", "--objects", "--no-object-names", ...tips.map(({ oid }) => oid)).split("\n"),
    );
    const all = git(dir, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split("\n");
    const values = new Set(tips.map(({ oid }) => oid));
    for (let i = 0; i < 30; i++) {
      const wants = Array.from({ length: 1 + random.int(3) }, () => random.pick(all)).filter((oid) => !values.has(oid));
      const graph = new CommitGraph(repo.objects, new Set());
      const left = await findUnreachable(repo.objects, graph, tips, wants);
      const bad = wants.filter((oid) => !reached.has(oid));
      expect([wants, left !== undefined]).toEqual([wants, bad.length > 0]);
      if (left !== undefined) expect(bad).toContain(left);
    }
  }
  repo.close();
});
