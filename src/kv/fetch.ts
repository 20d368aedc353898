/**
 * Brings the newest state here: from the mirror into the tracking refs, or from the Stargate into the accepted refs
 * (docs/formats/data-format.md, section 2). A lagging mirror moves the tracking refs only.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { KvError } from "../errors.ts";
import type { ObjectSource } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { RefChange } from "../gitwire/refs/ref-transaction.ts";
import { mapRefs, parseRefspec } from "../gitwire/refs/refspec.ts";
import { type PackKeeps, whileKept } from "../gitwire/store/pack-keep.ts";
import { LIMITS } from "../limits.ts";
import { type LedgerPosition, ledgerLine } from "./ledger-line.ts";
import { epochRef, namespaceRefs, POLICY_REF, trackingRoot } from "./namespace.ts";
import { fetchObjects, fetchUrl, pushUrl, type RemoteRefMap } from "./remote-session.ts";
import {
  isIndexOf,
  ledgerCommitAt,
  ledgerContains,
  type NamespaceState,
  readState,
  readTracked,
  requireNamespace,
  stateAt,
} from "./state.ts";
import type { Workspace } from "./workspace.ts";

/** Refs a clone tracks, as refspecs for `remote.<name>.fetch`. Chunks and archives are fetched when something needs them. */
export function trackingRefspecs(remote: string): readonly string[] {
  const root = trackingRoot(remote);
  const groups = ["kv", "kv-index", "kv-epoch", "kv-mirror"].map((group) => `+refs/${group}/*:${root}${group}/*`);
  return [...groups, `+${POLICY_REF}:${root}kv-policy`];
}

/** One tracking ref that moved. */
export interface MovedRef {
  readonly ref: string;
  readonly from: Oid | undefined;
  readonly to: Oid;
}

/** How often a fetch asks again where what it saw was {@link isTorn}, and the first pause before that in milliseconds; each further one is twice as long. */
const TORN_TRIES = 5;
const TORN_PAUSE = 50;

/**
 * Fetches from the mirror into the tracking refs, all in one step. A host that moves the refs of an atomic push one after the other is asked
 * again while it does. Throws NETWORK and so on, with no ref moved.
 */
export async function fetchMirror(workspace: Workspace): Promise<readonly MovedRef[]> {
  const { repo, around, remote } = workspace;
  const choose = (all: RemoteRefMap): Oid[] => [...tracked(remote, all).values()];
  const moved = await whileKept(async (keeps) => {
    for (let tries = 0; ; tries++) {
      const refs = await fetchObjects(repo, around, fetchUrl(workspace), ["refs/kv"], choose, { keeps });
      const moving = movedRefs(workspace, tracked(remote, refs));
      if (tries < TORN_TRIES && isTorn(repo.objects, refs, moving)) {
        await sleep(TORN_PAUSE * 2 ** tries, undefined, { signal: around.signal });
        continue;
      }
      await moveRefs(workspace, moving, true);
      return moving;
    }
  });
  await warnOfForeignLedger(workspace);
  return moved;
}

/**
 * Whether a namespace that is about to move was seen while the host moved it: with the ledger of one transaction and the kv-index of
 * another. Stock git renames one ref after the other, also in an atomic push.
 */
function isTorn(objects: ObjectSource, refs: RemoteRefMap, moving: readonly MovedRef[]): boolean {
  const arrived = new Set(moving.map(({ to }) => to));
  for (const [ref, ledger] of refs) {
    const index = ref.startsWith("refs/kv/") ? refs.get(namespaceRefs(ref.slice("refs/kv/".length)).index) : undefined;
    if (index === undefined || !(arrived.has(ledger) || arrived.has(index))) continue;
    try {
      if (!isIndexOf(objects, index, ledgerCommitAt(objects, ledger))) return true;
    } catch (error) {
      // What is no ledger at all will not become one, and is reported by whoever reads it.
      if (!(error instanceof KvError)) throw error;
    }
  }
  return false;
}

