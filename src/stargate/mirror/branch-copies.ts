/**
 * Our copies of the mirror's branches and tags. The mirror is the authority, so its values are taken whatever ours are, and what
 * it had at the last look and has no longer goes here too. Branches the worker publishes ledgers to are none of ours.
 */

import type { Oid } from "../../gitwire/object/oid.ts";
import type { RemoteRefs } from "../../gitwire/protocol/fetch-pack.ts";
import { isValidRefName } from "../../gitwire/refs/ref-name.ts";
import type { Gate } from "../gate.ts";
import type { MirrorRemote } from "./mirror-remote.ts";
import { MIRRORED_PREFIXES } from "./ref-standing.ts";

/** Prefixes of the refs that a look at the mirror asks for. */
export const LOOK_PREFIXES = ["HEAD", "refs/heads/", "refs/tags/", "refs/kv"];

/** What a look at the mirror saw. */
export interface MirrorLook {
  /** The branch its HEAD names, where it names one. */
  readonly head: string | undefined;
  /** The refs {@link MIRRORED_PREFIXES} is about. */
  readonly kvRefs: ReadonlyMap<string, Oid>;
  /** Branches and tags. */
  readonly ordinary: ReadonlyMap<string, Oid>;
}

/** A copy that is to follow the mirror: from what we have to what it has; undefined: nothing. */
interface Move {
  readonly name: string;
  readonly from: Oid | undefined;
  readonly to: Oid | undefined;
}

/** Sorts what the mirror has listed. */
export function mirrorLook({ refs, unbornHead }: RemoteRefs): MirrorLook {
  const pick = (wanted: (name: string) => boolean): Map<string, Oid> =>
    new Map(refs.filter(({ name }) => wanted(name)).map(({ name, oid }) => [name, oid]));
  return {
    head: refs.find(({ name }) => name === "HEAD")?.symref ?? unbornHead,
    kvRefs: pick((name) => MIRRORED_PREFIXES.some((prefix) => name.startsWith(prefix))),
    ordinary: pick((name) => /^refs\/(?:heads|tags)\//.test(name) && !name.startsWith("refs/heads/kv/")),
  };
}

/** Brings the copies to what `look` saw; `before` is the look before that, of this process. */
export async function refreshBranches(
  gate: Gate,
  remote: MirrorRemote,
  look: MirrorLook,
  before?: MirrorLook,
  signal?: AbortSignal,
): Promise<void> {
  const moves = movesTo(gate, look, before);
  const wants = moves.flatMap(({ to }) => to ?? []);
  const store = (): Promise<void> => gate.mutexes.run("refs/heads", () => follow(gate, moves));
  if (wants.length > 0) {
    const haves = gate.repo.refs.snapshot(["refs/heads/", "refs/tags/"]).map(({ oid }) => oid);
    await remote.fetch(wants, haves, store, signal);
  } else if (moves.length > 0) await store();
}

function movesTo(gate: Gate, { ordinary }: MirrorLook, before: MirrorLook | undefined): Move[] {
  const { journal, repo } = gate;
  const pending = new Set(journal.unmirrored("ref").flatMap(({ updates }) => updates.map(({ ref }) => ref)));
  const moves: Move[] = [];
  for (const [name, to] of ordinary) {
    const from = repo.refs.resolve(name);
    if (isValidRefName(name) && !pending.has(name) && from !== to) moves.push({ name, from, to });
  }
  const head = repo.refs.head();
  for (const [name, from] of before?.ordinary ?? []) {
    // Ours may have been made here since; then it is not the copy of what is gone there.
    const isGone = !ordinary.has(name) && !pending.has(name) && repo.refs.resolve(name) === from;
    if (isGone && !(head.kind === "branch" && head.ref === name)) moves.push({ name, from, to: undefined });
  }
  return moves;
}

async function follow(gate: Gate, moves: readonly Move[]): Promise<void> {
  const { refs, format } = gate.repo;
  // A push that came through us meanwhile is newer than what was listed.
  const open = moves.filter(({ name, from }) => refs.resolve(name) === from);
  await refs.update(open.map(({ name, to }) => ({ name, newOid: to ?? format.zeroOid })));
  for (const { name, from, to } of open) {
    // The old value stands in the log, should somebody want it back.
    gate.log("info", "mirror", { ref: name, old: from, new: to });
  }
}
