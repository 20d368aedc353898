/**
 * How the table of changed keys comes by its rows: by comparing each transaction's trees with those before it, as whoever asks without
 * the table does each time (docs/design/257).
 */

import { KvError } from "../errors.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import { BufferMeter } from "../memory.ts";
import { inSlices } from "../time-slice.ts";
import { trace, tracing } from "../trace.ts";
import { parseLedgerCommit } from "./attestation.ts";
import { type ChangeTable, encodeChangeRow, rowKey } from "./change-table.ts";
import type { LedgerLookup } from "./ledger-lookup.ts";
import { trieDigits } from "./ledger-trie.ts";
import { parseMetadata } from "./record.ts";
import { type NamespaceState, stateAt } from "./state.ts";
import { diffTries, type FileChange } from "./trie-diff.ts";
import type { Watch } from "./workspace.ts";

/** Keys of one transaction that the table tells apart; a larger one has one row, which says that. */
export const MOST_KEYS = 256;
/** Bytes of rows that are put into the file at once. */
const BATCH = 4 * 1024 * 1024;

/** The first transaction that can be compared: what is before the first one here is not here. */
export function firstCompared({ first }: LedgerLookup): number {
  return first === 1 ? 1 : first + 1;
}

/** What {@link bringUp} is to add. */
export interface BringUp extends Watch {
  /** Transactions that are compared at most. */
  readonly most: number;
}

/**
 * Adds to the table the transactions behind its last one, up to the newest. Where those are more than `most`, it stays as it is; where
 * it has none, it begins with the newest `most`. A table that cannot be written stays as it is too.
 */
export async function bringUp(
  table: ChangeTable,
  objects: ObjectSource,
  lookup: LedgerLookup,
  { most, signal, progress }: BringUp,
): Promise<void> {
  const to = lookup.last;
  const isNew = table.count === 0;
  const from = isNew ? Math.max(firstCompared(lookup), to - most + 1) : table.last + 1;
  if (from > to || to - from >= most) return;
  try {
    await inSlices(fill(table, objects, lookup, { from, to, isNew, signal, progress }), signal);
  } catch (error) {
    signal?.throwIfAborted();
    // Whoever asked finds it in the trees, or is told there what is wrong.
    if (tracing("perf")) trace("perf", `the changed keys are not written down: ${String(error)}`);
  }
  progress?.("");
}

interface Range extends Watch {
  readonly from: number;
  readonly to: number;
  /** There is no table yet. */
  readonly isNew: boolean;
}

/** Transactions between two words of progress. */
const STRIDE = 256;
/** Bytes of trees that are read for a transaction, roughly. */
const READ = 32 * 1024;

/** Puts the rows of a range into the table, a batch at a time. Yields after each transaction. */
function* fill(table: ChangeTable, objects: ObjectSource, lookup: LedgerLookup, range: Range): Generator<void, void> {
  const { from, to, signal, progress } = range;
  let { isNew } = range;
  let rows: Buffer[] = [];
  let bytes = 0;
  const known = new Numbers(table, objects);
  const meter = new BufferMeter();
  let before = from === 1 ? undefined : stateAt(objects, lookup.oidAt(from - 1)!);
  for (let seq = from; seq <= to; seq++) {
    signal?.throwIfAborted();
    const after = stateAt(objects, lookup.oidAt(seq)!);
    for (const row of rowsOf(objects, before, after, known)) {
      rows.push(row);
      bytes += row.length;
    }
    before = after;
    if (bytes >= BATCH || seq === to) {
      const added = Buffer.concat(rows);
      if (isNew) table.replace(added, from, seq);
      else table.append(added, seq);
      isNew = false;
      rows = [];
      bytes = 0;
    }
    if (seq % STRIDE === 0) {
      meter.add(STRIDE * READ);
      progress?.(`reading what changed: ${seq - from + 1} of ${to - from + 1} transactions`);
    }
    yield;
  }
}

/** The rows of one transaction, in the order of their keys. */
function rowsOf(
  objects: ObjectSource,
  before: NamespaceState | undefined,
  { ledger, meta }: NamespaceState,
  known: Numbers,
): Buffer[] {
  const { format } = objects;
  const { seq, oid, keysSet, keysDel } = ledger;
  const isFollowing = ledger.parent === before?.ledger.oid && ledger.parentEpoch === undefined;
  const isSmall = isFollowing && keysSet + keysDel <= MOST_KEYS;
  const changes = isSmall ? compared(objects, before, meta) : [];
  if (changes.length === 0) {
    known.pass(1);
    return [encodeChangeRow(format, { seq, key: NO_KEY, before: 0, old: undefined, now: undefined }, oid)];
  }
  return changes.map(({ key, change }) => {
    const row = { seq, key, before: known.before(key, change), old: change.before, now: change.after };
    return encodeChangeRow(format, row, oid);
  });
}

const NO_KEY = "00".repeat(8);

interface KeyedChange {
  readonly key: string;
  readonly change: FileChange;
}

/** What changed, in the order of the rows' keys; nothing where the trees are not in order: whoever asks for it reads them, and is told. */
function compared(
  objects: ObjectSource,
  before: NamespaceState | undefined,
  meta: NamespaceState["meta"],
): KeyedChange[] {
  try {
    const changes = diffTries(objects, "meta", before?.meta, meta, MOST_KEYS);
    const keyed = changes.map((change) => ({ key: rowKey(trieDigits("meta", change.fileName)!), change }));
    return keyed.sort((a, b) => (a.key < b.key ? -1 : 1));
  } catch (error) {
    if (error instanceof KvError) return [];
    throw error;
  }
}

/** Keys that are remembered. */
const REMEMBERED = 1_000_000;

/** Numbers of the rows that rows are to name: those of their keys before them. */
class Numbers {
  readonly #table: ChangeTable;
  readonly #objects: ObjectSource;
  /** Rows that were there when this began. */
  readonly #stored: number;
  /** Number of the newest row of a key, and the record it tells, of those rows that were added since. */
  #added = new Map<string, { readonly number: number; readonly now: string | undefined }>();
  #next: number;

  constructor(table: ChangeTable, objects: ObjectSource) {
    this.#table = table;
    this.#objects = objects;
    this.#stored = table.count;
    this.#next = table.count + 1;
  }

  /** Counts rows that name no key. */
  pass(count: number): void {
    this.#next += count;
  }

  /** Counts the next row, which is of `key`, and returns the number of the one before it; 0: not known. */
  before(key: string, { before, after }: FileChange): number {
    const known = this.#added.get(key);
    if (this.#added.size >= REMEMBERED) this.#added = new Map();
    this.#added.set(key, { number: this.#next++, now: after });
    if (before === undefined) return 0;
    if (known !== undefined) return known.now === before ? known.number : 0;
    return this.#stored === 0 ? 0 : this.#storedBefore(key, before);
  }

  #storedBefore(key: string, record: string): number {
    const { base } = parseMetadata(readAs(this.#objects, record, "blob"));
    const data = base === undefined ? undefined : this.#objects.read(base)?.data;
    if (data === undefined) return 0;
    const { seq } = parseLedgerCommit(this.#objects.format, base!, data);
    const row = this.#table.find(seq + 1, key);
    return row?.now === record ? row.number : 0;
  }
}
