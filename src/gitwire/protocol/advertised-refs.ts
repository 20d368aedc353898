/**
 * The refs that a server of protocol v0 or v1 has advertised: all it has, a million on some hosts, of which few are looked for. They
 * are kept as the bytes of their lines, about 60 each, where an object with two strings takes 300; an object is made when one is met.
 */

import type { Oid } from "../object/oid.ts";
import type { RemoteRef } from "./ref-advertisement.ts";

/** Lines are kept in pieces of at least the first size, each twice as long as the one before, up to the second. */
const FIRST_PIECE = 4 * 1024;
const MOST_PIECE = 256 * 1024;

interface Piece {
  readonly bytes: Buffer;
  end: number;
}

export class AdvertisedRefs implements Iterable<RemoteRef> {
  /** Whole lines: `oid SP name LF`, behind a tag `oid SP LF` with what it leads to. */
  readonly #pieces: Piece[] = [];
  readonly #symrefs = new Map<string, string>();
  /** How many there are. */
  length = 0;
  /** Name of the ref that was added last. */
  last: string | undefined;

  add(name: string, oid: Oid): void {
    this.#write(`${oid} ${name}\n`);
    this.last = name;
    this.length++;
  }

  /** What the ref added last leads to, a tag. */
  addPeeled(oid: Oid): void {
    this.#write(`${oid} \n`);
  }

  /** Says of the ref `name`, if there is one, that it stands for `target`. */
  setSymref(name: string, target: string): void {
    this.#symrefs.set(name, target);
  }

  *[Symbol.iterator](): Generator<RemoteRef> {
    let ref: { name: string; oid: Oid; peeled?: Oid; symref?: string } | undefined;
    for (const { bytes, end } of this.#pieces) {
      for (let at = 0; at < end; ) {
        const space = bytes.indexOf(0x20, at);
        const lineEnd = bytes.indexOf(0x0a, space);
        const oid = bytes.latin1Slice(at, space);
        if (lineEnd === space + 1) ref!.peeled = oid;
        else {
          if (ref !== undefined) yield ref;
          ref = { name: bytes.utf8Slice(space + 1, lineEnd), oid };
          const symref = this.#symrefs.get(ref.name);
          if (symref !== undefined) ref.symref = symref;
        }
        at = lineEnd + 1;
      }
    }
    if (ref !== undefined) yield ref;
  }

  find(name: string): RemoteRef | undefined {
    for (const ref of this) if (ref.name === name) return ref;
    return undefined;
  }

  #write(line: string): void {
    const length = Buffer.byteLength(line);
    let piece = this.#pieces.at(-1);
    if (piece === undefined || piece.end + length > piece.bytes.length) {
      const size = piece === undefined ? FIRST_PIECE : Math.min(MOST_PIECE, piece.bytes.length * 2);
      piece = { bytes: Buffer.allocUnsafeSlow(Math.max(size, length)), end: 0 };
      this.#pieces.push(piece);
    }
    piece.end += piece.bytes.write(line, piece.end);
  }
}
