/**
 * Which keys each transaction of a ledger changed, and from which record to which: what comparing its trees with those before them
 * says, written down (docs/design/257).
 *
 *   file = "KVCHG\0\0" version(1) first(6) last(6) count(6) check(4), then `count` rows, by transaction and key: all of those of
 *          KV-Seq first .. last
 *   row  = seq(6)  key(8)  before(6)  old(20 or 32)  new(20 or 32)  check(4)
 *
 * Numbers are big-endian. `key`: the first bytes of SHA-256(key). `before`: the number, from 1, of the row of the same key before this one;
 * 0: not known. `old` and `new`: the metadata's blobs, zeros where there is none; where both are, it is not known what the transaction
 * changed. `check` is the CRC-32 of what is before it in the row (the header) and, of a row, of its ledger commit's id.
 *
 * It is a cache. A row is believed where its check is that of the commit which the ledger has at that number, so that neither damage, a write
 * cut short nor rows of a ledger that was replaced are. Processes that add the same transactions write the same rows at the same places.
 */

import * as fs from "node:fs";
import { KvError } from "../errors.ts";
import type { ObjectFormat, Oid } from "../gitwire/object/oid.ts";
import { replaceTable } from "./table-file.ts";

/** What a transaction did to a key. */
export interface ChangeRow {
  /** Place of the row, from 1. */
  readonly number: number;
  readonly seq: number;
  /** {@link rowKey} of the key. */
  readonly key: string;
  /** Number of the row of the same key before this one; 0: not known. */
  readonly before: number;
  /** Blobs of the key's metadata before and after; undefined: it was not there. */
  readonly old: Oid | undefined;
  readonly now: Oid | undefined;
}

const MAGIC = Buffer.from("KVCHG\0\0\x01", "latin1");
const HEADER = 30;
const NUMBER = 6;
const KEY = 8;
const CHECK = 4;
/** Where the ids begin in a row. */
const IDS = 2 * NUMBER + KEY;
/** Rows that are read at once. */
const BLOCK = 64;

/** How a row names a key, given the hex digits of its SHA-256. */
export function rowKey(digits: string): string {
  return digits.slice(0, 2 * KEY);
}

/** Bytes of a row. */
export function changeRowSize({ rawSize }: ObjectFormat): number {
  return IDS + 2 * rawSize + CHECK;
}

/** Appends the bytes of a row of the ledger commit `oid` to `rows`. */
export function encodeChangeRow(format: ObjectFormat, row: Omit<ChangeRow, "number">, oid: Oid): Buffer {
  const { rawSize } = format;
  const bytes = Buffer.alloc(changeRowSize(format));
  bytes.writeUIntBE(row.seq, 0, NUMBER);
  bytes.write(row.key, NUMBER, "hex");
  bytes.writeUIntBE(row.before, NUMBER + KEY, NUMBER);
  if (row.old !== undefined) bytes.write(row.old, IDS, "hex");
  if (row.now !== undefined) bytes.write(row.now, IDS + rawSize, "hex");
  bytes.writeUInt32BE(checkOf(format, bytes, oid), bytes.length - CHECK);
  return bytes;
}

function checkOf({ rawSize }: ObjectFormat, row: Buffer, oid: Oid): number {
  const checked = Buffer.allocUnsafe(row.length - CHECK + rawSize);
  row.copy(checked, 0, 0, row.length - CHECK);
  checked.write(oid, row.length - CHECK, "hex");
  return Bun.hash.crc32(checked);
}

export class ChangeTable {
  readonly #file: string;
  readonly #format: ObjectFormat;
  readonly #size: number;
  readonly #oidAt: (seq: number) => Oid | undefined;
  #fd: number | undefined;
  #first = 1;
  #last = 0;
  #count = 0;
  #written = 0;
  #header: Buffer = Buffer.alloc(HEADER);
  /** Rows that were read last, from the row behind {@link #from} on. */
  #block: Buffer | undefined;
  #from = -1;
  /** A row was met that is not of the ledger's commit. */
  #isDamaged = false;

  /** The table in `file`, an empty one where there is none or something else; `oidAt` tells the ledger's commits by their KV-Seq. */
  constructor(file: string, format: ObjectFormat, oidAt: (seq: number) => Oid | undefined) {
    this.#file = file;
    this.#format = format;
    this.#size = changeRowSize(format);
    this.#oidAt = oidAt;
    this.#load();
  }

