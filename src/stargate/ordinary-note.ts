/**
 * What a push of ordinary refs leaves in the log and in the journal. The host decides about them, or git's own rules do, so they are
 * noted when that has happened: start-up has nothing to finish there.
 */

import { type Code, toKvError } from "../errors.ts";
import type { PushCommand } from "../gitwire/protocol/receive-commands.ts";
import type { RefResult } from "../gitwire/protocol/report-status.ts";
import { newUlid } from "../kv/ulid.ts";
import type { Gate } from "./gate.ts";
import type { Identity } from "./tokens.ts";

/** Notes what was done and what was refused. A journal that cannot take it changes nothing of either. */
export function noteOrdinary(
  gate: Gate,
  { name: who, door, key }: Identity,
  commands: readonly PushCommand[],
  results: readonly RefResult[],
  { started, refusal: code }: { readonly started: number; readonly refusal: Code },
): void {
  const at = gate.clock.now();
  const refused = results.flatMap((result) => (result.status === "ok" ? [] : [`${result.ref}: ${result.reason}`]));
  const updates = commands.filter(({ ref }) => results.some((one) => one.ref === ref && one.status === "ok"));
  const by = { who, door };
  try {
    if (updates.length > 0) {
      const nothing = { ns: "", seq: 0, keysSet: 0, keysDel: 0 };
      const { newOid: oid } = updates[0]!;
      gate.journal.record({
        ...nothing,
        ...by,
        kind: "branch",
        txn: newUlid(gate.clock),
        oid,
        updates,
        signer: key,
        acceptedAt: at,
      });
    }
    if (refused.length > 0) gate.journal.reject({ at, ns: "", code, message: refused.join("; "), ...by });
  } catch (failure) {
    gate.log("warn", "journal", { message: toKvError(failure).message });
  }
  const refs = updates.slice(0, 8).map(({ ref }) => ref);
  if (refs.length > 0) gate.log("info", "push", { result: "accepted", refs, who, door, ms: at - started });
  if (refused.length > 0)
    gate.log("info", "push", { result: "rejected", message: refused.join("; ").slice(0, 500), who, door });
}
