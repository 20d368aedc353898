/** The transactions of a ledger: those of a prefix, and one step for each that the prefix leaves out, so that a search can be ended. */

import { expect, test } from "bun:test";
import { keyText } from "../../src/kv/key.ts";
import { logOf } from "../../src/kv/log.ts";
import { git } from "../support/git.ts";
import { KvModel } from "../support/kv-model.ts";
import { kvOk } from "../support/scene.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { workspaceAt } from "../support/workspace.ts";

test("one step for each transaction, whatever the prefix leaves out", () => {
  const model = new KvModel(TEST_FORMAT);
  for (let i = 1; i <= 30; i++) model.commit([model.set(i % 10 === 0 ? `rare:${i}` : `often:${i}`, "v")]);
  const steps = (prefix: string | undefined): (string | undefined)[] =>
    [...logOf(model.objects, model.state!, { prefix, changes: true })].map(
      (found) => found && `${found.ledger.seq} ${found.changes?.map(({ key }) => keyText(key)).join()}`,
    );
  expect(steps(undefined)).toHaveLength(30);
  expect(steps("rare:")).toHaveLength(30);
  expect(steps("rare:").filter((step) => step !== undefined)).toEqual(["30 rare:30", "20 rare:20", "10 rare:10"]);
  expect(steps("never:")).toEqual(Array.from({ length: 30 }, () => undefined));
});

test("the end tells of the epoch before where its archive is not here", async () => {
  const dir = tempDir("log");
  git(dir, "init", "-q", `--object-format=${TEST_FORMAT.name}`);
  kvOk(dir, "init");
  kvOk(dir, "epoch", "new", "--label", "e2");
  kvOk(dir, "set", "k", "1");
  const young = tempDir("log");
  git(young, "init", "-q", `--object-format=${TEST_FORMAT.name}`);
  git(young, "fetch", "-q", `file://${dir}`, "+refs/kv/*:refs/kv/*", "+refs/kv-index/*:refs/kv-index/*");
  const ends = [dir, young].map((at) => {
    const workspace = workspaceAt(at);
    const entries = logOf(workspace.repo.objects, workspace.requireState(), { prefix: undefined, changes: false });
    let step = entries.next();
    for (; step.done !== true; step = entries.next());
    workspace.repo.close();
    return step.value?.label;
  });
  expect(ends).toEqual([undefined, "e1"]);
});
