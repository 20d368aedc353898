/**
 * The `packed-refs` file (git: gitrepository-layout, refs/packed-backend.c).
 *
 *   file   = [ "# pack-refs with:" *( SP trait ) [SP] LF ] *( oid SP refname LF [ "^" peeled-oid LF ] )
 *   trait  = "peeled" (refs/tags/ have their ^ lines) | "fully-peeled" (all have) | "sorted" (by bytes of the name)
 *
 * A sorted file is searched without parsing it; rewriting copies the untouched runs.
 */

import { asBuffer, byteStringToUtf8, utf8 } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import { isOid, type ObjectFormat, type Oid, wrongFormat } from "../object/oid.ts";
import { PackedCursor } from "./packed-cursor.ts";

/** One entry. `peeled` is what an annotated tag leads to; it means nothing unless `peelKnown`. */
export interface PackedRef {
  readonly name: string;
  readonly oid: Oid;
  readonly peeled: Oid | undefined;
  readonly peelKnown: boolean;
}

/** A new value of a ref, or its removal, for {@link PackedRefs.rewrite}. */
export interface PackedChange {
  readonly name: string;
  readonly oid: Oid | undefined;
  readonly peeled: Oid | undefined;
}

export const PACKED_REFS_HEADER = "# pack-refs with: peeled fully-peeled sorted \n";

const LF = 10;
const CARET = 94;

type Peeling = "none" | "tags" | "all";

/** The refs of one packed-refs file, as it was when it was read. */
export class PackedRefs {
  readonly #format: ObjectFormat;
  /** Sorted entries without the header line. */
  readonly #body: Buffer;
  readonly #peeling: Peeling;

  private constructor(format: ObjectFormat, body: Buffer, peeling: Peeling) {
    this.#format = format;
    this.#body = body;
    this.#peeling = peeling;
  }

  static empty(format: ObjectFormat): PackedRefs {
    return new PackedRefs(format, Buffer.alloc(0), "all");
  }

  /** Takes the content of a packed-refs file. Throws CORRUPT where it is not one. */
  static parse(format: ObjectFormat, content: Uint8Array): PackedRefs {
    let body = asBuffer(content);
    let traits: readonly string[] = [];
    if (body.length > 0 && body[body.length - 1] !== LF) throw corrupt("its last line has no end");
    if (body[0] === 35) {
      const end = body.indexOf(LF);
      const header = body.latin1Slice(0, end);
      if (!header.startsWith("# pack-refs with:")) throw corrupt("its header is malformed");
      traits = header.slice("# pack-refs with:".length).split(" ");
      body = body.subarray(end + 1);
    }
    const peeling = traits.includes("fully-peeled") ? "all" : traits.includes("peeled") ? "tags" : "none";
    if (!traits.includes("sorted")) body = sortBody(format, body);
    return new PackedRefs(format, body, peeling);
  }

