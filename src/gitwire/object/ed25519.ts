/**
 * Ed25519 (RFC 8032), checked by the runtime's own library (BoringSSL), which demands S < L and compares R byte for byte, as
 * OpenSSH does. What it leaves to the caller is done here: public keys of small order (a signature under one can fit any
 * message) and public keys that are not written in the one canonical way are refused.
 */

import { createPublicKey, type KeyObject } from "node:crypto";

/** Subject public key info of an Ed25519 key, up to the 32 bytes of the key (RFC 8410). */
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

// 2^255 - 19, and the y coordinates of the eight points of small order, all least significant byte first.
const FIELD = Buffer.from(`ed${"ff".repeat(30)}7f`, "hex");
const SMALL_ORDER = [
  "00".repeat(32),
  `01${"00".repeat(31)}`,
  `ec${"ff".repeat(30)}7f`,
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
];

/** What is wrong with the 32 bytes of a public key, or undefined. */
export function ed25519KeyFault(point: Buffer): string | undefined {
  if (point.length !== 32) return `is ${point.length} bytes long, not 32`;
  const y = Buffer.from(point);
  y[31]! &= 0x7f;
  if (Buffer.compare(Buffer.from(y).reverse(), Buffer.from(FIELD).reverse()) >= 0) return "is not canonical";
  if (SMALL_ORDER.includes(y.toString("hex"))) return "is a point of small order, which fits any signature";
  return undefined;
}

/** The public key as the runtime wants it. Ask {@link ed25519KeyFault} first. */
export function ed25519PublicKey(point: Buffer): KeyObject {
  return createPublicKey({ key: Buffer.concat([SPKI_PREFIX, point]), format: "der", type: "spki" });
}