  #load(): void {
    try {
      this.#fd = fs.openSync(this.#file, "r");
      const header = Buffer.alloc(HEADER);
      fs.readSync(this.#fd, header, 0, HEADER, 0);
      const isOurs = header.subarray(0, MAGIC.length).equals(MAGIC);
      if (!isOurs || header.readUInt32BE(HEADER - CHECK) !== Bun.hash.crc32(header.subarray(0, HEADER - CHECK))) return;
      const [first, last] = [header.readUIntBE(8, NUMBER), header.readUIntBE(14, NUMBER)];
      const count = header.readUIntBE(20, NUMBER);
      if (fs.fstatSync(this.#fd).size < HEADER + count * this.#size) return;
      [this.#first, this.#last, this.#count, this.#written] = [first, last, count, last];
      this.#header = header;
    } catch {
      // There is no such file, or none that can be read: the trees tell.
    }
  }

  /** KV-Seq of the first transaction whose rows are here. */
  get first(): number {
    return this.#first;
  }

  /** KV-Seq of the last one; less than {@link first} where there is none. */
  get last(): number {
    return this.#last;
  }

  /** KV-Seq of the last transaction in the file, believed or not. */
  get written(): number {
    return this.#written;
  }

  /** How many rows there are. */
  get count(): number {
    return this.#count;
  }

  /** The row `number`, from 1; undefined where there is none, or it is not to be believed. */
  row(number: number): ChangeRow | undefined {
    if (number < 1 || number > this.#count) return undefined;
    const bytes = this.#bytes(number);
    const { rawSize } = this.#format;
    const seq = bytes.readUIntBE(0, NUMBER);
    const oid = this.#oidAt(seq);
    if (oid === undefined || checkOf(this.#format, bytes, oid) !== bytes.readUInt32BE(this.#size - CHECK)) {
      this.#isDamaged ||= oid !== undefined || seq < this.#first || seq > this.#last;
      return undefined;
    }
    const id = (from: number): Oid | undefined => {
      const hex = bytes.hexSlice(from, from + rawSize);
      return hex === this.#format.zeroOid ? undefined : hex;
    };
    const key = bytes.hexSlice(NUMBER, NUMBER + KEY);
    const before = bytes.readUIntBE(NUMBER + KEY, NUMBER);
    return { number, seq, key, before, old: id(IDS), now: id(IDS + rawSize) };
  }

  /** What the transaction `seq` did to a key; undefined where that is not known, or nothing. */
  find(seq: number, key: string): ChangeRow | undefined {
    if (seq < this.#first || seq > this.#last) return undefined;
    const row = this.row(this.#lowerBound(seq, key));
    return row?.seq === seq && row.key === key && isChange(row) ? row : undefined;
  }

  /** The rows of the transactions behind `after` up to `to`, in their order; undefined where not all is known, or they are more than `most`. */
  between(after: number, to: number, most: number): ChangeRow[] | undefined {
    if (after + 1 < this.#first || to > this.#last) return undefined;
    const [from, end] = [this.#lowerBound(after + 1, ""), this.#lowerBound(to + 1, "")];
    if (end - from > most) return undefined;
    const rows: ChangeRow[] = [];
    // With the rows on both sides, so that none is missed where something else was written over them.
    let last = Math.max(after, this.#first - 1);
    for (let number = Math.max(from - 1, 1); number <= Math.min(end, this.#count); number++) {
      const row = this.row(number);
      if (row === undefined || row.seq < last || row.seq > last + 1) return undefined;
      last = row.seq;
      if (number < from || number === end) continue;
      if (!isChange(row)) return undefined;
      rows.push(row);
    }
    return last >= to ? rows : undefined;
  }

  /** Number of the first row that is not before the key of the transaction `seq`. */
  #lowerBound(seq: number, key: string): number {
    let [low, high] = [1, this.#count + 1];
    // Most transactions have about as many rows as others, so that the first look is near.
    let middle = 1 + Math.floor(((seq - this.#first) / (this.#last - this.#first + 1)) * this.#count);
    for (let step = BLOCK; low < high; step *= 4) {
      middle = Math.max(low, Math.min(middle, high - 1));
      const bytes = this.#bytes(middle);
      const its = bytes.readUIntBE(0, NUMBER);
      if (its < seq || (its === seq && bytes.hexSlice(NUMBER, NUMBER + KEY) < key)) low = middle + 1;
      else high = middle;
      const half = Math.floor((low + high) / 2);
      middle = low > middle ? Math.min(middle + step, half) : Math.max(middle - step, half);
    }
    return low;
  }

  #bytes(number: number): Buffer {
    const at = number - 1;
    const from = at - (at % BLOCK);
    this.#block ??= Buffer.allocUnsafeSlow(BLOCK * this.#size);
    if (this.#from !== from) {
      this.#from = -1;
      const read = fs.readSync(this.#fd!, this.#block, 0, this.#block.length, HEADER + from * this.#size);
      // What became shorter since is zeros, which no check fits.
      this.#block.fill(0, read);
      this.#from = from;
    }
    return this.#block.subarray((at - from) * this.#size, (at - from + 1) * this.#size);
  }

  /** Leaves out the rows behind those that the ledger agrees with: it was replaced from there on. */
  dropForeign(): void {
    if (this.#count === 0 || this.#agrees(this.#count)) return;
    let [low, high] = [0, this.#count];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#agrees(middle)) low = middle;
      else high = middle - 1;
    }
    // The last transaction of those may have lost some of its rows.
    const last = low === 0 ? 0 : this.#bytes(low).readUIntBE(0, NUMBER) - 1;
    this.#count = last < this.#first ? 0 : this.#lowerBound(last + 1, "") - 1;
    this.#last = this.#count === 0 ? this.#first - 1 : last;
    this.#from = -1;
  }

  #agrees(number: number): boolean {
    const wasDamaged = this.#isDamaged;
    const agrees = this.row(number) !== undefined;
    this.#isDamaged = wasDamaged;
    return agrees;
  }

  /** Adds `rows`, all those of the transactions behind {@link last} up to `last`. Throws the system's errors, and IO where somebody else did. */
  append(rows: Buffer, last: number): void {
    const count = this.#count + rows.length / this.#size;
    const fd = fs.openSync(this.#file, "r+");
    try {
      const found = Buffer.alloc(HEADER);
      fs.readSync(fd, found, 0, HEADER, 0);
      if (!found.equals(this.#header))
        throw new KvError("IO", `${this.#file} was written by another process meanwhile`);
      fs.writeSync(fd, rows, 0, rows.length, HEADER + this.#count * this.#size);
      fs.writeSync(fd, headerOf(this.#first, last, count), 0, HEADER, 0);
    } finally {
      fs.closeSync(fd);
    }
    this.#reload();
  }

  /** Puts `rows` in place of the whole table: all those of the transactions `first` to `last`. Throws the system's errors. */
  replace(rows: Buffer, first: number, last: number): void {
    replaceTable(this.#file, Buffer.concat([headerOf(first, last, rows.length / this.#size), rows]), false);
    this.#reload();
  }

  #reload(): void {
    this.#release();
    [this.#first, this.#last, this.#count, this.#written] = [1, 0, 0, 0];
    this.#header = Buffer.alloc(HEADER);
    this.#load();
  }

  /** Forgets everything, the file too. */
  remove(): void {
    this.#tryToRemove();
    this.#reload();
  }

  /** Removes the file where something in it is damaged: the next who looks back begins another one. */
  close(): void {
    if (this.#isDamaged) this.#tryToRemove();
    this.#isDamaged = false;
    this.#release();
  }

  #tryToRemove(): void {
    try {
      fs.rmSync(this.#file, { force: true });
    } catch {
      // Its other rows are believed after a look, as before.
    }
  }

  #release(): void {
    if (this.#fd !== undefined) fs.closeSync(this.#fd);
    this.#fd = undefined;
    this.#from = -1;
  }
}

/** Whether a row tells a change, and not that nobody knows what its transaction changed. */
const isChange = ({ old, now }: ChangeRow): boolean => old !== now;

function headerOf(first: number, last: number, count: number): Buffer {
  const bytes = Buffer.alloc(HEADER);
  MAGIC.copy(bytes);
  for (const [i, number] of [first, last, count].entries()) bytes.writeUIntBE(number, 8 + i * NUMBER, NUMBER);
  bytes.writeUInt32BE(Bun.hash.crc32(bytes.subarray(0, HEADER - CHECK)), HEADER - CHECK);
  return bytes;
}
