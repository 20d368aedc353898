/**
 * What `--at` says, and the state it means: a ledger commit, a KV-Txn, a sequence number, a time, a number of transactions back, or a ref.
 *
 *   1042                  the transaction with that KV-Seq          -3                     three transactions before the newest
 *   3f0c91ab (4 digits+)  the ledger commit whose id begins so      01JBAXF5Z8J8M7R2...    the transaction of that KV-Txn
 *   2026-05-02T10:00:00Z  2026-05-02  @1767322800  2h               the newest transaction made then or before
 *   v1.4  tags/2026-05-02                                           the ledger commit that a tag or another ref leads to
 *
 * Digits alone are a sequence number, digits and a unit (100d) are a time ago, unless there are twelve of them, as many as `log` shows of
 * an id: a shorter id that looks like either is given longer.
 */

import { KvError } from "../errors.ts";
import { parseIdent } from "../gitwire/object/commit.ts";
import { isOid, type ObjectFormat, type Oid } from "../gitwire/object/oid.ts";
import { isValidRefName } from "../gitwire/refs/ref-name.ts";
import { parseTime } from "../quantity.ts";
import { formatTime } from "../time.ts";
import { type LedgerCommit, parseLedgerCommit } from "./attestation.ts";
import { type LedgerLookup, lookupIn } from "./ledger-lookup.ts";
import { type NamespaceState, stateAt } from "./state.ts";
import { isUlid } from "./ulid.ts";
import type { Workspace } from "./workspace.ts";

/** A point in a ledger, as it is asked for. */
export type At =
  | { readonly kind: "back"; readonly count: number }
  | { readonly kind: "seq"; readonly seq: number }
  | { readonly kind: "txn"; readonly txn: string }
  | { readonly kind: "time"; readonly time: number }
  /** An object id, or how it begins. */
  | { readonly kind: "commit"; readonly id: string }
  | { readonly kind: "ref"; readonly name: string };

/** Transactions that are walked back without a look into the table. */
const NEAR = 32;
/** Digits that an abbreviated object id has at least, as in git. */
const ABBREVIATED = /^[0-9a-f]{4,64}$/i;
/** Digits from which on it is nothing else: no ledger has as many transactions, and no time is as many days ago. */
const SURE = 12;

/** The point `text` names; `now` in Unix seconds. Throws INPUT_INVALID. */
export function parseAt(text: string, format: ObjectFormat, now: number): At {
  if (/^-\d{1,15}$/.test(text)) return { kind: "back", count: Number(text.slice(1)) };
  const isId = ABBREVIATED.test(text) && text.length < format.hexSize;
  if (/^\d{1,15}$/.test(text) && !(isId && text.length >= SURE)) return { kind: "seq", seq: Number(text) };
  if (isUlid(text.toUpperCase())) return { kind: "txn", txn: text.toUpperCase() };
  if (isOid(format, text.toLowerCase())) return { kind: "commit", id: text.toLowerCase() };
  const isAgo = /^\d+d$/.test(text);
  if (isId && !(isAgo && text.length < SURE)) return { kind: "commit", id: text.toLowerCase() };
  try {
    return { kind: "time", time: parseTime(text, now) };
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    if (isValidRefName(`refs/tags/${text}`)) return { kind: "ref", name: text };
    throw nothingSo(text);
  }
}

function nothingSo(text: string): KvError {
  return new KvError("INPUT_INVALID", `'${text}' is no commit, transaction, sequence number, time, tag or branch`, {
    hint: "write 1042, 3f0c91ab, 2026-01-02, 2026-01-02T03:04:05Z, 2h (ago) or -1 (one transaction back)",
  });
}

/** When a ledger commit says it was made, Unix seconds. */
export function madeAt({ commit }: LedgerCommit): number {
  return parseIdent(commit.committer).seconds;
}

/** A state, and the moment it is read as of. */
export interface Moment {
  readonly state: NamespaceState;
  /** Unix seconds: what had expired then counts as expired. */
  readonly now: number;
}

/** What `text` means in the ledger that ends with `tip`. Throws as {@link stateAtPoint}. */
export async function momentAt(workspace: Workspace, tip: NamespaceState, text: string): Promise<Moment> {
  const at = parseAt(text, workspace.repo.format, workspace.now());
  const state = await stateAtPoint(workspace, tip, at);
  return { state, now: at.kind === "time" ? at.time : madeAt(state.ledger) };
}

