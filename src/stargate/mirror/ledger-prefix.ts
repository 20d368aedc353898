/**
 * The state of a namespace some transactions back, as one push to the mirror: where all that waits is more than a host takes at
 * once, it goes in parts, and each part is a state the ledger really had, with its own kv-index, pieces and watermark.
 */

import { commitLinks, parseCommit } from "../../gitwire/object/commit.ts";
import { type ObjectSource, readAs } from "../../gitwire/object/object.ts";
import type { Oid } from "../../gitwire/object/oid.ts";
import type { PushCommand } from "../../gitwire/protocol/receive-commands.ts";
import { commitBefore } from "../../kv/ledger-line.ts";
import { classifyRef, indexArchiveRef } from "../../kv/namespace.ts";
import { OidList } from "../../kv/oid-list.ts";
import { stateAt } from "../../kv/state.ts";
import type { LanePlan } from "./mirror-plan.ts";

/** The part of an epoch that waits. */
interface Stretch {
  readonly label: string;
  /** Place of its newest transaction among those that wait. */
  readonly begin: number;
}

export class PendingLedger {
  readonly #objects: ObjectSource;
  readonly #lane: LanePlan;
  /** Ledger commits the mirror lacks, and as many kv-index commits, the newest first; over the starts of epochs. */
  readonly #ledger: OidList;
  readonly #index: OidList;
  /** The newest first. */
  readonly #epochs: Stretch[] = [];

  constructor(objects: ObjectSource, lane: LanePlan) {
    this.#objects = objects;
    this.#lane = lane;
    this.#ledger = new OidList(objects.format);
    this.#index = new OidList(objects.format);
    const [ledger, index] = [this.#move(`refs/kv/${lane.ns}`), this.#move(`refs/kv-index/${lane.ns}`)];
    if (ledger !== undefined) this.#followLedger(ledger);
    if (index !== undefined) this.#followIndex(index);
  }

  /** Transactions the mirror lacks. One that cannot be split counts as none: a policy, or a kv-index that is out of step. */
  get length(): number {
    return this.#ledger.length === this.#index.length ? this.#ledger.length : 0;
  }

  /** The push of the oldest `count` transactions of these, fewer than all. */
  first(count: number): LanePlan {
    const at = this.#ledger.length - count;
    const txns = new Set<string>();
    for (let i = at; i < this.#ledger.length; i++) txns.add(this.#txn(this.#ledger.at(i)!));
    const commands = this.#lane.commands.flatMap((command): PushCommand[] => {
      const newOid = this.#valueThen(command, at, txns);
      return newOid === undefined ? [] : [{ ...command, newOid }];
    });
    return { ns: this.#lane.ns, commands, tip: this.#ledger.at(at)! };
  }

  /** What a ref is at after the transaction at `at`; `txns` are it and those before. Undefined where it has not moved by then. */
  #valueThen({ ref, oldOid, newOid }: PushCommand, at: number, txns: ReadonlySet<string>): Oid | undefined {
    const is = classifyRef(ref);
    const epoch = this.#epochs.findLastIndex(({ begin }) => begin <= at);
    switch (is?.kind) {
      case "index":
        return this.#index.at(at);
      case "epoch":
        return epoch === 0 ? newOid : this.#firstOf(epoch);
      case "archive":
      case "index-archive":
        // The mirror must never be without what was before: an archive comes with the first part of the epoch that follows.
        return this.#isClosed(is.epoch, epoch) ? newOid : undefined;
      case "chunks":
        if (is.epoch !== this.#epochs[epoch]!.label) return this.#isClosed(is.epoch, epoch) ? newOid : undefined;
        for (let one: Oid | undefined = newOid; one !== undefined && one !== oldOid; one = this.#parent(one)) {
          if (txns.has(this.#txn(one))) return one;
        }
        return undefined;
      case "ledger":
      case "mirror":
      case undefined:
        return this.#ledger.at(at);
      default:
        return newOid;
    }
  }

  /** Whether an epoch was over when the one at `epoch` had begun. */
  #isClosed(label: string, epoch: number): boolean {
    return !this.#epochs.slice(0, epoch + 1).some((one) => one.label === label);
  }

  /** The first commit of an epoch; undefined where the mirror has it, or it is the namespace's first, which no ref names. */
  #firstOf(epoch: number): Oid | undefined {
    const before = this.#epochs[epoch + 1];
    if (before !== undefined) return this.#ledger.at(before.begin - 1);
    const oldest = this.#ledger.at(-1)!;
    const { closed } = commitBefore(this.#objects.format, oldest, readAs(this.#objects, oldest, "commit"));
    return closed === undefined ? undefined : oldest;
  }

  #followLedger({ newOid, oldOid }: PushCommand): void {
    let label: string | undefined = stateAt(this.#objects, newOid).ledger.epoch;
    for (let at: Oid | undefined = newOid; at !== undefined && at !== oldOid; ) {
      if (label !== undefined) this.#epochs.push({ label, begin: this.#ledger.length });
      this.#ledger.push(at);
      const before = commitBefore(this.#objects.format, at, readAs(this.#objects, at, "commit"));
      label = before.closed?.label;
      at = before.oid;
    }
  }

  #followIndex({ newOid, oldOid }: PushCommand): void {
    for (let at: Oid | undefined = newOid; at !== undefined && at !== oldOid; ) {
      this.#index.push(at);
      const earlier = this.#epochs.find(({ begin }) => begin === this.#index.length);
      at = earlier === undefined ? this.#parent(at) : this.#move(indexArchiveRef(this.#lane.ns, earlier.label))?.newOid;
    }
  }

  #move(ref: string): PushCommand | undefined {
    return this.#lane.commands.find((command) => command.ref === ref);
  }

  #parent(oid: Oid): Oid | undefined {
    return commitLinks(this.#objects.format, readAs(this.#objects, oid, "commit")).parents[0];
  }

  #txn(oid: Oid): string {
    const { message } = parseCommit(this.#objects.format, readAs(this.#objects, oid, "commit"));
    return /^KV-Txn: (\S+)$/m.exec(message)?.[1] ?? oid;
  }
}
