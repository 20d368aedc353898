/** The refs that the other side may see, at one moment: walked, found by name, asked for by value; never all held. */

import type { Oid } from "../object/oid.ts";
import type { RefCursor, RefSnapshot } from "../refs/ref-snapshot.ts";
import type { RemoteRef } from "./ref-advertisement.ts";

export class VisibleRefs {
  /** HEAD, where it leads to a commit and may be seen. */
  readonly head: RemoteRef | undefined;
  readonly #snapshot: RefSnapshot;
  readonly #hides: ((name: string) => boolean) | undefined;

  /** The refs of `snapshot` but for those that `hides` is true of. */
  constructor(snapshot: RefSnapshot, head: RemoteRef | undefined, hides: ((name: string) => boolean) | undefined) {
    this.head = head;
    this.#snapshot = snapshot;
    this.#hides = hides;
  }

  /** A walk over the refs below refs/, in byte order; with `peel` it tells what annotated tags lead to. */
  cursor(peel: boolean): RefCursor {
    return this.#snapshot.cursor({ peel, hides: this.#hides });
  }

  /** HEAD, then the refs in byte order, annotated tags peeled. */
  *[Symbol.iterator](): Generator<RemoteRef> {
    if (this.head !== undefined) yield this.head;
    for (const cursor = this.cursor(true); cursor.next(); ) {
      const { peeled } = cursor;
      yield peeled === undefined ? cursor.ref() : { ...cursor.ref(), peeled };
    }
  }

  /** HEAD or the ref called `name`, not peeled; undefined where there is none to be seen. */
  find(name: string): RemoteRef | undefined {
    if (name === "HEAD") return this.head;
    return this.#hides?.(name) === true ? undefined : this.#snapshot.find(name);
  }

  /** The annotated tags among the refs. */
  *tags(): Generator<{ readonly oid: Oid; readonly peeled: Oid }> {
    for (const cursor = this.cursor(true); cursor.next(); ) {
      const { peeled } = cursor;
      if (peeled !== undefined) yield { oid: cursor.oid, peeled };
    }
  }

  /** Those of `oids` that are not the value of any of the refs. */
  withoutTips(oids: readonly Oid[]): Oid[] {
    const left = new Set(oids);
    if (this.head !== undefined) left.delete(this.head.oid);
    const beginnings = new Set([...left].map((oid) => beginning(Buffer.from(oid, "latin1"), 0)));
    for (const cursor = this.cursor(false); left.size > 0 && cursor.next(); ) {
      if (beginnings.has(beginning(cursor.bytes, cursor.start))) left.delete(cursor.oid);
    }
    return [...left];
  }
}

/** A number of the first four digits of an object id. */
function beginning(bytes: Buffer, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}
