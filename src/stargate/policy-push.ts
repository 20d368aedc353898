/**
 * A push to refs/kv-policy/current: the next links of the chain (docs/formats/data-format.md, section 2). Every new commit holds one valid
 * `policy.yaml` and is the work of an admin of the policy before it.
 */

import { KvError, toKvError } from "../errors.ts";
import type { ObjectSource } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { PushCommand } from "../gitwire/protocol/receive-commands.ts";
import type { Push } from "../gitwire/protocol/receive-pack-host.ts";
import { POLICY_REF } from "../kv/namespace.ts";
import { type Policy, policyAt } from "../kv/policy.ts";
import { adminProblem, parsePolicyCommit } from "../kv/policy-history.ts";
import { accept } from "./accept.ts";
import type { Gate } from "./gate.ts";
import type { Identity } from "./tokens.ts";

/** Links one push may add. */
const MOST_LINKS = 100;

/** Checks and accepts the push. Throws what {@link judgePolicy} throws and what accepting throws. */
export async function acceptPolicy(gate: Gate, command: PushCommand, push: Push, who: Identity): Promise<void> {
  if ((await judgePolicy(gate, command, push)) === "in force") return;
  const { newOid: oid } = command;
  const entry = { kind: "policy", ns: "", txn: oid, seq: 0, oid, updates: [command], who: who.name } as const;
  await accept(gate, entry, push);
  gate.log("info", "policy", { result: "accepted", oid, who: who.name });
}

/** Checks the push and moves nothing. Throws CAS_CONFLICT, NOT_FAST_FORWARD, NOT_LINEAR, POLICY_UNTRUSTED. */
export async function judgePolicy(
  gate: Gate,
  command: PushCommand,
  push: Pick<Push, "objects">,
): Promise<"in force" | "good"> {
  const { format } = gate.repo;
  const tip = gate.repo.refs.resolve(POLICY_REF);
  if (command.oldOid !== (tip ?? format.zeroOid)) {
    if (command.newOid === tip) return "in force";
    throw new KvError("CAS_CONFLICT", `${POLICY_REF} is ${tip === undefined ? "absent" : `at ${tip}`}`);
  }
  await checkLinks(push.objects, tip, command.newOid, gate);
  return "good";
}

/** Walks from the new tip back to the old one, and judges each link by the policy before it, as of now. */
async function checkLinks(objects: ObjectSource, tip: Oid | undefined, newTip: Oid, gate: Gate): Promise<void> {
  const links: Oid[] = [];
  for (let at: Oid | undefined = newTip; at !== tip; at = parsePolicyCommit(objects, at).parents[0]) {
    if (at === undefined)
      throw new KvError("NOT_FAST_FORWARD", `the new ${POLICY_REF} does not follow the current one`);
    if (links.length >= MOST_LINKS)
      throw new KvError("LIMIT_EXCEEDED", `a push adds at most ${MOST_LINKS} policy commits`);
    links.push(at);
  }
  let before = gate.policy()?.policy;
  for (const oid of links.reverse()) {
    const policy = readPolicy(objects, oid);
    const problem = await adminProblem(objects, oid, before, gate.clock.now());
    if (problem !== undefined) throw problem;
    before = policy;
  }
}

function readPolicy(objects: ObjectSource, oid: Oid): Policy {
  try {
    return policyAt(objects, oid);
  } catch (thrown) {
    const cause = toKvError(thrown);
    if (cause.code !== "CONFIG") throw cause;
    throw new KvError("POLICY_UNTRUSTED", `the policy in ${oid} is not valid: ${cause.message}`, { cause });
  }
}
