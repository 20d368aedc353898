/**
 * The audit of a namespace's ledger (docs/verify.md): every transaction from the first one, or from a state that is trusted, to
 * the tip is checked again from the objects of this repository alone, by the code that admits transactions.
 *
 * The ledger and its kv-index are walked back once, keeping only ids, and then judged forward, one transaction at a time. What
 * is wrong with one is told as it is found, and the walk goes on from what the ledger holds: each transaction is judged by
 * the one before it.
 */

import { type Code, KvError, toKvError } from "../errors.ts";
import { commitLinks } from "../gitwire/object/commit.ts";
import { objectFault } from "../gitwire/object/fsck.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { TimeSlice } from "../time-slice.ts";
import { type LedgerCommit, parseLedgerCommit } from "./attestation.ts";
import type { EpochStart } from "./audit-refs.ts";
import { type Claim, checkAttestation } from "./check-attestation.ts";
import { checkEpochStart, replayEpoch } from "./check-epoch.ts";
import { ChunkAudit, type ChunkStep, type ChunkStore } from "./chunk-audit.ts";
import type { ContentRules } from "./content-rules.ts";
import type { EtagHasher } from "./etag.ts";
import type { ClosedEpoch } from "./ledger-line.ts";
import { OidList } from "./oid-list.ts";
import type { NamespacePolicy } from "./policy.ts";
import type { ReplayLimits } from "./replay.ts";
import { outcomeError, replayJob } from "./replay-job.ts";
import { replayLimits } from "./replay-limits.ts";
import { type Replay, ReplayPool, type ReplayThreads } from "./replay-pool.ts";
import { type NamespaceState, stateAt } from "./state.ts";
import { TxnList } from "./txn-list.ts";
import { checkEpochAlone, verifyKeys } from "./verify-epoch.ts";

/** Something that is not as it must be. */
export interface Finding {
  /** undefined: it is about the policy. */
  readonly ns: string | undefined;
  /** KV-Seq, where the commit could be read. */
  readonly seq: number | undefined;
  readonly oid: Oid;
  readonly code: Code;
  readonly message: string;
}

/** What a ledger commit is held to, by the policy it names. */
export interface Judgement {
  readonly rules: NamespacePolicy;
  /** Who signed it, for the summary; undefined: nobody. */
  readonly signer: { readonly fingerprint: string; readonly prefixes: ContentRules["signer"] } | undefined;
  /** What is wrong with its policy or its signature. */
  readonly problems: readonly KvError[];
}

/** Judges policy and signature of the commits of one ledger, given to it in their order. */
export type Judge = (commit: LedgerCommit, data: Buffer) => Promise<Judgement>;

export interface VerifyOptions {
  readonly ns: string;
  readonly tip: NamespaceState;
  /** A ledger commit that is trusted, and with it all before it. */
  readonly since?: Oid | undefined;
  readonly etagOf: EtagHasher;
  readonly judge: Judge;
  readonly chunks: ChunkStore;
  /** What other threads may do; undefined: this one does all by itself. */
  readonly threads?: ReplayThreads | undefined;
  /** The last kv-index commit of a closed epoch whose archive is here; undefined: the audit begins after that epoch. */
  readonly archive?: (closed: ClosedEpoch) => Promise<Oid | undefined>;
  readonly signal: AbortSignal;
  readonly found: (finding: Finding) => void;
  /** Told how many transactions are done, and how many objects helpers have read so far. */
  readonly progress: (done: number, total: number, objects: number) => void;
}

/** What was looked at. */
export interface VerifySummary {
  readonly ns: string;
  readonly tip: Oid;
  readonly seq: number;
  /** The number of the first transaction that was looked at, and the epoch before it, where one was closed and is not here. */
  readonly firstSeq: number;
  readonly epochBefore: string | undefined;
  /** Starts of epochs that were passed, the newest first. */
  readonly starts: readonly EpochStart[];
  readonly transactions: number;
  readonly signed: number;
  readonly keysSet: number;
  readonly keysDel: number;
  /** New values in pieces, and those of them whose pieces are not here and were not looked at. */
  readonly chunked: number;
  readonly chunkedUnread: number;
  /** Transactions by the fingerprint of who signed them. */
  readonly signers: ReadonlyMap<string, number>;
}

