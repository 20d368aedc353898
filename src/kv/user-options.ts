/** What programs may say of an operation. */

import type { Oid } from "../gitwire/object/oid.ts";

export interface OpenKvOptions {
  /** The clone or repository: a folder, or one inside it. Default: where the process is. */
  readonly dir?: string;
  /** Instead of a folder: the address of a repository that is read without a clone. Nothing can be written there. */
  readonly url?: string;
  /** Default: git's setting `kv.namespace`, else `main`. */
  readonly ns?: string;
  /** Default: that of the process. Git's variables count. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Ends whatever is under way. */
  readonly signal?: AbortSignal;
  /** What went wrong without making an operation fail. Default: nothing is told. */
  readonly onWarning?: (text: string) => void;
}

export interface CloneKvOptions extends Omit<OpenKvOptions, "dir" | "url"> {
  /** False: nothing is set up for writing. */
  readonly setUp?: boolean;
}

export interface SignalOption {
  /** Ends this operation, which throws the signal's reason. */
  readonly signal?: AbortSignal;
}

/** A state to read: what `--at` of the command line takes. */
export interface AtOption extends SignalOption {
  readonly at?: string;
  /** Which copy is read. Default: git's setting `kv.readFrom`, else what is here. */
  readonly readFrom?: "local" | "mirror" | "stargate";
}

export interface GetOptions extends AtOption {
  /** An expired key is there. */
  readonly allowExpired?: boolean;
}

export interface ReadOptions extends GetOptions {
  /** Only these bytes: `0-99`, `100-`, or `-100` for the last hundred. */
  readonly range?: string;
}

export interface ListOptions extends GetOptions {
  readonly prefix?: string;
  /** Only keys that sort after this one. */
  readonly after?: string;
  readonly limit?: number;
  readonly deleted?: boolean;
  readonly expired?: boolean;
  /** With the metadata of each key that is not deleted. */
  readonly long?: boolean;
}

export interface WriteOptions extends SignalOption {
  /** Subject and body of the commit. */
  readonly message?: string;
  /** The ledger must be at this tree. */
  readonly expectTree?: Oid;
  /** Deletions of keys that are not there are left out. */
  readonly ignoreMissing?: boolean;
}

export interface WatchOptions extends SignalOption {
  readonly prefix?: string;
  /** The number of a transaction, or its ledger commit: what came after it. Default: from now on. */
  readonly since?: number | Oid;
  /** Goes on for ever. */
  readonly follow?: boolean;
}
