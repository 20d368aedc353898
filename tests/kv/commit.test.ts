/** Feeding lines of work to a transaction, also by a caller that does not wait for their values. */

import { expect, test } from "bun:test";
import type { ValueInput, WriteLine } from "../../src/kv/batch.ts";
import { commit } from "../../src/kv/commit.ts";
import { git } from "../support/git.ts";
import { noise } from "../support/noise.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { complaints, newRepository, workspaceAt } from "../support/workspace.ts";

const NO_OPTIONS = { ctype: undefined, expires: undefined, labels: undefined };

function set(key: string, value: ValueInput): WriteLine {
  return { op: "set", key, value, options: NO_OPTIONS, condition: undefined };
}

const large = (label: string): ValueInput => ({ kind: "bytes", data: noise(label, 3_000_000) });
const small: ValueInput = { kind: "bytes", data: Buffer.from("v") };

async function store(): Promise<string> {
  const dir = newRepository(TEST_FORMAT);
  await commit(workspaceAt(dir), { create: { epoch: "e1" } }, () => {});
  return dir;
}

test("values that nobody waited for are all in the transaction, and nothing is left", async () => {
  const dir = await store();
  const outcome = await commit(workspaceAt(dir), {}, (use) => {
    void use(set("large", large("one")));
    void use(set("small", small));
  });
  expect(outcome).toMatchObject({ kind: "committed", changes: { length: 2 } });
  expect(complaints(dir)).toBe("");
});

test("one that fails fails the transaction, whether or not feeding ends well", async () => {
  const dir = await store();
  const tip = git(dir, "rev-parse", "refs/kv/main");
  const folder: ValueInput = { kind: "file", path: dir };
  const fed = commit(workspaceAt(dir), {}, (use) => {
    void use(set("folder", folder));
    void use(set("large", large("two")));
  });
  expect(await fed.catch((error: Error) => error.message)).toContain("EISDIR");
  const broken = commit(workspaceAt(dir), {}, (use) => {
    void use(set("large", large("three")));
    throw new TypeError("the feeder broke");
  });
  await expect(broken).rejects.toThrow("the feeder broke");
  expect(git(dir, "rev-parse", "refs/kv/main")).toBe(tip);
  expect(complaints(dir)).toBe("");
});
