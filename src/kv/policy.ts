/**
 * The policy in force: the file `policy.yaml` in the commit at refs/kv-policy (docs/formats/data-format.md, section 2). What
 * a file leaves out has the default given here; a namespace that is not named has what `"*"` says.
 */

import { decodeUtf8, utf8ToByteString } from "../bytes.ts";
import type { PartialChunking } from "../cdc/chunking.ts";
import { KvError } from "../errors.ts";
import { commitLinks } from "../gitwire/object/commit.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { MODE, parseTree } from "../gitwire/object/tree.ts";
import { LIMITS } from "../limits.ts";
import { requireYaml } from "../yaml-file.ts";
import { type NamespaceRules, type PolicyFile, policySchema } from "./policy-schema.ts";

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

/** Most keys of one transaction where the policy does not say. */
export const DEFAULT_MAX_KEYS = 100_000;

/**
 * Reads a policy file as one is read that is in force: by the schema alone. What else a new one must be is checked before it comes
 * into force (policy-check.ts). Throws CONFIG with every problem, each with its path and line.
 */
export function parsePolicy(text: string, name: string = POLICY_PATH): Policy {
  const file = requireYaml(text, policySchema, name);
  const { stargate, mirror } = file;
  return {
    file,
    pushUrl: stargate?.push_url,
    readUrl: stargate?.read_url ?? stargate?.push_url,
    mirrorAckByDefault: stargate?.require_mirror_ack_by_default ?? false,
    publishBranch: mirror?.publish_branch ?? false,
  };
}

/** What the file says of `ns`, and under which name: its own, or `*`. */
export function namespaceRules(policy: Policy | undefined, ns: string): { name: string; rules: NamespaceRules } {
  const named = policy?.file.namespaces;
  const name = named !== undefined && Object.hasOwn(named, ns) ? ns : "*";
  return { name, rules: named?.[name] ?? {} };
}

/** What holds in `ns`; `policy` undefined (no policy in force) gives the defaults. */
export function namespacePolicy(policy: Policy | undefined, ns: string): NamespacePolicy {
  const { rules } = namespaceRules(policy, ns);
  return {
    requireSignedCommits: rules.require_signed_commits ?? false,
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

/** Text of the policy file in the commit `oid`. Throws POLICY_UNTRUSTED where its tree is not that one file. */
export function policyText(objects: ObjectSource, oid: Oid): string {
  const { tree } = commitLinks(objects.format, readAs(objects, oid, "commit"));
  const [entry, ...more] = parseTree(objects.format, readAs(objects, tree, "tree"));
  if (entry?.name !== POLICY_FILE || entry.mode !== MODE.file || more.length > 0) {
    throw new KvError("POLICY_UNTRUSTED", `policy commit ${oid} does not hold the one file ${POLICY_FILE}`);
  }
  const text = decodeUtf8(readAs(objects, entry.oid, "blob"));
  if (text === undefined) throw new KvError("POLICY_UNTRUSTED", `the policy in ${oid} is not UTF-8`);
  return text;
}

/** The policy in the commit `oid`. Throws POLICY_UNTRUSTED, CONFIG. */
export function policyAt(objects: ObjectSource, oid: Oid): Policy {
  return parsePolicy(policyText(objects, oid), POLICY_FILE);
}
