/**
 * The transactions of one ledger by their sequence number: where each is, its KV-Txn and when it was made. Commits only name what
 * came before them, so without this a number, a date or a KV-Txn is found by walking back from the tip (docs/design/165).
 *
 *   file = "KVTXN\0\0" version(3) first(6) count(6) 0 0 0 0, then `count` rows: those of KV-Seq first, first + 1, ...
 *   row  = object id (20 or 32)  KV-Txn (26)  time(5)  least(5)  check(4)
 *
 * Numbers are big-endian, times in Unix seconds. `least` is the least time of the rows that end with this one, as many as the lowest bit of
 * its number says (the first row is 1): of row 12 of the rows 9 to 12 (a Fenwick tree). So the newest row of a time or before is
 * found in steps that double, whatever the clocks of writers said, and rows are only ever added. `check` is the CRC-32 of what is before it in
 * the row, begun with its KV-Seq: a damaged time would mean another state, and nothing else would show it.
 *
 * It is a cache of what the objects say: whoever asks it looks at the commit it names, and makes it anew where it throws CORRUPT. Rows are
 * on the disk before the count says so, and two processes that add the same rows write the same bytes.
 */

import * as fs from "node:fs";
import { KvError } from "../errors.ts";
import type { ObjectFormat, Oid } from "../gitwire/object/oid.ts";
import { replaceTable } from "./table-file.ts";

/** One transaction. */
export interface TxnRow {
  readonly oid: Oid;
  readonly txn: string;
  /** When the commit says it was made, Unix seconds. */
  readonly time: number;
}

const MAGIC = Buffer.from("KVTXN\0\0\x03", "latin1");
const HEADER = 24;
const TXN = 26;
const NUMBER = 5;
const CHECK = 4;
/** Later than any time that is shown (the year 9999), and what {@link NUMBER} bytes hold. */
const LATEST_TIME = 2 ** 39;
/** Rows that are read at once: neighbours are looked at together. */
const BLOCK = 64;
/** Rows that are searched through at once. */
const SCAN = 16_384;

/** Rows gathered from the newest to the oldest. */
export class RowStack {
  readonly #format: ObjectFormat;
  readonly #size: number;
  readonly #chunks: Buffer[] = [];
  #free = 0;
  length = 0;

  constructor(format: ObjectFormat) {
    this.#format = format;
    this.#size = rowSize(format);
  }

