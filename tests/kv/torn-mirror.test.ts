/** A host that moves the refs of an atomic push one after the other, as stock git does, seen while it does. */

import { expect, test } from "bun:test";
import * as path from "node:path";
import { commit } from "../../src/kv/commit.ts";
import { fetchMirror } from "../../src/kv/fetch.ts";
import { parseKey } from "../../src/kv/key.ts";
import { indexParent, readTracked } from "../../src/kv/state.ts";
import { waitForMirror } from "../../src/kv/wait.ts";
import { git } from "../support/git.ts";
import { kvOk } from "../support/scene.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { newRepository, workspaceAt } from "../support/workspace.ts";

/** A mirror with two transactions and a clone that has the first: the refs of both, and a way to move those of the mirror. */
async function world() {
  const mirror = newRepository(TEST_FORMAT);
  const origin = workspaceAt(mirror);
  await commit(origin, { create: { epoch: "e1" } }, () => {});
  const tips = (): { ledger: string; index: string } => ({
    ledger: git(mirror, "rev-parse", "refs/kv/main"),
    index: git(mirror, "rev-parse", "refs/kv-index/main"),
  });
  const first = tips();
  const show = (group: "kv" | "kv-index" | "kv-mirror", oid: string): void => {
    git(mirror, "update-ref", `refs/${group}/main`, oid);
  };
  show("kv-mirror", first.ledger);
  const clone = path.join(tempDir("clone"), "c");
  git("/", "init", "-q", `--object-format=${TEST_FORMAT.name}`, clone);
  git(clone, "remote", "add", "origin", mirror);
  kvOk(clone, "fetch");
  const options = { ctype: undefined, expires: undefined, labels: undefined };
  const value = { kind: "bytes", data: Buffer.from("1") } as const;
  await commit(origin, { message: undefined }, (use) =>
    use({ op: "set", key: parseKey("k"), value, options, condition: undefined }),
  );
  return { mirror, first, second: tips(), show, workspace: workspaceAt(clone) };
}

/** What the clone has of the mirror. */
function trackedBy({ repo }: ReturnType<typeof workspaceAt>) {
  return readTracked(repo.objects, repo.refs, "main", "origin")!;
}

for (const late of ["kv", "kv-index"] as const) {
  test(`a fetch that sees ${late} where it was and the other one moved looks again`, async () => {
    const { first, second, show, workspace } = await world();
    show(late, late === "kv" ? first.ledger : first.index);
    setTimeout(() => show(late, late === "kv" ? second.ledger : second.index), 120);
    await fetchMirror(workspace);
    const state = trackedBy(workspace);
    expect(state.ledger.oid).toBe(second.ledger);
    expect(indexParent(workspace.repo.objects, state)).toBe(second.index);
  });
}

test("what stays so is taken as it is, and whoever builds on it is told", async () => {
  const { first, second, show, workspace } = await world();
  show("kv-index", first.index);
  await fetchMirror(workspace);
  const state = trackedBy(workspace);
  expect([state.ledger.oid, state.index]).toEqual([second.ledger, first.index]);
  expect(() => indexParent(workspace.repo.objects, state)).toThrow("is not the one its ledger names");
});

test("a wait that sees the watermark before the ledger goes on waiting for it", async () => {
  const { mirror, first, second, show, workspace } = await world();
  show("kv", first.ledger);
  show("kv-index", first.index);
  show("kv-mirror", second.ledger);
  setTimeout(() => {
    show("kv", second.ledger);
    show("kv-index", second.index);
  }, 400);
  await waitForMirror(workspace, second.ledger, 20_000);
  expect(git(mirror, "rev-parse", "refs/kv/main")).toBe(second.ledger);
});
