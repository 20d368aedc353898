/**
 * The epochs of a namespace, back from the current one (docs/formats/data-format.md, section 8). A clone holds the current epoch;
 * the ones before it are archives, each the last ledger and kv-index commit of its epoch, which are brought here when somebody asks.
 *
 * They are kept at `refs/kv-remotes/<remote>/kv-archive/<ns>@<label>` and `.../kv-index-archive/...`; a repository that is its own
 * authority, and a Stargate's, has them at `refs/kv-archive/...` and `refs/kv-index-archive/...`.
 */

import { KvError, toKvError } from "../errors.ts";
import { readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { Repository } from "../gitwire/repo.ts";
import { whileKept } from "../gitwire/store/pack-keep.ts";
import { TimeSlice } from "../time-slice.ts";
import { type LedgerCommit, parseLedgerCommit } from "./attestation.ts";
import { type ClosedEpoch, commitBefore } from "./ledger-line.ts";
import { archiveRef, epochRef, indexArchiveRef, trackingRoot } from "./namespace.ts";
import type { RemoteCopy } from "./remote-copy.ts";
import { fetchObjects, fetchUrl, hasRemote, pushUrl } from "./remote-session.ts";
import { refuseShallow } from "./shallow-ledger.ts";
import type { NamespaceState } from "./state.ts";
import type { Workspace } from "./workspace.ts";

/** An epoch whose commits are here. */
export interface Epoch {
  readonly label: string;
  /** Its last ledger commit; of the current epoch, the one it was asked from. */
  readonly last: LedgerCommit;
  /** The kv-index commit of that one; undefined where it is not here. */
  readonly index: Oid | undefined;
  /** Its first ledger commit. */
  readonly first: LedgerCommit;
  /** The epoch before it, whether or not that is here; undefined for the namespace's first. */
  readonly before: ClosedEpoch | undefined;
}

/** The epoch that `state` is in. Costs the epoch's length where no ref names its first commit. */
export async function epochOf(workspace: Workspace, state: NamespaceState): Promise<Epoch> {
  return epochEndingAt(workspace, state.ledger, state.index);
}

/**
 * The epochs from that of `state` back to the first. Those whose archives are not here are fetched, each when it is asked for;
 * with `fetch` false the epochs end before them. Throws NETWORK and so on, and IO where nobody has an archive.
 */
export async function* epochsBack(
  workspace: Workspace,
  state: NamespaceState,
  { fetch = true }: { readonly fetch?: boolean } = {},
): AsyncGenerator<Epoch> {
  let epoch = await epochOf(workspace, state);
  yield epoch;
  while (epoch.before !== undefined) {
    const { label, ledger } = epoch.before;
    if (!isHere(workspace, epoch.before)) {
      if (!fetch) return;
      await fetchArchive(workspace, epoch.before);
    }
    const last = readLedger(workspace, ledger);
    if (last.epoch !== label || last.seq !== epoch.first.seq - 1) {
      throw new KvError("ATTESTATION_MISMATCH", `${ledger} is not the end of the epoch '${label}'`);
    }
    epoch = await epochEndingAt(workspace, last, closedIndex(workspace, label));
    yield epoch;
  }
}

/**
 * Brings the ledger commit `oid` of an earlier epoch here (the `base` of a key's metadata, say), with all of its epoch. True where it
 * is here afterwards; false where no epoch of `state` has it. Throws as {@link epochsBack}.
 */
export async function bringCommit(workspace: Workspace, state: NamespaceState, oid: Oid): Promise<boolean> {
  const { objects } = workspace.repo;
  if (objects.has(oid)) return true;
  for await (const _ of epochsBack(workspace, state)) if (objects.has(oid)) return true;
  return false;
}

/** The epoch that the transaction `seq` is in, its commits here; undefined where there is none. Throws as {@link epochsBack}. */
export async function epochWithSeq(
  workspace: Workspace,
  state: NamespaceState,
  seq: number,
): Promise<Epoch | undefined> {
  for await (const epoch of epochsBack(workspace, state)) {
    if (seq > epoch.last.seq) return undefined;
    if (seq >= epoch.first.seq) return epoch;
  }
  return undefined;
}

/**
 * Fetches the archive of a closed epoch, from the mirror or, where that does not have it (yet), from the Stargate. Throws what
 * keeps both from giving it.
 */
export async function fetchArchive(workspace: Workspace, closed: ClosedEpoch): Promise<void> {
  const { ns, remote, copy } = workspace;
  if (isHere(workspace, closed)) return;
  if (copy !== undefined) return bringToCache(copy, ns, closed);
  const failures: KvError[] = [];
  const urls = hasRemote(workspace)
    ? [fetchUrl(workspace), ...(workspace.hasStargate ? [pushUrl(workspace)] : [])]
    : [];
  for (const url of new Set(urls)) {
    try {
      if (await fetchFrom(workspace, url, closed)) return;
    } catch (error) {
      workspace.around.signal.throwIfAborted();
      failures.push(toKvError(error));
    }
  }
  const [failure] = failures;
  if (failure !== undefined) throw failure;
  const who = urls.length === 0 ? "there is no remote to fetch it from" : `'${remote}' does not have it`;
  throw new KvError("IO", `the archive of the epoch '${closed.label}' of '${ns}' is not here, and ${who}`, {
    hint: "fetch refs/kv-archive/* from a repository that has it",
  });
}

/** Without a clone the commits are enough: what they lead to is brought when it is read. */
async function bringToCache(copy: RemoteCopy, ns: string, closed: ClosedEpoch): Promise<void> {
  try {
    await copy.bringArchive(ns, closed);
  } catch (error) {
    if (!(error instanceof KvError) || error.code !== "REMOTE_REJECTED") throw error;
    const what = `the archive of the epoch '${closed.label}' of '${ns}' is not at ${copy.shown}`;
    throw new KvError("IO", what, { hint: "--repo with the address of a repository that has it", cause: error });
  }
}

/**
 * Brings the archive of a closed epoch here to compare histories; false where the other side does not have it. From the mirror it is
 * kept, since reads go on comparing; what comes from the Stargate is needed once.
 */
export async function bringArchive(
  workspace: Workspace,
  closed: ClosedEpoch,
  from: "mirror" | "stargate",
): Promise<boolean> {
  if (workspace.repo.objects.has(closed.ledger)) return false;
  return fetchFrom(workspace, from === "mirror" ? fetchUrl(workspace) : pushUrl(workspace), closed, from === "mirror");
}

async function fetchFrom(
  { repo, around, ns, remote }: Workspace,
  url: string,
  closed: ClosedEpoch,
  isKept = true,
): Promise<boolean> {
  const { label, ledger } = closed;
  return whileKept(async (keeps) => {
    const [ref, indexRef] = [archiveRef(ns, label), indexArchiveRef(ns, label)];
    // Whatever the other side calls by that name, only the commit that the ledger names is wanted.
    const choose = (refs: ReadonlyMap<string, Oid>): Oid[] => {
      if (refs.get(ref) !== ledger) return [];
      const index = isKept ? refs.get(indexRef) : undefined;
      return index === undefined ? [ledger] : [ledger, index];
    };
    const refs = await fetchObjects(repo, around, url, [ref, indexRef], choose, { keeps });
    if (refs.get(ref) !== ledger) return false;
    if (!isKept) return true;
    const index = refs.get(indexRef);
    const root = trackingRoot(remote);
    await repo.refs.update([
      { name: archiveRef(ns, label, root), newOid: ledger },
      ...(index === undefined ? [] : [{ name: indexArchiveRef(ns, label, root), newOid: index }]),
    ]);
    return true;
  });
}

/** Whether a closed epoch is here, with what was deleted in it. */
function isHere(workspace: Workspace, closed: ClosedEpoch): boolean {
  const { copy, ns, repo } = workspace;
  if (copy !== undefined) return copy.hasArchive(ns, closed);
  return repo.objects.has(closed.ledger) && closedIndex(workspace, closed.label) !== undefined;
}

/** The last kv-index commit of a closed epoch, where it is here. */
export function closedIndex({ repo, ns, remote }: Workspace, label: string): Oid | undefined {
  return (
    repo.refs.resolve(indexArchiveRef(ns, label)) ?? repo.refs.resolve(indexArchiveRef(ns, label, trackingRoot(remote)))
  );
}

/** Where the epoch that ends at `last` begins. Throws NS_NOT_FOUND where a shallow repository ends before. */
async function epochEndingAt(workspace: Workspace, last: LedgerCommit, index: Oid | undefined): Promise<Epoch> {
  const { repo, ns, remote, around } = workspace;
  const { objects, format } = repo;
  const label = last.epoch;
  for (const root of ["refs/", trackingRoot(remote)]) {
    const first = namedFirst(repo, epochRef(ns, root));
    if (first?.ns === ns && first.epoch === label && first.parent === undefined && first.seq <= last.seq)
      return { label, last, index, first, before: first.parentEpoch };
  }
  const slice = new TimeSlice();
  for (let at = last.oid; ; ) {
    around.signal.throwIfAborted();
    if (!objects.has(at)) refuseShallow(repo, ns);
    const data = readAs(objects, at, "commit");
    const { oid, closed } = commitBefore(format, at, data);
    if (oid === undefined || closed !== undefined) {
      return { label, last, index, first: parseLedgerCommit(format, at, data), before: closed };
    }
    at = oid;
    if (slice.isOver()) await slice.pause();
  }
}

/** The ledger commit that a ref names; undefined where it is none, as a mirror's may be: then the ledger is walked. */
function namedFirst({ objects, refs, format }: Repository, ref: string): LedgerCommit | undefined {
  const oid = refs.resolve(ref);
  const object = oid === undefined ? undefined : objects.read(oid);
  if (object?.kind !== "commit") return undefined;
  try {
    return parseLedgerCommit(format, oid!, object.data);
  } catch (error) {
    if (error instanceof KvError) return undefined;
    throw error;
  }
}

function readLedger({ repo }: Workspace, oid: Oid): LedgerCommit {
  return parseLedgerCommit(repo.format, oid, readAs(repo.objects, oid, "commit"));
}
