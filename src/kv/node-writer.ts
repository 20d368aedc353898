/** Writes the trees of a transaction: as deltas where they were made from a tree the receiver has, else whole. */

import { type GitObject, type ObjectSink, type ObjectSource, readAs } from "../gitwire/object/object.ts";
import { hashText, type ObjectFormat, type Oid } from "../gitwire/object/oid.ts";
import { encodeTree, sortEntries, type TreeEntry } from "../gitwire/object/tree.ts";
import { DeltaBuilder } from "../gitwire/pack/delta.ts";
import { editTree, type TreeEdit } from "../gitwire/pack/tree-edit.ts";
import type { RecordParts } from "./record.ts";

/** A tree that may not be written yet: a parent may still decide to fold it away. */
export interface TreeDraft {
  readonly data: Buffer;
  readonly entries: number;
  /** Set where the tree was made by an edit: what from, and the edit. */
  readonly made?: { readonly base: Oid; readonly delta: Buffer | undefined };
  /** Set where an edit left the tree as it was: nothing is to be written then. */
  readonly same?: Oid;
}

/** A record that others of its kind are deltas of. */
interface Template {
  readonly oid: Oid;
  readonly parts: RecordParts;
  /** Bytes of each part, and of all. */
  readonly sizes: readonly number[];
  readonly size: number;
}

/** Where a transaction's trees come from and go to. */
export class NodeWriter {
  readonly format: ObjectFormat;
  readonly #source: ObjectSource;
  readonly #sink: ObjectSink;
  /** Trees written here that later steps of the same transaction read again (few, small). */
  readonly #fresh = new Map<Oid, Buffer>();
  readonly #templates = new Map<string, Template>();

  constructor(source: ObjectSource, sink: ObjectSink) {
    this.format = source.format;
    this.#source = source;
    this.#sink = sink;
  }

  /** Content of the tree `oid`. */
  read(oid: Oid): Buffer {
    return this.#fresh.get(oid) ?? readAs(this.#source, oid, "tree");
  }

  /** A tree that somebody says is there; undefined where it is not, or is no tree. */
  readClaimed(oid: Oid): GitObject | undefined {
    const object = this.#source.read(oid, "tree");
    return object?.kind === "tree" ? object : undefined;
  }

  /** Objects at once, as far as that is possible: see ObjectSource. */
  readMany(oids: readonly Oid[]): readonly (GitObject | undefined)[] {
    return this.#source.readMany?.(oids) ?? [];
  }

  /** Content of the blob `oid`. */
  readBlob(oid: Oid): Buffer {
    return readAs(this.#source, oid, "blob");
  }

  blob(text: string): Oid {
    return this.#sink.write("blob", Buffer.from(text));
  }

  /**
   * Writes one of many records of a kind: the first whole, each further one as a delta that copies from the first what both
   * share. Of a million records that takes a third of the bytes, and half of the time of compressing each.
   */
  record(kind: string, parts: RecordParts): Oid {
    const text = parts.join("");
    if (this.#sink.namesOnly) return hashText(this.format, "blob", text);
    const data = recordBytes(text);
    const template = this.#templates.get(kind);
    const delta = template === undefined ? undefined : partsDelta(template, parts, data, data.length === text.length);
    if (delta !== undefined) return this.#sink.writeDelta("blob", data, template!.oid, delta);
    const oid = this.#sink.write("blob", data);
    if (template === undefined) {
      const sizes = parts.map((part) => Buffer.byteLength(part));
      this.#templates.set(kind, { oid, parts, sizes, size: data.length });
    }
    return oid;
  }

  /** A draft of the tree with `entries`, in any order. */
  build(entries: TreeEntry[]): TreeDraft {
    return { data: encodeTree(this.format, sortEntries(entries)), entries: entries.length };
  }

  /** A draft of the tree `base` (its content being `data`) after `edits`. */
  edit(base: Oid, data: Buffer, edits: readonly TreeEdit[]): TreeDraft {
    const edited = editTree(this.format, data, edits, { delta: this.#sink.namesOnly !== true });
    const { entries } = edited;
    if (edited.data.equals(data)) return { data, entries, same: base };
    return { data: edited.data, entries, made: { base, delta: edited.delta } };
  }

  /** Writes a draft and returns its id. */
  write(draft: TreeDraft): Oid {
    const { data, made, same } = draft;
    if (same !== undefined) return same;
    if (made?.delta === undefined || !this.#isWorthDelta(made.delta.length, data.length))
      return this.#sink.write("tree", data);
    return this.#sink.writeDelta("tree", data, made.base, made.delta);
  }

  /**
   * Whether a tree of `size` bytes is to be a delta of `delta` bytes. One of which much is new is not where the base has to be found and
   * copied too, which takes more time and room than the tree; whoever it is sent to has the base.
   */
  #isWorthDelta(delta: number, size: number): boolean {
    const isLong = this.#sink.copiesBases === true && delta >= LONG_DELTA;
    return isLong ? delta * LONG_SHARE < size : delta + this.format.rawSize < size;
  }

  /** Writes a tree that the same transaction will read again. */
  writeFresh(draft: TreeDraft): Oid {
    const oid = this.write(draft);
    this.#fresh.set(oid, draft.data);
    return oid;
  }
}

/** Where bases are copied, deltas from this size on are worth it up to so large a part of what they make; others as long as they save anything. */
const LONG_DELTA = 400;
const LONG_SHARE = 12;

/** Pieces shorter than this are inserted: a copy takes about four bytes. */
const SHORTEST_COPY = 6;

const recordRoom = Buffer.allocUnsafeSlow(16 * 1024);
/** Most bytes of UTF-8 for each UTF-16 unit. */
const WIDEST = 3;

/** The bytes of a record, good until the next one is asked for: sinks copy what they are given. */
function recordBytes(text: string): Buffer {
  if (text.length * WIDEST > recordRoom.length) return Buffer.from(text);
  return recordRoom.subarray(0, recordRoom.utf8Write(text, 0));
}

const recordDelta = new DeltaBuilder();

/**
 * `data` as a delta against a template that has equal pieces in equal places, good until the next one is made; undefined where that
 * saves nothing.
 */
function partsDelta(template: Template, parts: RecordParts, data: Buffer, isAscii: boolean): Buffer | undefined {
  const delta = recordDelta.restart();
  let from = 0;
  let at = 0;
  let isIdentical = data.length === template.size;
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!;
    const its = template.sizes[i] ?? 0;
    const isSame = part === template.parts[i];
    const size = isSame ? its : isAscii ? part.length : Buffer.byteLength(part);
    if (isSame && size >= SHORTEST_COPY) delta.copy(from, size);
    else delta.insert(data, at, at + size);
    isIdentical &&= isSame;
    from += its;
    at += size;
  }
  const bytes = delta.finish(template.size, data.length);
  return isIdentical || bytes.length >= data.length ? undefined : bytes;
}
