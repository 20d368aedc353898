/**
 * ULIDs name transactions: 48 bits of milliseconds and 80 random bits in Crockford's base 32, 26 characters, sortable by time
 * (github.com/ulid/spec).
 */

import type { Clock } from "../clock.ts";

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;

/** A new ULID. */
export function newUlid(clock: Clock): string {
  let time = clock.now();
  let text = "";
  for (let i = 0; i < 10; i++) {
    text = ALPHABET[time % 32]! + text;
    time = Math.floor(time / 32);
  }
  let bits = 0n;
  for (const byte of clock.random(10)) bits = (bits << 8n) | BigInt(byte);
  for (let shift = 75n; shift >= 0n; shift -= 5n) text += ALPHABET[Number((bits >> shift) & 31n)]!;
  return text;
}

/** True where `text` is a ULID in its canonical upper-case form. */
export function isUlid(text: string): boolean {
  return ULID.test(text);
}
