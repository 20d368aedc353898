/** Whether the policy file people see on the default branch is the one in force, and a log line when that changes. */

import { fileAt } from "../gitwire/object/file-at.ts";
import { POLICY_REF } from "../kv/namespace.ts";
import { policyText } from "../kv/read-policy.ts";
import type { PolicyStatus } from "../kv/stargate-status.ts";
import type { Gate } from "./gate.ts";

/** The policy file as it stands on the default branch. */
export function writtenPolicy(gate: Gate): string | undefined {
  const { refs, objects } = gate.repo;
  const branch = refs.resolve("HEAD");
  return branch === undefined ? undefined : fileAt(objects, branch, gate.settings.policyPath)?.toString("utf8");
}

/** How the two compare; undefined where no policy is in force. Throws POLICY_UNTRUSTED where the one in force cannot be read. */
export function policyDrift(gate: Gate): PolicyStatus["drift"] | undefined {
  const oid = gate.repo.refs.resolve(POLICY_REF);
  if (oid === undefined) return undefined;
  const written = writtenPolicy(gate);
  if (written === undefined) return "no file";
  return written === policyText(gate.repo.objects, oid) ? "same" : "differs";
}

const LOGGED = new WeakMap<Gate, string>();

/** Logs the drift where it is another than the last time; called whenever either side may have moved. */
export function logDrift(gate: Gate): void {
  let drift: string;
  try {
    drift = policyDrift(gate) ?? "no policy";
  } catch {
    // Whoever asks for the policy next is told why it cannot be read.
    return;
  }
  const before = LOGGED.get(gate) ?? "same";
  LOGGED.set(gate, drift);
  if (drift === before) return;
  const oid = gate.repo.refs.resolve(POLICY_REF);
  const message =
    drift === "same" ? "in force as on the default branch" : "the file on the default branch is not in force";
  gate.log(drift === "differs" ? "warn" : "info", "policy", { drift, oid, message });
}
