/** Two who compact one ledger at once. */

import { expect, test } from "bun:test";
import { commit } from "../../src/kv/commit.ts";
import { parseKey } from "../../src/kv/key.ts";
import { compactLedger } from "../../src/kv/new-epoch.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { complaints, countingClock, newRepository, workspaceAt } from "../support/workspace.ts";

test("one begins the epoch, the other finds nothing left to do", async () => {
  const dir = newRepository(TEST_FORMAT);
  const one = workspaceAt(dir);
  const two = workspaceAt(dir, { clock: countingClock(one.now() * 1000 + 1000) });
  await commit(one, { create: { epoch: "e1" } }, () => {});
  const key = parseKey("k");
  const options = { ctype: undefined, expires: undefined, labels: undefined };
  const value = { kind: "bytes", data: Buffer.from("v") } as const;
  await commit(one, {}, (use) => use({ op: "set", key, value, options, condition: undefined }));
  await commit(one, {}, (use) => use({ op: "del", key, condition: undefined }));
  const outcomes = await Promise.all([compactLedger(one, {}), compactLedger(two, {})]);
  expect(outcomes.map(({ begun }) => begun?.label).sort()).toEqual(["e2", undefined]);
  expect(workspaceAt(dir).requireState().ledger).toMatchObject({ epoch: "e2", seq: 4 });
  expect(complaints(dir)).toBe("");
});
