/** Our client fetches less than everything: from real git over HTTP and a pipe, and from our own upload-pack. */

import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import type { Oid } from "../../../src/gitwire/object/oid.ts";
import { AdvertisedRefs } from "../../../src/gitwire/protocol/advertised-refs.ts";
import { capabilities } from "../../../src/gitwire/protocol/capabilities.ts";
import { type FetchResult, fetchPack, lsRefs } from "../../../src/gitwire/protocol/fetch-pack.ts";
import { depthRequest, type FetchScope, moveEnds, WHOLE_HISTORY } from "../../../src/gitwire/protocol/fetch-scope.ts";
import { openRepository } from "../../../src/gitwire/repo.ts";
import { connect } from "../../../src/gitwire/transport/connect.ts";
import { AGENT, connectOptions } from "../../support/connect.ts";
import { failureOf } from "../../support/failure.ts";
import { fsck, git, tryGit } from "../../support/git.ts";
import { startHttpBackend } from "../../support/http-backend.ts";
import { addCommit, bareRepository, repositoryWith } from "../../support/push.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

// Many processes of git, on machines that may be busy.
setDefaultTimeout(60_000);

const { dir: SOURCE, commits: COMMITS } = openTo(repositoryWith(12));
const SOURCE_256 = openTo(repositoryWith(12, "sha256"));
// A branch beside main, of which a fetch can leave out what it shares with main.
git(SOURCE, "branch", "side", COMMITS[4]!);
const http = startHttpBackend(path.dirname(SOURCE));
afterAll(() => {
  http.stop();
});

function openTo<T extends { dir: string }>(repository: T): T {
  for (const key of ["allowFilter", "allowAnySHA1InWant"]) git(repository.dir, "config", `uploadpack.${key}`, "true");
  return repository;
}

interface Way {
  readonly address: string;
  readonly program: string | undefined;
}
const WAYS: Readonly<Record<string, (dir: string) => Way>> = {
  http: (dir) => ({ address: `${http.url}/${path.basename(dir)}`, program: undefined }),
  pipe: (dir) => ({ address: dir, program: "git upload-pack" }),
  local: (dir) => ({ address: dir, program: undefined }),
};
type Version = 0 | 2;

/** Fetches main, or the objects `ids`, into `into` and moves its main. */
async function fetchInto(
  into: string,
  { address, program }: Way,
  version: Version,
  scope: FetchScope,
  ids?: readonly Oid[],
): Promise<FetchResult> {
  const repo = openRepository(into);
  const transport = await connect(address, "git-upload-pack", { ...connectOptions(), version, program });
  try {
    const { refs } = await lsRefs(transport, ["refs/heads/main"], { agent: AGENT });
    const tip = refs.find(({ name }) => name === "refs/heads/main")!.oid;
    const haves = ids === undefined ? repo.refs.list().map(({ oid }) => oid) : [];
    const result = await fetchPack(transport, { wants: ids ?? [tip], haves, destination: repo, agent: AGENT, scope });
    if (ids === undefined) git(into, "update-ref", "refs/heads/main", tip);
    return result;
  } finally {
    await transport.close();
    repo.close();
  }
}

const count = (dir: string): number => Number(git(dir, "rev-list", "--count", "main"));
const isShallow = (dir: string): boolean => git(dir, "rev-parse", "--is-shallow-repository") === "true";

