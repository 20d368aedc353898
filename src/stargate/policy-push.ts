/**
 * A push to refs/kv-policy/current: the next links of the chain (docs/formats/data-format.md, section 2). Every new commit holds one valid
 * `policy.yaml` and is the work of an admin of the policy before it.
 */

import { KvError, toKvError } from "../errors.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { PushCommand } from "../gitwire/protocol/receive-commands.ts";
import type { Push } from "../gitwire/protocol/receive-pack-host.ts";
import { claimedTime } from "../kv/claimed-time.ts";
import { claimed } from "../kv/judge-signature.ts";
import { POLICY_REF } from "../kv/namespace.ts";
import { POLICY_FILE, type Policy } from "../kv/policy.ts";
import { requireSoundPolicy } from "../kv/policy-check.ts";
import { linkProblem, linkSigner, parsePolicyCommit } from "../kv/policy-link.ts";
import { policyText } from "../kv/read-policy.ts";
import { accept } from "./accept.ts";
import type { Gate } from "./gate.ts";
import { logDrift } from "./policy-drift.ts";
import type { Identity } from "./tokens.ts";

/** Links one push may add. */
const MOST_LINKS = 100;

/** Checks and accepts the push. Throws what {@link judgePolicy} throws and what accepting throws. */
export async function acceptPolicy(gate: Gate, command: PushCommand, push: Push, who: Identity): Promise<void> {
  const judged = await judgePolicy(gate, command, push);
  if (judged === "in force") return;
  const { newOid: oid } = command;
  const nothing = { ns: "", seq: 0, keysSet: 0, keysDel: 0 };
  const { signer } = judged;
  const by = { who: who.name, door: who.door };
  await accept(gate, { kind: "policy", txn: oid, oid, updates: [command], ...by, ...nothing, signer }, push);
  gate.log("info", "policy", { result: "accepted", oid, who: who.name, signer });
  logDrift(gate);
}

/** Checks the push and moves nothing; returns who signed the newest of its policies. Throws CAS_CONFLICT, NOT_FAST_FORWARD, NOT_LINEAR, POLICY_UNTRUSTED. */
export async function judgePolicy(
  gate: Gate,
  command: PushCommand,
  push: Pick<Push, "objects">,
): Promise<"in force" | { readonly signer: string | undefined }> {
  const { format } = gate.repo;
  const tip = gate.repo.refs.resolve(POLICY_REF);
  if (command.oldOid !== (tip ?? format.zeroOid)) {
    if (command.newOid === tip) return "in force";
    throw new KvError("CAS_CONFLICT", `${POLICY_REF} is ${tip === undefined ? "absent" : `at ${tip}`}`);
  }
  gate.fence.require("");
  const links = linksBetween(push.objects, tip, command.newOid);
  const { objects } = push;
  const now = gate.clock.now();
  let before = gate.policy()?.policy;
  let signer: string | undefined;
  for (const oid of links) {
    // Judged by the policy before it, and received now: what a link says of admins counts from the next one on.
    const problem = await linkProblem(objects, oid, before, now);
    if (problem !== undefined) throw problem;
    const time = claimedTime(format, readAs(objects, oid, "commit"));
    const then = await linkProblem(objects, oid, before, time, true);
    if (then !== undefined) throw claimed(then, time);
    signer = await linkSigner(objects, oid, before, now);
    before = await soundPolicy(objects, oid);
  }
  return { signer };
}

/** The new links, the oldest first. */
function linksBetween(objects: ObjectSource, tip: Oid | undefined, newTip: Oid): readonly Oid[] {
  const links: Oid[] = [];
  for (let at: Oid | undefined = newTip; at !== tip; ) {
    if (at === undefined)
      throw new KvError("NOT_FAST_FORWARD", `the new ${POLICY_REF} does not follow the current one`);
    if (links.length >= MOST_LINKS)
      throw new KvError("LIMIT_EXCEEDED", `a push adds at most ${MOST_LINKS} policy commits`);
    links.unshift(at);
    [at] = parsePolicyCommit(objects, at).parents;
  }
  return links;
}

async function soundPolicy(objects: ObjectSource, oid: Oid): Promise<Policy> {
  try {
    return await requireSoundPolicy(policyText(objects, oid), POLICY_FILE);
  } catch (thrown) {
    const cause = toKvError(thrown);
    if (cause.code !== "CONFIG") throw cause;
    throw new KvError("POLICY_UNTRUSTED", `the policy in ${oid} is not valid: ${cause.message}`, { cause });
  }
}
