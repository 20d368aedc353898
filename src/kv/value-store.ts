/**
 * Turns values into blobs of a transaction: small ones inline, larger ones in pieces. Which is which the policy says. A value up
 * to the limit is stored at once; for a larger one what cuts it is loaded first.
 */

import type { Chunking } from "../cdc/chunking.ts";
import type { ObjectSink } from "../gitwire/object/object.ts";
import type { SetOptions, ValueInput, WriteLine } from "./batch.ts";
import type { EtagHasher } from "./etag.ts";
import { expiryAt, isExpired } from "./expiry.ts";
import { type Key, keyName } from "./key.ts";
import { BYTES, detectMediaType, SNIFF_BYTES } from "./media-type.ts";
import type { Operation, StoredValue } from "./operation.ts";
import type { DeltaFinder, PieceStore } from "./piece-store.ts";
import type { ProgressMeter } from "./progress-meter.ts";
import type { ValueRuleBook, ValueRules } from "./value-rules.ts";
import { bytesSource, openFile, regularFile, sizeOfFile, streamSource, type ValueSource } from "./value-source.ts";

/** What values are stored by. */
export interface ValueStoreOptions {
  readonly sink: ObjectSink;
  readonly etagOf: EtagHasher;
  readonly book: ValueRuleBook;
  /** Where pieces go, opened for the first value that has any. */
  readonly pieces: () => Promise<PieceStore>;
  /** Looks for deltas against the value that the key has. */
  readonly deltas?:
    | ((key: Key, pieces: PieceStore, chunking: Chunking) => Promise<DeltaFinder | undefined>)
    | undefined;
  /** Deletions of keys that are not there are left out instead of being an error. */
  readonly ignoreMissing: boolean;
  /** Unix seconds: times to live begin now. */
  readonly now: number;
  readonly signal: AbortSignal;
  /** Tells how far a large value is. */
  readonly progress?: (() => Promise<ProgressMeter>) | undefined;
}

export class ValueStore {
  readonly #options: ValueStoreOptions;
  /** How long keys live by default, once the policy was looked at. */
  #ttl: { readonly seconds: number | undefined } | undefined;
  #setsTimes = false;
  #expired = 0;

  constructor(options: ValueStoreOptions) {
    this.#options = options;
  }

  /** Whether a key expires that was set so far. */
  get setsTimes(): boolean {
    return this.#setsTimes;
  }

  /** Keys set so far at a time that is past: they are expired when they arrive. */
  get expired(): number {
    return this.#expired;
  }

