/**
 * Where the objects are of the packs that were put into a folder lately: one look-up for all of them. A busy server has a hundred between
 * two roll-ups, and most ids that it looks for are new.
 */

import type { ObjectFormat } from "../object/oid.ts";
import { OidTable } from "../object/oid-table.ts";
import type { Pack } from "../pack/pack-reader.ts";

export class RecentPacks {
  readonly #format: ObjectFormat;
  readonly #packs = new Set<Pack>();
  #table: OidTable | undefined;
  /** By number of the id in the table: the newest pack that has it. */
  #owners: Pack[] = [];

  constructor(format: ObjectFormat) {
    this.#format = format;
  }

  add(pack: Pack): void {
    this.#packs.add(pack);
    if (this.#table !== undefined) this.#enter(this.#table, pack);
  }

  delete(pack: Pack): void {
    // The table names it: the next look-up makes another one.
    if (this.#packs.delete(pack)) this.#table = undefined;
  }

  clear(): void {
    this.#packs.clear();
    this.#table = undefined;
  }

  has(pack: Pack): boolean {
    return this.#packs.has(pack);
  }

  /** The newest of the packs with the raw id at `oid[at]`, or undefined. */
  find(oid: Buffer, at: number): Pack | undefined {
    if (this.#packs.size === 0) return undefined;
    this.#table ??= this.#enterAll();
    const number = this.#table.indexOfRaw(oid, at);
    return number < 0 ? undefined : this.#owners[number];
  }

  #enterAll(): OidTable {
    const table = new OidTable(this.#format);
    this.#owners = [];
    for (const pack of this.#packs) this.#enter(table, pack);
    return table;
  }

  #enter(table: OidTable, pack: Pack): void {
    const ids = pack.index.loadIds();
    for (let i = 0; i < pack.count; i++) this.#owners[table.addRaw(ids, i * this.#format.rawSize)] = pack;
  }
}
