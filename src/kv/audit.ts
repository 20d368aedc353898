/**
 * `git kv verify` (docs/verify.md): the policy from its root, then each ledger from its first commit, or from a trusted one, with
 * nothing but the objects and refs of this clone.
 */

import { KvError, toKvError } from "../errors.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { Ref } from "../gitwire/refs/ref-snapshot.ts";
import { readShallow } from "../gitwire/store/shallow-file.ts";
import { type LedgerCommit, parseIndexCommit } from "./attestation.ts";
import { auditRefs, ledgerCommit, missingRefs, refRole } from "./audit-refs.ts";
import { agree } from "./check-attestation.ts";
import { committerTime } from "./claimed-time.ts";
import { closedIndex, fetchArchive } from "./epochs.ts";
import { etagHasher } from "./etag.ts";
import { judgeAdmin } from "./judge-admin.ts";
import { judgeSignature } from "./judge-signature.ts";
import { type ClosedEpoch, ledgerLine } from "./ledger-line.ts";
import { chunkRef, namespaceRefs, POLICY_REF, trackingRoot } from "./namespace.ts";
import { namespacePolicy, type Policy } from "./policy.ts";
import { PolicyHistory } from "./policy-history.ts";
import { hasAdmins } from "./policy-keys.ts";
import { type PolicyPin, pinPolicyRoot } from "./policy-pin.ts";
import { rehashing } from "./rehashing-source.ts";
import { refuseShallowPolicy, shallowEnd, shallowError, shallowIndexEnd } from "./shallow-ledger.ts";
import { type NamespaceState, readState, stateAt } from "./state.ts";
import { type Finding, type Judge, type VerifySummary, verifyLedger } from "./verify.ts";
import type { Workspace } from "./workspace.ts";

export interface AuditOptions {
  /** A ledger commit that is trusted; of the workspace's namespace. */
  readonly since?: Oid | undefined;
  /** All namespaces instead of the workspace's, and all of their epochs: archives that are not here are fetched. */
  readonly all: boolean;
  /** False: the root of trust is compared with the one that is kept, and not kept where none is. Default true. */
  readonly keepRoot?: boolean;
  readonly found: (finding: Finding) => void;
  readonly progress: (text: string) => void;
}

export interface AuditReport {
  readonly namespaces: readonly VerifySummary[];
  readonly policy: { readonly root: Oid; readonly tip: Oid; readonly commits: number } | undefined;
  readonly pin: PolicyPin;
}

/** Audits. Throws NS_NOT_FOUND, INPUT_INVALID (a `since` that is not in the ledger), INTERRUPTED. */
export async function audit(workspace: Workspace, options: AuditOptions): Promise<AuditReport> {
  return new Audit(workspace, options).run();
}

class Audit {
  readonly #workspace: Workspace;
  readonly #options: AuditOptions;
  readonly #objects: ObjectSource;
  /** Found so far, of refs and policy. */
  #problems = 0;

  constructor(workspace: Workspace, options: AuditOptions) {
    this.#workspace = workspace;
    this.#options = options;
    this.#objects = rehashing(workspace.repo.objects);
  }

