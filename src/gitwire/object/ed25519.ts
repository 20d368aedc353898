/**
 * Ed25519 (RFC 8032), checked by the runtime's own library (BoringSSL), which demands S < L and compares R byte for byte, as
 * OpenSSH does. What it leaves to the caller is done here: public keys of small order (a signature under one can fit any
 * message) and public keys that are not written in the one canonical way are refused.
 *
 * The first few signatures of a process are checked through Web Crypto, which is there without node:crypto: loading that takes 2 ms. It asks
 * the same library on another thread, which takes a fifth more CPU time for each.
 */

import type { KeyObject } from "node:crypto";

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

/** Signatures that a short-lived process checks by Web Crypto: a history of a key, or what it just signed itself. */
const FEW = 64;
let fewChecked = 0;

/** Keys as each of the two wants them: importing one takes a third of the time of a check. */
const webKeys = new WeakMap<Buffer, Promise<CryptoKey>>();
const keyObjects = new WeakMap<Buffer, KeyObject>();

/** Whether `signature` over `data` is that of the key `point`. Ask {@link ed25519KeyFault} of the key first. */
export function verifyEd25519(point: Buffer, data: Uint8Array, signature: Uint8Array): boolean | Promise<boolean> {
  if (fewChecked >= FEW) return verifyByNode(point, data, signature);
  fewChecked++;
  return verifyByWeb(point, data, signature);
}

/** As {@link verifyEd25519}, by Web Crypto. Exported for its test. */
export function verifyByWeb(point: Buffer, data: Uint8Array, signature: Uint8Array): Promise<boolean> {
  return webKey(point).then((key) => crypto.subtle.verify("Ed25519", key, view(signature), view(data)));
}

/** As {@link verifyEd25519}, by node:crypto. Exported for its test. */
export function verifyByNode(point: Buffer, data: Uint8Array, signature: Uint8Array): boolean {
  return process.getBuiltinModule("node:crypto").verify(null, data, keyObject(point), signature);
}

function webKey(point: Buffer): Promise<CryptoKey> {
  const key = webKeys.get(point) ?? crypto.subtle.importKey("raw", view(point), "Ed25519", false, ["verify"]);
  webKeys.set(point, key);
  return key;
}

/** Subject public key info of an Ed25519 key, up to the 32 bytes of the key (RFC 8410). */
const SPKI_PREFIX = "302a300506032b6570032100";

function keyObject(point: Buffer): KeyObject {
  let key = keyObjects.get(point);
  if (key === undefined) {
    const spki = Buffer.concat([Buffer.from(SPKI_PREFIX, "hex"), point]);
    key = process.getBuiltinModule("node:crypto").createPublicKey({ key: spki, format: "der", type: "spki" });
    keyObjects.set(point, key);
  }
  return key;
}

/** What Web Crypto's types ask for. */
const view = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => bytes as Uint8Array<ArrayBuffer>;
