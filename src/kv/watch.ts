/** Watching a namespace: every key that changes, transaction by transaction, none missed and none told twice. */

import { KvError } from "../errors.ts";
import type { ObjectSource } from "../gitwire/object/object.ts";
import { isOid, type Oid } from "../gitwire/object/oid.ts";
import { TimeSlice } from "../time-slice.ts";
import type { LedgerCommit } from "./attestation.ts";
import { type ChangedKey, changesBetween } from "./changes.ts";
import { LedgerCursor } from "./ledger-cursor.ts";
import type { RemoteCopy } from "./remote-copy.ts";
import { type NamespaceState, stateAt } from "./state.ts";
import { copyTips, followTips, newestTip, throughOutages, type WatchPace } from "./tip-source.ts";
import type { Workspace } from "./workspace.ts";

export interface WatchOptions {
  /** Only keys that begin with this (bytes). */
  readonly prefix: string;
  /** A sequence number or a ledger commit; undefined: what this clone knows. */
  readonly since: number | Oid | undefined;
  /** Goes on for ever. */
  readonly follow: boolean;
  readonly pace?: WatchPace;
}

/** A transaction with the changes that were asked for, at least one. */
export interface WatchedTransaction {
  readonly state: NamespaceState;
  readonly changes: readonly ChangedKey[];
}

/** What `--since` says. Throws INPUT_INVALID. */
export function parseSince(text: string, format: Parameters<typeof isOid>[0]): number | Oid {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  if (isOid(format, text)) return text;
  throw new KvError("INPUT_INVALID", `--since: '${text}' is neither a sequence number nor a ledger commit`);
}

/** Watches. Throws NS_NOT_FOUND, NOT_FAST_FORWARD, INPUT_INVALID, and what the signal is aborted with. */
export async function* watch(workspace: Workspace, options: WatchOptions): AsyncGenerator<WatchedTransaction> {
  const { repo, ns, around } = workspace;
  const { since, prefix, follow, pace } = options;
  if (workspace.copy !== undefined) return yield* watchCopy(workspace, workspace.copy, options);
  const known = workspace.state();
  let cursor: LedgerCursor | undefined;
  if (since === undefined) cursor = new LedgerCursor(repo.objects, known?.ledger.seq ?? 0, known?.ledger.oid);
  else if (typeof since === "number") cursor = new LedgerCursor(repo.objects, since);
  const first = await newestTip(workspace);
  if (first === undefined && !follow) throw new KvError("NS_NOT_FOUND", `namespace '${ns}' is not there`);
  cursor ??= cursorAt(workspace, since as Oid);
  warnOfAhead(workspace, since, first);
  if (first !== undefined) yield* transactions(workspace, cursor, first, prefix);
  if (!follow) return;
  for await (const tip of followTips(workspace, pace)) {
    around.signal.throwIfAborted();
    yield* transactions(workspace, cursor, tip, prefix);
  }
}

/** Watches a remote that is read without a clone; what is known before is what it has when the watch begins. */
async function* watchCopy(
  workspace: Workspace,
  copy: RemoteCopy,
  { since, prefix, follow, pace }: WatchOptions,
): AsyncGenerator<WatchedTransaction> {
  const { repo, ns } = workspace;
  const { changesTo, stateOf } = await import("./copy-watch.ts");
  let cursor: LedgerCursor | undefined;
  if (typeof since === "number") cursor = new LedgerCursor(repo.objects, since);
  else if (since !== undefined) cursor = cursorBehind(repo.objects, ns, (await stateOf(copy, since, "--since")).ledger);
  let isFirst = true;
  for await (const tip of copyTips(workspace, copy, follow, pace)) {
    if (isFirst) warnOfAhead(workspace, since, tip);
    isFirst = false;
    cursor ??= new LedgerCursor(repo.objects, tip.ledger.seq, tip.ledger.oid);
    const at = cursor;
    const told = () => changesTo(copy, at, tip, prefix);
    for await (const { after, changes } of follow ? throughOutages(workspace, copy, told, pace) : told()) {
      workspace.around.signal.throwIfAborted();
      if (changes.length > 0) yield { state: after, changes };
    }
    if (follow) await copy.tidy();
  }
}

/**
 * Who was told of transactions that are not there yet has read a newer copy, or one that is lost (a Stargate that was restored): other
 * transactions with these numbers would be passed over.
 */
function warnOfAhead({ ns, around }: Workspace, since: WatchOptions["since"], tip: NamespaceState | undefined): void {
  const newest = tip?.ledger.seq ?? 0;
  if (typeof since !== "number" || since <= newest) return;
  around.warn(`'${ns}' is at transaction ${newest}, before the ${since} of --since: none up to that is told`);
}

function cursorBehind(objects: ObjectSource, ns: string, ledger: LedgerCommit): LedgerCursor {
  if (ledger.ns === ns) return new LedgerCursor(objects, ledger.seq, ledger.oid);
  throw new KvError("INPUT_INVALID", `--since: ${ledger.oid} is a commit of the namespace '${ledger.ns}'`);
}

function cursorAt({ repo, ns }: Workspace, since: Oid): LedgerCursor {
  if (!repo.objects.has(since)) throw new KvError("INPUT_INVALID", `--since: there is no commit ${since} here`);
  return cursorBehind(repo.objects, ns, stateAt(repo.objects, since).ledger);
}

/** What is between the cursor and `tip`; archives of epochs that began meanwhile are fetched where they are not here. */
async function* transactions(
  workspace: Workspace,
  cursor: LedgerCursor,
  tip: NamespaceState,
  prefix: string,
): AsyncGenerator<WatchedTransaction> {
  try {
    yield* transactionsHere(workspace, cursor, tip, prefix);
    return;
  } catch (error) {
    if (!(error instanceof KvError) || error.code !== "NS_NOT_FOUND") throw error;
    const { epochWithSeq } = await import("./epochs.ts");
    if ((await epochWithSeq(workspace, tip, cursor.seq + 1)) === undefined) throw error;
  }
  yield* transactionsHere(workspace, cursor, tip, prefix);
}

async function* transactionsHere(
  { repo, around }: Workspace,
  cursor: LedgerCursor,
  tip: NamespaceState,
  prefix: string,
): AsyncGenerator<WatchedTransaction> {
  const slice = new TimeSlice(1);
  for (const { before, after } of cursor.to(tip)) {
    if (slice.isOver()) await slice.pause(around.signal);
    const { keysSet, keysDel } = after.ledger;
    // The first commit of a namespace and that of an epoch change no key.
    const changes = keysSet + keysDel === 0 ? [] : changesBetween(repo.objects, before, after, prefix);
    if (changes.length > 0) yield { state: after, changes };
  }
}
