/** Numbers of things, as flags give them and as answers say them. */

import { KvError } from "../errors.ts";

/** The number that the flag `name` was given; without one there is no limit. Throws USAGE. */
export function parseCount(name: string, text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new KvError("USAGE", `${name}: '${text}' is not a whole number`);
}

/** `1 transaction`, `2 transactions`. */
export const countOf = (count: number, thing: string): string => `${count} ${thing}${count === 1 ? "" : "s"}`;
