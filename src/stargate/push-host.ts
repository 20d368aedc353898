/**
 * Decides about a push to a Stargate: it is the host of the receive-pack session, whatever door the push came through. The
 * pushes of a namespace take turns; reading is never held up.
 */

import { type Code, KvError } from "../errors.ts";
import { readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { hiddenRefs } from "../gitwire/protocol/hidden-refs.ts";
import type { PushCommand } from "../gitwire/protocol/receive-commands.ts";
import type { Push, PushIntent, ReceivePackHost } from "../gitwire/protocol/receive-pack-host.ts";
import { STRICT_SETTINGS } from "../gitwire/protocol/receive-settings.ts";
import type { RefResult } from "../gitwire/protocol/report-status.ts";
import { VisibleRefs } from "../gitwire/protocol/visible-refs.ts";
import { type LedgerCommit, parseLedgerCommit } from "../kv/attestation.ts";
import { checkEpochLabel } from "../kv/check-attestation.ts";
import { claimedTime } from "../kv/claimed-time.ts";
import { judgeAdmin } from "../kv/judge-admin.ts";
import { claimed, claimProblem, judgeLogin, judgeSignature, type SignatureJudgement } from "../kv/judge-signature.ts";
import { archiveRef, chunkRef, POLICY_REF } from "../kv/namespace.ts";
import { namespacePolicy, type Policy } from "../kv/policy.ts";
import { hasAdmins } from "../kv/policy-keys.ts";
import { readState } from "../kv/state.ts";
import { offerPlace, readTurnFeature } from "../kv/turn-words.ts";
import { LIMITS } from "../limits.ts";
import { accept } from "./accept.ts";
import { admit } from "./admission.ts";
import { checkExpectations, parseExpectations } from "./expectation.ts";
import type { Gate } from "./gate.ts";
import { isRepeated } from "./ledger-history.ts";
import { noteOrdinary } from "./ordinary-note.ts";
import { logDrift } from "./policy-drift.ts";
import { acceptPolicy, judgePolicy } from "./policy-push.ts";
import {
  classifyPush,
  type PushKind,
  refuseAliases,
  requireEpoch,
  type Transaction,
  transactionCommands,
} from "./push-kind.ts";
import { acceptAll, asRejection, noteRejection, rejectAll } from "./rejection.ts";
import { scopeNow } from "./standing.ts";
import { allows, type Identity } from "./tokens.ts";
import type { Turn } from "./turns.ts";

/** Takes the pushes of ordinary refs. */
export interface OrdinaryHost {
  /** The code of what it refuses. */
  readonly refusal: Code;
  preflight(push: PushIntent): Promise<readonly RefResult[] | undefined>;
  apply(push: Push): Promise<readonly RefResult[]>;
}

/** The ledger commit that was let in, and the policy it was judged by. */
interface Admitted {
  readonly commit: LedgerCommit;
  readonly policy: Oid | undefined;
  /** Fingerprint of the key that signed it. */
  readonly signer: string | undefined;
}

/** The host for one push by `who`. `gone` is aborted when nobody waits for the answer any more. */
export function pushHost(gate: Gate, who: Identity, ordinary: OrdinaryHost, gone?: AbortSignal): ReceivePackHost {
  return new PushHost(gate, who, ordinary, gone);
}

/** Judges one push by `who` and moves nothing: for a push whose objects wait in another program's quarantine. */
export function judgingHost(gate: Gate, who: Identity, ordinary: OrdinaryHost): Pick<PushHost, "judge"> {
  return new PushHost(gate, who, ordinary);
}

class PushHost implements ReceivePackHost {
  readonly settings = STRICT_SETTINGS;
  readonly #gate: Gate;
  readonly #who: Identity;
  readonly #ordinary: OrdinaryHost;
  readonly #gone: AbortSignal | undefined;
  /** The turn this push has, where others wait for theirs. */
  #turn: Turn | undefined;
  /** When the commands of the push had arrived. */
  #started: number;

  constructor(gate: Gate, who: Identity, ordinary: OrdinaryHost, gone?: AbortSignal) {
    this.#gone = gone;
    this.#gate = gate;
    this.#who = who;
    this.#ordinary = ordinary;
    this.#started = gate.clock.now();
  }

  refs(): VisibleRefs {
    const { refs, config } = this.#gate.repo;
    return new VisibleRefs(refs.view(), undefined, hiddenRefs(config, "receive"));
  }

  async preflight(push: PushIntent): Promise<readonly RefResult[] | undefined> {
    this.#started = this.#gate.clock.now();
    return this.#answer(push, async () => {
      this.#gate.requireSound();
      const kind = classifyPush(push.commands, this.#gate.repo.format);
      await this.#authorize(kind);
      if (kind.kind === "ordinary") {
        const early = await this.#ordinary.preflight(push);
        if (early !== undefined) this.#noteOrdinary(push, early);
        return early;
      }
      await this.#gate.fence.settled();
      if (kind.kind !== "transaction") return undefined;
      await this.#takeTurn(kind, push);
      try {
        const early = this.#preflightTransaction(kind, push);
        if (early !== undefined) this.#leaveTurn();
        return early;
      } catch (error) {
        throw await this.#keepTurn(kind, push, error);
      }
    });
  }

  /** Values and metadata are replayed. */
  readsBlobs(push: PushIntent): boolean {
    return classifyPush(push.commands, this.#gate.repo.format).kind === "transaction";
  }

  /** A small transaction is written down by the journal, and then once more where it stays. */
  mostHeld(push: PushIntent): number {
    return this.readsBlobs(push) ? LIMITS.keptPackBytes : 0;
  }

  async apply(push: Push): Promise<readonly RefResult[]> {
    const results = await this.#answer(push, async () => {
      const kind = classifyPush(push.commands, this.#gate.repo.format);
      await this.#authorize(kind);
      if (kind.kind === "ordinary") {
        const answer = await this.#ordinary.apply(push);
        this.#noteOrdinary(push, answer);
        logDrift(this.#gate);
        return answer;
      }
      if (kind.kind === "policy")
        return this.#gate.mutexes.run(POLICY_REF, () => this.#applyPolicy(kind.command, push));
      try {
        return await this.#gate.mutexes.run(kind.ns, () => this.#applyTransaction(kind, push));
      } catch (error) {
        throw await this.#keepTurn(kind, push, error);
      } finally {
        this.#leaveTurn();
      }
    });
    return results ?? [];
  }

  /** What would become of the push now: "ok" for every ref, or the refusal. */
  async judge(push: Push): Promise<readonly RefResult[]> {
    const results = await this.#answer(push, async () => {
      this.#gate.requireSound();
      const kind = classifyPush(push.commands, this.#gate.repo.format);
      await this.#authorize(kind);
      if (kind.kind === "ordinary") return this.#ordinary.preflight(push);
      await this.#gate.fence.settled();
      if (kind.kind === "policy") await judgePolicy(this.#gate, kind.command, push);
      else if (this.#preflightTransaction(kind, push) === undefined) await this.#admit(kind, push);
      return undefined;
    });
    return results ?? acceptAll(push.commands);
  }

  #noteOrdinary({ commands }: PushIntent, results: readonly RefResult[]): void {
    const { refusal } = this.#ordinary;
    noteOrdinary(this.#gate, this.#who, commands, results, { started: this.#started, refusal });
  }

  /** Notes a refusal: of ours, or of the session, which looks at the pack before we do. */
  refused(commands: PushIntent["commands"], error: KvError): void {
    this.#leaveTurn();
    noteRejection(this.#gate, this.#who, commands, error, this.#started);
  }

  async #authorize(kind: PushKind): Promise<void> {
    refuseAliases(kind, this.#gate.repo.refs);
    const { name, namespaces } = this.#who;
    const scope = await scopeNow(this.#gate, this.#who);
    const needed = kind.kind === "policy" || this.#isAdminsWork(kind) ? "admin" : "write";
    if (!allows(scope, needed)) throw new KvError("FORBIDDEN", `'${name}' may ${scope}, this push needs ${needed}`);
    if (namespaces === undefined || (kind.kind === "transaction" && namespaces.includes(kind.ns))) return;
    throw new KvError("FORBIDDEN", `'${name}' may write to the namespaces ${namespaces.join(", ")} and nothing else`);
  }

  /** Waits for the turn of a push that is to be planned again, or that would come before others who wait. */
  async #takeTurn(kind: Transaction, push: PushIntent): Promise<void> {
    const { turns } = this.#gate;
    const wish = readTurnFeature(push.capabilities);
    this.#turn = turns.arrive(kind.ns, wish?.ticket);
    if (this.#turn !== undefined) return;
    const hasMoved = this.#movedRef(kind) !== undefined;
    const waits = hasMoved ? wish !== undefined && !this.#isRepeated(kind) : turns.isBusy(kind.ns);
    if (waits) this.#turn = await turns.wait(kind.ns, hasMoved ? "plan" : "push", wish?.ticket, this.#gone);
  }

  /** The refusal of a push; where the tip has moved and the client plans again, it comes with the turn, when that has come. */
  async #keepTurn(kind: Transaction, push: PushIntent, error: unknown): Promise<unknown> {
    const wish = readTurnFeature(push.capabilities);
    const isMoved = error instanceof KvError && error.code === "CAS_CONFLICT" && error.data?.ref !== undefined;
    if (!isMoved || wish === undefined) return error;
    const { turns } = this.#gate;
    const kept = this.#turn === undefined ? undefined : turns.renew(this.#turn);
    const turn = kept ?? (await turns.wait(kind.ns, "plan", this.#turn?.ticket ?? wish.ticket, this.#gone));
    this.#turn = undefined;
    if (turn === undefined) return error;
    return new KvError(error.code, offerPlace(error.message, turn.ticket), { data: error.data, cause: error });
  }

  #leaveTurn(): void {
    if (this.#turn !== undefined) this.#gate.turns.leave(this.#turn);
    this.#turn = undefined;
  }

  /** An epoch is begun by an admin: where the policy names none who could sign it, whoever pushes it must be one. */
  #isAdminsWork(kind: PushKind): boolean {
    if (kind.kind !== "transaction" || kind.begins === undefined) return false;
    const policy = this.#gate.policy()?.policy;
    return policy === undefined || !hasAdmins(policy);
  }

  /** What can be said without objects: is it built on the tip, or known already? */
  #preflightTransaction(kind: Transaction, push: PushIntent): readonly RefResult[] | undefined {
    const { repo } = this.#gate;
    const expectations = parseExpectations(push.pushOptions, repo.format);
    if (this.#movedRef(kind) !== undefined) return this.#repeated(kind, push);
    // Whoever gives up a turn says so like this.
    if (transactionCommands(kind).every(({ oldOid, newOid }) => oldOid === newOid)) return acceptAll(push.commands);
    this.#gate.fence.require(kind.ns);
    if (expectations.length > 0 || kind.chunks !== undefined || kind.begins !== undefined) {
      const state = readState(repo.objects, repo.refs, kind.ns);
      checkExpectations(repo.objects, state, expectations);
      requireEpoch(kind, state?.ledger.epoch);
    }
    return undefined;
  }

  /** The answer to a push that is not built on the tips: yes where it is the one that moved them. Throws CAS_CONFLICT. */
  #repeated(kind: Transaction, { commands }: PushIntent): readonly RefResult[] {
    if (this.#isRepeated(kind)) return acceptAll(commands);
    const { begins, chunks, ns, epoch } = kind;
    const moved = this.#movedRef(kind)!;
    // No newer state would make that ref a new one.
    if (begins !== undefined && moved === chunks)
      throw new KvError("REF_FORBIDDEN", `'${ns}' had an epoch '${epoch}' before`, { hint: "take another label" });
    throw this.#conflict(moved);
  }

  #isRepeated({ ns, ledger, index, chunks }: Transaction): boolean {
    return isRepeated(this.#gate, ns, { ledger: ledger.newOid, index: index.newOid, chunks: chunks?.newOid });
  }

  #movedRef(kind: Transaction): PushCommand | undefined {
    return transactionCommands(kind).find(({ ref, oldOid }) => this.#tip(ref) !== oldOid);
  }

  #tip(ref: string): Oid {
    return this.#gate.repo.refs.resolve(ref) ?? this.#gate.repo.format.zeroOid;
  }

  #conflict(moved: PushCommand): KvError {
    const actual = this.#tip(moved.ref);
    const say = (oid: Oid): string => (oid === this.#gate.repo.format.zeroOid ? "absent" : `at ${oid}`);
    return new KvError("CAS_CONFLICT", `${moved.ref} is ${say(actual)}, expected ${say(moved.oldOid)}`, {
      data: { ref: moved.ref, expected: moved.oldOid, actual },
    });
  }

  async #applyTransaction(kind: Transaction, push: Push): Promise<readonly RefResult[]> {
    const gate = this.#gate;
    const { objects } = push;
    const { ns, ledger } = kind;
    // Another push may have had its turn since the preflight.
    if (this.#movedRef(kind) !== undefined) return this.#repeated(kind, push);
    const { commit, policy, signer } = await this.#admit(kind, push);
    const { txn, seq, keysSet, keysDel } = commit;
    const updates = transactionCommands(kind);
    const { name: who, door } = this.#who;
    await accept(
      gate,
      { kind: "txn", ns, txn, seq, oid: ledger.newOid, updates, who, door, signer, keysSet, keysDel },
      {
        quarantine: push.quarantine,
        objects,
        recheck: () => this.#recheck(ns, policy),
        startedAt: this.#started,
      },
    );
    const at = gate.clock.now();
    const done = { ns, txn, seq, oid: ledger.newOid, who, signer, ms: at - this.#started };
    gate.log("info", "push", { result: "accepted", ...done, door });
    gate.events.emit({ kind: "accepted", at, ...done, keysSet, keysDel });
    return acceptAll(push.commands);
  }

  /** Whether the transaction is let in, built on the tips as they are. Throws the first rejection. */
  async #admit(kind: Transaction, { objects, pushOptions }: Push): Promise<Admitted> {
    const gate = this.#gate;
    const { ns, ledger, index, chunks } = kind;
    const inForce = gate.policy();
    const data = readAs(objects, ledger.newOid, "commit");
    const commit = parseLedgerCommit(objects.format, ledger.newOid, data);
    checkEpochLabel(commit.epoch);
    let judged: Promise<SignatureJudgement> | undefined;
    const signature = (): Promise<SignatureJudgement> => {
      judged ??= this.#judgeAuthor(data, inForce?.policy, kind);
      return judged;
    };
    const base = readState(gate.repo.objects, gate.repo.refs, ns);
    requireEpoch(kind, base?.ledger.epoch ?? commit.epoch, commit.epoch);
    await admit({
      objects,
      ns,
      base,
      beginsEpoch: kind.begins !== undefined,
      chunkTip: gate.repo.refs.resolve(chunkRef(ns, commit.epoch)),
      chunks: chunks?.newOid,
      ledger: ledger.newOid,
      index: index.newOid,
      commit,
      policy: inForce?.oid,
      rules: namespacePolicy(inForce?.policy, ns),
      signature,
      known: gate.known.within(ns),
      expectations: parseExpectations(pushOptions, objects.format),
      now: gate.clock.now(),
      isUsedLabel: (label) =>
        [archiveRef(ns, label), chunkRef(ns, label)].some((ref) => gate.repo.refs.resolve(ref) !== undefined),
      seen: (txn) => gate.journal.find("txn", ns, txn)?.oid ?? gate.journal.earlier.find(ns, txn),
    });
    return { commit, policy: inForce?.oid, signer: (await signature()).signer?.fingerprint };
  }

  /** Who made the transaction: whoever signed it, else the holder of the SSH key that pushes it. An epoch is begun by an admin. */
  async #judgeAuthor(data: Buffer, policy: Policy | undefined, kind: Transaction): Promise<SignatureJudgement> {
    const { repo, clock } = this.#gate;
    const { ns, begins } = kind;
    const { format } = repo;
    if (begins !== undefined && policy !== undefined && hasAdmins(policy)) {
      const judged = await judgeAdmin(format, data, policy, clock.now());
      if (judged.problem !== undefined) return judged;
      const time = claimedTime(format, data);
      const { problem } = await judgeAdmin(format, data, policy, time, true);
      return { ...judged, problem: problem && claimed(problem, time) };
    }
    const judged = await judgeSignature(format, data, policy, ns, clock.now());
    const { signer, problem } = judged;
    if (problem !== undefined) return judged;
    if (signer !== undefined)
      return { ...judged, problem: await claimProblem(format, data, policy, ns, { ...judged, signer }) };
    const { key } = this.#who;
    if (key === undefined || policy === undefined) return judged;
    return { ...judged, ...(await judgeLogin(policy, ns, key, clock.now())) };
  }

  /** Neither policies nor looks at the mirror wait for transactions: something may have changed since this one was checked. */
  #recheck(ns: string, judgedBy: Oid | undefined): void {
    this.#gate.fence.require(ns);
    const oid = this.#gate.policy()?.oid;
    if (oid === judgedBy) return;
    throw new KvError("POLICY_STALE", `the policy changed to ${oid ?? "-"} meanwhile`, {
      hint: "fetch, then write again",
    });
  }

  async #applyPolicy(command: PushIntent["commands"][number], push: Push): Promise<readonly RefResult[]> {
    await acceptPolicy(this.#gate, command, push, this.#who);
    return acceptAll(push.commands);
  }

  /** Runs `decide`; a refusal becomes the answer. */
  async #answer(
    push: PushIntent,
    decide: () => Promise<readonly RefResult[] | undefined>,
  ): Promise<readonly RefResult[] | undefined> {
    try {
      return await decide();
    } catch (thrown) {
      const error = asRejection(thrown);
      this.refused(push.commands, error);
      return rejectAll(push.commands, error, push.progress);
    }
  }
}
