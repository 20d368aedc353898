/**
 * Who signed a ledger commit, and whether the policy lets that key write (docs/policy.md, "Signatures and writers"). The Stargate and
 * the audit ask here; they differ in the time they name: of receipt, or the one the commit claims.
 */

import { KvError } from "../errors.ts";
import { type Signer, verifyCommitSignature } from "../gitwire/object/commit-signature.ts";
import type { ObjectFormat } from "../gitwire/object/oid.ts";
import type { OpenPgpKey } from "../gitwire/object/openpgp.ts";
import { formatTime } from "../time.ts";
import { claimedTime } from "./claimed-time.ts";
import type { ContentRules } from "./content-rules.ts";
import { type Policy, requiresSignedCommits } from "./policy.ts";
import { isValidAt, type Writer, writersOf } from "./policy-keys.ts";

/** What came of it. */
export interface SignatureJudgement {
  /** Who made the good signature there is. */
  readonly signer: Signer | undefined;
  /** What the policy calls the signer, and the prefixes it is held to, where it lists it. */
  readonly name: string | undefined;
  readonly limit: ContentRules["signer"];
  /** Why the commit must not be let in; undefined: it may. */
  readonly problem: KvError | undefined;
}

const NOBODY = { signer: undefined, name: undefined, limit: undefined } as const;

/**
 * Judges the commit `data` by `policy` (undefined: there is none) for the namespace `ns` at the time `now`, in milliseconds; `isClaimed`: it
 * is the time that the commit states.
 * A signature that is there is held to the policy whether or not one is required: what is kept for ever has been looked at.
 */
export async function judgeSignature(
  format: ObjectFormat,
  data: Uint8Array,
  policy: Policy | undefined,
  ns: string,
  now: number,
  isClaimed = false,
): Promise<SignatureJudgement> {
  const isRequired = requiresSignedCommits(policy, ns);
  const writers = policy === undefined ? [] : await writersOf(policy, ns);
  const openpgpKeys: OpenPgpKey[] = [];
  for (const { openpgp } of writers) if (openpgp !== undefined) openpgpKeys.push(openpgp);
  const verdict = await verifyCommitSignature(format, data, { now, isClaimed, openpgpKeys });
  switch (verdict.kind) {
    case "unsigned":
      return { ...NOBODY, problem: isRequired ? unsigned(ns) : undefined };
    case "bad":
      return { ...NOBODY, problem: bad(verdict.reason) };
    case "unknown":
      return { ...NOBODY, problem: stranger(`the OpenPGP key ${verdict.keyId}`, ns) };
    case "good":
      return judgeSigner(verdict.signer, writers, isRequired, ns, now);
  }
}

/**
 * Why an audit, which has only the time that the commit states, would not let pass what was judged `now` and found good; undefined where
 * it would. What is let in must stand for ever, so the Stargate asks this besides.
 */
export async function claimProblem(
  format: ObjectFormat,
  data: Buffer,
  policy: Policy | undefined,
  ns: string,
  now: SignatureJudgement & { readonly signer: Signer },
): Promise<KvError | undefined> {
  const time = claimedTime(format, data);
  const writers = policy === undefined ? [] : await writersOf(policy, ns);
  const { problem, limit } = judgeSigner(now.signer, writers, requiresSignedCommits(policy, ns), ns, time);
  if (problem !== undefined) return claimed(problem, time);
  // A key may be listed twice, with other prefixes at other times.
  if (limit?.prefixes.join("\0") === now.limit?.prefixes.join("\0")) return undefined;
  return claimed(new KvError("PREFIX_NOT_ALLOWED", `${now.name} has other prefixes now`), time);
}

/** A problem that there is at the time `time` which a commit states, and not now. */
export function claimed({ code, message }: KvError, time: number): KvError {
  return new KvError(code, `${message}, and the commit says it is from ${formatTime(time / 1_000)}`, {
    hint: "set the clock right, and no date of your own: an audit has only the time that a commit states",
  });
}

/** Whether the policy lets the maker of a good signature write. */
export function judgeSigner(
  signer: Signer,
  writers: readonly Writer[],
  isRequired: boolean,
  ns: string,
  now: number,
): SignatureJudgement {
  // Without a list and without the duty to sign, a good signature says who it was and no more.
  if (writers.length === 0 && !isRequired) return { signer, name: undefined, limit: undefined, problem: undefined };
  const id = signer.kind === "ssh" ? signer.blob : signer.fingerprint;
  const entries = writers.filter((writer) => writer.id === id);
  const [first] = entries;
  const name = first?.name;
  if (first === undefined) {
    return { signer, name, limit: undefined, problem: stranger(`the key ${signer.fingerprint}`, ns) };
  }
  const valid = entries.filter((entry) => isValidAt(entry, now));
  if (valid.length === 0) return { signer, name, limit: undefined, problem: outOfTime(first, entries, now) };
  const isUnlimited = valid.some(({ prefixes }) => prefixes === undefined);
  const limit = isUnlimited
    ? undefined
    : { name: first.name, prefixes: valid.flatMap(({ prefixes = [] }) => prefixes) };
  return { signer, name, limit, problem: undefined };
}

/**
 * Whether the holder of the SSH key `fingerprint` may push an unsigned transaction to `ns`, and which keys it may change: where the
 * policy lists writers, it must be one of them.
 */
export async function judgeLogin(
  policy: Policy,
  ns: string,
  fingerprint: string,
  now: number,
): Promise<Pick<SignatureJudgement, "limit" | "problem">> {
  const writers = await writersOf(policy, ns);
  if (writers.length === 0) return { limit: undefined, problem: undefined };
  const known = writers.find(({ ssh, fingerprint: other }) => ssh !== undefined && other === fingerprint);
  if (known?.ssh === undefined) return { limit: undefined, problem: stranger(`the key ${fingerprint}`, ns) };
  const { type } = known.ssh;
  const signer: Signer = { kind: "ssh", type, blob: known.id, fingerprint };
  const { limit, problem } = judgeSigner(signer, writers, false, ns, now);
  return { limit, problem };
}

/** The answer to a transaction without a signature where one is required. */
export function unsigned(ns: string): KvError {
  return new KvError("UNSIGNED", `the policy requires signed transactions in '${ns}', this one is not signed`, {
    hint: "set user.signingKey (and gpg.format ssh) to a key that the policy lists as a writer",
  });
}

function bad(reason: string): KvError {
  return new KvError("BAD_SIGNATURE", `the signature is no good: ${reason}`, {
    hint: "sign anew, with a key of a kind that is accepted and that is valid now: see docs/signing.md",
  });
}

function stranger(who: string, ns: string): KvError {
  return new KvError("SIGNER_NOT_ALLOWED", `${who} is no writer of '${ns}'`, {
    hint: "sign with a listed key, or let an admin add this one to the policy's writers",
  });
}

function outOfTime({ name }: Writer, entries: readonly Writer[], now: number): KvError {
  const later = entries.flatMap(({ from }) => (from !== undefined && now < from ? from : []));
  if (later.length > 0) {
    const from = new Date(Math.min(...later)).toISOString();
    return new KvError("SIGNER_NOT_ALLOWED", `${name} can write from ${from} on`, {
      hint: "let an admin give this writer an earlier 'from'",
    });
  }
  const until = new Date(Math.max(...entries.map((entry) => entry.until!))).toISOString();
  return new KvError("SIGNER_NOT_ALLOWED", `${name} could write until ${until}`, {
    hint: "let an admin give this writer a later 'until'",
  });
}
