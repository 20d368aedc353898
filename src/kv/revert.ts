/**
 * Takes a transaction back: a new one that gives every key it changed the value from before. Nothing is taken out of the ledger.
 * Each key must still be as that transaction left it; the conditions of the new one hold that to the moment it is accepted.
 */

import * as path from "node:path";
import { KvError } from "../errors.ts";
import type { ObjectFormat, Oid } from "../gitwire/object/oid.ts";
import { PackBuilder } from "../gitwire/pack/pack-builder.ts";
import { TimeSlice } from "../time-slice.ts";
import { type At, parseAt, stateAtPoint } from "./at.ts";
import type { LedgerCommit } from "./attestation.ts";
import type { ChunkFile } from "./chunk-tree.ts";
import { readManifest } from "./chunked-value.ts";
import { acceptorOf } from "./commit.ts";
import { type Key, keyDigits, keyName, keyText } from "./key.ts";
import { recordOf } from "./key-record.ts";
import { findInTrie, trieFileName } from "./ledger-trie.ts";
import type { Condition, Operation } from "./operation.ts";
import { findKey } from "./read.ts";
import { type NamespaceState, stateAt } from "./state.ts";
import { diffStates, type KeyDifference } from "./state-diff.ts";
import type { Workspace } from "./workspace.ts";
import { type WriteOutcome, writeTransaction } from "./write.ts";

export interface RevertOptions {
  /** Subject and body; undefined takes the usual ones. */
  readonly message: string | undefined;
  readonly expectTree: Oid | undefined;
}

/** The transaction that `text` names: by its KV-Txn, its commit or its number. Throws INPUT_INVALID, also for a time or a count back. */
export function parseTransaction(text: string, format: ObjectFormat, now: number): At {
  const at = parseAt(text, format, now);
  if (at.kind !== "time" && at.kind !== "back") return at;
  throw new KvError("INPUT_INVALID", `'${text}' names no one transaction`, {
    hint: "give its KV-Txn, its commit or its number",
  });
}

/** What came of it, and which transaction was taken back. */
export type RevertOutcome = WriteOutcome & { readonly reverted: LedgerCommit };

/** Most keys an error names. */
const NAMED_KEYS = 10;

/**
 * Takes the transaction that `at` means back. Throws CAS_CONFLICT naming the keys that have changed since, INPUT_INVALID for one that
 * changed no key, and what {@link stateAtPoint} and {@link writeTransaction} throw.
 */
export async function revert(workspace: Workspace, at: At, options: RevertOptions): Promise<RevertOutcome> {
  for (;;) {
    const tip = workspace.requireState();
    try {
      return await revertFrom(workspace, tip, at, options);
    } catch (error) {
      // An epoch that has begun meanwhile forgets revisions that were deleted, and is looked at anew.
      const isConflict = error instanceof KvError && error.code === "CAS_CONFLICT";
      if (!isConflict || workspace.requireState().ledger.epoch === tip.ledger.epoch) throw error;
    }
  }
}

async function revertFrom(
  workspace: Workspace,
  tip: NamespaceState,
  at: At,
  options: RevertOptions,
): Promise<RevertOutcome> {
  const { repo } = workspace;
  const target = await stateAtPoint(workspace, tip, at);
  const { ledger } = target;
  const before = ledger.parent === undefined ? undefined : stateAt(repo.objects, ledger.parent);
  const isEpoch = ledger.parent === undefined && ledger.parentEpoch !== undefined;
  const differences = isEpoch ? [] : await diffStates(repo.objects, before, target, "", workspace.around);
  if (differences.length === 0) {
    throw new KvError("INPUT_INVALID", `transaction ${ledger.seq} (${ledger.oid}) changed no key`);
  }
  await demandUnchanged(workspace, tip, ledger, differences);
  const operations: Operation[] = [];
  // The epoch may have dropped the pieces of what was there before, or drop them meanwhile.
  const pieces = new Map<string, ChunkFile>();
  await forEachKey(workspace, "looking up what was before", differences, (difference) => {
    operations.push(undo(workspace, tip, before, difference, pieces));
  });
  const acceptor = await acceptorOf(workspace);
  const builder = new PackBuilder(repo.format, { dir: path.join(repo.objectsDir, "pack") });
  try {
    const outcome = await writeTransaction(workspace, acceptor, {
      builder,
      operations,
      pieces: pieces.size === 0 ? undefined : { pieces: [...pieces.values()] },
      message: options.message ?? messageOf(ledger),
      expectTree: options.expectTree,
      namespace: "required",
    });
    return { ...outcome, reverted: ledger };
  } finally {
    builder.dispose();
    await acceptor.close?.();
  }
}

