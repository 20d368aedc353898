/**
 * What the mirror lacks: the difference between the accepted state and the mirror's refs, as one push. Nothing is ever forced:
 * where a ref of the mirror is not behind ours, its whole namespace is left alone and said to have diverged.
 */

import type { Oid } from "../../gitwire/object/oid.ts";
import type { PushCommand } from "../../gitwire/protocol/receive-commands.ts";
import { classifyRef, POLICY_REF } from "../../kv/namespace.ts";

export interface MirrorPlanInput {
  /** Our kv refs, as they are at one moment. */
  readonly local: ReadonlyMap<string, Oid>;
  /** The mirror's. */
  readonly remote: ReadonlyMap<string, Oid>;
  /** Whether ledgers are also published as branches. */
  readonly publishBranch: boolean;
  readonly zeroOid: Oid;
  /** Whether `ancestor` can be reached from `tip`; false where it is not here. */
  isAncestor(ancestor: Oid, tip: Oid): Promise<boolean>;
}

export interface MirrorPlan {
  readonly commands: readonly PushCommand[];
  /** Namespaces (`""` is the policy) of which the mirror has something that we do not. */
  readonly diverged: readonly string[];
  /** The ledger tips the mirror has when the push is done, by namespace. */
  readonly ledgers: ReadonlyMap<string, Oid>;
  /** The policy the mirror has then. */
  readonly policy: Oid | undefined;
}

/** Where a ledger is published as a branch. */
export function publishedBranch(ns: string): string {
  return `refs/heads/kv/${ns}`;
}

/** Plans a push. */
export async function planMirror(input: MirrorPlanInput): Promise<MirrorPlan> {
  const commands: PushCommand[] = [];
  const diverged: string[] = [];
  const ledgers = new Map<string, Oid>();
  let policy: Oid | undefined;
  for (const [ns, wanted] of wantedByNamespace(input)) {
    const moves = await planNamespace(input, wanted);
    if (moves === undefined) {
      diverged.push(ns);
      continue;
    }
    commands.push(...moves);
    if (ns === "") policy = wanted.get(POLICY_REF);
    else ledgers.set(ns, wanted.get(`refs/kv/${ns}`)!);
  }
  return { commands, diverged, ledgers, policy };
}

/** What each namespace's refs should be on the mirror, the watermark last. */
function wantedByNamespace({ local, publishBranch }: MirrorPlanInput): Map<string, Map<string, Oid>> {
  const byNs = new Map<string, Map<string, Oid>>();
  for (const [ref, oid] of local) {
    const is = classifyRef(ref);
    if (is === undefined || is.kind === "reserved" || is.kind === "mirror") continue;
    const ns = is.kind === "policy" ? "" : is.ns;
    const wanted = byNs.get(ns) ?? new Map<string, Oid>();
    byNs.set(ns, wanted.set(ref, oid));
  }
  for (const [ns, wanted] of byNs) {
    if (ns === "") continue;
    const ledger = wanted.get(`refs/kv/${ns}`);
    // Without its ledger a namespace is not whole; nothing of it is mirrored.
    if (ledger === undefined) byNs.delete(ns);
    else {
      if (publishBranch) wanted.set(publishedBranch(ns), ledger);
      wanted.set(`refs/kv-mirror/${ns}`, ledger);
    }
  }
  return byNs;
}

/** The moves of one namespace, or undefined where it has diverged. */
async function planNamespace(
  { remote, zeroOid, isAncestor }: MirrorPlanInput,
  wanted: ReadonlyMap<string, Oid>,
): Promise<PushCommand[] | undefined> {
  const commands: PushCommand[] = [];
  for (const [ref, newOid] of wanted) {
    const oldOid = remote.get(ref);
    if (oldOid === newOid) continue;
    if (oldOid !== undefined && !(await isAncestor(oldOid, newOid))) return undefined;
    commands.push({ ref, oldOid: oldOid ?? zeroOid, newOid });
  }
  return commands;
}