/** Audits. Throws INPUT_INVALID where `since` is not in the ledger, and what the signal is aborted with. */
export async function verifyLedger(objects: ObjectSource, options: VerifyOptions): Promise<VerifySummary> {
  const pool = new ReplayPool(objects, options.etagOf, options.threads);
  try {
    const audit = new LedgerAudit(objects, pool, options);
    await audit.run();
    return audit.summary();
  } finally {
    await pool.close();
  }
}

/** A transaction that is judged but for its replay, which may be under way elsewhere. */
interface Judged {
  readonly oid: Oid;
  readonly seq: number | undefined;
  /** What is wrong with it so far. */
  readonly problems: Problem[];
  /** Undefined where it could not be read. */
  readonly replay?: { readonly is: Replay; readonly limits: ReplayLimits; readonly step: ChunkStep };
}

type Problem = readonly [oid: Oid, seq: number | undefined, error: KvError];

/** Transactions that may wait for their replay: then the loop waits for the first of them. */
const MOST_WAITING = 4_096;

class LedgerAudit {
  readonly #objects: ObjectSource;
  readonly #pool: ReplayPool;
  readonly #options: VerifyOptions;
  /** In their order. */
  readonly #waiting: Judged[] = [];
  /** Where problems go while a transaction is judged. */
  #problems: Problem[] | undefined;
  readonly #txns = new TxnList();
  readonly #chunks: ChunkAudit;
  readonly #signers = new Map<string, number>();
  /** The first commits of later epochs, by their place in the ledger's chain: what each follows. */
  readonly #starts = new Map<number, EpochStart>();
  #firstSeq = 0;
  #transactions = 0;
  #signed = 0;
  #keysSet = 0;
  #keysDel = 0;

  constructor(objects: ObjectSource, pool: ReplayPool, options: VerifyOptions) {
    this.#objects = objects;
    this.#pool = pool;
    this.#options = options;
    const { chunks: store, since, signal } = options;
    const found = (oid: Oid, error: KvError): void => this.#found(oid, undefined, error);
    this.#chunks = new ChunkAudit(objects, { store, since, signal, found });
  }

