/**
 * Small helpers over bytes. Inside this program bytes are `Buffer`s: a Buffer is a Uint8Array with the reads, writes,
 * comparisons and slices that the codecs need, implemented natively.
 *
 * A "byte string" is a JavaScript string in which each UTF-16 unit is one byte (0 to 255). It compares with `<` in byte
 * order, slices cheaply and works as a Map key; `utf8ToByteString("é")` is "\xc3\xa9".
 */

/** The same memory as a Buffer (no copy). */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A Buffer with the UTF-8 bytes of `text`. */
export function utf8(text: string): Buffer {
  return Buffer.from(text, "utf8");
}

/** Whether `text` is ASCII: all else takes more bytes than characters. */
export function isAscii(text: string): boolean {
  return Buffer.byteLength(text) === text.length;
}

/** UTF-8 bytes of `text` as a byte string; ASCII text is returned as it is. */
export function utf8ToByteString(text: string): string {
  return isAscii(text) ? text : Buffer.from(text, "utf8").latin1Slice();
}

let strictUtf8: TextDecoder | undefined;

/** Text of a byte string, or undefined where its bytes are not valid UTF-8. */
export function byteStringToUtf8(bytes: string): string | undefined {
  if (isAscii(bytes)) return bytes;
  return decodeUtf8(Buffer.from(bytes, "latin1"));
}

const BOM = [0xef, 0xbb, 0xbf];

/** `bytes`, the beginning of a file, without the byte order mark that some editors put there. */
export function withoutMark(bytes: Buffer): Buffer {
  return BOM.every((byte, at) => bytes[at] === byte) ? bytes.subarray(BOM.length) : bytes;
}

/** Text of `bytes`, or undefined where they are not valid UTF-8 (a BOM is kept). */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  strictUtf8 ??= new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/**
 * Orders runs of `length` bytes, at most some dozens: for those a loop takes a third of the time of a call into native code, and
 * ids that differ do so in their first bytes.
 */
export function compareRuns(a: Uint8Array, aStart: number, b: Uint8Array, bStart: number, length: number): number {
  for (let i = 0; i < length; i++) {
    const difference = a[aStart + i]! - b[bStart + i]!;
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Orders `<`-comparable values for Array.prototype.sort. */
export function compare<T extends string | number>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