  /** The entry called `name`, or undefined. Throws CORRUPT on a malformed line on the way. */
  find(name: string): PackedRef | undefined {
    const wanted = utf8(name);
    const at = this.#lowerBound(wanted);
    if (at >= this.#body.length || this.#compareAt(at, wanted) !== 0) return undefined;
    return this.#entryAt(at).ref;
  }

  /** True when an entry's name begins with `prefix`. */
  hasPrefix(prefix: string): boolean {
    return this.#withPrefix(this.#lowerBound(utf8(prefix)), utf8(prefix));
  }

  /** Entries whose names begin with `prefix`, in byte order. Names that are not UTF-8 are left out. */
  *entries(prefix = ""): Generator<PackedRef> {
    const wanted = utf8(prefix);
    let at = this.#lowerBound(wanted);
    while (this.#withPrefix(at, wanted)) {
      const { ref, next } = this.#entryAt(at);
      if (ref !== undefined) yield ref;
      at = next;
    }
  }

  /**
   * Content of the file with `changes` made (sorted by name, each name once). `peel` is asked for the entries whose
   * peeled value the old file does not tell.
   */
  rewrite(changes: readonly PackedChange[], peel: (oid: Oid) => Oid | undefined): Buffer[] {
    if (this.#peeling !== "all") return this.#fullyPeeled(peel).rewrite(changes, peel);
    const out: Buffer[] = [Buffer.from(PACKED_REFS_HEADER)];
    let copied = 0;
    for (const change of changes) {
      const name = utf8(change.name);
      const at = this.#lowerBound(name);
      out.push(this.#body.subarray(copied, at));
      copied = at < this.#body.length && this.#compareAt(at, name) === 0 ? this.#entryAt(at).next : at;
      if (change.oid !== undefined) out.push(encodeEntry(change.name, change.oid, change.peeled));
    }
    out.push(this.#body.subarray(copied));
    return out;
  }

  /** A walk over the refs whose names begin with `prefix`, in byte order, that makes no objects of them. */
  cursor(prefix: string): PackedCursor {
    const first = utf8(prefix);
    // No name in UTF-8 holds the byte 0xff.
    const after = Buffer.concat([first, Buffer.of(0xff)]);
    return new PackedCursor(this.#format, this.#body, this.#lowerBound(first), this.#lowerBound(after), {
      lineEnd: (at) => this.#lineEnd(at),
      checkOid: (at) => void this.#oidAt(at),
    });
  }

  /** Whether the file says of every ref if it is a tag, and of what. */
  get isFullyPeeled(): boolean {
    return this.#peeling === "all";
  }

  /** Number of bytes held; a measure of what a rewrite costs. */
  get byteLength(): number {
    return this.#body.length;
  }

  #fullyPeeled(peel: (oid: Oid) => Oid | undefined): PackedRefs {
    const out: Buffer[] = [];
    for (let at = 0; at < this.#body.length; ) {
      const { next, oid, known, peeled } = this.#entryAt(at);
      const line = this.#body.subarray(at, this.#body.indexOf(LF, at) + 1);
      const target = known ? peeled : peel(oid);
      out.push(line);
      if (target !== undefined) out.push(utf8(`^${target}\n`));
      at = next;
    }
    return new PackedRefs(this.#format, Buffer.concat(out), "all");
  }

  /** Offset of the first entry whose name is not below `name`. */
  #lowerBound(name: Buffer): number {
    let low = 0;
    let high = this.#body.length;
    while (low < high) {
      const at = this.#entryStart(low, low + Math.floor((high - low) / 2));
      if (this.#compareAt(at, name) < 0) low = this.#entryAt(at).next;
      else high = at;
    }
    return low;
  }

  /** Start of the entry that the byte at `middle` belongs to; never before `low`, which is the start of one. */
  #entryStart(low: number, middle: number): number {
    let at = middle;
    for (;;) {
      at = at === 0 ? 0 : this.#body.lastIndexOf(LF, at - 1) + 1;
      if (at <= low) return low;
      if (this.#body[at] !== CARET) return at;
      at -= 1;
    }
  }

  #nameEnd(at: number): number {
    const end = this.#body.indexOf(LF, at);
    if (end < at + this.#format.hexSize + 2 || this.#body[at + this.#format.hexSize] !== 32) {
      const wrong = wrongFormat(this.#format, this.#body.latin1Slice(at, Math.min(end, at + 80)).split(" ")[0]!);
      throw wrong === undefined ? corrupt("a line is malformed") : corrupt(wrong.what, wrong.hint);
    }
    return end;
  }

  /** Offset of the line feed that ends the entry's line, or its peeled line, at `at`. */
  #lineEnd(at: number): number {
    if (this.#body[at] !== CARET) return this.#nameEnd(at);
    const end = at + 1 + this.#format.hexSize;
    if (this.#body[end] !== LF) throw corrupt("a peeled line is malformed");
    return end;
  }

  #compareAt(at: number, name: Buffer): number {
    return this.#body.compare(name, 0, name.length, at + this.#format.hexSize + 1, this.#nameEnd(at));
  }

  #withPrefix(at: number, prefix: Buffer): boolean {
    if (at >= this.#body.length) return false;
    const start = at + this.#format.hexSize + 1;
    if (this.#nameEnd(at) < start + prefix.length) return false;
    return this.#body.compare(prefix, 0, prefix.length, start, start + prefix.length) === 0;
  }

  #entryAt(at: number) {
    const { hexSize } = this.#format;
    const end = this.#nameEnd(at);
    const oid = this.#oidAt(at);
    const bytes = this.#body.latin1Slice(at + hexSize + 1, end);
    let next = end + 1;
    let peeled: Oid | undefined;
    if (this.#body[next] === CARET) {
      const peeledEnd = this.#lineEnd(next);
      peeled = this.#oidAt(next + 1);
      next = peeledEnd + 1;
    }
    const inTags = this.#peeling === "tags" && bytes.startsWith("refs/tags/");
    const known = peeled !== undefined || this.#peeling === "all" || inTags;
    const name = byteStringToUtf8(bytes);
    const ref: PackedRef | undefined = name === undefined ? undefined : { name, oid, peeled, peelKnown: known };
    return { ref, next, oid, known, peeled };
  }

  #oidAt(at: number): Oid {
    const oid = this.#body.latin1Slice(at, at + this.#format.hexSize).toLowerCase();
    if (!isOid(this.#format, oid)) throw corrupt("an object id is malformed");
    return oid;
  }
}

function encodeEntry(name: string, oid: Oid, peeled: Oid | undefined): Buffer {
  return utf8(peeled === undefined ? `${oid} ${name}\n` : `${oid} ${name}\n^${peeled}\n`);
}

/** A file without the "sorted" trait, sorted. Of a name that occurs twice the last one counts. */
function sortBody(format: ObjectFormat, body: Buffer): Buffer {
  const byName = new Map<string, string>();
  let name: string | undefined;
  for (const line of body.latin1Slice().split("\n").slice(0, -1)) {
    if (line.startsWith("^")) {
      if (name === undefined) throw corrupt("a peeled line has no ref");
      byName.set(name, `${byName.get(name)}${line}\n`);
    } else if (!line.startsWith("#")) {
      name = line.slice(format.hexSize + 1);
      byName.set(name, `${line}\n`);
    }
  }
  const names = [...byName.keys()].sort();
  return Buffer.from(names.map((key) => byName.get(key)).join(""), "latin1");
}

function corrupt(what: string, hint?: string): KvError {
  return new KvError("CORRUPT", `packed-refs is damaged: ${what}`, hint === undefined ? {} : { hint });
}