  async run(): Promise<AuditReport> {
    // Before the tips: what moves meanwhile is behind them then, not ahead.
    const refs = this.#workspace.repo.refs.snapshot(["refs/kv"]);
    const tips = await this.#tips(refs);
    for (const tip of tips) this.#refuseShallow(tip);
    const policy = await this.#policy();
    const pin = this.#pin(policy?.root);
    const namespaces: VerifySummary[] = [];
    const etagOf = await etagHasher(Number.POSITIVE_INFINITY);
    for (const tip of tips) {
      const { ns } = tip;
      const { since, found, progress } = this.#options;
      // Else its kv-index is compared with it as that of the last transaction.
      if (since === tip.ledger.oid) this.#pair(tip);
      const judge = this.#judge(ns, policy, since);
      const { repo, hasStargate, remote, around } = this.#workspace;
      const { signal } = around;
      // A clone of somebody else's ledger has manifests and no pieces, set up for writing or not.
      const follows = repo.refs.resolve(namespaceRefs(ns, trackingRoot(remote)).ledger) !== undefined;
      const isComplete = !hasStargate && !follows;
      const ends = new Set(readShallow(repo.commonDir, repo.format));
      const chunks = { tip: (epoch: string) => repo.refs.resolve(chunkRef(ns, epoch)), isComplete, ends };
      const threads = { place: repo.objects.place };
      const archive = (closed: ClosedEpoch): Promise<Oid | undefined> => this.#archive(tip, closed);
      const options = { ns, tip, since, etagOf, judge, chunks, threads, archive, signal, found };
      const summary = await verifyLedger(this.#objects, {
        ...options,
        progress: (done, total, objects) =>
          progress(
            `verifying ${ns}: ${done} of ${total} transactions${objects > 0 ? `, ${objects} objects read` : ""}`,
          ),
      });
      namespaces.push(summary);
      const { starts, firstSeq } = summary;
      const walked = { ns, tip: tip.ledger, epoch: tip.ledger.epoch, starts, isWhole: firstSeq === 1 };
      const wrong = (oid: Oid, error: KvError): void => this.#problem(ns, oid, error);
      auditRefs(this.#objects, refs, remote, walked, wrong);
      if (isComplete) missingRefs((ref) => repo.refs.resolve(ref), walked, wrong);
    }
    const chain = policy && { root: policy.root, tip: policy.tip, commits: policy.links.length };
    return { namespaces, policy: chain, pin };
  }

