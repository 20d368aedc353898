/**
 * A place in a ledger that moves forward only: given a newer state, it tells every transaction between, each once and in order,
 * however the states come and however often one comes again.
 */

import { KvError } from "../errors.ts";
import { commitLinks } from "../gitwire/object/commit.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { type LedgerCommit, parseLedgerCommit } from "./attestation.ts";
import { OidList } from "./oid-list.ts";
import { type NamespaceState, stateAt } from "./state.ts";

/** A transaction and the state it was built on; undefined for the first one of a namespace. */
export interface Step {
  readonly before: NamespaceState | undefined;
  readonly after: NamespaceState;
}

export class LedgerCursor {
  readonly #objects: ObjectSource;
  #seq: number;
  /** The ledger commit at that sequence; undefined where it is not known yet, or is before the first. */
  #oid: Oid | undefined;

  /** A cursor behind the transaction `seq`; 0 is before the first. */
  constructor(objects: ObjectSource, seq: number, oid?: Oid) {
    this.#objects = objects;
    this.#seq = seq;
    this.#oid = oid;
  }

  get seq(): number {
    return this.#seq;
  }

  /** A cursor at the same place, which moves by itself. */
  copy(): LedgerCursor {
    return new LedgerCursor(this.#objects, this.#seq, this.#oid);
  }

  /** Moves behind the transaction `ledger`, which was told. */
  pass({ seq, oid }: LedgerCommit): void {
    this.#seq = seq;
    this.#oid = oid;
  }

  /**
   * The transactions from the cursor to `tip`, oldest first; the cursor is behind each one when the next is asked for. None where
   * the tip is not newer. Throws NOT_FAST_FORWARD where the tip's ledger does not contain what was told before, and
   * NS_NOT_FOUND where its history is not here.
   */
  *to(tip: NamespaceState): Generator<Step> {
    if (tip.ledger.seq < this.#seq) return;
    const { ledger } = tip;
    const steps = new OidList(this.#objects.format);
    let at: Oid | undefined = ledger.oid;
    for (let left = ledger.seq - this.#seq; left > 0; left--) {
      if (at === undefined) throw this.#outOfReach(tip);
      steps.push(at);
      at = this.#parent(at);
    }
    if (this.#seq > 0 && at === undefined) throw this.#outOfReach(tip);
    if (this.#oid !== undefined && at !== this.#oid) throw this.#foreign(tip);
    this.#oid = at;
    let before = at === undefined ? undefined : stateAt(this.#objects, at);
    for (let i = steps.length - 1; i >= 0; i--) {
      const after = stateAt(this.#objects, steps.at(i)!);
      yield { before, after };
      this.#seq++;
      this.#oid = after.ledger.oid;
      before = after;
    }
  }

  /** The transaction before `oid`, across the start of an epoch too, where that is here. */
  #parent(oid: Oid): Oid | undefined {
    // A shallow clone ends somewhere.
    if (!this.#objects.has(oid)) return undefined;
    const data = readAs(this.#objects, oid, "commit");
    const [parent] = commitLinks(this.#objects.format, data).parents;
    if (parent !== undefined) return parent;
    const earlier = parseLedgerCommit(this.#objects.format, oid, data).parentEpoch?.ledger;
    return earlier !== undefined && this.#objects.has(earlier) ? earlier : undefined;
  }

  #foreign({ ns, ledger }: NamespaceState): KvError {
    return new KvError(
      "NOT_FAST_FORWARD",
      `the ledger of '${ns}' at seq ${ledger.seq} does not contain ${this.#oid}, which was seq ${this.#seq}`,
    );
  }

  #outOfReach({ ns, ledger }: NamespaceState): KvError {
    return new KvError(
      "NS_NOT_FOUND",
      `the ledger of '${ns}' does not reach from seq ${ledger.seq} to ${this.#seq} here`,
      {
        hint: "fetch more of its history, or begin later",
      },
    );
  }
}