function messageOf({ commit, txn, oid }: LedgerCommit): string {
  return `revert ${commit.message.split("\n", 1)[0]}\n\nThis takes transaction ${txn} (${oid}) back.`;
}

/** Does something for each of many keys, telling how far it is. Throws what the workspace's signal is aborted with. */
async function forEachKey(
  { around }: Workspace,
  what: string,
  differences: readonly KeyDifference[],
  work: (difference: KeyDifference) => void,
): Promise<void> {
  const slice = new TimeSlice();
  for (const [done, difference] of differences.entries()) {
    if (slice.isOver()) {
      around.progress(`${what}: ${done} of ${differences.length} keys`);
      await slice.pause(around.signal);
    }
    work(difference);
  }
  around.progress("");
}

/** Throws CAS_CONFLICT where a key is not as the transaction `ledger` left it. */
async function demandUnchanged(
  workspace: Workspace,
  tip: NamespaceState,
  { seq }: LedgerCommit,
  differences: readonly KeyDifference[],
): Promise<void> {
  const { objects } = workspace.repo;
  const changed: KeyDifference[] = [];
  await forEachKey(workspace, "comparing", differences, (difference) => {
    if (isChanged(objects, tip, difference)) changed.push(difference);
  });
  if (changed.length === 0) return;
  const keys = changed.map(({ key }) => keyText(key));
  const named = keys.slice(0, NAMED_KEYS).map((key) => JSON.stringify(key));
  const more = keys.length > named.length ? ` and ${keys.length - named.length} more` : "";
  const verb = keys.length === 1 ? "has" : "have";
  throw new KvError("CAS_CONFLICT", `${named.join(", ")}${more} ${verb} changed since transaction ${seq}`, {
    hint: "'git kv history KEY' shows how; 'git kv get KEY --at' reads what was there before",
    data: { keys },
  });
}

/** Whether a key is not as the transaction that made the difference left it. */
function isChanged(
  objects: Workspace["repo"]["objects"],
  tip: NamespaceState,
  { key, before, after }: KeyDifference,
): boolean {
  if (after !== undefined) return metadataBlob(objects, tip, key) !== after.record;
  const now = recordOf(objects, tip, key);
  // An epoch forgets its predecessor's deletions.
  return now === undefined ? false : now.meta !== undefined || now.rev !== before!.meta.rev + 1;
}

function metadataBlob(objects: Workspace["repo"]["objects"], { meta }: NamespaceState, key: Key): Oid | undefined {
  const digits = keyDigits(key);
  const name = trieFileName("meta", keyName(key, digits));
  return meta === undefined ? undefined : findInTrie(objects, meta, digits, [name])?.oid;
}

/** The operation that gives the key what it had before; the pieces of that go to `pieces`. */
function undo(
  { repo: { objects } }: Workspace,
  tip: NamespaceState,
  before: NamespaceState | undefined,
  { key, before: old, after }: KeyDifference,
  pieces: Map<string, ChunkFile>,
): Operation {
  const rev = after?.meta.rev ?? recordOf(objects, tip, key)?.rev ?? 0;
  const condition: Condition = { kind: "rev", rev };
  if (old === undefined || before === undefined) return { kind: "del", key, ignoreMissing: false, condition };
  const { type, size, etag, ctype, expires, labels } = old.meta;
  const found = findKey(objects, before, key, { now: 0, allowExpired: true });
  if (type === "chunked") for (const piece of readManifest(objects, found).chunks) pieces.set(piece.sha256, piece);
  return { kind: "set", key, value: { type, oid: found.oid, size, etag, ctype }, expires, labels, condition };
}
