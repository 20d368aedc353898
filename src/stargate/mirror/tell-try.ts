/** Tells of a try at the mirror: to who listens, and to the journal, which counts them. */

import { toKvError } from "../../errors.ts";
import type { MirrorTryEvent } from "../events.ts";
import type { Gate } from "../gate.ts";

/** A journal that cannot count it is no reason to stop. */
export function tellTry({ events, journal, log }: Gate, at: number, result: MirrorTryEvent["result"]): void {
  events.emit({ kind: "mirror try", at, result });
  try {
    journal.count(`mirror ${result}`, at);
  } catch (failure) {
    log("warn", "journal", { message: toKvError(failure).message });
  }
}
