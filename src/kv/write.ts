/**
 * Writes a transaction: plans it on the newest state known, offers it to whoever decides, and plans again where the state
 * has moved meanwhile. set, del, mset, cas and init all come through here.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { KvError, toKvError } from "../errors.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { FinishedPack, PackBuilder, PackMark } from "../gitwire/pack/pack-builder.ts";
import type { BaseSource } from "../gitwire/pack/thin-bases.ts";
import { LIMITS } from "../limits.ts";
import { inSlices, TimeSlice } from "../time-slice.ts";
import type { LedgerCommit } from "./attestation.ts";
import type { ChunkFile, KnownChunks } from "./chunk-tree.ts";
import type { MetaHelper } from "./meta-helper.ts";
import { FIRST_EPOCH } from "./namespace.ts";
import type { KeyChange, Operation } from "./operation.ts";
import { type CommitSigner, needsSignature } from "./signing.ts";
import type { NamespaceState } from "./state.ts";
import {
  type DraftTransaction,
  draftInSteps,
  type Plan,
  type PlannedTransaction,
  type TransactionInput,
} from "./transaction.ts";
import { newUlid } from "./ulid.ts";
import type { Workspace } from "./workspace.ts";

/** What a writer wants done. The values of `operations` are in `builder` already. */
export interface WriteRequest {
  readonly builder: PackBuilder;
  readonly operations: readonly Operation[];
  /** The pieces of the large values among them, where there are any. */
  readonly pieces?: { readonly pieces: readonly ChunkFile[] } | undefined;
  /** Makes the metadata of many operations on another thread. */
  readonly metas?: MetaHelper | undefined;
  readonly message: string | undefined;
  /** Tree the ledger must be at; the write is then tried once. */
  readonly expectTree: Oid | undefined;
  /** "required": the namespace must exist; "create": it is made; "either". */
  readonly namespace: "required" | "create" | "either";
  /** Label of the first epoch, where the namespace is made. */
  readonly epoch?: string;
  /** Plans another kind of transaction than one of `operations`, and says who signs it: the start of an epoch. */
  readonly special?: {
    readonly draft: (input: SpecialInput) => Promise<DraftTransaction>;
    readonly signer: (policy: Oid | undefined) => Promise<CommitSigner | undefined>;
  };
}

/** What a special transaction is made from. */
export type SpecialInput = Omit<TransactionInput, "operations" | "chunks" | "epoch">;

/** What came of it. */
export type WriteOutcome =
  | { readonly kind: "unchanged"; readonly state: NamespaceState }
  | {
      readonly kind: "committed";
      readonly ledger: Oid;
      readonly tree: Oid;
      readonly seq: number;
      readonly txn: string;
      readonly changes: readonly KeyChange[];
    };

/** A planned transaction with its objects. */
export interface Proposal {
  readonly plan: PlannedTransaction;
  readonly pack: FinishedPack;
  readonly expectTree: Oid | undefined;
  /** Where the bases of the pack's deltas are, where that is not the repository alone. */
  readonly objects?: BaseSource | undefined;
}

/** Whoever decides whether a transaction is accepted: the local refs, or a Stargate. */
export interface Acceptor {
  /** The state known here is the newest there is: nobody else can have taken it further. */
  readonly decidesHere: boolean;
  /** Accepts the proposal and stores it here. Throws CAS_CONFLICT where the state has moved, other codes where it is refused. */
  accept(proposal: Proposal): Promise<void>;
  /**
   * Learns the newest state after a conflict or a lost connection. Returns the ledger commit of the transaction `txn` where
   * it turns out to be accepted already.
   */
  refresh(txn: string, since: NamespaceState | undefined): Promise<LedgerCommit | undefined>;
  /** The newest chunk commit of the epoch, as known since the last {@link refresh}. Asked for large values only. */
  chunkTip(ns: string, epoch: string): Promise<KnownChunks | undefined>;
  /** The write ends without another try: whoever waits for it to be made need not. */
  leave?(): Promise<void>;
  /** Nothing more is asked: closes what was opened to answer. */
  close?(): Promise<void>;
}

