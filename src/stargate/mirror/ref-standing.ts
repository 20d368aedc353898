/**
 * Where each kv ref of the mirror stands against ours. Everything that is decided about the mirror (what to push, what has
 * diverged, what `sync` shows) is decided from this.
 */

import type { Oid } from "../../gitwire/object/oid.ts";
import { CommitGraph } from "../../gitwire/protocol/commit-graph.ts";
import { isReachable } from "../../gitwire/protocol/revision-range.ts";
import type { ObjectStore } from "../../gitwire/store/object-store.ts";
import { classifyRef } from "../../kv/namespace.ts";
import { isOverwrite, type RefStanding } from "../../kv/sync-report.ts";

/** Whether `ancestor` can be reached from `tip`; false where either is not here. */
export type IsAncestor = (ancestor: Oid, tip: Oid) => Promise<boolean>;

/** What the mirror should have, and what it has. */
export interface MirrorSides {
  /** Our kv refs, as they are at one moment. */
  readonly local: ReadonlyMap<string, Oid>;
  /** The mirror's, published branches included. */
  readonly remote: ReadonlyMap<string, Oid>;
  /** Whether ledgers are also published as branches. */
  readonly publishBranch: boolean;
}

const BRANCHES = "refs/heads/kv/";

/** Where a ledger is published as a branch. */
function publishedBranch(ns: string): string {
  return `${BRANCHES}${ns}`;
}

/** Prefixes of all refs of a mirror that {@link refStandings} is about. */
export const MIRRORED_PREFIXES: readonly string[] = ["refs/kv", BRANCHES];

/** Ancestry in the history that `objects` holds. */
export function ancestryIn(objects: ObjectStore): IsAncestor {
  const graph = new CommitGraph(objects);
  return async (ancestor, tip) => {
    const [from, to] = [graph.find(ancestor), graph.find(tip)];
    return from >= 0 && to >= 0 && isReachable(graph, from, to);
  };
}

/** The refs each namespace (`""` is the policy) should have on the mirror, the watermark last. */
export function wantedByNamespace({
  local,
  publishBranch,
}: Pick<MirrorSides, "local" | "publishBranch">): ReadonlyMap<string, ReadonlyMap<string, Oid>> {
  const byNs = new Map<string, Map<string, Oid>>();
  for (const [ref, oid] of local) {
    const is = classifyRef(ref);
    if (is === undefined || is.kind === "reserved" || is.kind === "mirror") continue;
    const ns = is.kind === "policy" ? "" : is.ns;
    const wanted = byNs.get(ns) ?? new Map<string, Oid>();
    byNs.set(ns, wanted.set(ref, oid));
  }
  for (const [ns, wanted] of byNs) {
    if (ns === "") continue;
    const ledger = wanted.get(`refs/kv/${ns}`);
    // Without its ledger a namespace is not whole; nothing of it is mirrored.
    if (ledger === undefined) byNs.delete(ns);
    else {
      if (publishBranch) wanted.set(publishedBranch(ns), ledger);
      wanted.set(`refs/kv-mirror/${ns}`, ledger);
    }
  }
  return byNs;
}

/**
 * What was closed before the current epoch of a namespace, on one side. The first commits of an epoch have no parent, and yet follow
 * what is in the archives.
 */
interface Closed {
  readonly ledgers: readonly Oid[];
  readonly indexes: readonly Oid[];
}

function closedOf(refs: ReadonlyMap<string, Oid>): ReadonlyMap<string, Closed> {
  const closed = new Map<string, { ledgers: Oid[]; indexes: Oid[] }>();
  for (const [ref, oid] of refs) {
    const is = classifyRef(ref);
    if (is?.kind !== "archive" && is?.kind !== "index-archive") continue;
    const { ledgers, indexes } = closed.get(is.ns) ?? { ledgers: [], indexes: [] };
    (is.kind === "archive" ? ledgers : indexes).push(oid);
    closed.set(is.ns, { ledgers, indexes });
  }
  return closed;
}

/** The archives that a ref may have been left in. An archive itself is written once, and pieces and policies are only added to. */
function archivesFor(ref: string, closed: Closed | undefined): readonly Oid[] {
  switch (classifyRef(ref)?.kind) {
    case "index":
      return closed?.indexes ?? [];
    case "ledger":
    case "epoch":
    case "mirror":
    case undefined:
      return closed?.ledgers ?? [];
    default:
      return [];
  }
}

/** Whether the mirror has a ledger or a policy that is not part of ours: whatever is accepted on top of ours begins another history. */
export function isForeign({ ref, standing }: RefStanding): boolean {
  const kind = classifyRef(ref)?.kind;
  return (kind === "ledger" || kind === "policy") && (isOverwrite(standing) || standing === "extra");
}

/** Every kv ref of both sides, namespace by namespace; the policy comes where it has its place among ours. */
export async function refStandings(sides: MirrorSides, isAncestor: IsAncestor): Promise<RefStanding[]> {
  const standings: RefStanding[] = [];
  const seen = new Set<string>();
  const [ours, theirs] = [closedOf(sides.local), closedOf(sides.remote)];
  for (const [ns, wanted] of wantedByNamespace(sides)) {
    for (const [ref, here] of wanted) {
      seen.add(ref);
      const there = sides.remote.get(ref);
      const before = { here: archivesFor(ref, ours.get(ns)), there: archivesFor(ref, theirs.get(ns)) };
      standings.push({ ns, ref, here, there, standing: await standingOf(here, there, before, isAncestor) });
    }
  }
  for (const [ref, there] of sides.remote) {
    const ns = namespaceOf(ref, sides.publishBranch);
    if (ns === undefined || seen.has(ref)) continue;
    standings.push({ ns, ref, here: undefined, there, standing: "extra" });
  }
  return standings;
}

async function standingOf(
  here: Oid,
  there: Oid | undefined,
  before: { readonly here: readonly Oid[]; readonly there: readonly Oid[] },
  isAncestor: IsAncestor,
): Promise<RefStanding["standing"]> {
  if (there === undefined) return "missing";
  if (there === here) return "equal";
  const isIn = async (ancestor: Oid, tips: readonly Oid[]): Promise<boolean> => {
    for (const tip of tips) if (ancestor === tip || (await isAncestor(ancestor, tip))) return true;
    return false;
  };
  if (await isIn(there, [here, ...before.here])) return "behind";
  return (await isIn(here, [there, ...before.there])) ? "ahead" : "diverged";
}

/** The namespace a ref of the mirror belongs to; undefined where it is none of ours. */
function namespaceOf(ref: string, publishBranch: boolean): string | undefined {
  if (ref.startsWith(BRANCHES)) return publishBranch ? ref.slice(BRANCHES.length) : undefined;
  const is = classifyRef(ref);
  if (is === undefined || is.kind === "reserved") return undefined;
  return is.kind === "policy" ? "" : is.ns;
}
