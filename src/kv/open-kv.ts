/**
 * The library: `import { openKv } from "git-kv"`. A namespace of a repository for programs, with the operations of the command line and
 * the same code below (docs/library.md).
 */

import { byteStringToUtf8 } from "../bytes.ts";
import { systemClock } from "../clock.ts";
import { KvError } from "../errors.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { TimeSlice } from "../time-slice.ts";
import { commit } from "./commit.ts";
import { differences } from "./differences.ts";
import type { Diagnosis } from "./doctor.ts";
import { historyOf } from "./history.ts";
import { keyText } from "./key.ts";
import { KvPlace } from "./kv-place.ts";
import { logOf } from "./log.ts";
import { FIRST_EPOCH } from "./namespace.ts";
import { stateToRead } from "./read-from.ts";
import { parseTransaction, revert } from "./revert.ts";
import type { Status } from "./stargate-status.ts";
import { isVisible } from "./state-diff.ts";
import { KvValue, readValue, valueStream } from "./stored-value.ts";
import type { SyncMode, SyncReport } from "./sync-report.ts";
import { tidyUp } from "./tidy.ts";
import type {
  AppliedPolicy,
  CompactOptions,
  EpochOptions,
  KvAudit,
  KvEpoch,
  KvNewEpoch,
  KvPolicy,
  KvPolicyProblem,
  VerifyOptions,
} from "./user-admin.ts";
import { find, findOrMiss, momentIn, momentOf } from "./user-find.ts";
import { type KvEntry, listKeys } from "./user-listing.ts";
import {
  demand,
  type KvInput,
  type KvOperation,
  type OpenStreams,
  parseUserKey,
  parseUserOid,
  parseUserPrefix,
  toWriteLine,
} from "./user-operation.ts";
import type {
  AtOption,
  CloneKvOptions,
  ListOptions,
  OpenKvOptions,
  ReadOptions,
  SignalOption,
  WatchOptions,
  WriteOptions,
} from "./user-options.ts";
import {
  type KvChange,
  type KvEvent,
  type KvRevision,
  type KvTransaction,
  revisionOf,
  transactionOf,
} from "./user-records.ts";
import type { ExportOptions, Imported, ImportOptions, KvSource } from "./user-transfer.ts";

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

/** Opens a namespace. Throws NOT_A_REPOSITORY, NS_INVALID, INPUT_INVALID, CONFIG. */
export function openKv(options: OpenKvOptions = {}): Kv {
  return new Kv(options);
}

/** Everything that is wrong with the policy file `text`; nothing where it is sound. */
export async function checkPolicy(text: string): Promise<readonly KvPolicyProblem[]> {
  return (await import("./policy-check.ts")).policyProblems(text);
}

/**
 * Clones the repository at `url` into the folder `dir`, which must be empty or missing, and sets it up to write through the Stargate that its
 * policy names. Throws NETWORK and so on; where only the setting up fails the clone stands.
 */
export async function cloneKv(url: string, dir: string, options: CloneKvOptions = {}): Promise<Kv> {
  const { clone } = await import("./clone.ts");
  const { setUp = true, env = process.env, signal = new AbortController().signal, onWarning = () => {} } = options;
  const around = { env, clock: systemClock, signal, progress: () => {}, warn: onWarning };
  (await clone(url, dir, around)).close();
  const kv = openKv({ ...options, dir });
  if (setUp) await kv.setUp();
  return kv;
}

/** A namespace of a repository. Reading is local unless a value's pieces must be fetched; errors are KvErrors with a `code`. */
export class Kv {
  readonly #place: KvPlace;

  constructor(options: OpenKvOptions) {
    this.#place = new KvPlace(options);
  }

