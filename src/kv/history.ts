/**
 * The revisions of a key, newest first. Each record names the ledger commit it was built on, at which the same path holds the
 * revision before (docs/formats/data-format.md, section 4), so this costs the key's revisions, not the ledger's transactions.
 */

import { utf8ToByteString } from "../bytes.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { LedgerCommit } from "./attestation.ts";
import { type ChangeRow, rowKey } from "./change-table.ts";
import type { Ahead } from "./copy-history.ts";
import { type Key, keyDigits } from "./key.ts";
import { changesIn } from "./key-changes.ts";
import { type KeyRecord, recordOf } from "./key-record.ts";
import { type LedgerLookup, lookupIn } from "./ledger-lookup.ts";
import { type Metadata, parseMetadata } from "./record.ts";
import type { RemoteCopy } from "./remote-copy.ts";
import { ledgerCommitAt, type NamespaceState, stateAt, stateOf } from "./state.ts";
import type { Workspace } from "./workspace.ts";

/** One revision of a key. */
export interface Revision {
  readonly rev: number;
  /** What the key had from then on; undefined: it was deleted. */
  readonly meta: Metadata | undefined;
  /** The transaction that made it; undefined where that is not here (a shallow clone, an archive that was not fetched). */
  readonly made: LedgerCommit | undefined;
  /** A state in which this revision is the key's newest; read when it is asked for. */
  readonly state: NamespaceState;
}

/** Finds the transaction that was built on a commit: commits name only what came before them. */
export interface SuccessorSource {
  /** The transaction `seq` where it was built on `base`, the first one here where `seq` is undefined; undefined where it is not here. */
  builtOn(base: Oid | undefined, seq: number | undefined): Promise<LedgerCommit | undefined>;
}

/** How objects are come by that may have to be brought first; without it they are all here. */
export type Reach = <T>(work: () => T) => T | Promise<T>;

/** What transactions did to keys, where that is written down. */
export interface ChangeSource {
  /** The transaction's change of the key that {@link rowKey} names so. */
  find(seq: number, key: string): ChangeRow | undefined;
  row(number: number): ChangeRow | undefined;
}

/** How {@link revisionsOf} comes by objects that are not here, and by records without reading trees. */
export interface RevisionOptions {
  readonly reach?: Reach | undefined;
  readonly changes?: ChangeSource | undefined;
  /** Is told of a state whose record of the key is going to be read. */
  readonly ahead?: ((ledger: LedgerCommit) => Promise<void>) | undefined;
}

/**
 * The revisions of `key` up to `tip`, newest first, within one epoch: down to the first one, or to where what came before is not
 * here. `successors` is asked once or twice for each.
 */
export async function* revisionsOf(
  objects: ObjectSource,
  tip: NamespaceState,
  key: Key,
  successors: SuccessorSource,
  { reach = (work) => work(), changes, ahead }: RevisionOptions = {},
): AsyncGenerator<Revision> {
  const { epoch } = tip.ledger;
  const ledgerBefore = async (base: Oid | undefined): Promise<LedgerCommit | undefined> =>
    base === undefined ? undefined : await reach(() => (objects.has(base) ? ledgerCommitAt(objects, base) : undefined));
  let state = (): NamespaceState => tip;
  let record = await reach(() => recordOf(objects, tip, key));
  // The change that made the record, where it is written down.
  let row: ChangeRow | undefined;
  while (record !== undefined) {
    const { base, rev, meta } = record;
    let before = row === undefined ? await ledgerBefore(base) : undefined;
    const seq = row?.seq ?? (base === undefined ? 1 : before && before.seq + 1);
    const made = await successors.builtOn(base, seq);
    yield revision(rev, meta, made, state);
    // What an epoch took over from the one before is that one's to tell; before its first revision a key was never set.
    if (rev === 1 || base === undefined || (made !== undefined && made.epoch !== epoch)) return;
    row ??= made && changes?.find(made.seq, rowKey(keyDigits(key)));
    const old: Oid | undefined = row?.old;
    const known = old === undefined ? undefined : await reach(() => recordIn(objects, old, key, rev - 1));
    if (known !== undefined) {
      const earlier: ChangeRow | undefined = changes!.row(row!.before);
      row = earlier?.now === old ? earlier : undefined;
      record = known;
      state = () => stateAt(objects, base);
    } else {
      row = undefined;
      before ??= await ledgerBefore(base);
      if (before?.epoch !== epoch) return;
      const ledger: LedgerCommit = before;
      await ahead?.(ledger);
      const from: NamespaceState = await reach(() => stateOf(objects, ledger));
      record = await reach(() => recordOf(objects, from, key));
      state = () => from;
    }
  }
}

