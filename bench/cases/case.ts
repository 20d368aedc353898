/** What a case is given, and what it gives back. */

import type { Etcd } from "../etcd.ts";
import type { Scratch } from "../scratch.ts";
import type { Stores } from "../stores.ts";
import type { Row } from "../table.ts";

export interface Setting {
  readonly scratch: Scratch;
  readonly stores: Stores;
  /** Keys in the stores. */
  readonly keys: number;
  /** How often short things (under a second) and long ones are repeated. */
  readonly runs: { readonly short: number; readonly middle: number; readonly long: number };
  /** The etcd with the first keys in it; undefined where it is not installed. */
  etcd(): Promise<Etcd | undefined>;
}

export type Case = (setting: Setting) => Promise<Row[]>;
