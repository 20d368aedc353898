/**
 * The refs of a repository as they were at one moment. The packed ones stay where they are, in the packed-refs file; held are
 * only those that have a file of their own. They are walked with a cursor, which makes nothing of a ref but offsets: an
 * advertisement of a million refs copies bytes.
 */

import type { ObjectFormat, Oid } from "../object/oid.ts";
import type { PackedCursor } from "./packed-cursor.ts";
import type { PackedRefs } from "./packed-refs.ts";
import { compareRefNames, isPerWorktree, isValidRefName } from "./ref-name.ts";

/** A ref that resolves to an object. `symref` is the ref at the end of the chain of a symbolic one. */
export interface Ref {
  readonly name: string;
  readonly oid: Oid;
  readonly symref?: string;
}

/** A ref with a file of its own; `oid` is undefined where it leads nowhere or is damaged, which hides a packed one. */
export interface LooseRef {
  readonly oid: Oid | undefined;
  readonly symref: string | undefined;
}

/** What a snapshot is made of. */
export interface SnapshotParts {
  readonly format: ObjectFormat;
  readonly packed: PackedRefs;
  readonly loose: ReadonlyMap<string, LooseRef>;
  /** Names begin with one of these; sorted, none begins with another, all begin with "refs/". */
  readonly prefixes: readonly string[];
  /** What an annotated tag leads to, from the objects. */
  peelTag(oid: Oid): Oid | undefined;
}

function refOf(name: string, { oid, symref }: LooseRef): Ref | undefined {
  if (oid === undefined) return undefined;
  return symref === undefined ? { name, oid } : { name, oid, symref };
}

export class RefSnapshot {
  readonly #parts: SnapshotParts;
  #sortedLoose: readonly string[] | undefined;

  constructor(parts: SnapshotParts) {
    this.#parts = parts;
  }

  /** The ref called `name`, or undefined. Throws CORRUPT. */
  find(name: string): Ref | undefined {
    const { loose, packed, format, prefixes } = this.#parts;
    if (!prefixes.some((prefix) => name.startsWith(prefix))) return undefined;
    const own = loose.get(name);
    if (own !== undefined) return refOf(name, own);
    if (!isValidRefName(name) || isPerWorktree(name)) return undefined;
    const oid = packed.find(name)?.oid;
    return oid === undefined || oid === format.zeroOid ? undefined : { name, oid };
  }

  /** What the annotated tag at `ref` leads to in the end; undefined where the ref is no annotated tag. */
  peel(ref: Ref): Oid | undefined {
    const entry = isPerWorktree(ref.name) ? undefined : this.#parts.packed.find(ref.symref ?? ref.name);
    if (entry?.peelKnown === true && entry.oid === ref.oid) return entry.peeled;
    return this.#parts.peelTag(ref.oid);
  }

  /** All refs, in byte order. */
  *refs(): Generator<Ref> {
    for (const cursor = this.cursor(); cursor.next(); ) yield cursor.ref();
  }

  /** A walk over the refs in byte order. */
  cursor(options: CursorOptions = {}): RefCursor {
    this.#sortedLoose ??= [...this.#parts.loose.keys()].sort(compareRefNames);
    return new RefCursor(this, this.#parts, this.#sortedLoose, options);
  }
}

/** What a walk over the refs shows. */
export interface CursorOptions {
  /** Annotated tags are peeled. */
  readonly peel?: boolean;
  /** True for refs that are passed over. */
  readonly hides?: ((name: string) => boolean) | undefined;
}

/** Goes over the refs of a snapshot. The bytes it shows are those of the packed-refs file wherever they can be. */
export class RefCursor {
  /** Holds `oid SP name` of the ref, from `start` to `end`; the name is from `nameStart` on. */
  bytes: Buffer = Buffer.alloc(0);
  start = 0;
  nameStart = 0;
  end = 0;
  /** Offset in `bytes` of what an annotated tag leads to; -1 for what is none, or where tags are not peeled. */
  peeledStart = -1;
  /** The direct target of a symbolic ref. */
  symref: string | undefined;
  readonly #snapshot: RefSnapshot;
  readonly #parts: SnapshotParts;
  readonly #loose: readonly string[];
  readonly #peel: boolean;
  readonly #hides: ((name: string) => boolean) | undefined;
  #nextLoose = 0;
  #looseName: Buffer | undefined;
  #range = 0;
  #packed: PackedCursor | undefined;
  /** Whether the packed cursor stands at a ref that has not been shown. */
  #hasPacked = false;
  readonly #zero: Buffer;

