/**
 * The state of a namespace some transactions back, as one push to the mirror: where all that waits is more than a host takes at
 * once, it goes in parts, and each part is a state the ledger really had, with its own kv-index, pieces and watermark.
 */

import { commitLinks, parseCommit } from "../../gitwire/object/commit.ts";
import { type ObjectSource, readAs } from "../../gitwire/object/object.ts";
import type { Oid } from "../../gitwire/object/oid.ts";
import type { PushCommand } from "../../gitwire/protocol/receive-commands.ts";
import { chunkRef, classifyRef } from "../../kv/namespace.ts";
import { OidList } from "../../kv/oid-list.ts";
import { stateAt } from "../../kv/state.ts";
import type { LanePlan } from "./mirror-plan.ts";

export class PendingLedger {
  readonly #objects: ObjectSource;
  readonly #lane: LanePlan;
  /** Ledger commits the mirror lacks, and as many kv-index commits, the newest first. */
  readonly #ledger: OidList;
  readonly #index: OidList;
  /** Of the current epoch. */
  readonly #chunkRef: string;

  constructor(objects: ObjectSource, lane: LanePlan) {
    this.#objects = objects;
    this.#lane = lane;
    this.#ledger = this.#chain(`refs/kv/${lane.ns}`);
    this.#index = this.#chain(`refs/kv-index/${lane.ns}`);
    this.#chunkRef = lane.ns === "" ? "" : chunkRef(lane.ns, stateAt(objects, lane.tip).ledger.epoch);
  }

  /** Transactions the mirror lacks. One that cannot be split counts as none: a policy, or a kv-index that is out of step. */
  get length(): number {
    return this.#ledger.length === this.#index.length ? this.#ledger.length : 0;
  }

  /** The push of the oldest `count` transactions of these, fewer than all. */
  first(count: number): LanePlan {
    const at = this.#ledger.length - count;
    const [ledger, index] = [this.#ledger.at(at)!, this.#index.at(at)!];
    const txns = new Set<string>();
    for (let i = at; i < this.#ledger.length; i++) txns.add(this.#txn(this.#ledger.at(i)!));
    const commands = this.#lane.commands.flatMap((command): PushCommand[] => {
      const newOid = this.#valueThen(command, { ledger, index, txns });
      return newOid === undefined ? [] : [{ ...command, newOid }];
    });
    return { ns: this.#lane.ns, commands, tip: ledger };
  }

  /** What a ref is at when the transactions `txns` are in; undefined where it has not moved by then. */
  #valueThen(
    { ref, oldOid, newOid }: PushCommand,
    { ledger, index, txns }: { ledger: Oid; index: Oid; txns: ReadonlySet<string> },
  ): Oid | undefined {
    switch (classifyRef(ref)?.kind) {
      case "index":
        return index;
      case "chunks":
        // Those of a closed epoch go with the first part, as its archive does.
        if (ref !== this.#chunkRef) return newOid;
        for (let at: Oid | undefined = newOid; at !== undefined && at !== oldOid; at = this.#parent(at)) {
          if (txns.has(this.#txn(at))) return at;
        }
        return undefined;
      case "ledger":
      case "mirror":
      case undefined:
        return ledger;
      default:
        // Where an epoch has begun, the mirror must never be without what was before it: its archive comes with the first part.
        return newOid;
    }
  }

  #chain(ref: string): OidList {
    const chain = new OidList(this.#objects.format);
    const move = this.#lane.commands.find((command) => command.ref === ref);
    if (move === undefined) return chain;
    for (let at: Oid | undefined = move.newOid; at !== undefined && at !== move.oldOid; at = this.#parent(at))
      chain.push(at);
    return chain;
  }

  #parent(oid: Oid): Oid | undefined {
    return commitLinks(this.#objects.format, readAs(this.#objects, oid, "commit")).parents[0];
  }

  #txn(oid: Oid): string {
    const { message } = parseCommit(this.#objects.format, readAs(this.#objects, oid, "commit"));
    return /^KV-Txn: (\S+)$/m.exec(message)?.[1] ?? oid;
  }
}
