/** A large value whose pieces are there already, and an epoch that begins without them before the value is written. */

import { expect, test } from "bun:test";
import * as path from "node:path";
import type { WriteLine } from "../../src/kv/batch.ts";
import { readManifest, streamValue } from "../../src/kv/chunked-value.ts";
import { type CommitOutcome, commit } from "../../src/kv/commit.ts";
import { fetchAccepted } from "../../src/kv/fetch.ts";
import { parseKey } from "../../src/kv/key.ts";
import { beginEpoch } from "../../src/kv/new-epoch.ts";
import { findKey } from "../../src/kv/read.ts";
import { configureRemote } from "../../src/kv/setup.ts";
import type { Workspace } from "../../src/kv/workspace.ts";
import { git } from "../support/git.ts";
import { noise } from "../support/noise.ts";
import { TestStargate } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { complaints, countingClock, newRepository, workspaceAt } from "../support/workspace.ts";

const MiB = 1024 * 1024;
const LARGE = noise("large", 4 * MiB);
const EDITED = Buffer.from(LARGE);
EDITED[5_000]! ^= 1;

/** Sets `key`, runs `meanwhile` once its pieces are stored, and writes it then. */
async function set(
  workspace: Workspace,
  key: string,
  data: Buffer | undefined,
  meanwhile?: () => Promise<unknown>,
): Promise<CommitOutcome> {
  const options = { ctype: undefined, expires: undefined, labels: undefined };
  const line: WriteLine =
    data === undefined
      ? { op: "del", key: parseKey(key), condition: undefined }
      : { op: "set", key: parseKey(key), value: { kind: "bytes", data }, options, condition: undefined };
  return commit(workspace, {}, async (use) => {
    await use(line);
    await meanwhile?.();
  });
}

/**
 * Writes an edited value of "k": most of its pieces are there, one is a delta of one that is. Before it is written `other` deletes the
 * key and begins an epoch; `keeps` is a value that the epoch keeps.
 */
async function overEpoch(writer: Workspace, other: Workspace, keeps: Buffer | undefined): Promise<void> {
  await set(writer, "k", LARGE);
  if (keeps !== undefined) await set(writer, "kept", keeps);
  const outcome = await set(writer, "k", EDITED, async () => {
    if (other.hasStargate) await fetchAccepted(other);
    await set(other, "k", undefined);
    await beginEpoch(other, { label: "e2" });
  });
  expect(writer.requireState().ledger.epoch).toBe("e2");
  expect(outcome.bytes!.reused).toBeGreaterThan(MiB);
  expect(outcome.bytes!.new).toBeGreaterThan(0);
}

/** Whether "k" can be read whole, and is what was written. */
async function isThere(workspace: Workspace): Promise<boolean> {
  const { objects } = workspace.repo;
  const found = findKey(objects, workspace.requireState(), "k", { now: 0, allowExpired: false });
  const manifest = readManifest(objects, found);
  const parts: Buffer[] = [];
  await streamValue(
    objects,
    manifest,
    { start: 0, end: manifest.size },
    (bytes) => void parts.push(Buffer.from(bytes)),
  );
  return Buffer.concat(parts).equals(EDITED);
}

const CASES: [string, Buffer | undefined][] = [
  ["and keeps others", noise("kept", 4 * MiB)],
  ["and keeps none", undefined],
];

test.each(CASES)("in a repository of its own, where the epoch drops the pieces %s", async (_, keeps) => {
  const dir = newRepository(TEST_FORMAT);
  const writer = workspaceAt(dir);
  await commit(writer, { create: { epoch: "e1" } }, () => {});
  await overEpoch(writer, workspaceAt(dir), keeps);
  expect(await isThere(writer)).toBe(true);
  expect(complaints(dir)).toBe("");
});

test.each(CASES)(
  "through a Stargate, where the epoch drops the pieces %s",
  async (_, keeps) => {
    const stargate = await TestStargate.start({ upkeep: false });
    const url = stargate.loginUrl(stargate.token("admin"));
    const clone = (name: string, clock = countingClock()): Workspace => {
      const dir = path.join(tempDir("clone"), name);
      git("/", "init", "-q", `--object-format=${TEST_FORMAT.name}`, dir);
      git(dir, "remote", "add", "origin", stargate.dir);
      const made = workspaceAt(dir, { clock });
      configureRemote(made, url);
      made.repo.reloadConfig();
      return made;
    };
    try {
      const writer = clone("writer");
      await set(writer, "a", Buffer.from("1"));
      // Another clock, or two transactions would be called by one name.
      await overEpoch(writer, clone("other", countingClock(writer.now() * 1000 + 1000)), keeps);
      expect(await isThere(workspaceAt(stargate.dir))).toBe(true);
      expect(complaints(stargate.dir)).toBe("");
    } finally {
      await stargate.stop();
    }
  },
  30_000,
);
