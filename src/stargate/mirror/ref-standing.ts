/**
 * Where each kv ref of the mirror stands against ours. Everything that is decided about the mirror (what to push, what has
 * diverged, what `sync` shows) is decided from this.
 */

import { KvError } from "../../errors.ts";
import type { Oid } from "../../gitwire/object/oid.ts";
import { CommitGraph } from "../../gitwire/protocol/commit-graph.ts";
import { isReachable } from "../../gitwire/protocol/revision-range.ts";
import type { ObjectStore } from "../../gitwire/store/object-store.ts";
import { parseIndexCommit, parseLedgerCommit } from "../../kv/attestation.ts";
import { classifyRef, type KvRef } from "../../kv/namespace.ts";
import type { RefStanding } from "../../kv/sync-report.ts";

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
export function publishedBranch(ns: string): string {
  return `${BRANCHES}${ns}`;
}

/** Prefixes of all refs of a mirror that {@link refStandings} is about. */
export const MIRRORED_PREFIXES: readonly string[] = ["refs/kv", BRANCHES];

/** What is known of commits that refs of both sides lead to. */
export interface Ancestry {
  readonly isAncestor: IsAncestor;
  /** Whether `index` is the kv-index commit of the transaction whose ledger commit is `ledger`; false where either is not here. */
  readonly isIndexOf: (index: Oid, ledger: Oid) => boolean;
}

/** Ancestry in the history that `objects` holds. */
export function ancestryIn(objects: ObjectStore): Ancestry {
  const graph = new CommitGraph(objects);
  return {
    isAncestor: async (ancestor, tip) => {
      const [from, to] = [graph.find(ancestor), graph.find(tip)];
      return from >= 0 && to >= 0 && isReachable(graph, from, to);
    },
    isIndexOf: (index, ledger) => {
      const [one, other] = [objects.read(index), objects.read(ledger)];
      if (one?.kind !== "commit" || other?.kind !== "commit") return false;
      try {
        const { txn, ledgerTree } = parseIndexCommit(objects.format, index, one.data);
        const commit = parseLedgerCommit(objects.format, ledger, other.data);
        return commit.txn === txn && commit.tree === ledgerTree;
      } catch (error) {
        if (error instanceof KvError) return false;
        throw error;
      }
    },
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
 * The line of a namespace's ledger on one side: what its refs lead to, and the closed epochs before that, which are its archives. A new
 * epoch has no parent, and yet follows the one before it.
 */
interface LedgerLine {
  readonly archives: readonly Oid[];
  /** Where its ledger is. */
  readonly ledger: Oid | undefined;
}

function linesOf(refs: ReadonlyMap<string, Oid>): ReadonlyMap<string, LedgerLine> {
  const lines = new Map<string, { archives: Oid[]; ledger: Oid | undefined }>();
  for (const [ref, oid] of refs) {
    const is = classifyRef(ref);
    if (is?.kind !== "archive" && is?.kind !== "ledger") continue;
    const line = lines.get(is.ns) ?? { archives: [], ledger: undefined };
    if (is.kind === "archive") line.archives.push(oid);
    else line.ledger = oid;
    lines.set(is.ns, line);
  }
  return lines;
}

/** Every kv ref of both sides, namespace by namespace; the policy comes where it has its place among ours. */
export async function refStandings(sides: MirrorSides, ancestry: Ancestry): Promise<RefStanding[]> {
  const standings: RefStanding[] = [];
  const seen = new Set<string>();
  const [ours, theirs] = [linesOf(sides.local), linesOf(sides.remote)];
  for (const [ns, wanted] of wantedByNamespace(sides)) {
    for (const [ref, here] of wanted) {
      seen.add(ref);
      const there = sides.remote.get(ref);
      const kind = classifyRef(ref)?.kind;
      const lines = { kind, ours: ours.get(ns) ?? NO_LINE, theirs: theirs.get(ns) ?? NO_LINE };
      standings.push({ ns, ref, here, there, standing: await standingOf(here, there, lines, ancestry) });
    }
  }
  for (const [ref, there] of sides.remote) {
    const ns = namespaceOf(ref, sides.publishBranch);
    if (ns === undefined || seen.has(ref)) continue;
    standings.push({ ns, ref, here: undefined, there, standing: "extra" });
  }
  return standings;
}

const NO_LINE: LedgerLine = { archives: [], ledger: undefined };

interface Lines {
  readonly kind: KvRef["kind"] | undefined;
  readonly ours: LedgerLine;
  readonly theirs: LedgerLine;
}

async function standingOf(
  here: Oid,
  there: Oid | undefined,
  lines: Lines,
  ancestry: Ancestry,
): Promise<RefStanding["standing"]> {
  if (there === undefined) return "missing";
  if (there === here) return "equal";
  if (await isBefore(there, here, lines.ours, lines.theirs, lines.kind, ancestry)) return "behind";
  return (await isBefore(here, there, lines.theirs, lines.ours, lines.kind, ancestry)) ? "ahead" : "diverged";
}

/** Whether the value `one` of a ref was there before the value `other`: in its history, or in an epoch closed before it. */
async function isBefore(
  one: Oid,
  other: Oid,
  line: LedgerLine,
  oneLine: LedgerLine,
  kind: KvRef["kind"] | undefined,
  { isAncestor, isIndexOf }: Ancestry,
): Promise<boolean> {
  if (await isAncestor(one, other)) return true;
  // An archive is written once, and pieces are only added.
  if (kind === "archive" || kind === "chunks" || kind === "policy") return false;
  // The kv-index of a closed epoch is not kept; it is known by the transaction that it is the index of.
  const ledger = kind === "index" ? oneLine.ledger : one;
  if (ledger === undefined || (kind === "index" && !isIndexOf(one, ledger))) return false;
  for (const archive of line.archives) if (archive === ledger || (await isAncestor(ledger, archive))) return true;
  return false;
}

/** The namespace a ref of the mirror belongs to; undefined where it is none of ours. */
function namespaceOf(ref: string, publishBranch: boolean): string | undefined {
  if (ref.startsWith(BRANCHES)) return publishBranch ? ref.slice(BRANCHES.length) : undefined;
  const is = classifyRef(ref);
  if (is === undefined || is.kind === "reserved") return undefined;
  return is.kind === "policy" ? "" : is.ns;
}
