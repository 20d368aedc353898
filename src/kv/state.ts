/** The state of a namespace: its newest ledger commit, read once; everything else hangs off it. */

import { KvError } from "../errors.ts";
import { commitLinks } from "../gitwire/object/commit.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { ObjectFormat, Oid } from "../gitwire/object/oid.ts";
import { encodeTree, findEntry, MODE, type TreeEntry } from "../gitwire/object/tree.ts";
import { type LedgerCommit, parseLedgerCommit } from "./attestation.ts";
import { type ClosedEpoch, type LedgerPosition, ledgerLine } from "./ledger-line.ts";
import { namespaceRefs, trackingRoot } from "./namespace.ts";

/** Where refs are read from. */
export interface RefSource {
  /** The object id of a ref, or undefined. */
  resolve(name: string): Oid | undefined;
}

/** A namespace at one transaction. */
export interface NamespaceState {
  readonly ns: string;
  readonly ledger: LedgerCommit;
  /** Roots of the two tries; undefined where no key is live. */
  readonly data: Oid | undefined;
  readonly meta: Oid | undefined;
  /** Tip of the kv-index branch. */
  readonly index: Oid | undefined;
}

/** Content of kv.json at the root of every ledger tree. */
export function kvJson(format: ObjectFormat, ns: string): string {
  return `{"v":1,"ns":"${ns}","object_format":"${format.name}"}`;
}

/** The root tree of the ledger. */
export function ledgerTree(
  format: ObjectFormat,
  roots: { kvJson: Oid; data: Oid | undefined; meta: Oid | undefined },
): Buffer {
  const entries: TreeEntry[] = [];
  if (roots.data !== undefined) entries.push({ mode: MODE.tree, name: "data", oid: roots.data });
  entries.push({ mode: MODE.file, name: "kv.json", oid: roots.kvJson });
  if (roots.meta !== undefined) entries.push({ mode: MODE.tree, name: "meta", oid: roots.meta });
  return encodeTree(format, entries);
}

/** The state whose ledger commit is `oid`. Throws BAD_OBJECT or an attestation error where it is no ledger commit. */
export function stateAt(objects: ObjectSource, oid: Oid, index?: Oid): NamespaceState {
  return stateOf(objects, ledgerCommitAt(objects, oid), index);
}

/** The ledger commit `oid`. Throws as {@link stateAt}. */
export function ledgerCommitAt(objects: ObjectSource, oid: Oid): LedgerCommit {
  return parseLedgerCommit(objects.format, oid, readAs(objects, oid, "commit"));
}

/** The state that `ledger` made. Throws as {@link stateAt}. */
export function stateOf(objects: ObjectSource, ledger: LedgerCommit, index?: Oid): NamespaceState {
  const root = readAs(objects, ledger.tree, "tree");
  const child = (name: string): Oid | undefined => findEntry(objects.format, root, name)?.oid;
  return { ns: ledger.ns, ledger, data: child("data"), meta: child("meta"), index };
}

/**
 * `state`, which a ref called by `ns` led to. Throws ATTESTATION_MISMATCH where it is another namespace's, so that whoever can move refs
 * but sign nothing cannot show one ledger, however well signed, in the place of another.
 */
export function requireNamespace(state: NamespaceState, ns: string): NamespaceState {
  if (state.ns === ns) return state;
  throw new KvError(
    "ATTESTATION_MISMATCH",
    `the ref of the ledger of '${ns}' is at ${state.ledger.oid}, of another namespace`,
  );
}

/** The state the refs under `root` hold of `ns`, or undefined where there is none. Throws as {@link stateAt} and {@link requireNamespace}. */
export function readState(
  objects: ObjectSource,
  refs: RefSource,
  ns: string,
  root = "refs/",
): NamespaceState | undefined {
  const names = namespaceRefs(ns, root);
  // Both move in one step, but are read in two: with the same ledger before and after, the kv-index between is its own.
  for (let ledger = refs.resolve(names.ledger); ledger !== undefined; ) {
    const index = refs.resolve(names.index);
    const again = refs.resolve(names.ledger);
    if (again === ledger) return requireNamespace(stateAt(objects, ledger, index), ns);
    ledger = again;
  }
  return undefined;
}

/**
 * The newest state this clone knows: its own, or the one the last fetch from `remote` brought where that one follows it. Own
 * writes are thereby visible at once, and neither a lagging nor a foreign or damaged mirror ever takes a clone back. `onGap` is told
 * where only commits that are not here, those of a closed epoch or of a shallow clone, would show whether it follows.
 */
export function newestState(
  objects: ObjectSource,
  refs: RefSource,
  ns: string,
  remote: string,
  onGap?: (closed: ClosedEpoch | undefined) => void,
): NamespaceState | undefined {
  const own = readState(objects, refs, ns);
  if (own === undefined) return readState(objects, refs, ns, trackingRoot(remote));
  if (refs.resolve(namespaceRefs(ns, trackingRoot(remote)).ledger) === own.ledger.oid) return own;
  const tracked = readTracked(objects, refs, ns, remote);
  if (tracked === undefined || tracked.ledger.seq <= own.ledger.seq) return own;
  const line = ledgerLine(objects, tracked.ledger, own.ledger);
  if (line.kind === "cut" || line.kind === "broken") onGap?.(line.kind === "cut" ? line.closed : undefined);
  return line.kind === "contains" ? tracked : own;
}

/** What the last fetch from `remote` brought, or undefined where that is nothing, or nothing that can be read. */
export function readTracked(
  objects: ObjectSource,
  refs: RefSource,
  ns: string,
  remote: string,
): NamespaceState | undefined {
  try {
    return readState(objects, refs, ns, trackingRoot(remote));
  } catch (error) {
    if (error instanceof KvError) return undefined;
    throw error;
  }
}

/** Whether `earlier` is in the history of the ledger commit `tip`, or is it. Costs the commits between them. */
export function ledgerContains(objects: ObjectSource, tip: LedgerPosition, earlier: LedgerPosition): boolean {
  return ledgerLine(objects, tip, earlier).kind === "contains";
}

/** {@link newestState}, or NS_NOT_FOUND. */
export function requireState(objects: ObjectSource, refs: RefSource, ns: string, remote: string): NamespaceState {
  const state = newestState(objects, refs, ns, remote);
  if (state === undefined) throw new KvError("NS_NOT_FOUND", `namespace '${ns}' is not in this repository`);
  return state;
}

/** The kv-index commit a new transaction builds on. Throws CORRUPT where the kv-index is not the one the ledger names. */
export function indexParent(objects: ObjectSource, state: NamespaceState): Oid {
  const { index, ledger } = state;
  if (index === undefined || !isIndexOf(objects, index, ledger)) {
    throw new KvError("CORRUPT", `the kv-index of '${state.ns}' is not the one its ledger names`, {
      hint: "fetch again with 'git kv fetch'",
    });
  }
  return index;
}

/** Whether the kv-index commit `index` is the one that `ledger` names. Throws BAD_OBJECT where it is no commit. */
export function isIndexOf(objects: ObjectSource, index: Oid, ledger: LedgerCommit): boolean {
  return commitLinks(objects.format, readAs(objects, index, "commit")).tree === ledger.indexTree;
}
