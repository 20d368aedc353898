/** Reads policies: a file, or the one in a commit of refs/kv-policy. Apart from policy.ts, since YAML and its schema take a while to load. */

import { decodeUtf8 } from "../bytes.ts";
import { KvError } from "../errors.ts";
import { commitLinks } from "../gitwire/object/commit.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { MODE, parseTree } from "../gitwire/object/tree.ts";
import { requireYaml } from "../yaml-file.ts";
import { POLICY_FILE, POLICY_PATH, type Policy, policyOf } from "./policy.ts";
import { policySchema } from "./policy-schema.ts";

/**
 * Reads a policy file as one is read that is in force: by the schema alone. What else a new one must be is checked before it comes
 * into force (policy-check.ts). Throws CONFIG with every problem, each with its path and line.
 */
export function parsePolicy(text: string, name: string = POLICY_PATH): Policy {
  return policyOf(requireYaml(text, policySchema, name));
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
