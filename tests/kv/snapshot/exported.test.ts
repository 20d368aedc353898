/** What an export reads before its first key. */

import { expect, test } from "bun:test";
import { commit } from "../../../src/kv/commit.ts";
import { parseKey } from "../../../src/kv/key.ts";
import { exportedKeys } from "../../../src/kv/snapshot/exported.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { newRepository, workspaceAt } from "../../support/workspace.ts";

test("an export can be ended while it gathers where things lie", async () => {
  const controller = new AbortController();
  const told: string[] = [];
  const workspace = workspaceAt(newRepository(TEST_FORMAT), {
    signal: controller.signal,
    progress: (text) => {
      told.push(text);
      controller.abort(new Error("enough"));
      // Longer than it may go on without looking around.
      Bun.sleepSync(20);
    },
  });
  const options = { ctype: undefined, expires: undefined, labels: undefined };
  await commit(workspace, { create: { epoch: "e1" } }, async (use) => {
    for (let i = 0; i < 5_000; i++) {
      const value = { kind: "bytes" as const, data: Buffer.from(String(i)) };
      await use({ op: "set", key: parseKey(`key:${i}`), value, options, condition: undefined });
    }
  });
  const keys = exportedKeys(workspace, workspace.requireState(), { prefix: "", now: undefined });
  await expect(keys.next()).rejects.toThrow("enough");
  expect(told[0]).toMatch(/^exporting: \d+ files found$/);
  expect(told.length).toBeLessThanOrEqual(33);
});
