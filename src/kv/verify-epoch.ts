/**
 * The audit of the start of an epoch (docs/verify.md): against the state it follows, where the archive of the epoch before is here;
 * by itself where it is not. By itself its keys must have the form of the format, values must be what their metadata say, and
 * the kv-index must be the one that just these keys make.
 */

import { compare } from "../bytes.ts";
import { KvError } from "../errors.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { TimeSlice } from "../time-slice.ts";
import { parseIndexCommit } from "./attestation.ts";
import { agree, agreeOnCommits, checkEpochLabel, demand } from "./check-attestation.ts";
import { checkTree } from "./check-epoch.ts";
import type { EtagHasher } from "./etag.ts";
import { indexFileName } from "./index-file.ts";
import { buildIndex, type KeyFile } from "./index-tree.ts";
import { keyName } from "./key.ts";
import { NodeWriter } from "./node-writer.ts";
import { encodePointer, parseMetadata } from "./record.ts";
import { changedKeys, hashingSink, KeyReplay, mismatch } from "./replay.ts";
import type { NamespaceState } from "./state.ts";

/** What one policy of another day let in is not for this one to judge. */
const ANY = { maxKeys: Number.POSITIVE_INFINITY, maxInline: Number.POSITIVE_INFINITY };

/** What the commits of an epoch's start say of each other, the state before being unknown. Throws as checkAttestation. */
export function checkEpochAlone(objects: ObjectSource, ns: string, { ledger, index }: NamespaceState): void {
  demand("NOT_LINEAR", ledger.parent === undefined, "the first ledger commit of an epoch has a parent");
  if (index === undefined) throw new KvError("ATTESTATION_MISSING", "it has no kv-index commit");
  const commit = parseIndexCommit(objects.format, index, readAs(objects, index, "commit"));
  demand("NOT_LINEAR", commit.parent === undefined, "the first kv-index commit of an epoch has a parent");
  const before = { seq: ledger.seq - 1, tree: ledger.baseTree };
  agreeOnCommits({ ns, before }, ledger, commit);
  checkEpochLabel(ledger.epoch);
  agree("Keys-Set", ledger.keysSet, 0);
}

/** Checks the keys an epoch begins with, and its kv-index. Lets others run meanwhile. Rejects as a replay does. */
export async function verifyKeys(
  objects: ObjectSource,
  state: NamespaceState,
  etagOf: EtagHasher,
  signal: AbortSignal,
): Promise<void> {
  checkTree(objects, state);
  const writer = new NodeWriter(objects, hashingSink(objects));
  const files: KeyFile[] = [];
  const slice = new TimeSlice();
  const { keys } = changedKeys(objects, undefined, state, ANY.maxKeys);
  for (const [name, { meta }] of keys) {
    if (slice.isOver()) {
      signal.throwIfAborted();
      await slice.pause();
    }
    // Without the change of its data a manifest is held to its own word and to no rule about cuts.
    const operation = new KeyReplay(objects, state, etagOf, ANY, name, { ...(meta && { meta }) }).operation();
    if (operation.kind !== "set") throw mismatch(`${name} has no value`);
    const { rev, expires } = parseMetadata(readAs(objects, meta!.after!, "blob"));
    const { key, value } = operation;
    const { type, size, ctype } = value;
    const oid = writer.record("ref", encodePointer(key, { type, oid: value.oid, size, ctype, rev }));
    files.push({ key, fileName: indexFileName(keyName(key), { kind: "live", expires }), oid });
  }
  files.sort((a, b) => compare(a.key, b.key));
  const index: Oid = buildIndex(writer, files);
  if (index !== state.ledger.indexTree)
    throw mismatch(`the kv-index tree is ${state.ledger.indexTree}, made of the keys it is ${index}`);
}