/** Writes. Throws CAS_CONFLICT (a condition does not hold, or too many retries), NS_NOT_FOUND and what the acceptor throws. */
export async function writeTransaction(
  workspace: Workspace,
  acceptor: Acceptor,
  request: WriteRequest,
): Promise<WriteOutcome> {
  let isCommitted = false;
  try {
    const outcome = await new TransactionWriter(workspace, acceptor, request).run();
    isCommitted = outcome.kind === "committed";
    return outcome;
  } finally {
    if (!isCommitted) await acceptor.leave?.();
  }
}

/** A plan and what it was made on. */
interface Tried {
  readonly base: NamespaceState | undefined;
  readonly chunks: KnownChunks | undefined;
  readonly plan: Plan;
}

class TransactionWriter {
  readonly #workspace: Workspace;
  readonly #acceptor: Acceptor;
  readonly #request: WriteRequest;
  readonly #txn: string;
  /** Whether a try was sent whose outcome never came: it may still arrive. */
  #lost = false;
  /** Whether the state was learned from whoever decides since this write began. */
  #isFresh: boolean;
  #signer: { readonly policy: Oid | undefined; readonly sign: CommitSigner | undefined } | undefined;

  constructor(workspace: Workspace, acceptor: Acceptor, request: WriteRequest) {
    this.#workspace = workspace;
    this.#acceptor = acceptor;
    this.#request = request;
    this.#isFresh = acceptor.decidesHere;
    this.#txn = newUlid(workspace.around.clock);
  }