  /** The last kv-index commit of a closed epoch that is here, or comes here. What is trusted lies behind it: then it must. */
  async #archive({ ns, ledger }: NamespaceState, closed: ClosedEpoch): Promise<Oid | undefined> {
    const workspace = this.#workspace.of(ns);
    const { all, since } = this.#options;
    try {
      if (all || since !== undefined) await fetchArchive(workspace, closed);
    } catch (error) {
      workspace.around.signal.throwIfAborted();
      if (since !== undefined) throw error;
      const { code, message } = toKvError(error);
      this.#problem(ns, ledger.oid, new KvError(code === "BUG" ? "BUG" : "IO", message, { cause: error }));
    }
    return workspace.repo.objects.has(closed.ledger) ? closedIndex(workspace, closed.label) : undefined;
  }

  #problem(ns: string | undefined, oid: Oid, { code, message }: KvError): void {
    this.#problems++;
    this.#options.found({ ns, seq: undefined, oid, code, message });
  }

  /** Throws NS_NOT_FOUND where what is to be looked at, or the state that is trusted, was never fetched; true where what is missing is trusted. */
  #refuseShallow({ ns, ledger }: NamespaceState): boolean {
    const { repo } = this.#workspace;
    const { since } = this.#options;
    const [end, indexEnd] = [shallowEnd(repo, ns), shallowIndexEnd(repo, ns)];
    const seq = Math.max(end?.seq ?? 0, indexEnd?.seq ?? 0);
    if (seq === 0) return false;
    if (since !== undefined && repo.objects.has(since)) {
      const trusted = ledgerCommit(this.#objects, since);
      // What is no commit of this ledger is told as it is elsewhere.
      if (trusted === undefined || trusted.seq >= seq) return trusted !== undefined;
    }
    const isLedgers = end?.seq === seq;
    let oldest: LedgerCommit | undefined = isLedgers ? end : ledger;
    while (oldest !== undefined && oldest.seq > seq)
      oldest = oldest.parent === undefined ? undefined : ledgerCommit(this.#objects, oldest.parent);
    const verify = `git kv verify --since ${oldest?.oid}${ns === "main" ? "" : ` --ns ${ns}`}`;
    const way = oldest === undefined ? "" : `; '${verify}' trusts the oldest one here and looks at the rest`;
    throw shallowError(isLedgers ? end : indexEnd!, way);
  }

  /** The newest state of each namespace to audit. */
  async #tips(refs: readonly Ref[]): Promise<NamespaceState[]> {
    const { ns } = this.#workspace;
    const roles = this.#options.all ? this.#roles(refs) : [];
    const names = new Set(this.#options.all ? roles.flatMap((role) => (role.isLedger ? role.ns : [])) : [ns]);
    const tips: NamespaceState[] = [];
    for (const name of [...names].sort()) tips.push(...(await this.#tip(name)));
    const orphans = roles.filter((role) => !names.has(role.ns));
    for (const { ref, ns: of } of orphans)
      this.#problem(of, ref.oid, new KvError("CORRUPT", `there is no ledger that ${ref.name} belongs to`));
    if (tips.length > 0 || this.#problems > 0) return tips;
    throw new KvError("NS_NOT_FOUND", `namespace '${ns}' is not in this repository`);
  }

  /** The refs that belong to a namespace, and which. */
  #roles(refs: readonly Ref[]): { readonly ref: Ref; readonly ns: string; readonly isLedger: boolean }[] {
    return refs.flatMap((ref) => {
      const is = refRole(ref.name, this.#workspace.remote);
      return is !== undefined && "ns" in is ? { ref, ns: is.ns, isLedger: is.kind === "ledger" } : [];
    });
  }

  /** This clone's own state or the mirror's, whichever goes further; that neither follows the other is a finding. */
  async #tip(ns: string): Promise<NamespaceState[]> {
    const { repo, remote } = this.#workspace;
    const own = this.#state(ns, "refs/");
    const tracked = this.#state(ns, trackingRoot(remote));
    if (own === undefined || tracked === undefined) return [own ?? tracked ?? []].flat();
    const [newer, older] = tracked.ledger.seq > own.ledger.seq ? [tracked, own] : [own, tracked];
    this.#pair(older);
    let line = ledgerLine(repo.objects, newer.ledger, older.ledger);
    for (let tried = ""; line.kind === "cut" && line.closed.label !== tried; ) {
      tried = line.closed.label;
      await this.#archive(newer, line.closed);
      line = ledgerLine(repo.objects, newer.ledger, older.ledger);
    }
    if (line.kind === "contains") return [newer];
    if (line.kind === "broken" && this.#refuseShallow(newer)) return [newer];
    const isAsked = this.#options.all || this.#options.since !== undefined;
    if (line.kind === "cut" && !isAsked) {
      const text = `a new epoch of '${ns}' has begun after '${line.closed.label}', of which the end is not here`;
      throw new KvError("NS_NOT_FOUND", text, { hint: "'git kv fetch' brings it, and so does 'git kv verify --all'" });
    }
    const both = `the ledger of '${remote}' and the one this clone knows (${own.ledger.oid})`;
    const text =
      line.kind === "cut"
        ? `whether ${both} follow each other shows in the archive of '${line.closed.label}', which is not here`
        : `${both} do not follow each other`;
    this.#problem(ns, tracked.ledger.oid, new KvError("NOT_FAST_FORWARD", text));
    return [own];
  }

  /** What the refs under `root` hold of `ns`; undefined, and a finding, where that cannot be read or is another namespace's. */
  #state(ns: string, root: string): NamespaceState | undefined {
    const { objects, refs } = this.#workspace.repo;
    try {
      return readState(objects, refs, ns, root);
    } catch (thrown) {
      const { code, message } = toKvError(thrown);
      const { ledger } = namespaceRefs(ns, root);
      const oid = refs.resolve(ledger);
      if (code === "BUG" || code === "IO" || oid === undefined) throw thrown;
      this.#problem(ns, oid, new KvError(code, `${ledger} cannot be read: ${message}`));
      return undefined;
    }
  }

  /** The kv-index of a state whose transaction is not judged: its tree is the one that the ledger attests. */
  #pair({ ns, ledger, index }: NamespaceState): void {
    if (index === undefined) return;
    try {
      const commit = parseIndexCommit(this.#objects.format, index, readAs(this.#objects, index, "commit"));
      agree("KV-Txn of the kv-index", commit.txn, ledger.txn);
      agree("KV-Index-Tree", ledger.indexTree, commit.tree);
    } catch (thrown) {
      const { code, message } = toKvError(thrown);
      if (code === "BUG" || code === "IO") throw thrown;
      this.#problem(ns, ledger.oid, new KvError(code, `the kv-index beside it is not its own: ${message}`));
    }
  }

  async #policy(): Promise<PolicyHistory | undefined> {
    const { refs } = this.#workspace.repo;
    const own = refs.resolve(POLICY_REF);
    const tracked = refs.resolve(`${trackingRoot(this.#workspace.remote)}kv-policy`);
    const [one, other] = own === undefined ? [tracked, undefined] : [own, tracked];
    if (one === undefined) return undefined;
    let history = await PolicyHistory.read(this.#objects, one);
    if (other !== undefined && history.position(other) === undefined) {
      const further = await PolicyHistory.read(this.#objects, other);
      if (further.position(one) !== undefined) history = further;
      else {
        const text = `the policy of '${this.#workspace.remote}' does not follow the one this clone knows (${one})`;
        this.#problem(undefined, other, new KvError("POLICY_UNTRUSTED", text));
      }
    }
    refuseShallowPolicy(this.#workspace.repo, history.links);
    for (const { oid, error } of history.problems) this.#problem(undefined, oid, error);
    return history;
  }

  #pin(root: Oid | undefined): PolicyPin {
    const { repo, around } = this.#workspace;
    let pin: PolicyPin;
    try {
      pin = pinPolicyRoot(repo, root, this.#options.keepRoot ?? true);
    } catch (error) {
      if (!(error instanceof KvError) || root === undefined) throw error;
      around.warn(`the root of the policy could not be kept in git's config: ${error.message}`);
      return { kind: "pinned now", root };
    }
    if (pin.kind === "changed") {
      const text =
        root === undefined
          ? `THE POLICY IS GONE: kv.policyRoot is ${pin.pinned}`
          : `THE ROOT OF TRUST HAS CHANGED: the first policy is ${root}, kv.policyRoot is ${pin.pinned}`;
      this.#problem(undefined, root ?? pin.pinned, new KvError("POLICY_UNTRUSTED", text));
    }
    return pin;
  }

  #judge(ns: string, history: PolicyHistory | undefined, since: Oid | undefined): Judge {
    let newest = since === undefined ? -1 : this.#position(history, since);
    return async (commit, data) => {
      const problems: KvError[] = [];
      const position = commit.policy === undefined ? -1 : history?.position(commit.policy);
      let policy: Policy | undefined;
      if (position === undefined) {
        problems.push(
          new KvError("POLICY_UNTRUSTED", `its KV-Policy ${commit.policy} is not part of the policy's chain`),
        );
      } else if (position < newest) {
        const text = `its KV-Policy ${commit.policy ?? "-"} is older than that of a transaction before it`;
        problems.push(new KvError("POLICY_STALE", text));
      } else {
        newest = position;
      }
      try {
        if (position !== undefined && position >= 0) policy = history!.policy(commit.policy!);
      } catch (error) {
        if (!(error instanceof KvError)) throw error;
        problems.push(new KvError("POLICY_UNTRUSTED", `its policy cannot be read: ${error.message}`));
      }
      const { format } = this.#objects;
      const time = committerTime(commit.commit);
      const isAdmins = commit.parentEpoch !== undefined && policy !== undefined && hasAdmins(policy);
      const { problem, signer, limit } = isAdmins
        ? await judgeAdmin(format, data, policy!, time, true)
        : await judgeSignature(format, data, policy, ns, time, true);
      if (problem !== undefined) problems.push(problem);
      const known = signer && { fingerprint: signer.fingerprint, prefixes: limit };
      return { rules: namespacePolicy(policy, ns), signer: known, problems };
    };
  }

  #position(history: PolicyHistory | undefined, ledger: Oid): number {
    try {
      const { policy } = stateAt(this.#objects, ledger).ledger;
      return policy === undefined ? -1 : (history?.position(policy) ?? -1);
    } catch (error) {
      // verifyLedger says what is wrong with a commit that is no ledger commit.
      if (error instanceof KvError) return -1;
      throw error;
    }
  }
}
