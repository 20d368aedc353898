/** The objects of a pack that has just been indexed: what its index and its entries would tell of them, from memory. */

import type { ObjectFormat, ObjectKind, Oid } from "../object/oid.ts";
import { SortedIds } from "../object/sorted-ids.ts";
import { entryKind } from "./pack-entry.ts";

/** Columns of an EntryList, of `count` entries. */
interface Columns {
  readonly format: ObjectFormat;
  readonly ids: Buffer;
  readonly types: Uint8Array;
  readonly offsets: Float64Array;
  readonly count: number;
}

export class ArrivedObjects {
  /** Their ids, by number of the entry. */
  readonly ids: SortedIds;
  /** Entries that were received. Those behind them are bases that were added. */
  readonly received: number;
  readonly #types: Uint8Array;
  readonly #offsets: Float64Array;
  readonly #end: number;

  /** The entries of a list whose deltas have been resolved; they end at `end`. Holds on to nothing of it but these columns. */
  constructor({ format, ids, types, offsets, count }: Columns, received: number, end: number) {
    this.ids = new SortedIds(format, ids, count);
    this.received = received;
    this.#types = types;
    this.#offsets = offsets;
    this.#end = end;
  }

  get count(): number {
    return this.ids.count;
  }

  /** Kind of the object with the raw id at `bytes[at]`, undefined where it is not one of them. */
  kindOf(bytes: Uint8Array, at: number): ObjectKind | undefined {
    const entry = this.ids.find(bytes, at);
    return entry < 0 ? undefined : entryKind(this.#types[entry]!);
  }

  /** Kind of the object of the entry. */
  kind(entry: number): ObjectKind {
    return entryKind(this.#types[entry]!)!;
  }

  oid(entry: number): Oid {
    return this.ids.oid(entry);
  }

  /** Where the entry begins in the pack. */
  offset(entry: number): number {
    return this.#offsets[entry]!;
  }

  /** Where it ends. */
  end(entry: number): number {
    return entry + 1 < this.count ? this.#offsets[entry + 1]! : this.#end;
  }
}
