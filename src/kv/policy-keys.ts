/**
 * The keys a policy lists: writers and readers of a namespace, admins (docs/policy.md, "Keys"). Groups are resolved here, and
 * keys are read once for each policy.
 */

import { utf8ToByteString } from "../bytes.ts";
import { KvError } from "../errors.ts";
import { type OpenPgpKey, readOpenPgpKey } from "../gitwire/object/openpgp.ts";
import { parseSshKeyLine, type SshKeyLine, sshFingerprint } from "../gitwire/object/ssh-key.ts";
import { namespaceRules, type Policy } from "./policy.ts";
import type { KeyEntry } from "./policy-schema.ts";

/** A key of the policy, and on what terms it counts. */
export interface Writer {
  /** For people: the key's comment or user id, else its fingerprint. */
  readonly name: string;
  /** SSH: base64 of the key; OpenPGP: fingerprint of the primary key. */
  readonly id: string;
  /** `SHA256:...` for SSH, the same as `id` for OpenPGP. */
  readonly fingerprint: string;
  readonly ssh: SshKeyLine | undefined;
  readonly openpgp: OpenPgpKey | undefined;
  /** Byte strings; undefined: all keys of the namespace. */
  readonly prefixes: readonly string[] | undefined;
  /** Milliseconds; undefined: since ever. */
  readonly from: number | undefined;
  /** Milliseconds; undefined: for ever. */
  readonly until: number | undefined;
  /** Where the file says so: `namespaces.main.writers[1]`. */
  readonly rule: string;
}

type Terms = Pick<Writer, "prefixes" | "from" | "until">;

/** Whether the key counts at `now`, in milliseconds. */
export function isValidAt({ from, until }: Pick<Writer, "from" | "until">, now: number): boolean {
  return (from === undefined || from <= now) && (until === undefined || now < until);
}

/** Who may write in `ns`. */
export function writersOf(policy: Policy, ns: string): Promise<readonly Writer[]> {
  const { name, rules } = namespaceRules(policy, ns);
  return keysOf(policy, rules.writers ?? [], `namespaces.${name}.writers`);
}

/** Who may, besides the writers, fetch because of what is said of `ns`. */
export function readersOf(policy: Policy, ns: string): Promise<readonly Writer[]> {
  const { name, rules } = namespaceRules(policy, ns);
  return keysOf(policy, rules.readers ?? [], `namespaces.${name}.readers`);
}

/** Who may change the policy. */
export function adminsOf(policy: Policy): Promise<readonly Writer[]> {
  return keysOf(policy, policy.file.stargate?.admins ?? [], "stargate.admins");
}

/** Whether the policy names admins at all, readable or not: then nobody else may change it. */
export function hasAdmins(policy: Policy): boolean {
  return (policy.file.stargate?.admins ?? []).length > 0;
}

const KEYS = new WeakMap<Policy, Map<string, Promise<readonly Writer[]>>>();

function keysOf(policy: Policy, entries: readonly KeyEntry[], rule: string): Promise<readonly Writer[]> {
  let known = KEYS.get(policy);
  if (known === undefined) {
    known = new Map();
    KEYS.set(policy, known);
  }
  let keys = known.get(rule);
  if (keys === undefined) {
    const all = entries.flatMap((entry, at) => expand(policy, entry, `${rule}[${at}]`));
    keys = Promise.all(all.map(readWriter)).then((read) => read.flatMap((one) => one ?? []));
    known.set(rule, keys);
  }
  return keys;
}

interface Expanded {
  readonly key: { readonly ssh: string } | { readonly pgp: string };
  readonly terms: Terms;
  readonly rule: string;
}

/** An entry, or the members of the group it names, each held to its own terms and to the entry's. */
function expand(policy: Policy, entry: KeyEntry, rule: string): Expanded[] {
  if (typeof entry === "string") return [{ key: { ssh: entry }, terms: termsOf({}), rule }];
  const terms = termsOf(entry);
  if ("key" in entry) return [{ key: { ssh: entry.key }, terms, rule }];
  if ("pgp" in entry) return [{ key: { pgp: entry.pgp }, terms, rule }];
  const { groups } = policy.file;
  const members = groups !== undefined && Object.hasOwn(groups, entry.group) ? groups[entry.group]! : [];
  return members.flatMap((member, at) =>
    expand(policy, member, `${rule} (groups.${entry.group}[${at}])`).map((one) => ({
      ...one,
      terms: both(one.terms, terms),
    })),
  );
}

function termsOf(entry: { [Name in keyof Terms]?: Terms[Name] }): Terms {
  return { prefixes: entry.prefixes?.map(utf8ToByteString), from: entry.from, until: entry.until };
}

/** What both terms allow. */
function both(a: Terms, b: Terms): Terms {
  return {
    prefixes: commonPrefixes(a.prefixes, b.prefixes),
    from: a.from === undefined ? b.from : Math.max(a.from, b.from ?? a.from),
    until: a.until === undefined ? b.until : Math.min(a.until, b.until ?? a.until),
  };
}

/** Keys that begin with one of `a` and one of `b` begin with one of these. */
function commonPrefixes(a: Terms["prefixes"], b: Terms["prefixes"]): Terms["prefixes"] {
  if (a === undefined || b === undefined) return a ?? b;
  return a.flatMap((one) => {
    if (b.some((other) => one.startsWith(other))) return [one];
    return b.filter((other) => other.startsWith(one));
  });
}

/** A key that cannot be read is nobody's: 'policy check' says so, and it keeps no other writer out. */
async function readWriter({ key, terms, rule }: Expanded): Promise<Writer | undefined> {
  try {
    return { ...(await readKey(key)), ...terms, rule };
  } catch (error) {
    if (error instanceof KvError && error.code === "INPUT_INVALID") return undefined;
    throw error;
  }
}

/** A key by itself. Throws INPUT_INVALID where it cannot be read. */
export async function readKey(
  key: Expanded["key"],
): Promise<Pick<Writer, "name" | "id" | "fingerprint" | "ssh" | "openpgp">> {
  if ("pgp" in key) {
    const openpgp = await readOpenPgpKey(key.pgp);
    const { fingerprint } = openpgp;
    return { name: openpgp.userIds[0] ?? fingerprint, id: fingerprint, fingerprint, ssh: undefined, openpgp };
  }
  const ssh = parseSshKeyLine(key.ssh);
  const fingerprint = sshFingerprint(ssh.blob);
  const name = ssh.comment === "" ? `the key ${fingerprint}` : ssh.comment;
  return { name, id: ssh.blob.toString("base64"), fingerprint, ssh, openpgp: undefined };
}