  /** Stores the value a line names and returns the line as an operation. Throws VALUE_TOO_LARGE, IO, LIMIT_EXCEEDED. */
  operation(line: WriteLine): Operation | Promise<Operation> {
    const { key, condition } = line;
    if (line.op === "check") return { kind: "check", key, condition: line.condition };
    if (line.op === "del") return { kind: "del", key, ignoreMissing: this.#options.ignoreMissing, condition };
    const { expires: expiry, labels } = line.options;
    if (expiry === undefined && this.#options.book.mayExpire && this.#ttl === undefined) return this.#learnTtl(line);
    const expires = expiryAt(expiry, this.#ttl?.seconds, this.#options.now);
    this.#setsTimes ||= expires !== undefined;
    if (isExpired(expires, this.#options.now)) this.#expired++;
    const set = (value: StoredValue): Operation => ({
      kind: "set",
      key,
      name: keyName(key),
      value,
      expires,
      labels,
      condition,
      keep: line.keep,
    });
    const value = this.#store(key, line.value, line.options);
    return value instanceof Promise ? value.then(set) : set(value);
  }

  /** Looks at the policy before the first set that says nothing of its time. */
  async #learnTtl(line: WriteLine): Promise<Operation> {
    this.#ttl = { seconds: (await this.#options.book.rules()).ttlDefault };
    return this.operation(line);
  }

  #store(key: Key, input: ValueInput, options: SetOptions): StoredValue | Promise<StoredValue> {
    const { surelyInline } = this.#options.book;
    if (input.kind === "bytes") {
      if (input.data.length <= surelyInline) return this.#inline(input.data, options, input.etag);
      return this.#storeLarge(key, bytesSource(input.data), options);
    }
    if (input.kind === "stream") return this.#storeLarge(key, streamSource(input.read), options);
    const size = sizeOfFile(input.path);
    if (size !== undefined && size <= surelyInline) return this.#inline(readWhole(input.path), options);
    return openFile(input.path, this.#options.signal).then((source) => this.#storeLarge(key, source, options));
  }

  #inline(data: Buffer, { ctype = detectMediaType(data) }: SetOptions, etag?: string): StoredValue {
    const { sink, etagOf } = this.#options;
    return { type: "inline", oid: sink.write("blob", data), size: data.length, etag: etag ?? etagOf(data), ctype };
  }

  async #storeLarge(key: Key, source: ValueSource, options: SetOptions): Promise<StoredValue> {
    const { book } = this.#options;
    try {
      let head: Buffer = NOTHING;
      if (source.size === undefined) {
        head = await readHead(source, book.surelyInline + 1, head);
        if (head.length <= book.surelyInline) return this.#inline(head, options);
      }
      const rules = await book.rules();
      if (rules.maxTotal !== undefined && (source.size ?? 0) > rules.maxTotal) {
        throw (await import("./chunk-value.ts")).tooLarge(key, source.size!, rules.maxTotal);
      }
      // Up to here a value may turn out to be inline, or text.
      const most = Math.max(rules.maxInline, SNIFF_BYTES);
      const isLong = source.size !== undefined && source.size > most;
      if (!isLong) head = await readHead(source, most + 1, head);
      if (isLong || head.length > most) return await this.#chunk(key, head, source, rules, options.ctype ?? BYTES);
      source.finish();
      if (head.length <= rules.maxInline) return this.#inline(head, options);
      const ctype = options.ctype ?? detectMediaType(head);
      return await this.#chunk(key, NOTHING, bytesSource(head), rules, ctype);
    } finally {
      source.close();
    }
  }

  async #chunk(key: Key, head: Buffer, source: ValueSource, rules: ValueRules, ctype: string): Promise<StoredValue> {
    const { sink, signal } = this.#options;
    // Loaded here: a small write does without the chunker.
    const [{ chunkValue }, { describeBytes }] = await Promise.all([
      import("./chunk-value.ts"),
      import("./piece-store.ts"),
    ]);
    const pieces = await this.#options.pieces();
    const meter = await this.#options.progress?.();
    const more = (): string => describeBytes(pieces.bytes);
    const { manifest, data } = await chunkValue(key, head, source, {
      pieces,
      rules,
      signal,
      deltas: await this.#options.deltas?.(key, pieces, rules.chunking),
      onProgress: meter && ((done) => meter.tell(done, source.size, more)),
    });
    const { size, etag } = manifest;
    return { type: "chunked", oid: sink.write("blob", data), size, etag, ctype };
  }
}

const NOTHING = Buffer.alloc(0);

function readWhole(path: string): Buffer {
  const file = regularFile(path);
  try {
    const data = Buffer.allocUnsafe(file.size + 1);
    let length = 0;
    for (let count = 1; count > 0 && length <= file.size; length += count) {
      count = file.read(data.subarray(length));
    }
    file.finish();
    return data.subarray(0, file.size);
  } finally {
    file.close();
  }
}

/** The first `most` bytes, fewer at the end; `head` are those that were read already. */
async function readHead(source: ValueSource, most: number, head: Buffer): Promise<Buffer> {
  let length = head.length;
  let room = Buffer.concat([head], Math.max(length, Math.min(most, source.size ?? FIRST_ROOM)));
  while (length < most) {
    if (length === room.length) room = Buffer.concat([room], Math.min(most, Math.max(FIRST_ROOM, length * 2)));
    const count = await source.read(room.subarray(length));
    if (count === 0) break;
    length += count;
  }
  return room.subarray(0, length);
}

/** Room for a value of unknown size, at first. */
const FIRST_ROOM = 64 * 1024;
