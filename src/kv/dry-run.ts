/**
 * What a Stargate would say to a batch signed with some key, key by key, with the functions it decides with: who may write
 * (judge-signature.ts), which keys and values (content-rules.ts). Each answer names the rule of the policy that decides.
 */

import { byteStringToUtf8 } from "../bytes.ts";
import { KvError } from "../errors.ts";
import type { Signer } from "../gitwire/object/commit-signature.ts";
import { type ContentRules, checkKey, checkKeyCount, checkTotal, checkValue } from "./content-rules.ts";
import { judgeSigner, unsigned } from "./judge-signature.ts";
import type { Key } from "./key.ts";
import { namespacePolicy, namespaceRules, type Policy } from "./policy.ts";
import { isValidAt, type Writer, writersOf } from "./policy-keys.ts";
import { replayLimits } from "./replay-limits.ts";

/** One operation of the batch. */
export interface Wish {
  readonly op: "set" | "del" | "check";
  readonly key: Key;
  /** Of a set: its size, and its bytes where it would be stored as one blob. */
  readonly value?: { readonly size: number; readonly data: Buffer | undefined };
}

/** What becomes of it. */
export interface Verdict {
  /** Where the policy says so: `namespaces.main.writers[1], prefix "cfg:"`. */
  readonly rule: string;
  /** Why not; undefined: it is allowed. */
  readonly refusal: KvError | undefined;
}

/** Judges the operations of one transaction. */
export interface DryRun {
  judge(wish: Wish): Verdict;
  /** The transaction as a whole, after the last operation; undefined where nothing is to be said. */
  finish(): Verdict | undefined;
}

/** Begins a dry run of a transaction in `ns` signed by `signer` (undefined: unsigned) at `now`, in milliseconds. */
export async function beginDryRun(
  policy: Policy | undefined,
  ns: string,
  signer: Signer | undefined,
  now: number,
): Promise<DryRun> {
  const rules = namespacePolicy(policy, ns);
  const at = `namespaces.${namespaceRules(policy, ns).name}`;
  const writers = policy === undefined ? [] : await writersOf(policy, ns);
  const judged =
    signer === undefined
      ? { problem: rules.requireSignedCommits ? unsigned(ns) : undefined, limit: undefined }
      : judgeSigner(signer, writers, rules.requireSignedCommits, ns, now);
  const id = signer === undefined ? undefined : signer.kind === "ssh" ? signer.blob : signer.fingerprint;
  const entries = writers.filter((writer) => writer.id === id);
  const whoRule = judged.problem?.code === "UNSIGNED" ? `${at}.require_signed_commits` : `${at}.writers`;
  const limits = replayLimits(rules, judged.limit);
  let keys = 0;
  return {
    judge: (wish) => {
      if (wish.op !== "check") keys++;
      const who = entries.map(({ rule }) => rule).join(", ") || whoRule;
      if (judged.problem !== undefined) return { rule: who, refusal: judged.problem };
      try {
        check(limits, wish);
      } catch (error) {
        if (!(error instanceof KvError)) throw error;
        return { rule: refusingRule(error, limits, wish, at, who), refusal: error };
      }
      return { rule: allowingRule(entries, wish.key, at, now), refusal: undefined };
    },
    finish: () => {
      try {
        checkKeyCount(keys, rules.maxKeysPerTxn);
      } catch (error) {
        return { rule: `${at}.max_keys_per_txn`, refusal: error as KvError };
      }
      return undefined;
    },
  };
}

function check(limits: ContentRules, { op, key, value }: Wish): void {
  if (op === "check") return;
  checkKey(limits, key);
  if (value === undefined) return;
  if (value.data === undefined) checkTotal(limits, key, value.size);
  else checkValue(limits, key, value.data);
}

function refusingRule(error: KvError, limits: ContentRules, { key, value }: Wish, at: string, who: string): string {
  if (error.code === "LFS_FORBIDDEN") return `${at}.forbidden`;
  if (error.code === "VALUE_TOO_LARGE") {
    const isTotal = limits.maxTotal !== undefined && (value?.size ?? 0) > limits.maxTotal;
    return `${at}.${isTotal ? "max_value_total" : "max_value_inline"}`;
  }
  const isInside = limits.allowedPrefixes?.some((prefix) => key.startsWith(prefix)) ?? true;
  return isInside ? who : `${at}.allowed_prefixes`;
}

function allowingRule(entries: readonly Writer[], key: Key, at: string, now: number): string {
  for (const { rule, prefixes, name, ...dates } of entries) {
    if (!isValidAt(dates, now)) continue;
    const prefix = prefixes?.find((one) => key.startsWith(one));
    if (prefixes !== undefined && prefix === undefined) continue;
    return `${rule} (${name})${prefix === undefined ? "" : `, prefix ${JSON.stringify(byteStringToUtf8(prefix))}`}`;
  }
  return `${at}: signatures are not required`;
}
