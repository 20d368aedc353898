/** Writes the trees of a transaction: as deltas where they were made from a tree the receiver has, else whole. */

import { type GitObject, type ObjectSink, type ObjectSource, readAs, readOnceAs } from "../gitwire/object/object.ts";
import type { ObjectFormat, Oid } from "../gitwire/object/oid.ts";
import { buildTree, type TreeEntry } from "../gitwire/object/tree.ts";
import { editTree, type TreeEdit } from "../gitwire/pack/tree-edit.ts";
import type { RecordParts } from "./record.ts";
import { RecordRoom } from "./record-room.ts";

/** A tree that may not be written yet: a parent may still decide to fold it away. */
export interface TreeDraft {
  readonly data: Buffer;
  readonly entries: number;
  /** Set where the tree was made by an edit: what from, and the edit. */
  readonly made?: { readonly base: Oid; readonly delta: Buffer | undefined };
  /** Set where an edit left the tree as it was: nothing is to be written then. */
  readonly same?: Oid;
}

/** Where the records of a kind are made, and the first of them, which the others are deltas of. */
interface Template {
  readonly oid: Oid;
  readonly room: RecordRoom;
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

  /** As {@link read}, where nobody else will look at it. */
  readOnce(oid: Oid): Buffer {
    return this.#fresh.get(oid) ?? readOnceAs(this.#source, oid, "tree");
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
    const template = this.#templates.get(kind);
    if (template === undefined) {
      const room = new RecordRoom(parts);
      const oid = this.#sink.write("blob", room.data);
      this.#templates.set(kind, { oid, room });
      return oid;
    }
    const { oid, room } = template;
    room.put(parts);
    const delta = this.#sink.namesOnly ? undefined : room.delta();
    return delta === undefined
      ? this.#sink.write("blob", room.data)
      : this.#sink.writeDelta("blob", room.data, oid, delta);
  }

  /** A draft of the tree with `entries`, in any order. */
  build(entries: TreeEntry[]): TreeDraft {
    return { data: buildTree(this.format, entries), entries: entries.length };
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
