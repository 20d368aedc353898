/** What `git-kv-stargate status` and `git kv stargate status` show of one repository. */

import type { Oid } from "../gitwire/object/oid.ts";
import { chunkRef, POLICY_REF } from "../kv/namespace.ts";
import { namespacePolicy } from "../kv/policy.ts";
import type { MirrorReport, MirrorStanding, NamespaceStatus, PolicyStatus, Status } from "../kv/stargate-status.ts";
import { stateAt } from "../kv/state.ts";
import { AGENT } from "./agent.ts";
import type { Gate } from "./gate.ts";
import { policyDrift } from "./policy-drift.ts";
import type { Served } from "./service.ts";

/** Gathers the status of `served`; `now` in milliseconds since 1970. */
export function statusOf(served: Served, now: number): Status {
  const { gate, name } = served;
  const mirror = served.mirror?.report();
  return {
    name,
    agent: AGENT,
    role: "leader",
    format: gate.repo.format.name,
    writable: gate.failure === undefined,
    ...(gate.failure !== undefined && { error: gate.failure.message }),
    refused: gate.fence.refused(),
    policy: policyStatus(gate) ?? null,
    namespaces: gate.repo.refs.list("refs/kv/").map(({ name: ref, oid }) => {
      return namespaceStatus(gate, ref.slice("refs/kv/".length), oid, mirror, now);
    }),
    mirror: mirror ?? null,
  };
}

function namespaceStatus(
  gate: Gate,
  ns: string,
  oid: Oid,
  mirror: MirrorReport | undefined,
  now: number,
): NamespaceStatus {
  const { ledger } = stateAt(gate.repo.objects, oid);
  const rules = rulesOf(gate, ns);
  const { count, oldest } = gate.journal.backlog(ns);
  const chunks = gate.repo.refs.resolve(chunkRef(ns, ledger.epoch));
  return {
    ns,
    ledger: oid,
    ...(chunks !== undefined && { chunks }),
    seq: ledger.seq,
    epoch: ledger.epoch,
    requireSignedCommits: rules.requireSignedCommits,
    verify: rules.verify.kind === "sample" ? `sample:${rules.verify.keys}` : rules.verify.kind,
    ...(mirror !== undefined && {
      backlog: count,
      lag: oldest === undefined ? 0 : Math.max(0, now - oldest),
      mirror: standingOf(gate, ns, mirror, count),
    }),
  };
}

function standingOf({ fence }: Gate, ns: string, mirror: MirrorReport, backlog: number): MirrorStanding {
  if (mirror.diverged.includes(ns) || fence.refused().some((one) => one.ns === ns)) return "diverged";
  if (fence.isBlind) return "unknown";
  return backlog === 0 ? "current" : "behind";
}

function rulesOf(gate: Gate, ns: string): ReturnType<typeof namespacePolicy> {
  try {
    return namespacePolicy(gate.policy()?.policy, ns);
  } catch {
    // A policy that cannot be read stands in the status by itself.
    return namespacePolicy(undefined, ns);
  }
}

function policyStatus(gate: Gate): PolicyStatus | undefined {
  const oid = gate.repo.refs.resolve(POLICY_REF);
  if (oid === undefined) return undefined;
  try {
    const inForce = gate.policy();
    const drift = policyDrift(gate) ?? "no file";
    const pushUrl = inForce?.policy.pushUrl;
    return { oid, drift, ...(pushUrl !== undefined && { pushUrl }) };
  } catch (error) {
    return { oid, drift: "differs", error: error instanceof Error ? error.message : String(error) };
  }
}