/** Says it loudly where the mirror's ledger is not one that follows the accepted one: reads leave it alone then. */
async function warnOfForeignLedger(workspace: Workspace): Promise<void> {
  const { repo, ns, remote, around } = workspace;
  const own = readState(repo.objects, repo.refs, ns);
  if (own === undefined || repo.refs.resolve(namespaceRefs(ns, trackingRoot(remote)).ledger) === undefined) return;
  const tracked = readTracked(repo.objects, repo.refs, ns, remote);
  const ledgers = tracked && [tracked.ledger, own.ledger].sort((a, b) => b.seq - a.seq);
  const isPart = ledgers !== undefined && (await contains(workspace, ledgers[0]!, ledgers[1]!, "mirror"));
  if (isPart === true) return;
  around.warn(
    isPart === "unknown"
      ? `the archive that shows how the mirror's ledger of '${ns}' and the accepted one follow each other cannot be had: the mirror is not read`
      : `the ledger of '${ns}' on the mirror is not part of the accepted one, nor does it follow it: it is not read`,
  );
}

/** Tracking ref and value of each remote ref that is tracked. */
function tracked(remote: string, refs: RemoteRefMap): Map<string, Oid> {
  const mapped = mapRefs(trackingRefspecs(remote).map(parseRefspec), refs.keys());
  return new Map(mapped.map(({ src, dst }) => [dst, refs.get(src)!]));
}

/** Moves refs in one atomic step: from what was read, or, `forced`, from whatever they are at by now. */
async function moveRefs({ repo }: Workspace, moved: readonly MovedRef[], forced = false): Promise<void> {
  if (moved.length === 0) return;
  const changes = moved.map(({ ref, from, to }): RefChange => {
    return forced ? { name: ref, newOid: to } : { name: ref, oldOid: from ?? repo.format.zeroOid, newOid: to };
  });
  const transaction = await repo.refs.begin(changes);
  await transaction.prepare();
  transaction.commit();
}

/**
 * Learns the state the Stargate has accepted and moves the accepted refs to it. Returns that state, or undefined where the
 * Stargate does not have the namespace. Throws NOT_FAST_FORWARD where the ledger here is no part of the Stargate's.
 */
export function fetchAccepted(workspace: Workspace): Promise<NamespaceState | undefined> {
  return whileKept((keeps) => fetchKept(workspace, keeps));
}

async function fetchKept(workspace: Workspace, keeps: PackKeeps): Promise<NamespaceState | undefined> {
  const { repo, around, ns } = workspace;
  const names = namespaceRefs(ns);
  const wanted = [names.ledger, names.index, epochRef(ns), POLICY_REF];
  const before = readState(repo.objects, repo.refs, ns);
  const choose = (all: RemoteRefMap): Oid[] => wanted.flatMap((ref) => all.get(ref) ?? []);
  const refs = await fetchObjects(repo, around, pushUrl(workspace), wanted, choose, { keeps });
  const ledger = refs.get(names.ledger);
  const state =
    ledger === undefined ? undefined : requireNamespace(stateAt(repo.objects, ledger, refs.get(names.index)), ns);
  // What was accepted before we asked, the Stargate has; only what came meanwhile can be ahead of its answer.
  if (before !== undefined) await demandContains(workspace, state, before);
  const updates = wanted.flatMap((ref): [string, Oid][] => (refs.has(ref) ? [[ref, refs.get(ref)!]] : []));
  for (let attempt = 1; ; attempt++) {
    const own = readState(repo.objects, repo.refs, ns);
    // Another process of this clone may have learned more meanwhile: the accepted refs never go back.
    if (own !== undefined && state !== undefined && own.ledger.seq > state.ledger.seq) {
      if (ledgerContains(repo.objects, own.ledger, state.ledger)) return state;
    }
    if (own !== undefined) await demandContains(workspace, state, own);
    try {
      await moveRefs(workspace, movedRefs(workspace, updates, own));
      return state;
    } catch (error) {
      if (!(error instanceof KvError) || error.code !== "CAS_CONFLICT" || attempt === LIMITS.conflictRetries)
        throw error;
    }
  }
}

