/**
 * Our copies of the mirror's branches and tags. The mirror is the authority, so its values are taken whatever ours are; a branch
 * that is gone there is left here. Branches the worker publishes ledgers to are none of ours.
 */

import type { Oid } from "../../gitwire/object/oid.ts";
import type { RemoteRef } from "../../gitwire/protocol/ref-advertisement.ts";
import { isValidRefName } from "../../gitwire/refs/ref-name.ts";
import type { Gate } from "../gate.ts";
import type { MirrorRemote } from "./mirror-remote.ts";

const ORDINARY = ["HEAD", "refs/heads/", "refs/tags/"];

/** Brings the copies up to date; returns the mirror's HEAD as a branch, where it has one. */
export async function refreshBranches(
  gate: Gate,
  remote: MirrorRemote,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const { refs, unbornHead } = await remote.refs(ORDINARY, signal);
  const changed = differing(gate, refs);
  if (changed.length > 0) {
    await remote.fetch(
      changed.map(({ oid }) => oid),
      gate.repo.refs.snapshot(["refs/heads/", "refs/tags/"]).map(({ oid }) => oid),
      () => gate.mutexes.run("refs/heads", () => store(gate, changed)),
      signal,
    );
  }
  return refs.find(({ name }) => name === "HEAD")?.symref ?? unbornHead;
}

function differing(gate: Gate, refs: readonly RemoteRef[]): RemoteRef[] {
  const pending = new Set(gate.journal.pendingRefs().flatMap(({ updates }) => updates.map(({ ref }) => ref)));
  return refs.filter(({ name, oid }) => {
    if (!name.startsWith("refs/") || name.startsWith("refs/heads/kv/") || !isValidRefName(name)) return false;
    return !pending.has(name) && gate.repo.refs.resolve(name) !== oid;
  });
}

async function store(gate: Gate, changed: readonly RemoteRef[]): Promise<void> {
  const before = new Map<string, Oid | undefined>(changed.map(({ name }) => [name, gate.repo.refs.resolve(name)]));
  await gate.repo.refs.update(changed.map(({ name, oid }) => ({ name, newOid: oid })));
  for (const { name, oid } of changed) {
    // The old value stands in the log, should somebody want it back.
    gate.log("info", "mirror", { ref: name, old: before.get(name), new: oid });
  }
}
