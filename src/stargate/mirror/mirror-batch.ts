/** One push to the mirror: as much of what waits as goes into a pack of the size that is allowed. */

import type { Oid } from "../../gitwire/object/oid.ts";
import type { PushCommand } from "../../gitwire/protocol/receive-commands.ts";
import type { ObjectStore } from "../../gitwire/store/object-store.ts";
import { PendingLedger } from "./ledger-prefix.ts";
import type { LanePlan } from "./mirror-plan.ts";
import { type PackToSend, packUpTo } from "./pack-source.ts";

export interface Batch {
  /** What is mirrored when this push is done. */
  readonly lanes: readonly LanePlan[];
  readonly commands: readonly PushCommand[];
  readonly pack: PackToSend;
  /** Transactions in it, where it is not all of one lane. */
  readonly part: number | undefined;
  /** Whether it could be made smaller, should the host find it too large. */
  readonly isSplittable: boolean;
}

export interface BatchOptions {
  /** What the mirror has. */
  readonly haves: readonly Oid[];
  readonly thin: boolean;
  /** Bytes of a pack. One transaction that is more goes all the same: it cannot be split, and the host has the say. */
  readonly most: number;
  /** Transactions of the first lane to try first; undefined: all. */
  readonly part: number | undefined;
}

/** Makes the push of `lanes` or, where that is too much, of the first of them or of the oldest transactions of the first. */
export async function makeBatch(
  objects: ObjectStore,
  lanes: readonly LanePlan[],
  { haves, thin, most, part }: BatchOptions,
): Promise<Batch> {
  const pack = (some: readonly LanePlan[], limit: number): Promise<PackToSend | undefined> => {
    const wants = some.flatMap(({ commands }) => commands.map(({ newOid }) => newOid));
    return packUpTo(objects, wants, haves, thin, limit);
  };
  for (let count = lanes.length; count > 1; count = Math.ceil(count / 2)) {
    const some = lanes.slice(0, count);
    const made = await pack(some, most);
    if (made !== undefined) return batchOf(some, made, undefined, true);
  }
  const [lane] = lanes as [LanePlan];
  if (part === undefined) {
    const whole = await pack([lane], most);
    if (whole !== undefined) return batchOf([lane], whole, undefined, lane.ns !== "");
  }
  const pending = new PendingLedger(objects, lane);
  for (let count = Math.min(part ?? pending.length, pending.length); ; count = Math.max(1, Math.floor(count / 2))) {
    const isAll = count === pending.length;
    const some = isAll ? lane : pending.first(count);
    const made = await pack([some], count > 1 ? most : Number.POSITIVE_INFINITY);
    if (made !== undefined) return batchOf([some], made, isAll ? undefined : count, count > 1);
  }
}

function batchOf(lanes: readonly LanePlan[], pack: PackToSend, part: number | undefined, isSplittable: boolean): Batch {
  return { lanes, commands: lanes.flatMap(({ commands }) => commands), pack, part, isSplittable };
}