  constructor(snapshot: RefSnapshot, parts: SnapshotParts, loose: readonly string[], options: CursorOptions) {
    this.#snapshot = snapshot;
    this.#parts = parts;
    this.#loose = loose;
    this.#peel = options.peel === true;
    this.#hides = options.hides;
    this.#zero = Buffer.from(parts.format.zeroOid);
    this.#setLoose(0);
  }

  /** Goes to the next ref; false after the last. Throws CORRUPT. */
  next(): boolean {
    while (this.#step()) if (this.#hides?.(this.name) !== true) return true;
    return false;
  }

  #step(): boolean {
    for (;;) {
      if (!this.#hasPacked) this.#hasPacked = this.#nextPacked();
      if (this.#looseName === undefined) return this.#hasPacked && this.#showPacked();
      const order = this.#hasPacked ? this.#compare(this.#packed!, this.#looseName) : 1;
      if (order < 0) return this.#showPacked();
      if (order === 0) this.#hasPacked = false;
      const name = this.#loose[this.#nextLoose]!;
      this.#setLoose(this.#nextLoose + 1);
      const ref = refOf(name, this.#parts.loose.get(name)!);
      if (ref === undefined) continue;
      this.#showText(ref);
      return true;
    }
  }

  get name(): string {
    return this.bytes.utf8Slice(this.nameStart, this.end);
  }

  get oid(): Oid {
    return this.bytes.latin1Slice(this.start, this.nameStart - 1);
  }

  /** What an annotated tag leads to, where the cursor peels. */
  get peeled(): Oid | undefined {
    const { peeledStart, bytes } = this;
    return peeledStart < 0 ? undefined : bytes.latin1Slice(peeledStart, peeledStart + this.#parts.format.hexSize);
  }

  /** The ref as an object. */
  ref(): Ref {
    const { name, oid, symref } = this;
    return symref === undefined ? { name, oid } : { name, oid, symref };
  }

  #setLoose(index: number): void {
    const name = this.#loose[index];
    this.#nextLoose = index;
    this.#looseName = name === undefined ? undefined : Buffer.from(name);
  }

  /** Takes the packed cursor to the next ref of any range. Refs that lead to nothing are passed over. */
  #nextPacked(): boolean {
    for (;;) {
      if (this.#packed === undefined) {
        const prefix = this.#parts.prefixes[this.#range++];
        if (prefix === undefined) return false;
        this.#packed = this.#parts.packed.cursor(prefix);
      }
      while (this.#packed.next()) if (!this.#leadsNowhere(this.#packed)) return true;
      this.#packed = undefined;
    }
  }

  #leadsNowhere({ body, start }: PackedCursor): boolean {
    return body[start] === 48 && body.compare(this.#zero, 0, this.#zero.length, start, start + this.#zero.length) === 0;
  }

  #compare({ body, nameStart, end }: PackedCursor, name: Buffer): number {
    return body.compare(name, 0, name.length, nameStart, end);
  }

  #showPacked(): true {
    const packed = this.#packed!;
    this.#hasPacked = false;
    const isKnown = !this.#peel || packed.peeledStart >= 0 || this.#parts.packed.isFullyPeeled;
    if (!isKnown || !packed.isPlain) {
      const oid = packed.body.latin1Slice(packed.start, packed.nameStart - 1).toLowerCase();
      this.#showText({ name: packed.name, oid });
      return true;
    }
    this.bytes = packed.body;
    this.start = packed.start;
    this.nameStart = packed.nameStart;
    this.end = packed.end;
    this.peeledStart = this.#peel ? packed.peeledStart : -1;
    this.symref = undefined;
    return true;
  }

  /** Shows a ref that no line of the packed-refs file says all of. */
  #showText(ref: Ref): void {
    const line = `${ref.oid} ${ref.name}`;
    const peeled = this.#peel ? this.#snapshot.peel(ref) : undefined;
    this.bytes = Buffer.from(peeled === undefined ? line : `${line}\n${peeled}`);
    this.start = 0;
    this.nameStart = ref.oid.length + 1;
    this.end = this.bytes.length - (peeled === undefined ? 0 : peeled.length + 1);
    this.peeledStart = peeled === undefined ? -1 : this.end + 1;
    this.symref = ref.symref;
  }
}
