/** Notes in the journal what the mirror has, and tells whoever watches how long that took. */

import { stateAt } from "../../kv/state.ts";
import type { Gate } from "../gate.ts";
import type { LanePlan } from "./mirror-plan.ts";

/** The mirror has `tip`, and all before it. */
export function markMirrored({ journal, repo, events }: Gate, { ns, tip }: LanePlan, now: number): void {
  if (ns !== "") {
    const accepted = journal.markMirrored("txn", ns, stateAt(repo.objects, tip).ledger.seq, now);
    const lags = accepted.map((at) => Math.max(0, now - at));
    if (lags.length > 0) events.emit({ kind: "mirrored", at: now, ns, lags });
    return;
  }
  const entry = journal.find("policy", "", tip);
  if (entry !== undefined && entry.mirroredAt === undefined) journal.markOneMirrored(entry.id, now);
}
