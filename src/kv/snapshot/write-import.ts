/**
 * The second reading of an import: its keys are set in transactions of bounded size, each of them atomic. Where it ends
 * before its end, the transactions before stay; importing the same again writes what is missing and nothing twice.
 */

import { KvError, toKvError } from "../../errors.ts";
import type { Oid } from "../../gitwire/object/oid.ts";
import { collectGarbage } from "../../memory.ts";
import { TimeSlice } from "../../time-slice.ts";
import type { WriteLine } from "../batch.ts";
import { type CommitOptions, commit } from "../commit.ts";
import { MetaHelper, type MetaHelperOptions } from "../meta-helper.ts";
import type { Workspace } from "../workspace.ts";
import type { ImportSummary } from "./check-import.ts";
import { badInput, type ImportEntry, type ImportItems } from "./item.ts";
import { isOnePortion, Portion } from "./portion.ts";

export interface WriteImportOptions {
  /** Keys that are there are left as they are. */
  readonly keep: boolean;
  /** Subject of each commit; its part goes behind it, where there are several. */
  readonly message: string;
  /** Most keys of one transaction. */
  readonly most: number;
  readonly onKeys?: (keys: number) => void;
  /** Throws where the input is another than it was at the first reading: asked before each transaction is made. */
  readonly demandSame?: () => void;
  /** How much is done elsewhere, for tests. */
  readonly threads?: MetaHelperOptions;
}

/** A ledger commit and its KV-Seq. */
export interface LedgerPlace {
  readonly oid: Oid;
  readonly seq: number;
}

/** What came of it. */
export interface ImportOutcome {
  /** The ledger commit it ended at; undefined where nothing was brought. */
  readonly ledger: LedgerPlace | undefined;
  readonly transactions: number;
  /** Keys that were set. */
  readonly set: number;
  /** Keys that were as they are already, or are left as they are. */
  readonly unchanged: number;
}

/** Sets what `items` bring. Throws what {@link commit} throws, with a word on what is done by then. */
export async function writeImport(
  workspace: Workspace,
  items: ImportItems,
  summary: ImportSummary,
  options: WriteImportOptions,
): Promise<ImportOutcome> {
  const { keys, bytes } = summary;
  const entries = new EntryQueue(items);
  const isOne = isOnePortion(summary, options.most);
  const done = { transactions: 0, set: 0, unchanged: 0 };
  let ledger: LedgerPlace | undefined;
  const { repo, hasStargate } = workspace;
  const metas = new MetaHelper({ objects: repo.objects.place, copiesBases: !hasStargate }, options.threads);
  try {
    for (let part = 1; await entries.more(); part++) {
      const message = isOne ? options.message : options.message.replace(/^.*/, (subject) => `${subject}, part ${part}`);
      const before = entries.taken;
      const { set, isNew, ...place } = await importPart(workspace, entries, { message, bytes, metas }, options);
      if (isNew) done.transactions++;
      done.set += set;
      done.unchanged += entries.taken - before - set;
      ledger = place;
      // Caches and indexes of the packs so far, of which the next part needs others.
      workspace.repo.objects.close();
      collectGarbage(entries.taken - before >= 10_000 ? Number.POSITIVE_INFINITY : 0);
    }
  } catch (error) {
    const { signal } = workspace.around;
    // What fails because it is told to end says that.
    const failure = signal.reason instanceof KvError ? signal.reason : toKvError(error);
    throw done.transactions === 0 ? error : broken(failure, done.set + done.unchanged, keys);
  } finally {
    await metas.close();
  }
  return { ledger, ...done };
}

/** Sets the next of the entries in one transaction; hands on little, as its changes are most of what there is in memory. */
async function importPart(
  workspace: Workspace,
  entries: EntryQueue,
  how: CommitOptions,
  options: WriteImportOptions,
): Promise<LedgerPlace & { readonly set: number; readonly isNew: boolean }> {
  const outcome = await commit(workspace, how, async (use) => {
    await feed(entries, options, workspace.around.signal, use);
    options.demandSame?.();
  });
  if (outcome.kind === "committed") {
    return { oid: outcome.ledger, seq: outcome.seq, set: outcome.changes.length, isNew: true };
  }
  const { oid, seq } = outcome.state.ledger;
  return { oid, seq, set: 0, isNew: false };
}

function broken({ code, message, data, cause }: KvError, ready: number, keys: number): KvError {
  return new KvError(code, `${message} (after ${ready} of ${keys} keys were imported)`, {
    hint: "import it again: what is there already is not written twice",
    ...(data !== undefined && { data }),
    cause,
  });
}

async function feed(
  entries: EntryQueue,
  { keep, most, onKeys }: WriteImportOptions,
  signal: AbortSignal,
  use: (line: WriteLine) => void | Promise<void>,
): Promise<void> {
  const slice = new TimeSlice();
  const portion = new Portion(most);
  while (!portion.isFull) {
    const entry = entries.take() ?? ((await entries.more()) ? entries.take() : undefined);
    if (entry === undefined) break;
    const { key, value, options } = entry;
    portion.add(entry);
    const work = use({ op: "set", key, value, options, condition: undefined, keep });
    if (work instanceof Promise) await work;
    if (slice.isOver()) await slice.pause(signal);
    if (portion.keys % 1_000 === 1) onKeys?.(entries.taken);
  }
}

/** The entries one by one. */
class EntryQueue {
  readonly #items: ImportItems;
  #some: ImportEntry[] = [];
  #at = 0;
  taken = 0;

  constructor(items: ImportItems) {
    this.#items = items;
  }

  /** Whether there is another one. The entry before must have been used up. */
  async more(): Promise<boolean> {
    while (this.#at === this.#some.length) {
      const { value, done } = await this.#items.next();
      if (done === true) return false;
      this.#some = value.map((item) => {
        if (item.kind === "bad") throw badInput(`${item.place}: ${item.message}`);
        return item;
      });
      this.#at = 0;
    }
    return true;
  }

  /** The next one that is read already. */
  take(): ImportEntry | undefined {
    const entry = this.#some[this.#at];
    if (entry === undefined) return undefined;
    this.#at++;
    this.taken++;
    return entry;
  }
}
