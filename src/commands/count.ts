/** Numbers of things, as flags give them. */

import { KvError } from "../errors.ts";

/** The number that the flag `name` was given; without one there is no limit. Throws USAGE. */
export function parseCount(name: string, text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new KvError("USAGE", `${name}: '${text}' is not a number`);
}
