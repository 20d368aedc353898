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
  #table: OidTable;
  /** By number of the id in the table: the newest pack that has it. */
  #owners: Pack[] = [];
  /** Whether the table names packs that are no longer among these. */
  #isStale = false;

  constructor(format: ObjectFormat) {
    this.#format = format;
    this.#table = new OidTable(format);
  }

  add(pack: Pack): void {
    this.#packs.add(pack);
    if (!this.#isStale) this.#enter(pack);
  }

  delete(pack: Pack): void {
    if (this.#packs.delete(pack)) this.#isStale = true;
  }

  clear(): void {
    this.#packs.clear();
    this.#isStale = true;
  }

  has(pack: Pack): boolean {
    return this.#packs.has(pack);
  }

  /** The newest of the packs with the raw id at `oid[at]`, or undefined. */
  find(oid: Buffer, at: number): Pack | undefined {
    if (this.#isStale) this.#enterAll();
    const number = this.#table.indexOfRaw(oid, at);
    return number < 0 ? undefined : this.#owners[number];
  }

  #enterAll(): void {
    this.#table = new OidTable(this.#format);
    this.#owners = [];
    this.#isStale = false;
    for (const pack of this.#packs) this.#enter(pack);
  }

  #enter(pack: Pack): void {
    const ids = pack.index.loadIds();
    for (let i = 0; i < pack.count; i++) this.#owners[this.#table.addRaw(ids, i * this.#format.rawSize)] = pack;
  }
}