function revision(
  rev: number,
  meta: Metadata | undefined,
  made: LedgerCommit | undefined,
  state: () => NamespaceState,
): Revision {
  return {
    rev,
    meta,
    made,
    get state(): NamespaceState {
      return state();
    },
  };
}

/** What the metadata `oid` says, where it is that of the revision `rev` of `key`. */
function recordIn(objects: ObjectSource, oid: Oid, key: Key, rev: number): KeyRecord | undefined {
  const meta = parseMetadata(readAs(objects, oid, "blob"));
  return meta.rev === rev && utf8ToByteString(meta.key) === key ? { base: meta.base, rev, meta } : undefined;
}

export interface HistoryOptions extends Partial<Ahead> {
  readonly epochs: boolean;
}

/**
 * The revisions of `key` up to `tip`, newest first: in its epoch, or with `epochs` in those before as well, whose archives are fetched
 * where they are not here.
 */
export async function* historyOf(
  workspace: Workspace,
  tip: NamespaceState,
  key: Key,
  { epochs, most = Number.POSITIVE_INFINITY, values = false }: HistoryOptions,
): AsyncGenerator<Revision> {
  const { objects } = workspace.repo;
  const { copy } = workspace;
  await copy?.bringLedger(tip.ns, tip.ledger.oid);
  const reach: Reach | undefined = copy && ((work) => copy.through(work));
  const ends = epochs ? await epochEnds(workspace, tip) : [tip];
  const lookup = await lookupIn(workspace, tip);
  const changes = copy === undefined ? await changesIn(workspace, lookup) : undefined;
  const ahead = copy && (await revisionsAhead(copy, lookup, key, { most, values }));
  const successors: SuccessorSource =
    copy === undefined ? lookup : { builtOn: (base, seq) => copy.mended(() => lookup.builtOn(base, seq)) };
  try {
    let last: Revision | undefined;
    for (const end of ends) {
      for await (const revision of revisionsOf(objects, end, key, successors, { reach, changes, ahead })) {
        // An epoch begins with what was live at the end of the one before: the same revision, told already.
        const isTold = last?.meta !== undefined && last.rev === revision.rev && last.meta.base === revision.meta?.base;
        if (!isTold) yield revision;
        last = revision;
      }
    }
  } finally {
    changes?.close();
    lookup.close();
  }
}

async function revisionsAhead(
  copy: RemoteCopy,
  lookup: LedgerLookup,
  key: Key,
  options: Ahead,
): Promise<NonNullable<RevisionOptions["ahead"]>> {
  // Loaded here: most have a clone.
  const { RevisionsAhead } = await import("./copy-history.ts");
  const ahead = new RevisionsAhead(copy, lookup, key, options);
  return (ledger) => copy.mended(() => ahead.before(ledger));
}

/** The last state of each epoch, `tip` first. */
async function epochEnds(workspace: Workspace, tip: NamespaceState): Promise<NamespaceState[]> {
  // Loaded here: most ask for the epoch they are in.
  const { epochsBack } = await import("./epochs.ts");
  const { repo, copy } = workspace;
  const ends: NamespaceState[] = [];
  for await (const { last } of epochsBack(workspace, tip)) {
    const read = (): NamespaceState => stateAt(repo.objects, last.oid);
    ends.push(last.oid === tip.ledger.oid ? tip : copy === undefined ? read() : await copy.through(read));
  }
  return ends;
}
