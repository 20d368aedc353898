/**
 * Notices a clock that is wrong: keys expire by the clock of whoever reads, and times to live begin by the clock of whoever
 * writes. What is compared is the Date of a server's answer (RFC 9110, section 6.6.1), and the time of the newest transaction.
 */

import type { Surroundings } from "./workspace.ts";

/** Milliseconds that two clocks may be apart. */
const TOLERANCE = 60_000;

const told = new WeakSet<Surroundings>();

/** Warns of a clock, once in a run. */
export function warnOfClock(around: Surroundings, text: string): void {
  if (told.has(around)) return;
  told.add(around);
  around.warn(text);
}

/** Warns where the `Date` that a server sent just now is far from the clock here. */
export function noticeServerDate(around: Surroundings, url: string, date: string): void {
  const at = Date.parse(date);
  const ahead = around.clock.now() - at;
  if (Number.isNaN(at) || Math.abs(ahead) <= TOLERANCE) return;
  const side = ahead > 0 ? "ahead of" : "behind";
  warnOfClock(
    around,
    `the clock here is ${describe(Math.abs(ahead))} ${side} that of ${url}: keys expire at another time here than elsewhere`,
  );
}

/** What to warn of where the newest transaction, made at `made`, comes from after `now` (milliseconds); undefined: nothing. */
export function ledgerSkew(made: number, now: number): string | undefined {
  if (made - now <= TOLERANCE) return undefined;
  return `the newest transaction was made ${describe(made - now)} from now, by the clock here: one of the two clocks is wrong, and which keys have expired is uncertain`;
}

function describe(ms: number): string {
  const minutes = Math.round(ms / 60_000);
  if (minutes < 120) return `${minutes} min`;
  return minutes < 48 * 60 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1440)} days`;
}