for (const [name, way] of Object.entries(WAYS)) {
  for (const version of [0, 2] as const) {
    test(`${name}, v${version}: shallow, deeper, further on, whole`, async () => {
      const { dir } = repositoryWith(8);
      const into = bareRepository();
      await fetchInto(into, way(dir), version, { depth: 2 });
      expect([count(into), isShallow(into), fsck(into)]).toEqual([2, true, ""]);
      addCommit(dir, "later", "later\n");
      const next = await fetchInto(into, way(dir), version, {});
      // One commit, its tree and its file, and what completes a thin pack: git may have made a delta of two of them.
      expect(next.objectCount).toBeLessThanOrEqual(5);
      expect([count(into), fsck(into)]).toEqual([3, ""]);
      await fetchInto(into, way(dir), version, { depth: 2, relative: true });
      expect([count(into), isShallow(into), fsck(into)]).toEqual([5, true, ""]);
      await fetchInto(into, way(dir), version, { depth: 1 });
      expect([count(into), fsck(into)]).toEqual([1, ""]);
      await fetchInto(into, way(dir), version, { depth: WHOLE_HISTORY });
      expect([count(into), isShallow(into), fsck(into)]).toEqual([9, false, ""]);
    });

    test(`${name}, v${version}: by date, and without what a branch has`, async () => {
      const since = bareRepository();
      const time = Number(git(SOURCE, "log", "-1", "--format=%ct", COMMITS[6]!));
      await fetchInto(since, way(SOURCE), version, { since: time });
      expect(count(since)).toBe(Number(git(SOURCE, "rev-list", "--count", `--since=${time}`, "main")));
      const notIn = bareRepository();
      await fetchInto(notIn, way(SOURCE), version, { notIn: ["refs/heads/side"] });
      expect([count(notIn), isShallow(notIn), fsck(notIn)]).toEqual([7, true, ""]);
    });

    test(`${name}, v${version}: without blobs, then some by their ids`, async () => {
      const into = bareRepository();
      const result = await fetchInto(into, way(SOURCE), version, { filter: "blob:none" });
      expect([result.isPartial, result.objectCount]).toEqual([true, 24]);
      for (const [key, value] of [
        ["core.repositoryformatversion", "1"],
        ["extensions.partialclone", "origin"],
        ["remote.origin.url", SOURCE],
        ["remote.origin.promisor", "true"],
      ] as const) {
        git(into, "config", key, value);
      }
      // Git takes the repository for what it is.
      expect(fsck(into)).toBe("");
      const missing = git(into, "rev-list", "--objects", "--missing=print", "main").match(/^\?.*/gm) ?? [];
      expect(missing.length).toBe(12);
      const blobs = missing.slice(0, 5).map((line) => line.slice(1));
      const byId = await fetchInto(into, way(SOURCE), version, { partial: true }, blobs);
      expect(byId.objectCount).toBe(5);
      expect(git(into, "rev-list", "--objects", "--missing=print", "main").match(/^\?/gm)?.length).toBe(7);
      const packs = fs.readdirSync(`${into}/objects/pack`);
      expect(packs.filter((file) => file.endsWith(".promisor")).length).toBe(2);
      expect(fsck(into)).toBe("");
    });
  }

  test(`${name}: a sha256 repository, shallow and partial at once; a server that is shallow itself`, async () => {
    const into = bareRepository("sha256");
    await fetchInto(into, way(SOURCE_256.dir), 2, { depth: 2, filter: "tree:0" });
    expect(count(into)).toBe(2);
    const trees = git(into, "rev-list", "--objects", "--missing=print", "main").match(/^\?.*/gm) ?? [];
    expect(trees.length).toBe(2);
    const shallow = bareRepository();
    git(shallow, "fetch", "-q", "--depth=3", `file://${SOURCE}`, "main:main");
    for (const version of [0, 2] as const) {
      const again = bareRepository();
      await fetchInto(again, way(shallow), version, {});
      expect([count(again), isShallow(again), fsck(again)]).toEqual([3, true, ""]);
    }
  });
}

test("a server that knows no filter sends everything, and that is said", async () => {
  const { dir } = repositoryWith(3);
  const into = bareRepository();
  const result = await fetchInto(into, WAYS.pipe!(dir), 2, { filter: "blob:none" });
  expect([result.isPartial, result.objectCount]).toEqual([false, 9]);
  expect(fsck(into)).toBe("");
  const run = tryGit(into, ["cat-file", "-e", "main:file-0"]);
  expect(run.status).toBe(0);
});

test("what a server says of the history must fit what is here", () => {
  const repo = openRepository(SOURCE);
  const [first, second, blob] = [COMMITS[0]!, COMMITS[1]!, git(SOURCE, "rev-parse", "main:file-0")];
  const info = (shallow: Oid[], unshallow: Oid[] = []) => ({ shallow, unshallow });
  const moved = moveEnds([first], info([second], [first]), [], repo.objects);
  expect([[...moved.ends], moved.opened, moved.changed]).toEqual([[second], [first], true]);
  expect(moveEnds([first], undefined, [second], repo.objects).changed).toBe(false);
  for (const bad of [info(["1".repeat(TEST_FORMAT.hexSize)]), info([blob]), info([], [second])]) {
    expect(() => moveEnds([first], bad, [], repo.objects)).toThrow(expect.objectContaining({ code: "PROTOCOL" }));
  }
  const old = {
    kind: "refs",
    version: 0,
    capabilities: capabilities(["ofs-delta"]),
    refs: new AdvertisedRefs(),
  } as const;
  const greeting = { ...old, format: repo.format, haves: [], shallow: [] };
  for (const [scope, shallow] of [
    [{ depth: 1 }, []],
    [{}, [first]],
  ] as const) {
    expect(() => depthRequest(scope, shallow, greeting, "there")).toThrow(
      expect.objectContaining({ code: "UNSUPPORTED" }),
    );
  }
  repo.close();
});

test("words that git refuses leave the repository as it was", async () => {
  const into = bareRepository();
  for (const [scope, words] of [
    [{ filter: "blob:nothing" }, "invalid filter-spec 'blob:nothing'"],
    [{ notIn: ["refs/heads/none"] }, "ambiguous deepen-not"],
    [{ depth: 1, since: 1 }, "cannot be used together"],
  ] as const) {
    const error = await failureOf(fetchInto(into, WAYS.local!(SOURCE), 2, scope));
    expect([error.code, error.message]).toEqual(["REMOTE_REJECTED", expect.stringContaining(words)]);
  }
  expect(fs.readdirSync(`${into}/objects`).filter((entry) => /^\.?tmp[-_]/.test(entry))).toEqual([]);
  expect(isShallow(into)).toBe(false);
});
