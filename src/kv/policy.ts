/**
 * The policy in force: the file `policy.yaml` in the commit at refs/kv-policy (docs/formats/data-format.md, section 2). What
 * a file leaves out has the default given here; a namespace that is not named has what `"*"` says.
 */

import { utf8ToByteString } from "../bytes.ts";
import type { PartialChunking } from "../cdc/chunking.ts";
import { LIMITS } from "../limits.ts";
import type { NamespaceRules, PolicyFile } from "./policy-schema.ts";

/** The one file in the tree of a policy commit. */
export const POLICY_FILE = "policy.yaml";

/** Where people write the policy, on the default branch. */
export const POLICY_PATH = ".kv/policy.yaml";

/** How closely a transaction is looked at: the whole of it, `keys` of its keys, or what its commits attest. */
export type Verify =
  | { readonly kind: "replay" }
  | { readonly kind: "sample"; readonly keys: number }
  | { readonly kind: "attested" };

/** What holds in one namespace. */
export interface NamespacePolicy {
  readonly requireSignedCommits: boolean;
  readonly verify: Verify;
  /** Bytes. */
  readonly maxValueInline: number;
  /** Bytes of a value however it is stored; undefined: no such limit. */
  readonly maxValueTotal: number | undefined;
  readonly maxKeysPerTxn: number;
  /** Byte strings; undefined: keys may begin as they like. */
  readonly allowedPrefixes: readonly string[] | undefined;
  readonly forbidLfs: boolean;
  /** How values over `maxValueInline` are cut; undefined: as the format has it by default. */
  readonly chunking: PartialChunking | undefined;
  /** Seconds after which a key expires that is set without a time of its own; undefined: never. */
  readonly ttlDefault: number | undefined;
  /** Readers treat expired keys as not there; they do where nothing else is said. */
  readonly enforceReadside: boolean;
}

/** A policy that was read and found valid. */
export interface Policy {
  readonly file: PolicyFile;
  readonly pushUrl: string | undefined;
  readonly readUrl: string | undefined;
  /** Whether a write waits for the mirror where nobody says otherwise. */
  readonly mirrorAckByDefault: boolean;
  readonly publishBranch: boolean;
}

/** The policy that `file`, read and found valid, is. */
export function policyOf(file: PolicyFile): Policy {
  const { stargate, mirror } = file;
  return {
    file,
    pushUrl: stargate?.push_url,
    readUrl: stargate?.read_url ?? stargate?.push_url,
    mirrorAckByDefault: stargate?.require_mirror_ack_by_default ?? false,
    publishBranch: mirror?.publish_branch ?? false,
  };
}

/** Most keys of one transaction where the policy does not say. */
const DEFAULT_MAX_KEYS = 100_000;

/** What the file says of `ns`, and under which name: its own, or `*`. */
export function namespaceRules(policy: Policy | undefined, ns: string): { name: string; rules: NamespaceRules } {
  const named = policy?.file.namespaces;
  const name = named !== undefined && Object.hasOwn(named, ns) ? ns : "*";
  return { name, rules: named?.[name] ?? {} };
}

/** Whether transactions of `ns` must be signed. */
export function requiresSignedCommits(policy: Policy | undefined, ns: string): boolean {
  return namespaceRules(policy, ns).rules.require_signed_commits ?? false;
}

/** What holds in `ns`; `policy` undefined (no policy in force) gives the defaults. */
export function namespacePolicy(policy: Policy | undefined, ns: string): NamespacePolicy {
  const { rules } = namespaceRules(policy, ns);
  return {
    requireSignedCommits: requiresSignedCommits(policy, ns),
    verify: parseVerify(rules.verify ?? "replay"),
    maxValueInline: rules.max_value_inline ?? LIMITS.inlineValue,
    maxValueTotal: rules.max_value_total,
    maxKeysPerTxn: rules.max_keys_per_txn ?? DEFAULT_MAX_KEYS,
    allowedPrefixes: rules.allowed_prefixes?.map(utf8ToByteString),
    forbidLfs: rules.forbidden?.some(({ lfs }) => lfs) ?? false,
    chunking: rules.chunking,
    ttlDefault: rules.retention?.ttl_default,
    enforceReadside: rules.retention?.enforce_readside ?? true,
  };
}

function parseVerify(text: string): Verify {
  if (text === "attested") return { kind: "attested" };
  return text.startsWith("sample:") ? { kind: "sample", keys: Number(text.slice(7)) } : { kind: "replay" };
}
