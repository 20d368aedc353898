/**
 * Connectivity: a ref may only point at an object from which everything can be reached (git: `rev-list --objects --not --all`
 * in receive-pack). Only the objects that came with the push are walked: what was here before is complete, because
 * everything enters the repository through this check.
 */

import { TimeSlice } from "../../time-slice.ts";
import type { ObjectSource } from "../object/object.ts";
import type { ObjectKind, Oid } from "../object/oid.ts";
import { OidTable } from "../object/oid-table.ts";
import { visitLinks } from "./object-links.ts";

/** What the check needs to know of a repository with a push in quarantine. */
export interface ConnectivityView {
  /** The quarantine first, then the repository. */
  readonly objects: ObjectSource;
  /** Kind of the object where it is in the quarantine, undefined where it is not. */
  newKind(oid: Oid): ObjectKind | undefined;
  /** Kind of the object where the repository had it before, undefined where it had not. */
  oldKind(oid: Oid): ObjectKind | undefined;
}

/** Why a tip is not connected. */
export interface Disconnection {
  readonly oid: Oid;
  /** What the links say the object is; undefined for the tip itself. */
  readonly expected: ObjectKind | undefined;
  /** What it is; undefined where it is missing. */
  readonly found: ObjectKind | undefined;
}

const KINDS: readonly (ObjectKind | undefined)[] = [undefined, "commit", "tree", "blob", "tag"];
const KIND_NUMBER = { commit: 1, tree: 2, blob: 3, tag: 4 } as const;

/**
 * The first thing found that keeps `tips` from being complete, or undefined where they are. Every link's kind is checked
 * too. Throws BAD_OBJECT where a new object is malformed.
 */
export async function findDisconnection(
  view: ConnectivityView,
  tips: readonly Oid[],
): Promise<Disconnection | undefined> {
  const { format } = view.objects;
  const seen = new OidTable(format);
  // One number a pending object: its number in `seen` times eight, plus the kind its links say it has.
  const pending: number[] = [];
  const slice = new TimeSlice();
  for (const tip of tips) {
    const before = seen.size;
    if (seen.add(tip) === before) pending.push(before * 8);
  }
  const visit = (kind: ObjectKind, bytes: Buffer, at: number): void => {
    const before = seen.size;
    if (seen.addRaw(bytes, at) === before) pending.push(before * 8 + KIND_NUMBER[kind]);
  };
  for (let item = pending.pop(); item !== undefined; item = pending.pop()) {
    const oid = seen.oid(Math.floor(item / 8));
    const expected = KINDS[item % 8];
    const newKind = view.newKind(oid);
    const found = newKind ?? view.oldKind(oid);
    if (found === undefined || (expected !== undefined && found !== expected)) return { oid, expected, found };
    // A blob leads nowhere: that it is here is all there is to know.
    if (newKind !== undefined && newKind !== "blob") {
      const object = view.objects.read(oid);
      if (object === undefined) return { oid, expected, found: undefined };
      visitLinks(format, object, visit);
    }
    if (slice.isOver()) await slice.pause();
  }
  return undefined;
}

/** One line about a disconnection, for a log or the progress text. */
export function describeDisconnection({ oid, expected, found }: Disconnection): string {
  if (found === undefined) return `missing ${expected ?? "object"} ${oid}`;
  return `${oid} is a ${found}, not a ${expected}`;
}