/**
 * The state that `at` means in the ledger that ends with `tip`. What is in an archive that is not here is fetched. Throws
 * INPUT_INVALID for what is not part of the ledger, NS_NOT_FOUND for what is before its beginning, and what fetching throws.
 */
export async function stateAtPoint(workspace: Workspace, tip: NamespaceState, at: At): Promise<NamespaceState> {
  const { copy, repo } = workspace;
  await copy?.bringLedger(tip.ns, tip.ledger.oid);
  const ledger = await ledgerAt(workspace, tip, at);
  if (ledger.oid === tip.ledger.oid) return tip;
  const read = (): NamespaceState => stateAt(repo.objects, ledger.oid);
  return copy === undefined ? read() : copy.through(read);
}

async function ledgerAt(workspace: Workspace, tip: NamespaceState, at: At): Promise<LedgerCommit> {
  switch (at.kind) {
    case "commit":
      return commitAt(workspace, tip, at.id);
    case "back": {
      if (at.count === 0) return tip.ledger;
      if (at.count >= tip.ledger.seq) {
        const known = `its newest is ${tip.ledger.seq}, its first 1`;
        throw new KvError("NS_NOT_FOUND", `'${tip.ns}' has no transaction ${at.count} before its newest: ${known}`, {
          hint: BEFORE,
        });
      }
      return (
        (at.count <= NEAR ? near(workspace, tip, at.count) : undefined) ??
        bySeq(workspace, tip, tip.ledger.seq - at.count)
      );
    }
    case "seq":
      return bySeq(workspace, tip, at.seq);
    case "txn":
      return byTxn(workspace, tip, at.txn);
    case "time":
      return byTime(workspace, tip, at.time);
    case "ref": {
      // Loaded here: few have names for states. Those of another machine are not asked for.
      const { commitNamed } = await import("./named-commit.ts");
      const oid = workspace.copy === undefined ? commitNamed(workspace.repo, at.name) : undefined;
      if (oid === undefined) throw nothingSo(at.name);
      return commitAt(workspace, tip, oid, at.name);
    }
  }
}

/** `count` transactions back, where they are all here. */
function near({ repo }: Workspace, tip: NamespaceState, count: number): LedgerCommit | undefined {
  let { ledger } = tip;
  for (let left = count; left > 0; left--) {
    const object = ledger.parent === undefined ? undefined : repo.objects.read(ledger.parent);
    if (object?.kind !== "commit") return undefined;
    ledger = parseLedgerCommit(repo.format, ledger.parent!, object.data);
  }
  return ledger;
}

async function bySeq(workspace: Workspace, tip: NamespaceState, seq: number): Promise<LedgerCommit> {
  const { ns } = tip;
  if (seq > tip.ledger.seq) {
    const said = `'${ns}' has no transaction ${seq}: its newest is ${tip.ledger.seq}`;
    throw new KvError(
      "INPUT_INVALID",
      said,
      mayBeBehind(workspace) ? { hint: "'git kv fetch' brings newer ones" } : {},
    );
  }
  if (seq < 1) throw new KvError("NS_NOT_FOUND", `'${ns}' has no transaction ${seq}: its first is 1`, { hint: BEFORE });
  const found = await withLookup(workspace, tip, (lookup) => lookup.at(seq));
  if (found !== undefined) return found;
  // Loaded here: most ledgers are of one epoch.
  const { epochWithSeq } = await import("./epochs.ts");
  await epochWithSeq(workspace, tip, seq);
  return (await withLookup(workspace, tip, (lookup) => lookup.at(seq))) ?? notHere(ns, `transaction ${seq}`);
}

/** Whether there may be newer transactions than those that are known: a ledger that is decided here has none, and what is read without a clone was just asked for. */
const mayBeBehind = ({ copy, hasStargate, followsMirror }: Workspace): boolean =>
  copy === undefined && (hasStargate || followsMirror);

async function byTxn(workspace: Workspace, tip: NamespaceState, txn: string): Promise<LedgerCommit> {
  const find = () => withLookup(workspace, tip, (lookup) => lookup.named(txn));
  const found = await find();
  if (found !== undefined) return found;
  if (await bringArchives(workspace, tip, () => false)) {
    const old = await find();
    if (old !== undefined) return old;
  }
  // As many digits of an id look like one.
  if (ABBREVIATED.test(txn)) return abbreviated(workspace, tip, txn.toLowerCase());
  throw new KvError("INPUT_INVALID", `'${tip.ns}' has no transaction ${txn}`);
}

