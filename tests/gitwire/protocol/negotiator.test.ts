import { expect, test } from "bun:test";
import type { Oid } from "../../../src/gitwire/object/oid.ts";
import { HaveBatches } from "../../../src/gitwire/protocol/have-batches.ts";
import { Negotiator } from "../../../src/gitwire/protocol/negotiator.ts";
import { openRepository } from "../../../src/gitwire/repo.ts";
import { git } from "../../support/git.ts";
import { addCommits, bareRepository, repositoryWith } from "../../support/push.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

function everything(negotiator: Negotiator): Oid[] {
  const all: Oid[] = [];
  for (let oid = negotiator.next(); oid !== undefined; oid = negotiator.next()) all.push(oid);
  return all;
}

test("all commits are named, newest first, each once", () => {
  const { dir, commits } = repositoryWith(50);
  git(dir, "tag", "-a", "-m", "t", "v1", commits[10]!);
  const { objects } = openRepository(dir);
  const tips = [commits[49]!, commits[20]!, git(dir, "rev-parse", "v1"), git(dir, "rev-parse", "main^{tree}")];
  const all = everything(new Negotiator(objects, tips));
  expect([...all].sort()).toEqual([...commits].sort());
  expect(all[0]).toBe(commits[49]!);
});

test("nothing is named behind a commit the server has", () => {
  const { dir, commits } = repositoryWith(50);
  const { objects } = openRepository(dir);
  const negotiator = new Negotiator(objects, [commits[49]!]);
  const named: Oid[] = [];
  for (let oid = negotiator.next(); oid !== undefined; oid = negotiator.next()) {
    named.push(oid);
    if (oid === commits[40]) {
      expect(negotiator.acknowledge(oid)).toBe(true);
      expect(negotiator.acknowledge(oid)).toBe(false);
    }
  }
  expect(named).toEqual(commits.slice(40).reverse());
  expect(negotiator.acknowledge("1".repeat(TEST_FORMAT.hexSize))).toBe(false);
});

test("what the server has advertised is named once, and nothing behind it", () => {
  const { dir, commits } = repositoryWith(30);
  const own = addCommits(dir, 3, "own", "refs/heads/own");
  const { objects } = openRepository(dir);
  const named = everything(
    new Negotiator(objects, [own[2]!, commits[29]!], [commits[29]!, "2".repeat(TEST_FORMAT.hexSize)]),
  );
  expect([...named].sort()).toEqual([...own, commits[29]!].sort());
});

test("tips that are not here are left out", () => {
  const { objects } = openRepository(bareRepository());
  expect(everything(new Negotiator(objects, ["1".repeat(TEST_FORMAT.hexSize)]))).toEqual([]);
});

test("batches grow, end with the last have, and give up where no answer comes", () => {
  const { dir, commits } = repositoryWith(700);
  const { objects } = openRepository(dir);
  const sizes = (stateless: boolean, acknowledged: Oid | undefined): number[] => {
    const batches = new HaveBatches(new Negotiator(objects, [commits[699]!, commits[0]!]), stateless);
    const found: number[] = [];
    for (;;) {
      const { haves, isLast } = batches.next();
      found.push(haves.length);
      if (isLast) return found;
      if (found.length === 1 && acknowledged !== undefined) batches.acknowledge(acknowledged);
    }
  };
  expect(sizes(true, undefined)).toEqual([16, 32, 64, 128, 256, 204]);
  expect(sizes(false, undefined)).toEqual([16, 32, 64, 96, 128, 160, 192, 12]);
  // One thing is common, and 256 haves after it nothing more: that is the end of it.
  expect(sizes(false, "3".repeat(TEST_FORMAT.hexSize))).toEqual([16, 32, 64, 96, 128, 0]);
});
