/** What `git-kv-stargate fsck` finds. */

import { type Code, toKvError } from "../../errors.ts";

/** The parts of the check, in their order. */
export const PARTS = ["hooks", "refs", "objects", "attestation", "journal"] as const;
export type Part = (typeof PARTS)[number];

export interface Fault {
  readonly part: Part;
  /** The ref, file, object or transaction it is about. */
  readonly subject: string;
  readonly code: Code;
  readonly message: string;
}

export type Report = (fault: Fault) => void;

/** Reports what `action` throws; bugs are thrown on. */
export function attempt(part: Part, subject: string, report: Report, action: () => void): void {
  try {
    action();
  } catch (thrown) {
    reportThrown(part, subject, report, thrown);
  }
}

/** Reports something that was thrown; bugs are thrown on. */
export function reportThrown(part: Part, subject: string, report: Report, thrown: unknown): void {
  const { code, message } = toKvError(thrown);
  if (code === "BUG" || code === "INTERRUPTED" || code === "TERMINATED") throw thrown;
  report({ part, subject, code, message });
}