async function byTime(workspace: Workspace, tip: NamespaceState, time: number): Promise<LedgerCommit> {
  const find = () => withLookup(workspace, tip, (lookup) => lookup.newestAt(time));
  const found = await find();
  if (found !== undefined) return found;
  if (await bringArchives(workspace, tip, (first) => madeAt(first) <= time)) {
    const old = await find();
    if (old !== undefined) return old;
  }
  const first = await withLookup(workspace, tip, (lookup) => lookup.at(lookup.first));
  const from = first === undefined ? "" : `: transaction ${first.seq} is of ${formatTime(madeAt(first))}`;
  throw new KvError("NS_NOT_FOUND", `'${tip.ns}' has no transaction as old as ${formatTime(time)}${from}`, {
    hint: BEFORE,
  });
}

const BEFORE = "nothing was there before the first transaction";

async function commitAt(workspace: Workspace, tip: NamespaceState, id: string, name = id): Promise<LedgerCommit> {
  const { objects, format } = workspace.repo;
  if (!isOid(format, id)) return abbreviated(workspace, tip, id);
  if (id === tip.ledger.oid) return tip.ledger;
  if (!objects.has(id)) {
    const { bringCommit } = await import("./epochs.ts");
    if (!(await bringCommit(workspace, tip, id))) throw new KvError("INPUT_INVALID", `there is no commit ${id} here`);
  }
  const commit = ledgerCommit(workspace, id);
  if (commit === undefined || commit.ns !== tip.ns) throw notOfLedger(tip.ns, name);
  if (await withLookup(workspace, tip, (lookup) => lookup.contains(commit))) return commit;
  throw notOfLedger(tip.ns, name);
}

/** The one ledger commit of the namespace whose id begins with `prefix`. */
async function abbreviated(workspace: Workspace, tip: NamespaceState, prefix: string): Promise<LedgerCommit> {
  const alike = (): LedgerCommit[] => {
    const ids = workspace.repo.objects.resolvePrefix(prefix, MOST_ALIKE);
    return ids.flatMap((oid) => ledgerCommit(workspace, oid) ?? []).filter(({ ns }) => ns === tip.ns);
  };
  let commits = alike();
  if (commits.length === 0 && (await bringArchives(workspace, tip, () => alike().length > 0))) commits = alike();
  const [commit, second] = commits;
  if (second !== undefined) {
    throw new KvError("INPUT_INVALID", `'${prefix}' is how ${commits.length} commits begin`, {
      hint: "give more digits",
    });
  }
  if (commit === undefined) throw notOfLedger(tip.ns, prefix);
  return commitAt(workspace, tip, commit.oid);
}

/** Objects whose ids begin alike that are looked at. */
const MOST_ALIKE = 100;

function ledgerCommit({ repo }: Workspace, oid: Oid): LedgerCommit | undefined {
  const object = repo.objects.read(oid);
  if (object?.kind !== "commit") return undefined;
  try {
    return parseLedgerCommit(repo.format, oid, object.data);
  } catch (error) {
    if (error instanceof KvError) return undefined;
    throw error;
  }
}

function notOfLedger(ns: string, id: string): KvError {
  return new KvError("INPUT_INVALID", `'${id}' is no commit of the ledger of '${ns}'`, {
    hint: "'git kv log' lists them",
  });
}

function notHere(ns: string, what: string): never {
  throw new KvError("NS_NOT_FOUND", `${what} of '${ns}' is not here`, { hint: "fetch more of its history" });
}

/** Brings archives here until one's first commit is `enough`, or all of them. False where there are none. */
async function bringArchives(
  workspace: Workspace,
  tip: NamespaceState,
  enough: (first: LedgerCommit) => boolean,
): Promise<boolean> {
  const { epochsBack } = await import("./epochs.ts");
  let count = 0;
  for await (const { first } of epochsBack(workspace, tip)) {
    count++;
    if (enough(first)) break;
  }
  return count > 1;
}

async function withLookup<T>(
  workspace: Workspace,
  tip: NamespaceState,
  use: (lookup: LedgerLookup) => Promise<T>,
): Promise<T> {
  const lookup = await lookupIn(workspace, tip);
  try {
    return await use(lookup);
  } finally {
    lookup.close();
  }
}
