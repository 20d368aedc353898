/**
 * What history and log say of a transaction's signature: who made it and whether that key could write, by the policy that the commit
 * names and at the time it claims. `git kv verify` looks closer: at the policies' own chain too.
 */

import { KvError } from "../errors.ts";
import { type Commit, parseIdent } from "../gitwire/object/commit.ts";
import { readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { Repository } from "../gitwire/repo.ts";
import type { LedgerCommit } from "./attestation.ts";
import type { Reach } from "./history.ts";
import type { Policy } from "./policy.ts";

/**
 * `good`: the signature is, and its key could write. `stranger`: the signature is good, and its key is no writer of the policy
 * that the commit names. `unknown`: made by an OpenPGP key that is not in the policy, so that nobody can tell.
 */
export type SignatureState = "unsigned" | "good" | "stranger" | "unknown" | "bad";

export interface SignatureReport {
  readonly state: SignatureState;
  /** Fingerprint of the key, where the signature is good. */
  readonly signer?: string;
  /** What the policy calls it. */
  readonly name?: string;
  /** What is wrong, in words. */
  readonly problem?: string;
}

const UNSIGNED: SignatureReport = { state: "unsigned" };

function isSigned({ headers }: Commit): boolean {
  for (const { name } of headers) if (name.startsWith("gpgsig")) return true;
  return false;
}

/** Judges the transactions of one ledger. @internal */
export class SignatureReporter {
  readonly #repo: Repository;
  readonly #reach: Reach | undefined;

  #judge: Promise<typeof import("./judge-signature.ts")> | undefined;

  constructor(repo: Repository, reach?: Reach) {
    this.#repo = repo;
    this.#reach = reach;
  }

  /** Never throws for what a commit or its policy holds. */
  async of({ oid, ns, policy, commit }: LedgerCommit): Promise<SignatureReport> {
    if (!isSigned(commit)) return UNSIGNED;
    // Loaded here: an unsigned ledger is shown without them.
    this.#judge ??= import("./judge-signature.ts");
    const { judgeSignature } = await this.#judge;
    const known = policy === undefined ? undefined : await this.#policyAt(policy);
    const time = parseIdent(commit.committer).seconds * 1_000;
    const { objects } = this.#repo;
    const data = readAs(objects, oid, "commit");
    const { signer, name, problem } = await judgeSignature(objects.format, data, known, ns, time, true);
    if (signer === undefined) {
      const state = problem?.code === "SIGNER_NOT_ALLOWED" ? "unknown" : "bad";
      return { state, ...(problem !== undefined && { problem: problem.message }) };
    }
    const who = { signer: signer.fingerprint, ...(name !== undefined && { name }) };
    if (problem !== undefined) return { state: "stranger", ...who, problem: problem.message };
    if (policy !== undefined && known === undefined) {
      return { state: "good", ...who, problem: `the policy ${policy} it was made under cannot be read here` };
    }
    return { state: "good", ...who };
  }

  async #policyAt(oid: Oid): Promise<Policy | undefined> {
    // Loaded here: a ledger without policies is shown without them.
    const { cachedPolicy } = await import("./policy-cache.ts");
    try {
      return await cachedPolicy(this.#repo, oid, this.#reach);
    } catch (error) {
      if (error instanceof KvError) return undefined;
      throw error;
    }
  }
}
