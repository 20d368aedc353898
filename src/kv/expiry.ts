/**
 * When keys expire (docs/formats/data-format.md, sections 4 and 5): at a second that their metadata and their name in the
 * kv-index tell. An expired key is not there for readers and conditions, though its value stays until an epoch drops it.
 */

import { parseExpiry } from "../time.ts";

/** What a set says of it: Unix seconds; "never"; undefined: as the policy has it by default. */
export type Expiry = number | "never" | undefined;

/** Whether a key that expires at `expires` (Unix seconds; undefined: never) has done so at `now`. */
export function isExpired(expires: number | undefined, now: number): boolean {
  return expires !== undefined && expires <= now;
}

/** What `ttl` and `expires`, at most one of them given, say; `now` in Unix seconds. "never" is taken by both. Throws INPUT_INVALID. */
export function parseKeyExpiry(ttl: string | undefined, expires: string | undefined, now: number): Expiry {
  const given = ttl ?? expires;
  if (given === "never" && (ttl === undefined || expires === undefined)) return "never";
  return parseExpiry(ttl, expires, now);
}

/** The second a key expires at whose set says `expiry`, where keys live `ttl` seconds by default (undefined: for ever). */
export function expiryAt(expiry: Expiry, ttl: number | undefined, now: number): number | undefined {
  if (expiry === "never") return undefined;
  return expiry ?? (ttl === undefined ? undefined : Math.ceil(now + ttl));
}
