/**
 * The library: `import { openKv } from "git-kv"`. A namespace of a repository for programs, with the operations of the command line and
 * the same code below (docs/library.md).
 */

import * as path from "node:path";
import { byteStringToUtf8, utf8ToByteString } from "../bytes.ts";
import { systemClock } from "../clock.ts";
import { KvError } from "../errors.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { openRepository } from "../gitwire/repo.ts";
import { TimeSlice } from "../time-slice.ts";
import { type Moment, momentAt } from "./at.ts";
import { commit } from "./commit.ts";
import { differences } from "./differences.ts";
import { entryFilter } from "./entry-filter.ts";
import { findLive } from "./find-live.ts";
import { historyOf } from "./history.ts";
import { listIndex } from "./index-list.ts";
import { keyText } from "./key.ts";
import { listLedger } from "./ledger-list.ts";
import { logOf } from "./log.ts";
import { FIRST_EPOCH } from "./namespace.ts";
import type { FoundKey } from "./read.ts";
import { stateToRead } from "./read-from.ts";
import { parseTransaction, revert } from "./revert.ts";
import type { NamespaceState } from "./state.ts";
import { isVisible } from "./state-diff.ts";
import { KvValue, readValue } from "./stored-value.ts";
import { tidyUp } from "./tidy.ts";
import { type KvOperation, parseUserKey, toWriteLine } from "./user-operation.ts";
import { type KvChange, type KvRevision, type KvTransaction, revisionOf, transactionOf } from "./user-records.ts";
import { Workspace } from "./workspace.ts";

export interface OpenKvOptions {
  /** The clone or repository: a folder, or one inside it. Default: where the process is. */
  readonly dir?: string;
  /** Default: git's setting `kv.namespace`, else `main`. */
  readonly ns?: string;
  /** Default: that of the process. Git's variables count. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Ends whatever is under way. */
  readonly signal?: AbortSignal;
  /** What went wrong without making an operation fail. Default: nothing is told. */
  readonly onWarning?: (text: string) => void;
}

/** A state to read: what `--at` of the command line takes. */
export interface AtOption {
  readonly at?: string;
}

export interface GetOptions extends AtOption {
  /** An expired key is there. */
  readonly allowExpired?: boolean;
}

export interface ListOptions extends GetOptions {
  readonly prefix?: string;
  /** Only keys that sort after this one. */
  readonly after?: string;
  readonly limit?: number;
  readonly deleted?: boolean;
  readonly expired?: boolean;
}

/** One key of a listing. */
export interface KvEntry {
  readonly key: string;
  readonly expires: Date | undefined;
  readonly deleted: boolean;
}

export interface WriteOptions {
  /** Subject and body of the commit. */
  readonly message?: string;
  /** The ledger must be at this tree. */
  readonly expectTree?: Oid;
  /** Deletions of keys that are not there are left out. */
  readonly ignoreMissing?: boolean;
}

/** What came of a write. */
export interface Written {
  /** The ledger commit: the new one, or the one there is where nothing changed. */
  readonly oid: Oid;
  readonly seq: number;
  readonly tree: Oid;
  readonly changed: boolean;
  /** Undefined where nothing changed. */
  readonly txn: string | undefined;
}

/** Opens a namespace. Throws NOT_A_REPOSITORY, NS_INVALID, CONFIG. */
export function openKv(options: OpenKvOptions = {}): Kv {
  return new Kv(options);
}

/** A namespace of a repository. Reading is local unless a value's pieces must be fetched; errors are KvErrors with a `code`. */
export class Kv {
  readonly #workspace: Workspace;

  constructor({ dir = ".", ns, env = process.env, signal = NEVER, onWarning = NOTHING }: OpenKvOptions) {
    const repo = openRepository(path.resolve(dir), env);
    this.#workspace = new Workspace(repo, ns, { env, clock: systemClock, signal, progress: NOTHING, warn: onWarning });
  }

