/**
 * A Stargate that is set up over a mirror with content takes up where that is: the namespaces and the policy it does not have
 * itself. What it has already is newer by definition, and stays.
 */

import { classifyRef, type KvRef } from "../../kv/namespace.ts";
import type { Gate } from "../gate.ts";
import type { MirrorRemote } from "./mirror-remote.ts";

const KEPT: readonly KvRef["kind"][] = ["ledger", "index", "chunks", "epoch", "archive", "index-archive", "policy"];

/** Fetches the mirror's kv refs of namespaces that are not here. */
export async function restoreKvRefs(gate: Gate, remote: MirrorRemote, signal?: AbortSignal): Promise<void> {
  const { refs } = gate.repo;
  const own = new Set(refs.snapshot(["refs/kv"]).map(({ name }) => groupOf(name)));
  const there = (await remote.refs(["refs/kv"], signal)).refs.filter(({ name }) => {
    const is = classifyRef(name);
    return is !== undefined && KEPT.includes(is.kind) && !own.has(groupOf(name));
  });
  if (there.length === 0) return;
  const { zeroOid } = gate.repo.format;
  await remote.fetch(
    there.map(({ oid }) => oid),
    refs.snapshot().map(({ oid }) => oid),
    () => refs.update(there.map(({ name, oid }) => ({ name, oldOid: zeroOid, newOid: oid }))),
    signal,
  );
}

/** The namespace a ref belongs to; "" for the policy. */
function groupOf(ref: string): string {
  const is = classifyRef(ref);
  return is !== undefined && "ns" in is ? is.ns : "";
}