  push({ oid, txn, time }: TxnRow): void {
    if (this.#free === 0) {
      this.#chunks.push(Buffer.alloc(this.#size * 1_024));
      this.#free = 1_024;
    }
    const at = --this.#free * this.#size;
    const chunk = this.#chunks.at(-1)!;
    chunk.write(oid, at, "hex");
    chunk.write(txn, at + this.#format.rawSize, TXN, "latin1");
    chunk.writeUIntBE(Math.min(time, LATEST_TIME), at + this.#format.rawSize + TXN, NUMBER);
    this.length++;
  }

  /** The rows, oldest first; `least` and `check` are still to be filled in. */
  rows(): Buffer {
    const chunks = [...this.#chunks].reverse();
    if (chunks.length > 0) chunks[0] = chunks[0]!.subarray(this.#free * this.#size);
    return Buffer.concat(chunks);
  }
}

function rowSize(format: ObjectFormat): number {
  return format.rawSize + TXN + 2 * NUMBER + CHECK;
}

/** What the last bytes of the row of the transaction `seq` are to be. */
function checkOf(row: Buffer, seq: number): number {
  return Bun.hash.crc32(row.subarray(0, -CHECK), seq % 2 ** 32);
}

/** How many rows the `least` of row `number` is of. */
const reach = (number: number): number => number & -number;

export class TxnTable {
  readonly #file: string;
  readonly #format: ObjectFormat;
  readonly #size: number;
  #fd: number | undefined;
  /** KV-Seq of the first row. */
  #first = 1;
  /** Rows of the file that count. */
  #stored = 0;
  /** Rows behind those, not in the file. */
  #tail: Buffer = Buffer.alloc(0);
  /** Rows of the file that were read last, from the one at {@link #from} on. */
  #block: Buffer | undefined;
  #from = -1;

  private constructor(file: string, format: ObjectFormat) {
    this.#file = file;
    this.#format = format;
    this.#size = rowSize(format);
  }

  /** The table in `file`; an empty one where there is none, or something else. */
  static open(file: string, format: ObjectFormat): TxnTable {
    const table = new TxnTable(file, format);
    table.#load();
    return table;
  }

  /** An empty table that is to replace the one in `file`. */
  static empty(file: string, format: ObjectFormat): TxnTable {
    return new TxnTable(file, format);
  }

  #load(): void {
    try {
      this.#fd = fs.openSync(this.#file, "r");
    } catch {
      return;
    }
    const header = Buffer.alloc(HEADER);
    const read = fs.readSync(this.#fd, header, 0, HEADER, 0);
    if (read < HEADER || !header.subarray(0, MAGIC.length).equals(MAGIC)) return;
    const [first, count] = [header.readUIntBE(8, 6), header.readUIntBE(14, 6)];
    if (first < 1 || fs.fstatSync(this.#fd).size < HEADER + count * this.#size) return;
    this.#first = first;
    this.#stored = count;
  }

  get first(): number {
    return this.#first;
  }

  /** KV-Seq of the last row; one less than {@link first} where there is none. */
  get last(): number {
    return this.#first + this.#stored + this.tail - 1;
  }

  /** Rows that are not in the file. */
  get tail(): number {
    return this.#tail.length / this.#size;
  }

  /** The transaction `seq`; undefined outside of the table. Throws CORRUPT where its row is damaged. */
  row(seq: number): TxnRow | undefined {
    const bytes = this.#bytes(seq);
    if (bytes === undefined) return undefined;
    const { rawSize } = this.#format;
    return {
      oid: bytes.hexSlice(0, rawSize),
      txn: bytes.latin1Slice(rawSize, rawSize + TXN),
      time: bytes.readUIntBE(rawSize + TXN, NUMBER),
    };
  }

  #bytes(seq: number): Buffer | undefined {
    const at = seq - this.#first;
    if (!Number.isInteger(at) || at < 0 || seq > this.last) return undefined;
    if (at >= this.#stored) return this.#slice(this.#tail, at - this.#stored);
    const from = at - (at % BLOCK);
    this.#block ??= Buffer.allocUnsafeSlow(BLOCK * this.#size);
    if (this.#from !== from) {
      this.#from = -1;
      this.#fill(this.#block.subarray(0, Math.min(BLOCK, this.#stored - from) * this.#size), from);
      this.#from = from;
    }
    return this.#checked(this.#slice(this.#block, at - from), seq);
  }

  #checked(row: Buffer, seq: number): Buffer {
    if (row.readUInt32BE(row.length - CHECK) === checkOf(row, seq)) return row;
    throw new KvError("CORRUPT", `${this.#file} is damaged`);
  }

  #slice(rows: Buffer, at: number): Buffer {
    return rows.subarray(at * this.#size, (at + 1) * this.#size);
  }

  #read(from: number, count: number): Buffer {
    const bytes = Buffer.allocUnsafe(count * this.#size);
    this.#fill(bytes, from);
    return bytes;
  }

  #fill(bytes: Buffer, from: number): void {
    const read = fs.readSync(this.#fd!, bytes, 0, bytes.length, HEADER + from * this.#size);
    if (read < bytes.length) throw new KvError("CORRUPT", `${this.#file} became shorter while it was read`);
  }

  /** The newest transaction up to `last` that was made at `time` or before; undefined where none was. Throws CORRUPT. */
  newestAt(time: number, last: number): number | undefined {
    for (let number = Math.min(last, this.last) - this.#first + 1; number > 0; ) {
      const bytes = this.#bytes(this.#first + number - 1)!;
      if (this.#least(bytes) > time) number -= reach(number);
      else if (this.#time(bytes) <= time) return this.#first + number - 1;
      else number--;
    }
    return undefined;
  }

  #time(row: Buffer): number {
    return row.readUIntBE(this.#format.rawSize + TXN, NUMBER);
  }

  #least(row: Buffer): number {
    return row.readUIntBE(this.#format.rawSize + TXN + NUMBER, NUMBER);
  }

  /** The transaction called `txn`, or undefined. Throws CORRUPT where a damaged row may be that of it. */
  seqOf(txn: string): number | undefined {
    const wanted = Buffer.from(txn, "latin1");
    for (let from = 0; from < this.#stored; from += SCAN) {
      const rows = this.#read(from, Math.min(SCAN, this.#stored - from));
      const found = this.#find(rows, wanted);
      if (found !== undefined) return this.#first + from + found;
      for (let at = 0; at * this.#size < rows.length; at++)
        this.#checked(this.#slice(rows, at), this.#first + from + at);
    }
    const found = this.#find(this.#tail, wanted);
    return found === undefined ? undefined : this.#first + this.#stored + found;
  }

  #find(rows: Buffer, wanted: Buffer): number | undefined {
    for (let at = rows.indexOf(wanted); at >= 0; at = rows.indexOf(wanted, at + 1)) {
      if (at % this.#size === this.#format.rawSize) return Math.floor(at / this.#size);
    }
    return undefined;
  }

  /**
   * Forgets what is behind `seq` and puts `rows` there; where `seq` is no row of the table, `rows` are all, and begin with `seq` + 1. Throws
   * CORRUPT.
   */
  replaceAfter(seq: number, rows: RowStack): void {
    const kept = seq - this.#first + 1;
    const isJoined = kept > 0 && seq <= this.last;
    const inTail = isJoined ? kept - this.#stored : 0;
    const old = inTail > 0 ? this.#tail.subarray(0, inTail * this.#size) : Buffer.alloc(0);
    if (!isJoined) this.#first = seq + 1;
    this.#stored = isJoined ? Math.min(this.#stored, kept) : 0;
    this.#from = -1;
    const filled = this.#stored + old.length / this.#size;
    this.#tail = Buffer.concat([old, rows.rows()]);
    for (let number = filled + 1; number <= this.#stored + this.tail; number++) this.#complete(number);
  }

  /** Fills in the rest of a row of the tail whose time is there; those before it are complete. */
  #complete(number: number): void {
    const row = this.#slice(this.#tail, number - 1 - this.#stored);
    let least = this.#time(row);
    for (let other = number - 1; other > number - reach(number); other -= reach(other)) {
      least = Math.min(least, this.#least(this.#bytes(this.#first + other - 1)!));
    }
    row.writeUIntBE(least, this.#format.rawSize + TXN + NUMBER, NUMBER);
    row.writeUInt32BE(checkOf(row, this.#first + number - 1), row.length - CHECK);
  }

  /** Brings the rows behind those of the file into it. Throws the system's errors. */
  save(): void {
    if (this.#stored === 0) replaceTable(this.#file, Buffer.concat([this.#header(), this.#tail]), true);
    else this.#append();
    this.close();
    this.#tail = Buffer.alloc(0);
    this.#stored = 0;
    this.#load();
  }

  #header(): Buffer {
    const header = Buffer.alloc(HEADER);
    MAGIC.copy(header);
    header.writeUIntBE(this.#first, 8, 6);
    header.writeUIntBE(this.#stored + this.tail, 14, 6);
    return header;
  }

  #append(): void {
    const fd = fs.openSync(this.#file, "r+");
    try {
      fs.writeSync(fd, this.#tail, 0, this.#tail.length, HEADER + this.#stored * this.#size);
      fs.fdatasyncSync(fd);
      fs.writeSync(fd, this.#header(), 0, HEADER, 0);
    } finally {
      fs.closeSync(fd);
    }
  }

  close(): void {
    if (this.#fd !== undefined) fs.closeSync(this.#fd);
    this.#fd = undefined;
    this.#from = -1;
  }
}
