/**
 * Our copies of the mirror's branches and tags. The mirror is the authority, so its values are taken whatever ours are; a branch
 * that is gone there is left here. Branches the worker publishes ledgers to are none of ours.
 */

import type { Oid } from "../../gitwire/object/oid.ts";
import type { RemoteRef } from "../../gitwire/protocol/ref-advertisement.ts";
import { isValidRefName } from "../../gitwire/refs/ref-name.ts";
import type { Gate } from "../gate.ts";
import type { MirrorRemote } from "./mirror-remote.ts";
import { MIRRORED_PREFIXES } from "./ref-standing.ts";

const ORDINARY = ["HEAD", "refs/heads/", "refs/tags/"];

/** What a look at the mirror saw besides. */
export interface MirrorLook {
  /** The branch its HEAD names, where it names one. */
  readonly head: string | undefined;
  /** The refs {@link MIRRORED_PREFIXES} is about. */
  readonly kvRefs: ReadonlyMap<string, Oid>;
}

/** Brings the copies up to date. */
export async function refreshBranches(gate: Gate, remote: MirrorRemote, signal?: AbortSignal): Promise<MirrorLook> {
  const { refs, unbornHead } = await remote.refs([...ORDINARY, "refs/kv"], signal);
  const changed = differing(gate, refs);
  if (changed.length > 0) {
    await remote.fetch(
      changed.map(({ oid }) => oid),
      gate.repo.refs.snapshot(["refs/heads/", "refs/tags/"]).map(({ oid }) => oid),
      () => gate.mutexes.run("refs/heads", () => store(gate, changed)),
      signal,
    );
  }
  const kvRefs = refs.filter(({ name }) => MIRRORED_PREFIXES.some((prefix) => name.startsWith(prefix)));
  return {
    head: refs.find(({ name }) => name === "HEAD")?.symref ?? unbornHead,
    kvRefs: new Map(kvRefs.map(({ name, oid }) => [name, oid])),
  };
}

function differing(gate: Gate, refs: readonly RemoteRef[]): RemoteRef[] {
  const pending = new Set(gate.journal.pendingRefs().flatMap(({ updates }) => updates.map(({ ref }) => ref)));
  return refs.filter(({ name, oid }) => {
    const isOrdinary = name.startsWith("refs/heads/") || name.startsWith("refs/tags/");
    if (!isOrdinary || name.startsWith("refs/heads/kv/") || !isValidRefName(name)) return false;
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