  /** Makes the namespace. Throws CAS_CONFLICT where it is there. */
  async init(epoch: string = FIRST_EPOCH): Promise<Written> {
    return written(await commit(this.#workspace, { create: { epoch } }, () => {}));
  }

  /** The newest state known here. Throws NS_NOT_FOUND. */
  state(): {
    readonly oid: Oid;
    readonly seq: number;
    readonly tree: Oid;
    readonly txn: string;
    readonly epoch: string;
  } {
    const { oid, seq, tree, txn, epoch } = this.#workspace.requireState().ledger;
    return { oid, seq, tree, txn, epoch };
  }

  /** The value of `key`, whole; undefined where it is not there or has expired. */
  async get(key: string, options: GetOptions = {}): Promise<KvValue | undefined> {
    const found = await this.#find(key, options);
    return found === undefined ? undefined : KvValue.read(this.#workspace, found);
  }

  /** As {@link get} for large values: `use` is given the bytes in order; they are good until it returns. False where there is no value. */
  async read(key: string, use: (bytes: Uint8Array) => void, options: GetOptions = {}): Promise<boolean> {
    const found = await this.#find(key, options);
    if (found === undefined) return false;
    await readValue(this.#workspace, found, use);
    return true;
  }

  async #find(key: string, { at, allowExpired = false }: GetOptions): Promise<FoundKey | undefined> {
    const { state, now } = await this.#moment(at);
    try {
      return await findLive(this.#workspace, state, parseUserKey(key), { moment: now, allowExpired });
    } catch (error) {
      if (error instanceof KvError && (error.code === "KEY_NOT_FOUND" || error.code === "KEY_EXPIRED"))
        return undefined;
      throw error;
    }
  }

  /** Keys in byte order. */
  async *list(options: ListOptions = {}): AsyncGenerator<KvEntry> {
    const {
      prefix = "",
      after,
      limit = Number.POSITIVE_INFINITY,
      deleted = false,
      expired = false,
      allowExpired = false,
    } = options;
    const { state, now } = await this.#moment(options.at);
    const { objects } = this.#workspace.repo;
    const range = { prefix: utf8ToByteString(prefix), ...(after !== undefined && { after: parseUserKey(after) }) };
    const shows = entryFilter(this.#workspace, state, { deleted, expired, allowExpired, moment: now });
    const root = state.ledger.indexTree;
    let count = 0;
    for (const entry of objects.has(root) ? listIndex(objects, root, range) : listLedger(objects, state.meta, range)) {
      if (count >= limit) return;
      if (!(await shows(entry))) continue;
      count++;
      const { key, state: is } = entry;
      const expires = is.kind === "live" && is.expires !== undefined ? new Date(is.expires * 1000) : undefined;
      yield { key: keyText(key), expires, deleted: is.kind === "deleted" };
    }
  }

  /** Sets one key. */
  async set(
    key: string,
    value: string | Uint8Array,
    options: Omit<KvOperation & { op: "set" }, "op" | "key" | "value"> & WriteOptions = {},
  ): Promise<Written> {
    return this.write([{ ...options, op: "set", key, value }], options);
  }

  /** Deletes keys. Throws KEY_NOT_FOUND where one is not there, unless that is to be ignored. */
  async del(keys: string | readonly string[], options: WriteOptions = {}): Promise<Written> {
    return this.write(
      [keys].flat().map((key) => ({ op: "del", key })),
      options,
    );
  }

  /** All operations in one transaction, or none. Throws CAS_CONFLICT where a condition does not hold. */
  async write(operations: readonly KvOperation[], options: WriteOptions = {}): Promise<Written> {
    const { format } = this.#workspace.repo;
    const lines = operations.map((operation) => toWriteLine(operation, format, this.#workspace.now()));
    const { message, expectTree, ignoreMissing = false } = options;
    const outcome = await commit(this.#workspace, { message, expectTree, ignoreMissing }, async (use) => {
      for (const line of lines) await use(line);
    });
    await tidyUp(this.#workspace);
    return written(outcome);
  }

  /** The revisions of `key`, newest first; with `epochs` in earlier epochs too. */
  async *history(key: string, { epochs = false }: { readonly epochs?: boolean } = {}): AsyncGenerator<KvRevision> {
    const tip = await stateToRead(this.#workspace);
    for await (const revision of historyOf(this.#workspace, tip, parseUserKey(key), { epochs })) {
      yield await revisionOf(this.#workspace, revision);
    }
  }

  /** The transactions, newest first. */
  async *log({ at, prefix }: AtOption & { readonly prefix?: string } = {}): AsyncGenerator<KvTransaction> {
    const { state } = await this.#moment(at);
    const options = { prefix: prefix === undefined ? undefined : utf8ToByteString(prefix), changes: false };
    const slice = new TimeSlice(1);
    for (const found of logOf(this.#workspace.repo.objects, state, options)) {
      if (slice.isOver()) await slice.pause(this.#workspace.around.signal);
      if (found !== undefined) yield await transactionOf(this.#workspace, found.ledger);
    }
  }

  /** The keys in which two states differ, in byte order; `b` is the newest by default. */
  async diff(a: string, b?: string, { prefix = "" }: { readonly prefix?: string } = {}): Promise<KvChange[]> {
    const newest = await stateToRead(this.#workspace);
    const [before, after] = [await this.#momentIn(newest, a), await this.#momentIn(newest, b)];
    const found = await differences(this.#workspace, newest, [before.state, after.state], utf8ToByteString(prefix));
    return found.filter(isVisible).map(({ key, before: old, after: now }) => {
      const op = old === undefined ? "add" : now === undefined ? "del" : "change";
      return { op, key: byteStringToUtf8(key) ?? key, before: old?.meta, after: now?.meta };
    });
  }

  /** Takes a transaction (its KV-Txn, commit or number) back in a new one. Throws CAS_CONFLICT where a key has changed since. */
  async revert(txn: string, { message, expectTree }: WriteOptions = {}): Promise<Written> {
    const at = parseTransaction(txn, this.#workspace.repo.format, this.#workspace.now());
    return written(await revert(this.#workspace, at, { message, expectTree }));
  }

  /** Brings the newest state here from the mirror. Throws NETWORK and so on. */
  async fetch(): Promise<void> {
    const { fetchMirror } = await import("./fetch.ts");
    await fetchMirror(this.#workspace);
  }

  /** Every key that changes from now on, or after the transaction `since`; ends when what is known is told, unless `follow`. */
  async *watch(
    options: { readonly prefix?: string; readonly since?: number; readonly follow?: boolean } = {},
  ): AsyncGenerator<{
    readonly seq: number;
    readonly op: "set" | "del";
    readonly key: string;
    readonly rev: number;
  }> {
    const { watch } = await import("./watch.ts");
    const { prefix = "", since, follow = false } = options;
    for await (const { state, changes } of watch(this.#workspace, {
      prefix: utf8ToByteString(prefix),
      since,
      follow,
    })) {
      for (const { key, rev, meta } of changes) {
        yield { seq: state.ledger.seq, op: meta === undefined ? "del" : "set", key: keyText(key), rev };
      }
    }
  }

  /** Returns when the mirror shows the ledger commit `oid`. Throws MIRROR_TIMEOUT after `timeout` milliseconds. */
  async wait(oid: Oid, timeout = 60_000): Promise<void> {
    const { waitForMirror } = await import("./wait.ts");
    await waitForMirror(this.#workspace, oid, timeout);
  }

  /** Closes the repository's files. */
  close(): void {
    this.#workspace.repo.close();
  }

  /** The state `at` means, and the moment of it; the newest state and now without. */
  async #moment(at: string | undefined): Promise<MomentOrNow> {
    return this.#momentIn(await stateToRead(this.#workspace), at);
  }

  async #momentIn(newest: NamespaceState, at: string | undefined): Promise<MomentOrNow> {
    return at === undefined ? { state: newest, now: undefined } : momentAt(this.#workspace, newest, at);
  }
}

/** `now` undefined: whenever it is asked for. */
interface MomentOrNow {
  readonly state: NamespaceState;
  readonly now: Moment["now"] | undefined;
}

const NEVER = new AbortController().signal;
const NOTHING = (): void => {};

function written(outcome: Awaited<ReturnType<typeof commit>>): Written {
  if (outcome.kind === "unchanged") {
    const { oid, seq, tree } = outcome.state.ledger;
    return { oid, seq, tree, changed: false, txn: undefined };
  }
  const { ledger: oid, seq, tree, txn } = outcome;
  return { oid, seq, tree, changed: true, txn };
}

export type { KvOperation } from "./user-operation.ts";
export type { KvChange, KvRevision, KvTransaction } from "./user-records.ts";
export type { KvValue };
export { KvError };
