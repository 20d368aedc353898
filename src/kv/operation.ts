/** The operations of a transaction, ready to be planned: keys checked, values already written as blobs. */

import type { Oid } from "../gitwire/object/oid.ts";
import type { Key } from "./key.ts";
import type { Labels, ValueType } from "./record.ts";

/** What must be true of a key before the transaction; otherwise it is a CAS_CONFLICT. */
export type Condition =
  | { readonly kind: "absent" }
  | { readonly kind: "present" }
  | { readonly kind: "blob"; readonly oid: Oid }
  | { readonly kind: "rev"; readonly rev: number };

/** A value as it is stored. */
export interface StoredValue {
  readonly type: ValueType;
  /** The data blob, or the manifest blob of a chunked value. */
  readonly oid: Oid;
  /** Bytes of the whole value. */
  readonly size: number;
  readonly etag: string;
  readonly ctype: string;
}

interface Target {
  readonly key: Key;
  /** What the key's files begin with (see keyName), where that is known already. */
  readonly name?: string;
}

/** Sets a key. */
export interface SetOperation extends Target {
  readonly kind: "set";
  readonly value: StoredValue;
  /** Unix seconds. */
  readonly expires: number | undefined;
  readonly labels: Labels | undefined;
  readonly condition?: Condition | undefined;
  /** A key that is there is left as it is. */
  readonly keep?: boolean | undefined;
}

/** Deletes a key. */
export interface DelOperation extends Target {
  readonly kind: "del";
  /** A key that is not there is left alone instead of being an error. */
  readonly ignoreMissing: boolean;
  readonly condition?: Condition | undefined;
}

/** Changes nothing, demands a condition. */
export interface CheckOperation extends Target {
  readonly kind: "check";
  readonly condition: Condition;
}

export type Operation = SetOperation | DelOperation | CheckOperation;

/** What became of one key. */
export interface KeyChange {
  readonly key: Key;
  readonly kind: "set" | "del";
  readonly rev: number;
  /** The value of a set, and the blob of its metadata. */
  readonly value: StoredValue | undefined;
  readonly meta: Oid | undefined;
  /** How the value was stored before, where it was live. */
  readonly before: ValueType | undefined;
}