  async run(): Promise<void> {
    const { tip, since, signal, progress } = this.#options;
    // A look at the clock for each: a transaction may change a hundred thousand keys.
    const slice = new TimeSlice(1);
    if (since === undefined) this.#pool.expect(tip.ledger.seq);
    const ledger = await this.#chain(tip.ledger.oid, since, slice);
    if (since !== undefined && ledger.at(-1) !== since) {
      throw new KvError("INPUT_INVALID", `${since} is not in the ledger of '${tip.ns}'`);
    }
    const trusted = since === undefined ? 0 : 1;
    this.#firstSeq = tip.ledger.seq - ledger.length + 1 + trusted;
    const index = await this.#indexChain(ledger.length, slice);
    let base = trusted === 0 ? undefined : stateAt(this.#objects, ledger.at(-1)!, index.at(ledger.length - 1));
    const total = ledger.length - trusted;
    const tell = (): void => progress(this.#transactions - this.#waiting.length, total, this.#pool.objectsRead);
    this.#pool.onRead = tell;
    for (let at = total - 1; at >= 0; at--) {
      base = await this.#transaction(base, ledger.at(at)!, index.at(at));
      if (slice.isOver()) {
        tell();
        await slice.pause(signal);
      }
      await this.#finish(MOST_WAITING);
    }
    this.#pool.flush();
    await this.#finish(0);
    this.#chunks.finish();
    for (const { at, first } of this.#txns.repeated()) {
      const oid = ledger.at(total - 1 - at)!;
      const other = ledger.at(total - 1 - first)!;
      this.#found(oid, undefined, new KvError("ATTESTATION_MISMATCH", `its KV-Txn is that of ${other} too`));
    }
  }

  summary(): VerifySummary {
    const { ns, tip } = this.#options;
    return {
      ns,
      tip: tip.ledger.oid,
      seq: tip.ledger.seq,
      firstSeq: this.#firstSeq,
      epochBefore: this.#cut?.label,
      starts: [...this.#starts.values()],
      transactions: this.#transactions,
      signed: this.#signed,
      keysSet: this.#keysSet,
      keysDel: this.#keysDel,
      chunked: this.#chunks.values,
      chunkedUnread: this.#chunks.unread,
      signers: this.#signers,
    };
  }

  /** Commits from `tip` back to the first one, or to `stop`, the newest first. */
  async #chain(tip: Oid, stop: Oid | undefined, slice: TimeSlice): Promise<OidList> {
    const chain = new OidList(this.#objects.format);
    for (let at: Oid | undefined = tip; at !== undefined; ) {
      chain.push(at);
      if (at === stop) break;
      at = await this.#before(at, chain.length - 1);
      if (slice.isOver()) await slice.pause(this.#options.signal);
    }
    return chain;
  }

  /** The commit before the one at `place` of the chain, in the archive of a closed epoch too where that is here. */
  async #before(oid: Oid, place: number): Promise<Oid | undefined> {
    const parent = this.#parent(oid);
    const closed = parent === undefined ? this.#closedBefore(oid) : undefined;
    if (closed === undefined) return parent;
    const index = await this.#options.archive?.(closed);
    this.#starts.set(place, { root: oid, closed, index });
    return index === undefined ? undefined : closed.ledger;
  }

  /** What the first commit of an epoch follows. What is wrong with it is found when it is judged. */
  #closedBefore(oid: Oid): ClosedEpoch | undefined {
    const object = this.#objects.read(oid);
    if (object?.kind !== "commit") return undefined;
    try {
      return parseLedgerCommit(this.#objects.format, oid, object.data).parentEpoch;
    } catch (error) {
      if (error instanceof KvError) return undefined;
      throw error;
    }
  }

  /** The epoch that was closed before the first transaction that is looked at, and is not here. */
  get #cut(): ClosedEpoch | undefined {
    return [...this.#starts.values()].find(({ index }) => index === undefined)?.closed;
  }

  /** As many kv-index commits, from the tip back, and those of closed epochs from their archives; fewer where there are no more. */
  async #indexChain(length: number, slice: TimeSlice): Promise<OidList> {
    const { tip, since } = this.#options;
    const chain = new OidList(this.#objects.format);
    let at = tip.index;
    let isEarly = false;
    while (at !== undefined && chain.length < length) {
      const start = this.#starts.get(chain.length);
      chain.push(at);
      const before = this.#parent(at);
      isEarly ||= start !== undefined && before !== undefined;
      at = start === undefined ? before : start.index;
      if (slice.isOver()) await slice.pause(this.#options.signal);
    }
    if (isEarly || chain.length < length || (at !== undefined && since === undefined)) {
      const count = at === undefined ? chain.length : `more than ${length}`;
      const text = `the ledger has ${length} commits, its kv-index ${count}`;
      this.#found(tip.index ?? tip.ledger.oid, undefined, new KvError("ATTESTATION_MISMATCH", text));
    }
    return chain;
  }

  #parent(oid: Oid): Oid | undefined {
    try {
      return commitLinks(this.#objects.format, readAs(this.#objects, oid, "commit")).parents[0];
    } catch (error) {
      this.#found(oid, undefined, toKvError(error));
      return undefined;
    }
  }

  /** Judges one transaction but for its replay; returns the state it led to, or the one before where it cannot be read. */
  async #transaction(
    base: NamespaceState | undefined,
    oid: Oid,
    index: Oid | undefined,
  ): Promise<NamespaceState | undefined> {
    this.#transactions++;
    const problems: Problem[] = [];
    this.#problems = problems;
    let data: Buffer;
    let next: NamespaceState;
    try {
      data = readAs(this.#objects, oid, "commit");
      next = stateAt(this.#objects, oid, index);
    } catch (error) {
      this.#found(oid, undefined, toKvError(error));
      this.#waiting.push({ oid, seq: undefined, problems });
      this.#problems = undefined;
      return base;
    }
    const replay = await this.#judge(base, next, data);
    this.#waiting.push({ oid, seq: next.ledger.seq, problems, ...(replay && { replay }) });
    this.#problems = undefined;
    return next;
  }

  async #judge(base: NamespaceState | undefined, next: NamespaceState, data: Buffer): Promise<Judged["replay"]> {
    const { ledger } = next;
    this.#txns.push(ledger.txn);
    this.#keysSet += ledger.keysSet;
    this.#keysDel += ledger.keysDel;
    const fail = (error: unknown): void => this.#found(ledger.oid, ledger.seq, toKvError(error));
    const { chunks, step } = await this.#chunks.claim(ledger);
    this.#attestation(base, next, data, chunks, fail);
    const { rules, signer, problems } = await this.#options.judge(ledger, data);
    problems.forEach(fail);
    if (signer !== undefined) {
      this.#signed++;
      this.#signers.set(signer.fingerprint, (this.#signers.get(signer.fingerprint) ?? 0) + 1);
    }
    if (ledger.parentEpoch !== undefined) {
      await this.#epochStart(base, next, fail);
      return undefined;
    }
    const limits = replayLimits(rules, signer?.prefixes);
    return { is: this.#pool.replay(replayJob(base, next, limits)), limits, step };
  }

  /** Makes the trees an epoch begins with again; by themselves where what it follows is not here. */
  async #epochStart(
    base: NamespaceState | undefined,
    next: NamespaceState,
    fail: (error: unknown) => void,
  ): Promise<void> {
    const { etagOf, signal } = this.#options;
    try {
      if (base === undefined) await verifyKeys(this.#objects, next, etagOf, signal);
      else await replayEpoch(this.#objects, base, next, { signal });
    } catch (error) {
      signal.throwIfAborted();
      fail(error);
    }
  }

  /** Tells what is wrong with the first transactions: those that are replayed, and waits where more than `most` are left. */
  async #finish(most: number): Promise<void> {
    const { ns, signal, found } = this.#options;
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const { oid, seq, problems, replay } = first;
      if (this.#waiting.length <= most && replay !== undefined && replay.is.outcome === undefined) return;
      this.#problems = problems;
      if (replay !== undefined) {
        const outcome = await replay.is.wait(signal);
        signal.throwIfAborted();
        try {
          if (outcome.kind === "wrong") throw outcomeError(outcome);
          await this.#chunks.replay(replay.step, outcome.manifests, replay.limits);
        } catch (error) {
          this.#found(oid, seq, toKvError(error));
        }
      }
      this.#problems = undefined;
      for (const [of, at, { code, message }] of problems) found({ ns, seq: at, oid: of, code, message });
      this.#waiting.shift();
    }
  }

  #attestation(
    base: NamespaceState | undefined,
    next: NamespaceState,
    data: Buffer,
    chunks: Claim["chunks"],
    fail: (error: unknown) => void,
  ): void {
    const objects = this.#objects;
    const { ledger, index } = next;
    try {
      if (index === undefined) throw new KvError("ATTESTATION_MISSING", "it has no kv-index commit");
      const policy = ledger.policy;
      const claim = { ns: this.#options.ns, ledger: ledger.oid, index, policy };
      const { ns } = claim;
      if (ledger.parentEpoch === undefined) checkAttestation(objects, { ...claim, commit: ledger, base, chunks });
      else if (base === undefined) checkEpochAlone(objects, ns, next);
      else {
        const first = typeof chunks === "object" ? chunks.commit : chunks;
        checkEpochStart(objects, { ...claim, base, chunks: first });
      }
      const others = typeof chunks === "object" ? [index, chunks.commit] : [index];
      for (const commit of [data, ...others.map((oid) => readAs(objects, oid, "commit"))]) {
        const fault = objectFault(objects.format, "commit", commit);
        if (fault !== undefined) throw new KvError("BAD_OBJECT", `git would refuse the commit: ${fault}`);
      }
    } catch (error) {
      fail(error);
    }
  }

  #found(oid: Oid, seq: number | undefined, error: KvError): void {
    const { code, message } = error;
    // Not what the ledger says, but that it could not be looked at.
    if (code === "BUG" || code === "IO" || code === "STORAGE") throw error;
    if (this.#problems !== undefined) this.#problems.push([oid, seq, error]);
    else this.#options.found({ ns: this.#options.ns, seq, oid, code, message });
  }
}
