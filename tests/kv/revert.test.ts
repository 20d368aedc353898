/** Taking transactions back: what is there afterwards, what stands against it, and that auditor and Stargate take the result. */

import { expect, test } from "bun:test";
import * as path from "node:path";
import { SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import { parseAt } from "../../src/kv/at.ts";
import { audit } from "../../src/kv/audit.ts";
import type { WriteLine } from "../../src/kv/batch.ts";
import { missingPieces, readManifest, streamValue } from "../../src/kv/chunked-value.ts";
import { commit } from "../../src/kv/commit.ts";
import { fetchAccepted } from "../../src/kv/fetch.ts";
import { parseKey } from "../../src/kv/key.ts";
import { beginEpoch } from "../../src/kv/new-epoch.ts";
import { findKey, inlineValue } from "../../src/kv/read.ts";
import { revert } from "../../src/kv/revert.ts";
import { configureRemote } from "../../src/kv/setup.ts";
import { stateAt } from "../../src/kv/state.ts";
import type { Workspace } from "../../src/kv/workspace.ts";
import { failureOf } from "../support/failure.ts";
import { git } from "../support/git.ts";
import { noise } from "../support/noise.ts";
import { large, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { complaints, newRepository, workspaceAt } from "../support/workspace.ts";

const MiB = 1024 * 1024;

type Values = Record<string, string | Buffer | undefined>;

/** One transaction; undefined deletes. Returns its KV-Seq. */
async function apply(
  workspace: Workspace,
  values: Values,
  extra: { expires?: number; ctype?: string } = {},
): Promise<string> {
  const outcome = await commit(workspace, {}, async (use) => {
    for (const [key, value] of Object.entries(values)) {
      const options = { ctype: extra.ctype, expires: extra.expires, labels: { of: key } };
      const line: WriteLine =
        value === undefined
          ? { op: "del", key: parseKey(key), condition: undefined }
          : {
              op: "set",
              key: parseKey(key),
              value: { kind: "bytes", data: Buffer.from(value) },
              options,
              condition: undefined,
            };
      await use(line);
    }
  });
  if (outcome.kind !== "committed") throw new Error("nothing changed");
  return String(outcome.seq);
}

const back = (workspace: Workspace, what: string, message?: string) =>
  revert(workspace, parseAt(what, workspace.repo.format, workspace.now()), { message, expectTree: undefined });

function read(workspace: Workspace, key: string): string | undefined {
  const { objects } = workspace.repo;
  try {
    return inlineValue(
      objects,
      findKey(objects, workspace.requireState(), parseKey(key), { now: 0, allowExpired: true }),
    ).toString();
  } catch {
    return undefined;
  }
}

async function findings(workspace: Workspace): Promise<string[]> {
  const said: string[] = [];
  await audit(workspace, {
    all: false,
    found: ({ code, message }) => said.push(`${code} ${message}`),
    progress: () => {},
  });
  return said;
}

test.each([SHA1, SHA256])("in a $name repository", async (format) => {
  const dir = newRepository(format);
  const workspace = workspaceAt(dir);
  await commit(workspace, { create: { epoch: "e1" } }, () => {});
  const first = await apply(workspace, { a: "1", b: "1", c: "1" }, { ctype: "text/x-first", expires: 4_000_000_000 });
  const second = await apply(workspace, { a: "2", b: undefined, d: "new" });
  const other = await apply(workspace, { e: "elsewhere" });
  const outcome = await back(workspace, second);
  expect(outcome).toMatchObject({ kind: "committed", seq: 5 });
  expect(["a", "b", "c", "d", "e"].map((key) => read(workspace, key))).toEqual(["1", "1", "1", undefined, "elsewhere"]);
  const { objects } = workspace.repo;
  const found = findKey(objects, workspace.requireState(), parseKey("a"), { now: 0, allowExpired: false });
  expect(found.meta).toMatchObject({ rev: 3, ctype: "text/x-first", expires: 4_000_000_000, labels: { of: "a" } });
  const { oid, txn } = stateAt(objects, git(dir, "rev-parse", "refs/kv/main~2")).ledger;
  expect(git(dir, "log", "-1", "--format=%s%n%n%b", "refs/kv/main").split("\n").slice(0, 3)).toEqual([
    ...["revert mset: 2 set, 1 del", "", `This takes transaction ${txn} (${oid}) back.`],
  ]);
  // A revert is a transaction like others: it can be taken back, by any of its names.
  await back(workspace, git(dir, "rev-parse", "refs/kv/main"), "there again");
  expect(["a", "b", "d"].map((key) => read(workspace, key))).toEqual(["2", undefined, "new"]);
  await back(workspace, stateAt(objects, git(dir, "rev-parse", "refs/kv/main")).ledger.txn);
  expect(["a", "b", "d"].map((key) => read(workspace, key))).toEqual(["1", "1", undefined]);
  expect(Number(other)).toBe(4);
  // What changed since is named; nothing is written.
  const tip = git(dir, "rev-parse", "refs/kv/main");
  await apply(workspace, { c: "later" });
  const conflict = await failureOf(back(workspace, first));
  expect([conflict.code, conflict.message, conflict.exit]).toEqual([
    ...["CAS_CONFLICT", `"a", "b", "c" have changed since transaction ${first}`, 2],
  ]);
  expect(git(dir, "rev-parse", "refs/kv/main~1")).toBe(tip);
  // Deleted, set and deleted again is not as it was left.
  const gone = await apply(workspace, { e: undefined });
  await apply(workspace, { e: "back" });
  await apply(workspace, { e: undefined });
  expect((await failureOf(back(workspace, gone))).message).toBe(`"e" has changed since transaction ${gone}`);
  for (const [what, code] of [
    ["1", "INPUT_INVALID"],
    ["99", "INPUT_INVALID"],
    ["ffffffff", "INPUT_INVALID"],
  ] as const) {
    expect((await failureOf(back(workspace, what))).code).toBe(code);
  }
  expect(await findings(workspace)).toEqual([]);
  expect(complaints(dir)).toBe("");
});

/** The value of "big", of which all pieces are here. */
async function readBig(workspace: Workspace): Promise<Buffer> {
  const { objects } = workspace.repo;
  const found = findKey(objects, workspace.requireState(), parseKey("big"), { now: 0, allowExpired: false });
  const manifest = readManifest(objects, found);
  const whole = { start: 0, end: manifest.size };
  expect(missingPieces(objects, manifest, whole)).toEqual([]);
  const parts: Buffer[] = [];
  await streamValue(objects, manifest, whole, (bytes) => void parts.push(Buffer.from(bytes)));
  return Buffer.concat(parts);
}

test("of large values, whose pieces are there still", async () => {
  const dir = newRepository(SHA1);
  const workspace = workspaceAt(dir);
  await commit(workspace, { create: { epoch: "e1" } }, () => {});
  const second = noise("second", 2 * MiB);
  await apply(workspace, { big: noise("first", 2 * MiB), small: "s" });
  const changed = await apply(workspace, { big: second, small: "t" });
  const deleted = await apply(workspace, { big: undefined });
  await back(workspace, deleted);
  // The deletion and its return were two more revisions.
  expect((await failureOf(back(workspace, changed))).message).toBe(`"big" has changed since transaction ${changed}`);
  await back(workspace, await apply(workspace, { big: "little" }));
  expect((await readBig(workspace)).equals(second)).toBe(true);
  expect(await findings(workspace)).toEqual([]);
});

test("of large values, whose pieces an epoch has dropped", async () => {
  const dir = newRepository(TEST_FORMAT);
  const workspace = workspaceAt(dir);
  await commit(workspace, { create: { epoch: "e1" } }, () => {});
  const twice = Buffer.concat([noise("first", 2 * MiB), noise("first", 2 * MiB)]);
  await apply(workspace, { big: twice });
  const deleted = await apply(workspace, { big: undefined });
  await beginEpoch(workspace, { label: "e2" });
  expect(git(dir, "for-each-ref", "refs/kv-chunks/main@e2")).toBe("");
  await back(workspace, deleted);
  expect((await readBig(workspace)).equals(twice)).toBe(true);
  expect(await findings(workspace)).toEqual([]);
  expect(complaints(dir)).toBe("");
});

test("through a Stargate that replays it, also beside another writer", async () => {
  const stargate = await TestStargate.start({ upkeep: false });
  const token = stargate.token("admin");
  const client = new TestClient(stargate.dir, stargate.loginUrl(token));
  const dir = path.join(tempDir("clone"), "c");
  git("/", "init", "-q", dir);
  git(dir, "remote", "add", "origin", stargate.dir);
  const clone = workspaceAt(dir);
  try {
    await client.set({ a: "1", big: large(noise("fifth", 2 * MiB)) });
    await client.set({ a: "2", big: undefined });
    configureRemote(clone, stargate.loginUrl(token));
    clone.repo.reloadConfig();
    await fetchAccepted(clone);
    const tip = clone.requireState();
    await client.set({ z: "by somebody else" });
    // This clone does not know of the newest transaction: the revert is planned again on top of it.
    const outcome = await back(clone, String(tip.ledger.seq));
    expect(outcome).toMatchObject({ kind: "committed", seq: tip.ledger.seq + 2 });
    expect(read(clone, "a")).toBe("1");
    // And one that has changed meanwhile, unknown here, is refused.
    await client.set({ a: "3" });
    const late = await failureOf(back(clone, String(tip.ledger.seq + 2)));
    expect(late.code).toBe("CAS_CONFLICT");
    // An epoch that began meanwhile has forgotten the deletion, and the pieces.
    await client.set({ big: undefined });
    await fetchAccepted(clone);
    const deleted = clone.requireState().ledger.seq;
    const planned = await client.planEpoch("e2");
    expect(verdict(await client.push(planned))).toBe("ok");
    expect(await back(clone, String(deleted))).toMatchObject({ kind: "committed", seq: deleted + 2 });
    expect((await readBig(workspaceAt(stargate.dir))).equals(noise("fifth", 2 * MiB))).toBe(true);
  } finally {
    await stargate.stop();
  }
});
