/** Partial fetches: which objects a filter leaves out, held against `git rev-list --filter` and git's own upload-pack. */

import { expect, setDefaultTimeout, test } from "bun:test";
import { KvError } from "../../../src/errors.ts";
import { parseFilter } from "../../../src/gitwire/protocol/object-filter.ts";
import { openRepository } from "../../../src/gitwire/repo.ts";
import { askGit, askOurs } from "../../support/fetch-oracle.ts";
import { git, tryGit } from "../../support/git.ts";
import { randomHistory } from "../../support/history.ts";
import { type Random, random } from "../../support/random.ts";
import { newServer } from "../../support/served.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

// Many processes of git, on machines that may be busy.
setDefaultTimeout(120_000);

const SIMPLE = ["blob:none", "blob:limit=0", "blob:limit=40", "blob:limit=1k", "tree:0", "tree:1", "tree:2", "tree:3"];
const TYPES = ["commit", "tree", "blob", "tag"].map((kind) => `object:type=${kind}`);

function someFilter(rnd: Random): string {
  const one = (): string => rnd.pick([...SIMPLE, ...TYPES]);
  if (rnd.int(3) > 0) return one();
  const nested = `combine:${encodeURIComponent(one())}+${encodeURIComponent(one())}`;
  return rnd.int(2) === 0 ? nested : `combine:${encodeURIComponent(nested)}+${one()}`;
}

const listed = (dir: string, ...args: string[]): Set<string> => {
  const text = git(dir, "rev-list", "--objects", ...args);
  return new Set(text === "" ? [] : text.split("\n").map((line) => line.split(" ")[0]!));
};

for (const format of [TEST_FORMAT.name]) {
  test(`a partial clone gets what git lists, ${format}`, async () => {
    const rnd = random(`filter ${format}`);
    const dir = newServer(format);
    const history = randomHistory(dir, rnd);
    for (let round = 0; round < 4; round++) {
      history.grow(20);
      const repo = openRepository(dir);
      const refs = git(dir, "for-each-ref", "--format=%(objectname)", "refs/heads", "refs/kv").split("\n");
      const filters = [...SIMPLE, ...TYPES, ...Array.from({ length: 6 }, () => someFilter(rnd))];
      for (const filter of filters) {
        // Of refs that do not lead to each other, so that each is wanted for itself alone.
        const wants = [rnd.pick(refs)];
        const { objects } = await askOurs(repo, { wants, filter, done: true, ofsDelta: true });
        expect([filter, objects]).toEqual([filter, listed(dir, `--filter=${filter}`, ...wants)]);
      }
      repo.close();
    }
  });

  test(`a partial fetch on top of one brings all that is new, ${format}`, async () => {
    const rnd = random(`partial fetch ${format}`);
    const dir = newServer(format);
    const history = randomHistory(dir, rnd);
    history.grow(30);
    for (let round = 0; round < 12; round++) {
      const repo = openRepository(dir);
      const filter = round < SIMPLE.length ? SIMPLE[round]! : someFilter(rnd);
      const [want, have] = [git(dir, "rev-parse", "main"), git(dir, "rev-parse", `main~${rnd.int(5)}`)];
      const { objects } = await askOurs(repo, { wants: [want], haves: [have], filter, done: true, ofsDelta: true });
      const had = listed(dir, `--filter=${filter}`, have);
      const due = [...listed(dir, `--filter=${filter}`, want)].filter((oid) => !had.has(oid));
      expect([filter, due.filter((oid) => !objects.has(oid))]).toEqual([filter, []]);
      const theirs = await askGit(dir, repo.format, {
        wants: [want],
        haves: [have],
        filter,
        done: true,
        ofsDelta: true,
      });
      expect(objects.size).toBeLessThanOrEqual(Math.max(theirs.objects.size, due.length) * 1.1 + 8);
      repo.close();
    }
  });

  test(`what is wanted by its id comes in any case, ${format}`, async () => {
    const rnd = random(`promised ${format}`);
    const dir = newServer(format);
    randomHistory(dir, rnd).grow(25);
    const repo = openRepository(dir);
    const blobs = git(dir, "ls-tree", "-r", "--format=%(objectname)", "main").split("\n");
    const [tree, old] = [git(dir, "rev-parse", "main^{tree}"), git(dir, "rev-parse", "main~3^{tree}")];
    for (const filter of ["blob:none", "tree:0", "tree:1", "object:type=tag"]) {
      for (const wants of [blobs, [tree], [tree, old, ...blobs]]) {
        const request = { wants: [...new Set(wants)], filter, done: true, ofsDelta: true } as const;
        const [ours, theirs] = [await askOurs(repo, request), await askGit(dir, repo.format, request)];
        for (const oid of wants) expect(ours.objects).toContain(oid);
        // Git itself forgets what was wanted by its id where it meets it in a tree that is wanted too.
        expect([filter, ours.objects]).toEqual([filter, new Set([...theirs.objects, ...wants])]);
      }
    }
    repo.close();
  });
}

/** What git says of a filter: its complaint, or undefined where it takes it. */
function complaint(dir: string, filter: string): string | undefined {
  const run = tryGit(dir, ["rev-list", "--objects", `--filter=${filter}`, "--all"]);
  return run.status === 0 ? undefined : /^fatal: (.*)$/m.exec(run.stderr)?.[1];
}

test("specs that git refuses are refused in its words, and others are not", () => {
  const dir = newServer();
  const specs = [
    "",
    "blob",
    "blob:limit=",
    "blob:limit=-5",
    "blob:limit=1q",
    "blob:limit=10K",
    "tree:",
    "tree:-1",
    "tree:1k",
    "object:type=",
    "object:type=foo",
    "sparse:path=x",
    "combine:",
    "combine:blob:none",
    "combine:blob:none+tree:1",
    "combine:+blob:none",
    "combine:bl@b:none",
    "combine:blob:none tree:1",
    "combine:tree:3%zz",
    "combine:tree%3A3+combine:blob%3Anone%2Btree%3A1",
  ];
  const ours = (spec: string): string | undefined => {
    try {
      parseFilter(spec);
      return undefined;
    } catch (error) {
      expect((error as KvError).code).toBe("PROTOCOL");
      return (error as KvError).message;
    }
  };
  for (const spec of specs) expect([spec, ours(spec)]).toEqual([spec, complaint(dir, spec)]);
});

test("combinations come down to their strictest parts", () => {
  const rules = (spec: string): Record<string, unknown> => {
    const { names: _, ...rest } = parseFilter(spec);
    return rest;
  };
  expect(rules("combine:blob:limit=10+blob:limit=5+tree:3+tree:4")).toEqual({ blobLimit: 5, treeDepth: 3 });
  expect(rules("combine:object:type=blob+object:type=blob")).toEqual({ type: "blob" });
  expect(rules("combine:object:type=blob+object:type=tree")).toEqual({ type: "none" });
});

test("nests, crowds and lengths nobody needs are refused before any work", () => {
  let deep = "blob:none";
  for (let n = 0; n < 12; n++) deep = `combine:${encodeURIComponent(deep)}+tree:1`;
  for (const spec of [deep, `combine:${"tree:1+".repeat(500)}tree:1`, `combine:${"%25".repeat(20_000)}`]) {
    let thrown: unknown;
    try {
      parseFilter(spec);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(KvError);
    expect((thrown as KvError).code).toBe("LIMIT_EXCEEDED");
  }
});
