/**
 * A push to refs/kv-policy/current: the next links of the chain (docs/formats/data-format.md, section 2). Every new commit holds one valid
 * `policy.yaml` and is the work of an admin of the policy before it.
 */

import { KvError, toKvError } from "../errors.ts";
import { commitLinks } from "../gitwire/object/commit.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { PushCommand } from "../gitwire/protocol/receive-commands.ts";
import type { Push } from "../gitwire/protocol/receive-pack-host.ts";
import { POLICY_REF } from "../kv/namespace.ts";
import { policyAt } from "../kv/policy.ts";
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
  checkLinks(push.objects, tip, command.newOid);
  requireNoSignature(gate);
  return "good";
}

/** Walks from the new tip back to the old one. */
function checkLinks(objects: ObjectSource, tip: Oid | undefined, newTip: Oid): void {
  let at: Oid | undefined = newTip;
  for (let links = 0; at !== tip; links++) {
    if (at === undefined)
      throw new KvError("NOT_FAST_FORWARD", `the new ${POLICY_REF} does not follow the current one`);
    if (links >= MOST_LINKS) throw new KvError("LIMIT_EXCEEDED", `a push adds at most ${MOST_LINKS} policy commits`);
    checkPolicy(objects, at);
    const { parents } = commitLinks(objects.format, readAs(objects, at, "commit"));
    if (parents.length > 1) throw new KvError("NOT_LINEAR", `policy commit ${at} has more than one parent`);
    at = parents[0];
  }
}

function checkPolicy(objects: ObjectSource, oid: Oid): void {
  try {
    policyAt(objects, oid);
  } catch (thrown) {
    const cause = toKvError(thrown);
    if (cause.code !== "CONFIG") throw cause;
    throw new KvError("POLICY_UNTRUSTED", `the policy in ${oid} is not valid: ${cause.message}`, { cause });
  }
}

/** Where the policy before names admins, one of them must have signed; nobody can verify that here yet, so nobody gets by. */
function requireNoSignature(gate: Gate): void {
  const admins = gate.policy()?.policy.admins ?? [];
  if (admins.length === 0) return;
  throw new KvError(
    "POLICY_UNTRUSTED",
    "the policy in force names admins, and this Stargate cannot verify their signatures yet",
    {
      hint: "use a version that verifies signatures",
    },
  );
}
