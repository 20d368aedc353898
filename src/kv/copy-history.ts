/**
 * Brings ahead what the revisions of a key need from a remote that is read without a clone. Each revision names the commit before it, so
 * one could be looked for only when the one after it is there: four requests each. But the ledger's commits are here, and they give it away: a
 * transaction of one key is called `set KEY`, and a key that changed in the last transactions may have changed in those before. What
 * is brought so is only believed as the revisions themselves name it, and one that nobody guessed is brought by itself.
 */

import type { LedgerCommit } from "./attestation.ts";
import { keyWorks } from "./copy-keys.ts";
import { Absent } from "./copy-store.ts";
import { type Key, keyText } from "./key.ts";
import { recordOf } from "./key-record.ts";
import type { LedgerLookup } from "./ledger-lookup.ts";
import type { RemoteCopy } from "./remote-copy.ts";
import { stateAt } from "./state.ts";

/** Revisions that are brought together. */
const TOGETHER = 64;
/** Transactions whose names are looked at for them; each costs some 20 us. */
const NAMES = 2_048;
/** Transactions that are brought whole where the last two revisions were {@link CLOSE} or fewer apart. */
const WHOLE = 64;
const CLOSE = 4;
/** Keys that they may have changed all in all. */
const MOST_KEYS = 1_024;

/** What is wanted of each revision. */
export interface Ahead {
  /** Revisions that are going to be asked for. */
  readonly most: number;
  /** Values too, or the manifests of large ones. */
  readonly values: boolean;
}

export class RevisionsAhead {
  readonly #copy: RemoteCopy;
  readonly #lookup: LedgerLookup;
  readonly #key: Key;
  readonly #values: boolean;
  /** Revisions that are going to be asked for after the one that is. */
  #left: number;
  /** KV-Seq of the oldest transaction whose name was looked at. */
  #named = Number.POSITIVE_INFINITY;
  /** KV-Seq of the state that was asked for last. */
  #last: number | undefined;

  constructor(copy: RemoteCopy, lookup: LedgerLookup, key: Key, { most, values }: Ahead) {
    this.#copy = copy;
    this.#lookup = lookup;
    this.#key = key;
    this.#values = values;
    this.#left = most - 1;
  }

  /** The key's record at the transaction `ledger` is going to be read. */
  async before(ledger: LedgerCommit): Promise<void> {
    const gap = (this.#last ?? Number.POSITIVE_INFINITY) - ledger.seq;
    this.#last = ledger.seq;
    this.#left--;
    if (this.#left < 1 || this.#isHere(ledger)) return;
    const named = ledger.seq < this.#named ? await this.#findNamed(ledger) : [];
    if (named.length > 0) await this.#bring([ledger, ...named]);
    else if (gap <= CLOSE) await this.#bringWhole(ledger);
  }

  #isHere({ oid }: LedgerCommit): boolean {
    const { objects } = this.#copy.repo;
    try {
      recordOf(objects, stateAt(objects, oid), this.#key);
      return true;
    } catch (error) {
      if (error instanceof Absent) return false;
      throw error;
    }
  }

  /** The transactions, `ledger` or before, that are called after the key. */
  async #findNamed(ledger: LedgerCommit): Promise<LedgerCommit[]> {
    const text = keyText(this.#key);
    const found: LedgerCommit[] = [];
    const end = Math.max(this.#lookup.first, ledger.seq - NAMES);
    for (let { seq } = ledger; seq >= end && found.length < Math.min(TOGETHER, this.#left); seq--) {
      const at = await this.#lookup.at(seq);
      if (at === undefined || at.epoch !== ledger.epoch) break;
      this.#named = seq;
      const { message } = at.commit;
      const subject = message.slice(0, message.indexOf("\n"));
      if (subject.slice(4) === text || subject.split(" ").includes(text)) found.push(at);
    }
    return found;
  }

  /** Brings the key as it is at the first commit, and as it was before each of the others. */
  async #bring([first, ...later]: readonly LedgerCommit[]): Promise<void> {
    const { objects } = this.#copy.repo;
    const ids = [first!.oid, ...later.flatMap(({ parent }) => parent ?? [])];
    await this.#copy.gather(
      [...new Set(ids)].flatMap((oid) => {
        const state = () => stateAt(objects, oid);
        const record = (): unknown => recordOf(objects, state(), this.#key);
        return this.#values ? [record, ...keyWorks(objects, state, this.#key)] : [record];
      }),
    );
  }

  /** Brings all that the last transactions up to `ledger` made. */
  async #bringWhole(ledger: LedgerCommit): Promise<void> {
    let base: LedgerCommit | undefined;
    let keys = 0;
    for (let { seq } = ledger; seq > ledger.seq - WHOLE; seq--) {
      const at = await this.#lookup.at(seq);
      if (at === undefined || at.epoch !== ledger.epoch) break;
      base = at;
      keys += at.keysSet + at.keysDel;
      if (keys > MOST_KEYS) break;
    }
    if (base === undefined || base.oid === ledger.oid) return;
    await this.#copy.bringChanges(ledger.oid, base.oid);
  }
}
