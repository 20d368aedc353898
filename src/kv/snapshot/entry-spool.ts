/**
 * The entries of an import between its two readings: put down in the order of the first byte of SHA-256(key) while the input is
 * checked, so that they are parsed and hashed once, and so that each of the transactions they are set in touches its own part of
 * the ledger's tries (docs/design/237). What is short stays in memory, the rest goes to a file without a name.
 *
 *   record = key-length value-length options-length etag-length      each 4 bytes, big-endian
 *            key value options etag                                  options: JSON, nothing where nothing is said
 */

import * as fs from "node:fs";
import { createTemp, type TempFile, writeAll } from "../../gitwire/pack/temp-file.ts";
import type { SetOptions } from "../batch.ts";
import { type ImportEntry, type ImportItems, NO_OPTIONS } from "./item.ts";

const BUCKETS = 256;
/** Bytes of a bucket in memory, and about those of a run in the file. */
const RUN_BYTES = 64 * 1024;
const HEAD_BYTES = 16;
/** Inputs of more are read again. */
const MOST_BYTES = 1024 * 1024 * 1024;
/** Entries that are handed on at a time. */
const MANY = 1_000;

/** A run of records in the file. */
interface Run {
  readonly offset: number;
  readonly length: number;
}

class Bucket {
  readonly runs: Run[] = [];
  buffer: Buffer | undefined;
  length = 0;
}

export class EntrySpool {
  readonly #dir: string;
  #buckets: Bucket[] | undefined = Array.from({ length: BUCKETS }, () => new Bucket());
  #file: TempFile | undefined;
  #stored = 0;
  #bytes = 0;

  /** The file is made in `dir`. */
  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Bytes of all records. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Takes an entry, whose key has a SHA-256 that begins with the byte `first`. */
  add(entry: ImportEntry, first: number): void {
    if (this.#buckets === undefined) return;
    const { value } = entry;
    // What comes in a stream or a file may be of any size.
    if (value.kind !== "bytes" || this.#bytes > MOST_BYTES) {
      this.close();
      return;
    }
    try {
      this.#put(this.#buckets[first]!, entry, value.data);
    } catch {
      // A disk that is full: the input is read again.
      this.close();
    }
  }

  /** Whether all entries that came are here. */
  get isWhole(): boolean {
    return this.#buckets !== undefined;
  }

  /** The entries, in the order of their buckets, once; `onBytes` is told what is taken. */
  items(onBytes: (count: number) => void): ImportItems {
    return this.#items(this.#buckets ?? [], onBytes);
  }

  /** Frees memory and file. */
  close(): void {
    this.#buckets = undefined;
    this.#file?.discard();
    this.#file = undefined;
  }

  #put(bucket: Bucket, { key, options, etag }: ImportEntry, data: Buffer): void {
    const said = optionsText(options);
    const size = HEAD_BYTES + key.length + data.length + said.length + (etag?.length ?? 0);
    this.#bytes += size;
    if (bucket.length + size > RUN_BYTES) this.#store(bucket);
    const isLong = size > RUN_BYTES;
    bucket.buffer ??= Buffer.allocUnsafeSlow(RUN_BYTES);
    const out = isLong ? Buffer.allocUnsafeSlow(size) : bucket.buffer;
    let at = isLong ? 0 : bucket.length;
    at = out.writeUInt32BE(key.length, at);
    at = out.writeUInt32BE(data.length, at);
    at = out.writeUInt32BE(said.length, at);
    at = out.writeUInt32BE(etag?.length ?? 0, at);
    at += out.latin1Write(key, at);
    out.set(data, at);
    at += data.length;
    at += said.copy(out, at);
    if (etag !== undefined) out.latin1Write(etag, at);
    if (isLong) this.#append(bucket, out);
    else bucket.length += size;
  }

  /** Moves what a bucket has in memory to the file. */
  #store(bucket: Bucket): void {
    if (bucket.length > 0) this.#append(bucket, bucket.buffer!.subarray(0, bucket.length));
    bucket.length = 0;
  }

  #append(bucket: Bucket, bytes: Buffer): void {
    this.#file ??= createTemp(this.#dir, "tmp_import_", { anonymous: true });
    writeAll(this.#file.fd, bytes, this.#stored);
    bucket.runs.push({ offset: this.#stored, length: bytes.length });
    this.#stored += bytes.length;
  }

  async *#items(buckets: readonly Bucket[], onBytes: (count: number) => void): ImportItems {
    let items: ImportEntry[] = [];
    const reader = new RecordReader();
    for (const bucket of buckets) {
      for (const bytes of this.#runs(bucket)) {
        onBytes(bytes.length);
        for (let at = 0; at < bytes.length; at = reader.end) {
          items.push(reader.read(bytes, at));
          if (items.length < MANY) continue;
          yield items;
          items = [];
        }
      }
    }
    if (items.length > 0) yield items;
  }

  *#runs(bucket: Bucket): Generator<Buffer> {
    for (const { offset, length } of bucket.runs) {
      const bytes = Buffer.allocUnsafeSlow(length);
      if (fs.readSync(this.#file!.fd, bytes, 0, length, offset) < length) throw new Error("the spool was cut short");
      yield bytes;
    }
    if (bucket.length > 0) yield bucket.buffer!.subarray(0, bucket.length);
    bucket.buffer = undefined;
  }
}

/** Reads records; those that say the same share what it means. */
class RecordReader {
  /** Where the record read last ends. */
  end = 0;
  #said = "";
  #options: SetOptions = NO_OPTIONS;

  read(bytes: Buffer, start: number): ImportEntry {
    const keyAt = start + HEAD_BYTES;
    const valueAt = keyAt + bytes.readUInt32BE(start);
    const optionsAt = valueAt + bytes.readUInt32BE(start + 4);
    const etagAt = optionsAt + bytes.readUInt32BE(start + 8);
    this.end = etagAt + bytes.readUInt32BE(start + 12);
    const etag = this.end > etagAt ? bytes.latin1Slice(etagAt, this.end) : undefined;
    return {
      kind: "entry",
      place: "",
      key: bytes.latin1Slice(keyAt, valueAt),
      value: { kind: "bytes", data: bytes.subarray(valueAt, optionsAt), etag },
      options: etagAt === optionsAt ? NO_OPTIONS : this.#optionsOf(bytes.utf8Slice(optionsAt, etagAt)),
    };
  }

  #optionsOf(said: string): SetOptions {
    if (said === this.#said) return this.#options;
    const [ctype, expires, labels] = JSON.parse(said);
    this.#said = said;
    this.#options = { ctype: ctype ?? undefined, expires: expires ?? undefined, labels: labels ?? undefined };
    return this.#options;
  }
}

/** The options of a record. */
function optionsText({ ctype, expires, labels }: SetOptions): Buffer {
  if (ctype === undefined && expires === undefined && labels === undefined) return NOTHING;
  return Buffer.from(JSON.stringify([ctype, expires, labels]));
}

const NOTHING = Buffer.alloc(0);
