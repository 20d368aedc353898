/**
 * The first reading of an import: everything that is wrong with the input is found before anything is written. Values are hashed
 * where the input says what their hash is, and keys are remembered by a hash of 20 bytes: a million take 33 MB.
 */

import { KvError } from "../../errors.ts";
import { SHA1 } from "../../gitwire/object/oid.ts";
import { OidTable } from "../../gitwire/object/oid-table.ts";
import { LIMITS } from "../../limits.ts";
import { TimeSlice } from "../../time-slice.ts";
import { type EtagHasher, etagHasher } from "../etag.ts";
import { openEtag } from "../etag-stream.ts";
import { type Key, keyBytes, keyText } from "../key.ts";
import type { KnownRules } from "../known-rules.ts";
import { sizeOfFile } from "../value-source.ts";
import type { EntrySpool } from "./entry-spool.ts";
import { badInput, type ImportEntry, type ImportItems } from "./item.ts";

/** What an import would bring. */
export interface ImportSummary {
  readonly keys: number;
  /** Bytes of values. */
  readonly bytes: number;
}

/** Most bad items an error names. */
const NAMED = 20;

export interface CheckOptions {
  readonly onItems?: (keys: number) => void;
  /** Takes all entries for the second reading. */
  readonly spool?: EntrySpool;
  /** What else keys and values are held to. */
  readonly rules?: KnownRules | undefined;
}

/** Reads all of `items`. Throws INPUT_INVALID naming what is bad, LIMIT_EXCEEDED for too many keys. */
export async function checkImport(
  items: ImportItems,
  signal: AbortSignal,
  { onItems = () => {}, spool, rules }: CheckOptions = {},
): Promise<ImportSummary> {
  const checker = new Checker(await etagHasher(Number.POSITIVE_INFINITY), spool, rules);
  const slice = new TimeSlice();
  for await (const some of items) {
    for (const item of some) {
      if (slice.isOver()) await slice.pause(signal);
      if (item.kind === "bad") checker.bad(item.place, item.message, item.hint);
      else await checker.add(item);
    }
    onItems(checker.keys);
  }
  return checker.finish();
}

class Checker {
  keys = 0;
  #bytes = 0;
  readonly #etagOf: EtagHasher;
  readonly #spool: EntrySpool | undefined;
  readonly #rules: KnownRules | undefined;
  readonly #seen = new OidTable(SHA1);
  /** Places of the keys seen, while they are numbers of lines; others are not kept. */
  readonly #named: string[] = [];
  #count = 0;
  readonly #hints = new Set(["nothing was written"]);

  constructor(etagOf: EtagHasher, spool: EntrySpool | undefined, rules: KnownRules | undefined) {
    this.#etagOf = etagOf;
    this.#spool = spool;
    this.#rules = rules;
  }

  bad(place: string, message: string, hint?: string): void {
    this.#count++;
    if (hint !== undefined) this.#hints.add(hint);
    if (this.#named.length < NAMED) this.#named.push(`${place}: ${message}`);
  }

  async add(entry: ImportEntry): Promise<void> {
    this.keys++;
    if (this.keys > LIMITS.importKeys)
      throw new KvError("LIMIT_EXCEEDED", `the input has more than ${LIMITS.importKeys} keys`, {
        hint: "import it in parts",
      });
    if (this.#isTwice(entry.key))
      this.bad(entry.place, `the key ${JSON.stringify(keyText(entry.key))} is there already`);
    this.#spool?.add(entry, DIGEST[0]!);
    const { value } = entry;
    if (value.kind === "bytes") await this.#compare(entry, value.data.length, () => this.#etagOf(value.data));
    else if (value.kind === "file") await this.#compare(entry, sizeOfFile(value.path) ?? 0, () => undefined);
    else await this.#readThrough(entry, value.read);
  }

  finish(): ImportSummary {
    if (this.#count === 0) return { keys: this.keys, bytes: this.#bytes };
    const more = this.#count - this.#named.length;
    const lines = more > 0 ? [...this.#named, `and ${more} more`] : this.#named;
    throw new KvError(
      "INPUT_INVALID",
      `the input has ${this.#count} bad ${this.#count === 1 ? "entry" : "entries"}\n${lines.join("\n")}`,
      {
        hint: [...this.#hints].join("; "),
        data: { entries: this.#named },
      },
    );
  }

  /** Its hash is in {@link DIGEST} afterwards. */
  #isTwice(key: Key): boolean {
    const before = this.#seen.size;
    Bun.SHA256.hash(keyBytes(key), DIGEST);
    return this.#seen.addRaw(DIGEST, 0) < before;
  }

  #compare(entry: ImportEntry, size: number, etagOf: () => string | undefined): Promise<void> | undefined {
    this.#bytes += size;
    if (entry.size !== undefined && entry.size !== size)
      this.bad(entry.place, `the value has ${size} bytes, and "size" says ${entry.size}`);
    else if (entry.etag !== undefined && etagOf() !== entry.etag)
      this.bad(entry.place, 'the value is not the one its "etag" names');
    return this.#rules === undefined ? undefined : this.#hold(entry, size);
  }

  async #hold({ key, place, value }: ImportEntry, size: number): Promise<void> {
    const data = value.kind === "bytes" ? value.data : undefined;
    const path = value.kind === "file" ? value.path : undefined;
    const refusal = await this.#rules?.refusalOf(key, { size, data, path });
    if (refusal !== undefined) this.bad(place, refusal.message, refusal.hint);
  }

  async #readThrough(entry: ImportEntry, read: () => Promise<Buffer | undefined> | Buffer | undefined): Promise<void> {
    const etag = await openEtag();
    let size = 0;
    for (let part = await read(); part !== undefined; part = await read()) {
      etag.update(part);
      size += part.length;
      if (entry.size !== undefined && size > entry.size)
        throw badInput(`${entry.place}: the value has more bytes than "size" says`);
    }
    const actual = etag.finish();
    await this.#compare(entry, size, () => actual);
  }
}

const DIGEST = Buffer.alloc(32);