  async run(): Promise<WriteOutcome> {
    const { builder } = this.#request;
    const values = builder.mark();
    for (let attempt = 1; ; attempt++) {
      const slice = new TimeSlice(1);
      const { base, chunks, plan } = await this.#planSurely(values, attempt === 1);
      if (plan.kind === "unchanged") return { kind: "unchanged", state: plan.base };
      const pack = builder.finish();
      // An interrupt that came while all of this was made is heard now: what is accepted stays.
      if (slice.isOver()) await slice.pause(this.#workspace.around.signal);
      try {
        const { expectTree } = this.#request;
        await this.#acceptor.accept({ plan, pack, expectTree, objects: chunks?.objects });
        return committed(plan);
      } catch (thrown) {
        const known = await this.#recover(toKvError(thrown), attempt, base);
        if (known !== undefined) return committed({ ...plan, ledger: known.oid, tree: known.tree, seq: known.seq });
      }
      builder.rewind(values);
    }
  }

  /**
   * Plans on the state known here. That it changes nothing, or cannot be, is believed of a fresh state only: the ledger may be
   * further than this clone has heard.
   */
  async #planSurely(values: PackMark, isFirst: boolean): Promise<Tried> {
    this.#workspace.around.signal.throwIfAborted();
    // What was just learned to be accepted counts, whatever a mirror shows.
    const base = isFirst ? this.#workspace.state() : this.#workspace.acceptedState();
    try {
      this.#demand(base);
      const chunks = await this.#chunkTip(base);
      const plan = await this.#plan(base, chunks);
      if (plan.kind === "planned" || this.#isFresh) return { base, chunks, plan };
    } catch (error) {
      if (this.#isFresh || !isVerdictOnState(error)) throw error;
    }
    await this.#look(base);
    this.#request.builder.rewind(values);
    return this.#planSurely(values, false);
  }

  /**
   * The chunk commit to build on: the one known when the pieces were stored, or one from after that. Where an epoch has begun
   * meanwhile, pieces that were stored already may not be in its tree. The closed epoch keeps them, and they are named anew.
   */
  async #chunkTip(base: NamespaceState | undefined): Promise<KnownChunks | undefined> {
    const { pieces, epoch = FIRST_EPOCH } = this.#request;
    if (pieces === undefined) return undefined;
    return this.#acceptor.chunkTip(this.#workspace.ns, base?.ledger.epoch ?? epoch);
  }

  async #plan(base: NamespaceState | undefined, tip: KnownChunks | undefined): Promise<Plan> {
    const { operations, message, builder, pieces, special, epoch = FIRST_EPOCH } = this.#request;
    const { ns, repo, around } = this.#workspace;
    const policy = this.#workspace.policy();
    const [author, committer] = [this.#workspace.ident("author"), this.#workspace.ident("committer")];
    const input = { base, ns, policy, txn: this.#txn, message, author, committer };
    const chunks = pieces && { tip, pieces: pieces.pieces };
    const metas = special ? undefined : this.#request.metas?.begin(operations.length, builder);
    const draft = special
      ? await special.draft(input)
      : await inSlices(
          draftInSteps(tip?.objects ?? repo.objects, builder, { ...input, epoch, operations, chunks, metas }),
          around.signal,
        );
    if (draft.kind === "unchanged") return draft;
    const sign = await this.#signerFor(policy);
    return draft.finish(sign === undefined ? undefined : await sign(draft.ledgerCommit));
  }

  /** Whoever signs under `policy`; asked anew where another one has come into force meanwhile. */
  async #signerFor(policy: Oid | undefined): Promise<CommitSigner | undefined> {
    if (this.#signer === undefined || this.#signer.policy !== policy) {
      const { special } = this.#request;
      this.#signer = { policy, sign: special ? await special.signer(policy) : await this.#writerSigner(policy) };
    }
    return this.#signer.sign;
  }

  async #writerSigner(policy: Oid | undefined): Promise<CommitSigner | undefined> {
    if (!(await needsSignature(this.#workspace, policy))) return undefined;
    return (await import("./signer.ts")).writerSigner(this.#workspace, policy);
  }

  #demand(base: NamespaceState | undefined): void {
    const { namespace, expectTree } = this.#request;
    const { ns } = this.#workspace;
    if (base === undefined && namespace === "required")
      throw new KvError("NS_NOT_FOUND", `namespace '${ns}' is not in this repository`);
    if (base !== undefined && namespace === "create")
      throw new KvError("CAS_CONFLICT", `namespace '${ns}' exists already`, { hint: "use it" });
    if (expectTree === undefined || base?.ledger.tree === expectTree) return;
    throw new KvError(
      "CAS_CONFLICT",
      `the ledger is at tree ${base?.ledger.tree ?? "(none)"}, expected ${expectTree}`,
      {
        data: { expected: expectTree, actual: base?.ledger.tree },
      },
    );
  }

  /** Decides whether a failed try is tried again; returns the commit where the lost transaction is found in the ledger. */
  async #recover(error: KvError, attempt: number, base: NamespaceState | undefined): Promise<LedgerCommit | undefined> {
    this.#lost ||= error.data?.unknownOutcome === true;
    const stale = error.code === "CAS_CONFLICT" || error.code === "POLICY_STALE";
    if (!this.#lost && !stale) throw error;
    const known = await this.#look(base);
    if (known !== undefined) return known;
    const again = stale || error.data?.unknownOutcome === true;
    if (!again || attempt >= LIMITS.conflictRetries) throw error;
    if (error.code === "CAS_CONFLICT" && this.#request.expectTree !== undefined) throw error;
    // The Stargate has let us wait and keeps our turn for us: nobody else is in the way.
    if (error.data?.place !== undefined) return undefined;
    const { random } = this.#workspace.around.clock;
    const most = Math.min(1000, 5 * 2 ** attempt);
    await sleep((random(1)[0]! / 256) * most, undefined, { signal: this.#workspace.around.signal });
    return undefined;
  }

  /** Learns the newest state. After a lost connection nobody may be told that nothing was written where nobody knows. */
  async #look(base: NamespaceState | undefined): Promise<LedgerCommit | undefined> {
    try {
      const known = await this.#acceptor.refresh(this.#txn, base);
      this.#isFresh = true;
      return known;
    } catch (cause) {
      this.#workspace.around.signal.throwIfAborted();
      if (!this.#lost) throw cause;
      const { code, message } = toKvError(cause);
      throw new KvError(code, `whether transaction ${this.#txn} was accepted is not known: ${message}`, {
        hint: "run the command again: what is written already is not written twice",
        cause,
      });
    }
  }
}

/** Whether another state could have led to another answer. */
function isVerdictOnState(error: unknown): boolean {
  return error instanceof KvError && (error.code === "CAS_CONFLICT" || error.code === "KEY_NOT_FOUND");
}

function committed(plan: PlannedTransaction): WriteOutcome {
  const { ledger, tree, seq, txn, changes } = plan;
  return { kind: "committed", ledger, tree, seq, txn, changes };
}
