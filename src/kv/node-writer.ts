/** Writes the trees of a transaction: as deltas where they were made from a tree the receiver has, else whole. */

import { type ObjectSink, type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { ObjectFormat, Oid } from "../gitwire/object/oid.ts";
import { encodeTree, sortEntries, type TreeEntry } from "../gitwire/object/tree.ts";
import { editTree, type TreeEdit } from "../gitwire/pack/tree-edit.ts";

/** A tree that may not be written yet: a parent may still decide to fold it away. */
export interface TreeDraft {
  readonly data: Buffer;
  readonly entries: number;
  /** Set where the tree was made by an edit: what from, and the edit. */
  readonly made?: { readonly base: Oid; readonly delta: Buffer };
}

/** Where a transaction's trees come from and go to. */
export class NodeWriter {
  readonly format: ObjectFormat;
  readonly #source: ObjectSource;
  readonly #sink: ObjectSink;
  /** Trees written here that later steps of the same transaction read again (few, small). */
  readonly #fresh = new Map<Oid, Buffer>();

  constructor(source: ObjectSource, sink: ObjectSink) {
    this.format = source.format;
    this.#source = source;
    this.#sink = sink;
  }

  /** Content of the tree `oid`. */
  read(oid: Oid): Buffer {
    return this.#fresh.get(oid) ?? readAs(this.#source, oid, "tree");
  }

  /** Content of the blob `oid`. */
  readBlob(oid: Oid): Buffer {
    return readAs(this.#source, oid, "blob");
  }

  blob(text: string | Uint8Array): Oid {
    return this.#sink.write("blob", typeof text === "string" ? Buffer.from(text) : text);
  }

  /** A draft of the tree with `entries`, in any order. */
  build(entries: TreeEntry[]): TreeDraft {
    return { data: encodeTree(this.format, sortEntries(entries)), entries: entries.length };
  }

  /** A draft of the tree `base` (its content being `data`) after `edits`. */
  edit(base: Oid, data: Buffer, edits: readonly TreeEdit[]): TreeDraft {
    const edited = editTree(this.format, data, edits);
    return { data: edited.data, entries: edited.entries, made: { base, delta: edited.delta } };
  }

  /** Writes a draft and returns its id. */
  write(draft: TreeDraft): Oid {
    const { data, made } = draft;
    if (made === undefined || made.delta.length + this.format.rawSize >= data.length)
      return this.#sink.write("tree", data);
    return this.#sink.writeDelta("tree", data, made.base, made.delta);
  }

  /** Writes a tree that the same transaction will read again. */
  writeFresh(draft: TreeDraft): Oid {
    const oid = this.write(draft);
    this.#fresh.set(oid, draft.data);
    return oid;
  }
}
