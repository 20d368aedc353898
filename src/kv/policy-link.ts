/**
 * One link of the policy's chain (docs/formats/data-format.md, section 2): a commit with exactly the headers of the format that is signed
 * by an admin of the policy before it. The Stargate, `policy apply` and the audit ask here; they differ in the time they name.
 */

import { KvError } from "../errors.ts";
import { type Commit, parseCommit } from "../gitwire/object/commit.ts";
import { type SignatureVerdict, signatureHeader, verifyCommitSignature } from "../gitwire/object/commit-signature.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { Policy } from "./policy.ts";
import { adminsOf, hasAdmins, isValidAt } from "./policy-keys.ts";

/** Reads a policy commit. Throws POLICY_UNTRUSTED, NOT_LINEAR, BAD_OBJECT. */
export function parsePolicyCommit(objects: ObjectSource, oid: Oid): Commit {
  const { format } = objects;
  const commit = parseCommit(format, readAs(objects, oid, "commit"));
  if (commit.parents.length > 1) throw new KvError("NOT_LINEAR", `policy commit ${oid} has more than one parent`);
  const names = commit.headers.map(({ name }) => name);
  const expected = ["tree", ...commit.parents.map(() => "parent"), "author", "committer"];
  if (names.at(-1) === signatureHeader(format)) names.pop();
  if (names.join(" ") !== expected.join(" "))
    throw new KvError("POLICY_UNTRUSTED", `policy commit ${oid} has the headers '${names.join(" ")}'`);
  return commit;
}

/**
 * Why the link `oid` may not follow `before` at the time `now` (milliseconds; `isClaimed`: the one that it states), as far as its signature goes; undefined: it may. The
 * first link (`before` undefined) and one after a policy without admins may be anybody's.
 */
export async function linkProblem(
  objects: ObjectSource,
  oid: Oid,
  before: Policy | undefined,
  now: number,
  isClaimed = false,
): Promise<KvError | undefined> {
  if (before === undefined || !hasAdmins(before)) return undefined;
  const admins = await adminsOf(before);
  const verdict = await verdictOf(objects, oid, admins, now, isClaimed);
  if (verdict === undefined) return undefined;
  const refuse = (why: string): KvError =>
    new KvError("POLICY_UNTRUSTED", `policy commit ${oid} ${why}`, {
      hint: "let one of stargate.admins sign it: git kv policy apply",
    });
  if (verdict.kind !== "good") return refuse(`is not signed by an admin of the policy before it (${say(verdict)})`);
  const { signer } = verdict;
  const id = signer.kind === "ssh" ? signer.blob : signer.fingerprint;
  const entries = admins.filter((admin) => admin.id === id);
  if (entries.length === 0) return refuse(`is signed by ${signer.fingerprint}, no admin of the policy before it`);
  if (entries.some((admin) => isValidAt(admin, now))) return undefined;
  return refuse(`is signed by ${entries[0]!.name}, who is no admin at this time`);
}

/**
 * Fingerprint of the key that signed the link `oid`, where the signature is good: by itself if it is an SSH key's, as that of an admin of
 * `before` if it is OpenPGP's.
 */
export async function linkSigner(
  objects: ObjectSource,
  oid: Oid,
  before: Policy | undefined,
  now: number,
): Promise<string | undefined> {
  const verdict = await verdictOf(objects, oid, before === undefined ? [] : await adminsOf(before), now);
  return verdict?.kind === "good" ? verdict.signer.fingerprint : undefined;
}

async function verdictOf(
  objects: ObjectSource,
  oid: Oid,
  admins: Awaited<ReturnType<typeof adminsOf>>,
  now: number,
  isClaimed = false,
): Promise<SignatureVerdict | undefined> {
  const object = objects.read(oid);
  if (object?.kind !== "commit") return undefined;
  const openpgpKeys = admins.flatMap(({ openpgp }) => openpgp ?? []);
  return verifyCommitSignature(objects.format, object.data, { now, isClaimed, openpgpKeys });
}

function say(verdict: Exclude<SignatureVerdict, { kind: "good" }>): string {
  if (verdict.kind === "bad") return verdict.reason;
  return verdict.kind === "unsigned" ? "it has no signature" : `signed by the OpenPGP key ${verdict.keyId}`;
}