/**
 * The refs of `updates` that are elsewhere. Those of a state that was judged move from where it had them: read again, they may
 * be where another process of this clone has taken them meanwhile, and would be moved back.
 */
function movedRefs(
  { repo, ns }: Workspace,
  updates: Iterable<readonly [ref: string, to: Oid]>,
  judged?: NamespaceState,
): MovedRef[] {
  const { ledger, index } = namespaceRefs(ns);
  const known = new Map(
    judged === undefined ? [] : [[ledger, judged.ledger.oid] as const, [index, judged.index] as const],
  );
  const moved: MovedRef[] = [];
  for (const [ref, to] of updates) {
    const from = known.has(ref) ? known.get(ref) : repo.refs.resolve(ref);
    if (from !== to) moved.push({ ref, from, to });
  }
  return moved;
}

async function demandContains(
  workspace: Workspace,
  state: NamespaceState | undefined,
  own: NamespaceState,
): Promise<void> {
  if (state !== undefined && (await contains(workspace, state.ledger, own.ledger, "stargate")) === true) return;
  const { ledger } = namespaceRefs(own.ns);
  const theirs = state === undefined ? "has no such namespace" : `is at seq ${state.ledger.seq}`;
  throw new KvError(
    "NOT_FAST_FORWARD",
    `the ledger of '${own.ns}' here (seq ${own.ledger.seq}) is not part of the Stargate's, which ${theirs}`,
    {
      hint:
        "a Stargate that was restored from a backup may lack what is here: ask whoever runs it first. To go on with the Stargate's, keep " +
        `this one by another name, git update-ref refs/kept/${own.ns} ${ledger}, then git update-ref -d ${ledger}, and -d for kv-index`,
    },
  );
}

/**
 * Whether `earlier` is in the history of the ledger commit `tip`. Where that history ends at the start of an epoch, the archive of
 * the one before is fetched `from` there: a clone that was away while an epoch began is not behind a foreign ledger. "unknown"
 * where that archive cannot be had. What a shallow clone lacks between the two is brought as well.
 */
async function contains(
  workspace: Workspace,
  tip: LedgerPosition,
  earlier: LedgerPosition,
  from: "mirror" | "stargate",
): Promise<boolean | "unknown"> {
  for (;;) {
    const line = ledgerLine(workspace.repo.objects, tip, earlier);
    if (line.kind === "broken") return (await deepen(workspace, from)) && contains(workspace, tip, earlier, from);
    if (line.kind !== "cut") return line.kind === "contains";
    const { bringArchive } = await import("./epochs.ts");
    if (await bringArchive(workspace, line.closed, from)) continue;
    // A mirror that is behind has not heard of that epoch: the Stargate has, where it can be asked.
    if (from === "stargate" || !workspace.hasStargate) return "unknown";
    const asked = bringArchive(workspace, line.closed, "stargate");
    if (!(await asked.catch(() => false))) return "unknown";
    workspace.around.signal.throwIfAborted();
  }
}

/** Brings the history of a shallow clone's namespace; false where it does not end too early. */
async function deepen(workspace: Workspace, from: "mirror" | "stargate"): Promise<boolean> {
  const { repo, around, ns } = workspace;
  const { shallowEnd } = await import("./shallow-ledger.ts");
  const end = shallowEnd(repo, ns);
  if (end === undefined) return false;
  const { ledger, index } = namespaceRefs(ns);
  const choose = (refs: RemoteRefMap): Oid[] => [ledger, index].flatMap((ref) => refs.get(ref) ?? []);
  const url = from === "mirror" ? fetchUrl(workspace) : pushUrl(workspace);
  await fetchObjects(repo, around, url, [ledger, index], choose, { deepens: true });
  return shallowEnd(repo, ns)?.oid !== end.oid;
}
