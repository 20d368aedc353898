/** Feeding lines of work to a transaction, also by a caller that does not wait for their values. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
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

/** Counts the turns of the event loop from now on; `each` is told of every one. */
function countTurns(each: (turns: number) => void): { turns: number; end(): void } {
  const counter = { turns: 0, end: () => clearImmediate(next) };
  const turn = (): void => {
    each(++counter.turns);
    next = setImmediate(turn);
  };
  let next = setImmediate(turn);
  return counter;
}

function feedMany(use: (line: WriteLine) => void | Promise<void>): void {
  for (let i = 0; i < 30_000; i++) void use(set(`key ${i}`, small));
}

test("others run while many keys are planned and stored", async () => {
  const workspace = workspaceAt(await store());
  const counter = countTurns(() => {});
  let fed = 0;
  await commit(workspace, {}, (use) => {
    feedMany(use);
    fed = counter.turns;
  });
  counter.end();
  // It takes some hundred milliseconds, and pauses after ten of them.
  expect(counter.turns - fed).toBeGreaterThan(8);
}, 60_000);

test("an interrupt is heard while many keys are planned or stored: nothing is accepted and nothing left behind", async () => {
  const dir = await store();
  const before = [git(dir, "for-each-ref"), fs.readdirSync(workspaceAt(dir).repo.objects.packDir).sort()];
  for (const last of [3, 6, 9]) {
    const abort = new AbortController();
    const counter = countTurns((turns) => {
      if (turns === last) abort.abort(new Error(`after ${turns} turns`));
    });
    const written = commit(workspaceAt(dir, { signal: abort.signal }), {}, feedMany);
    expect(await written.catch((error: Error) => error.message)).toBe(`after ${last} turns`);
    counter.end();
    expect([git(dir, "for-each-ref"), fs.readdirSync(workspaceAt(dir).repo.objects.packDir).sort()]).toEqual(before);
  }
}, 60_000);