  /** Makes the namespace. Throws CAS_CONFLICT where it is there. */
  async init(epoch: string = FIRST_EPOCH, { signal }: SignalOption = {}): Promise<Written> {
    return written(await commit(this.#place.toWrite(signal), { create: { epoch } }, () => {}));
  }

  /** The newest state known here. Throws NS_NOT_FOUND. */
  state(): {
    readonly oid: Oid;
    readonly seq: number;
    readonly tree: Oid;
    readonly txn: string;
    readonly epoch: string;
  } {
    const { oid, seq, tree, txn, epoch } = this.#place.clone().requireState().ledger;
    return { oid, seq, tree, txn, epoch };
  }

  /** The value of `key`, whole or the range of it; undefined where it is not there or has expired. */
  async get(key: string, options: ReadOptions = {}): Promise<KvValue | undefined> {
    return this.#place.reading(options.signal, async (workspace) => {
      const found = await findOrMiss(workspace, key, options);
      return found === undefined ? undefined : KvValue.read(workspace, found, options.range);
    });
  }

  /**
   * As {@link get} for large values: `use` is given the bytes in order; they are good until it returns, or until what it returns is settled,
   * which is waited for. False where there is no value.
   */
  async read(
    key: string,
    use: (bytes: Uint8Array) => void | Promise<void>,
    options: ReadOptions = {},
  ): Promise<boolean> {
    return this.#place.reading(options.signal, async (workspace) => {
      const found = await findOrMiss(workspace, key, options);
      if (found === undefined) return false;
      await readValue(workspace, found, use, options.range);
      return true;
    });
  }

  /** The bytes of a value, checked, as fast as they are taken. Throws KEY_NOT_FOUND, KEY_EXPIRED. */
  stream(key: string, options: ReadOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    return this.#place.each(options.signal, async function* (workspace) {
      yield* valueStream(workspace, await find(workspace, key, options), options.range);
    });
  }

  /** Keys in byte order. */
  list(options: ListOptions = {}): AsyncGenerator<KvEntry, void, undefined> {
    return this.#place.each(options.signal, async function* (workspace) {
      const { state, now } = await momentOf(workspace, options);
      yield* listKeys(workspace, state, now, options);
    });
  }

  /** Sets one key. */
  async set(
    key: string,
    value: KvInput,
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
    const { message, expectTree, ignoreMissing = false } = options;
    demand(Array.isArray(operations), "the operations are not an array");
    demand(message === undefined || typeof message === "string", "the message is not a string");
    const workspace = this.#place.toWrite(options.signal);
    const streams: OpenStreams = [];
    const now = workspace.now();
    if (expectTree !== undefined) parseUserOid(expectTree, workspace.repo.format);
    const lines = operations.map((operation) => toWriteLine(operation, workspace.repo.format, now, streams));
    try {
      const outcome = await commit(workspace, { message, expectTree, ignoreMissing }, async (use) => {
        for (const line of lines) await use(line);
      });
      await tidyUp(workspace);
      return written(outcome);
    } finally {
      for (const stream of streams) await stream.return();
    }
  }

  /** The revisions of `key`, newest first; with `epochs` in earlier epochs too. */
  history(
    key: string,
    { epochs = false, signal }: SignalOption & { readonly epochs?: boolean } = {},
  ): AsyncGenerator<KvRevision, void, undefined> {
    return this.#place.each(signal, async function* (workspace) {
      const tip = await stateToRead(workspace);
      for await (const revision of historyOf(workspace, tip, parseUserKey(key), { epochs })) {
        yield await revisionOf(workspace, revision);
      }
    });
  }

  /** The transactions, newest first. */
  async *log(options: AtOption & { readonly prefix?: string } = {}): AsyncGenerator<KvTransaction, void, undefined> {
    const workspace = this.#place.clone(options.signal);
    const { state } = await momentOf(workspace, options);
    const prefix = options.prefix === undefined ? undefined : parseUserPrefix(options.prefix);
    const slice = new TimeSlice(1);
    for (const found of logOf(workspace.repo.objects, state, { prefix, changes: false })) {
      if (slice.isOver()) await slice.pause(workspace.around.signal);
      if (found !== undefined) yield await transactionOf(workspace, found.ledger);
    }
  }

  /** The keys in which two states differ, in byte order; `b` is the newest by default. */
  async diff(
    a: string,
    b?: string,
    { prefix = "", signal }: SignalOption & { readonly prefix?: string } = {},
  ): Promise<KvChange[]> {
    const workspace = this.#place.clone(signal);
    const newest = await stateToRead(workspace);
    const [before, after] = [await momentIn(workspace, newest, a), await momentIn(workspace, newest, b)];
    const found = await differences(workspace, newest, [before.state, after.state], parseUserPrefix(prefix));
    return found.filter(isVisible).map(({ key, before: old, after: now }) => {
      const op = old === undefined ? "add" : now === undefined ? "del" : "change";
      return { op, key: byteStringToUtf8(key) ?? key, before: old?.meta, after: now?.meta };
    });
  }

  /** Takes a transaction (its KV-Txn, commit or number) back in a new one. Throws CAS_CONFLICT where a key has changed since. */
  async revert(txn: string, { message, expectTree, signal }: WriteOptions = {}): Promise<Written> {
    const workspace = this.#place.toWrite(signal);
    if (expectTree !== undefined) parseUserOid(expectTree, workspace.repo.format);
    const at = parseTransaction(txn, workspace.repo.format, workspace.now());
    return written(await revert(workspace, at, { message, expectTree }));
  }

  /** Brings the newest state here, from the mirror unless it is said otherwise. Throws NETWORK and so on. */
  async fetch({
    from = "mirror",
    signal,
  }: SignalOption & { readonly from?: "mirror" | "stargate" } = {}): Promise<void> {
    const { fetchAccepted, fetchMirror } = await import("./fetch.ts");
    const workspace = this.#place.clone(signal);
    await (from === "stargate" ? fetchAccepted(workspace) : fetchMirror(workspace));
    await tidyUp(workspace);
    await (await import("./key-changes.ts")).followChanges(workspace);
  }

  /** Every key that changes from now on, or after the transaction `since`; ends when what is known is told, unless `follow`. */
  watch({ prefix = "", since, follow = false, signal }: WatchOptions = {}): AsyncGenerator<KvEvent, void, undefined> {
    return this.#place.each(signal, async function* (workspace) {
      const { parseSince, watch } = await import("./watch.ts");
      const from = since === undefined ? undefined : parseSince(String(since), workspace.repo.format);
      const options = { prefix: parseUserPrefix(prefix), since: from, follow };
      for await (const { state, changes } of watch(workspace, options)) {
        const { seq, oid, txn } = state.ledger;
        for (const { key, rev, meta } of changes) {
          yield { seq, oid, txn, op: meta === undefined ? "del" : "set", key: keyText(key), rev, meta };
        }
      }
    });
  }

  /** Returns when the mirror shows the ledger commit `oid`. Throws MIRROR_TIMEOUT after `timeout` milliseconds. */
  async wait(oid: Oid, timeout = 60_000, { signal }: SignalOption = {}): Promise<void> {
    const { waitForMirror } = await import("./wait.ts");
    await this.#place.reading(signal, (workspace) => {
      return waitForMirror(workspace, parseUserOid(oid, workspace.repo.format), timeout);
    });
  }

  /** A snapshot as text, in portions. Throws INPUT_INVALID where the format cannot hold a key or a value. */
  async *export(options: ExportOptions = {}): AsyncGenerator<string, void, undefined> {
    const { exportText } = await import("./user-transfer.ts");
    const workspace = this.#place.clone(options.signal);
    const { state, now } = await momentOf(workspace, options);
    yield* exportText(workspace, state, now, options);
  }

  /** Sets the keys of a snapshot or a dump, gzipped or not. Throws INPUT_INVALID with all that is wrong with it; nothing is written then. */
  async import(source: KvSource, options: ImportOptions = {}): Promise<Imported> {
    const { importFrom } = await import("./user-transfer.ts");
    return importFrom(this.#place.toWrite(options.signal), source, options);
  }

  /** Checks signatures, attestations and replay of the ledger. */
  async verify(options: VerifyOptions = {}): Promise<KvAudit> {
    const { auditOf } = await import("./user-admin.ts");
    return auditOf(this.#place.clone(options.signal), options);
  }

  /** The epochs, newest first; with `fetch` also those whose archives are not here. */
  async *epochs({
    fetch = false,
    signal,
  }: SignalOption & { readonly fetch?: boolean } = {}): AsyncGenerator<KvEpoch, void, undefined> {
    const { epochList } = await import("./user-admin.ts");
    yield* epochList(this.#place.clone(signal), fetch);
  }

  /** Begins a new epoch. Throws INPUT_INVALID for a label that was used. */
  async newEpoch(label: string, options: EpochOptions = {}): Promise<KvNewEpoch> {
    const { newEpoch } = await import("./user-admin.ts");
    return newEpoch(this.#place.toWrite(options.signal), label, options);
  }

  /** Leaves expired keys and tombstones behind in a new epoch, where there are any. */
  async compact(options: CompactOptions = {}): Promise<KvNewEpoch> {
    const { compact } = await import("./user-admin.ts");
    return compact(this.#place.toWrite(options.signal), options);
  }

  /** The policy in force as far as this clone knows; undefined where there is none. */
  async policy(): Promise<KvPolicy | undefined> {
    const { currentPolicy } = await import("./user-admin.ts");
    return currentPolicy(this.#place.clone());
  }

  /** Brings a policy into force (admin). Throws INPUT_INVALID with all that is wrong with it. */
  async applyPolicy(text: string, options: EpochOptions = {}): Promise<AppliedPolicy> {
    const { apply } = await import("./user-admin.ts");
    return apply(this.#place.toWrite(options.signal), text, options);
  }

  /** Makes this clone write through the Stargate that its policy names. Throws CONFIG where it names none. */
  async setUp({ signal }: SignalOption = {}): Promise<void> {
    const { setUpClone } = await import("./setup.ts");
    await setUpClone(this.#place.clone(signal));
  }

  /** What `git kv doctor` finds, check by check. */
  async *doctor({
    offline = false,
    signal,
  }: SignalOption & { readonly offline?: boolean } = {}): AsyncGenerator<Diagnosis, void, undefined> {
    const { diagnose } = await import("./doctor.ts");
    yield* diagnose(this.#place.clone(signal), { offline });
  }

  /** How the Stargate behind the push URL stands. */
  async stargateStatus({ signal }: SignalOption = {}): Promise<Status> {
    return (await import("./ask-stargate.ts")).askStatus(this.#place.clone(signal));
  }

  /** Lets the Stargate show how its mirror stands, or bring it in order. */
  async stargateSync(
    mode: SyncMode = "dry-run",
    { ns, signal }: SignalOption & { readonly ns?: string } = {},
  ): Promise<SyncReport> {
    return (await import("./ask-stargate.ts")).askSync(this.#place.clone(signal), { mode, ns });
  }

  /** Closes the repository's files. What is under way goes on; its signal ends it. */
  close(): void {
    this.#place.close();
  }
}

function written(outcome: Awaited<ReturnType<typeof commit>>): Written {
  if (outcome.kind === "unchanged") {
    const { oid, seq, tree } = outcome.state.ledger;
    return { oid, seq, tree, changed: false, txn: undefined };
  }
  const { ledger: oid, seq, tree, txn } = outcome;
  return { oid, seq, tree, changed: true, txn };
}

export type { Diagnosis } from "./doctor.ts";
export type { Labels, Metadata } from "./record.ts";
export type { SignatureReport, SignatureState } from "./signature-report.ts";
export type { Status } from "./stargate-status.ts";
export type { SyncMode, SyncReport } from "./sync-report.ts";
export type * from "./user-admin.ts";
export type { KvEntry } from "./user-listing.ts";
export type { KvCondition, KvInput, KvOperation } from "./user-operation.ts";
export type * from "./user-options.ts";
export type { KvChange, KvEvent, KvRevision, KvTransaction } from "./user-records.ts";
export type { ExportOptions, Imported, ImportOptions, KvFormat, KvSource } from "./user-transfer.ts";
export type { KvValue };
export { KvError };
