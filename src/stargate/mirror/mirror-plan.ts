/**
 * What the mirror lacks: the difference between the accepted state and the mirror's refs, one lane for each namespace and one
 * for the policy. Nothing is forced unless an admin says so: where a ref of the mirror is not behind ours, its whole lane is left
 * alone and said to have diverged.
 */

import type { Oid } from "../../gitwire/object/oid.ts";
import type { PushCommand } from "../../gitwire/protocol/receive-commands.ts";
import { isOverwrite, type RefStanding } from "../../kv/sync-report.ts";
import { type IsAncestor, isForeign, type MirrorSides, refStandings, wantedByNamespace } from "./ref-standing.ts";

export interface MirrorPlanInput extends MirrorSides {
  readonly zeroOid: Oid;
  readonly isAncestor: IsAncestor;
  /** Whether what has diverged of a namespace is to be overwritten. */
  readonly isForced?: (ns: string) => boolean;
}

/** What is to be pushed of one namespace, or of the policy (`ns` is "" then). */
export interface LanePlan {
  readonly ns: string;
  /** None where the mirror has all of it. */
  readonly commands: readonly PushCommand[];
  /** What is mirrored when the push is done: the ledger commit, or the policy's. */
  readonly tip: Oid;
}

export interface MirrorPlan {
  /** Those that have not diverged. */
  readonly lanes: readonly LanePlan[];
  /** Namespaces (`""` is the policy) of which the mirror has something that we do not. */
  readonly diverged: readonly string[];
  /** What is to keep writes from going on beside it. */
  readonly foreign: readonly RefStanding[];
}

/** Plans. */
export async function planMirror(input: MirrorPlanInput): Promise<MirrorPlan> {
  const commands = new Map<string, PushCommand[]>();
  const diverged = new Set<string>();
  const foreign: RefStanding[] = [];
  for (const one of await refStandings(input, input.isAncestor)) {
    const { ns, ref, here, there, standing } = one;
    const isForced = isOverwrite(standing) && input.isForced?.(ns) === true;
    if (isOverwrite(standing) && !isForced) diverged.add(ns);
    if (isForeign(one) && !isForced) foreign.push(one);
    if (here === undefined || !(standing === "behind" || standing === "missing" || isForced)) continue;
    const list = commands.get(ns) ?? [];
    list.push({ ref, oldOid: there ?? input.zeroOid, newOid: here });
    commands.set(ns, list);
  }
  const lanes = [...wantedByNamespace(input)].flatMap(([ns, wanted]): LanePlan[] => {
    if (diverged.has(ns)) return [];
    // The watermark is the last of a namespace's refs, and the policy has one ref only.
    const tip = [...wanted.values()].at(-1)!;
    return [{ ns, commands: commands.get(ns) ?? [], tip }];
  });
  return { lanes, diverged: [...diverged], foreign };
}
