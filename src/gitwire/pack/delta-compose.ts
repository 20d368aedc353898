/**
 * Makes one delta of two: from a base to an object by way of a third, without any of the three being there. The copies of the
 * second are looked up in what the first makes: bytes that it copied are copied from its base, bytes that it inserted are
 * inserted.
 */

import { KvError } from "../../errors.ts";
import { DeltaBuilder, deltaSizes, readInstructions } from "./delta.ts";

/**
 * The delta that makes of the base of `first` what `second` makes of its result. Throws BAD_OBJECT where one is damaged or they
 * do not fit each other.
 */
export function composeDeltas(first: Buffer, second: Buffer): Buffer {
  const { baseSize, targetSize: middleSize } = deltaSizes(first);
  const { baseSize: expected, targetSize } = deltaSizes(second);
  if (middleSize !== expected) throw bad(`the second is made for ${expected} bytes, the first makes ${middleSize}`);
  const middle = new Segments(first, baseSize, middleSize);
  const builder = new DeltaBuilder();
  let made = 0;
  readInstructions(second, {
    copy(offset, size) {
      if (offset + size > middleSize) throw bad("a copy reaches past its base");
      middle.report(offset, size, builder);
      made += size;
    },
    insert(at, size) {
      builder.insert(second, at, at + size);
      made += size;
    },
  });
  if (made !== targetSize) throw bad(`it makes ${made} bytes and declares ${targetSize}`);
  return builder.finish(baseSize, targetSize);
}

/** What a delta makes, piece by piece. */
class Segments {
  readonly #delta: Buffer;
  /** Where each piece starts in the result; one more at the end. */
  readonly #starts: number[] = [0];
  /** Where it is copied from in the base; or, as -1 - place, where it stands in the delta. */
  readonly #sources: number[] = [];

  constructor(delta: Buffer, baseSize: number, size: number) {
    this.#delta = delta;
    let filled = 0;
    const add = (source: number, length: number): void => {
      this.#sources.push(source);
      filled += length;
      this.#starts.push(filled);
    };
    readInstructions(delta, {
      copy(offset, length) {
        if (offset + length > baseSize) throw bad("a copy reaches past its base");
        add(offset, length);
      },
      insert: (at, length) => add(-1 - at, length),
    });
    if (filled !== size) throw bad(`it makes ${filled} bytes and declares ${size}`);
  }

  /** Reports bytes `[offset, offset + size)` of the result to `builder`. */
  report(offset: number, size: number, builder: DeltaBuilder): void {
    const end = offset + size;
    let piece = this.#at(offset);
    for (let at = offset; at < end; piece++) {
      const next = Math.min(end, this.#starts[piece + 1]!);
      const source = this.#sources[piece]!;
      const skip = at - this.#starts[piece]!;
      if (source >= 0) builder.copy(source + skip, next - at);
      else builder.insert(this.#delta, -1 - source + skip, -1 - source + skip + next - at);
      at = next;
    }
  }

  /** The piece that holds byte `offset`. */
  #at(offset: number): number {
    let low = 0;
    let high = this.#sources.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

function bad(reason: string): KvError {
  return new KvError("BAD_OBJECT", `two deltas do not fit: ${reason}`);
}
