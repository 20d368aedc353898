/**
 * What a policy says of keys and values themselves (docs/policy.md): which prefixes, how large, no Git LFS pointers. Every
 * message names the key and the rule, every hint the way out.
 */

import { byteStringToUtf8 } from "../bytes.ts";
import type { Chunking } from "../cdc/chunking.ts";
import { KvError } from "../errors.ts";
import { type Key, keyText } from "./key.ts";
import type { Manifest } from "./manifest.ts";

export interface ContentRules {
  /** Largest inline value in bytes. */
  readonly maxInline: number;
  /** Largest value in bytes, however it is stored; undefined: as large as the other rules let it be. */
  readonly maxTotal?: number | undefined;
  /** Prefixes keys of the namespace must begin with, as byte strings; undefined: any. */
  readonly allowedPrefixes?: readonly Key[] | undefined;
  /** The signer, where the policy lets it write some keys only. */
  readonly signer?: { readonly name: string; readonly prefixes: readonly Key[] } | undefined;
  readonly forbidLfs?: boolean | undefined;
  /** How larger values are cut; undefined: in any way. */
  readonly chunking?: Chunking | undefined;
}

/** Whether any rule but the largest inline value, which always holds, is there: then keys must be looked at. */
export function hasContentRules({ maxTotal, allowedPrefixes, signer, forbidLfs }: ContentRules): boolean {
  return maxTotal !== undefined || allowedPrefixes !== undefined || signer !== undefined || forbidLfs === true;
}

/** May this key be set or deleted? Throws PREFIX_NOT_ALLOWED. */
export function checkKey({ allowedPrefixes, signer }: ContentRules, key: Key): void {
  const begins = (prefixes: readonly Key[]): boolean => prefixes.some((prefix) => key.startsWith(prefix));
  if (allowedPrefixes !== undefined && !begins(allowedPrefixes)) {
    throw new KvError(
      "PREFIX_NOT_ALLOWED",
      `${quote(key)} begins with none of the namespace's allowed_prefixes (${list(allowedPrefixes)})`,
      { hint: "choose a key with one of them, or let an admin add one to the policy", data: { key: keyText(key) } },
    );
  }
  if (signer !== undefined && !begins(signer.prefixes)) {
    throw new KvError(
      "PREFIX_NOT_ALLOWED",
      `${signer.name} may not write ${quote(key)}: its prefixes are ${list(signer.prefixes)}`,
      { hint: "sign with another key, or let an admin widen this writer's prefixes", data: { key: keyText(key) } },
    );
  }
}

/** May the key hold this inline value? Throws VALUE_TOO_LARGE, LFS_FORBIDDEN. */
export function checkValue(rules: ContentRules, key: Key, value: Buffer): void {
  checkTotal(rules, key, value.length);
  checkSize(key, value.length, rules.maxInline, "max_value_inline");
  checkLfs(rules, key, value);
}

/** May the key hold this value? Throws LFS_FORBIDDEN. */
export function checkLfs({ forbidLfs }: Pick<ContentRules, "forbidLfs">, key: Key, value: Buffer): void {
  if (forbidLfs === true && isLfsPointer(value)) {
    throw new KvError("LFS_FORBIDDEN", `the value of ${quote(key)} is a Git LFS pointer, which the policy forbids`, {
      hint: "store the file itself: turn the lfs filter off for it ('git lfs untrack', 'git lfs smudge')",
      data: { key: keyText(key) },
    });
  }
}

/**
 * May the key hold a value in these pieces? Only a value over `max_value_inline` is cut, and in the way of the policy, so that the
 * same value is always stored the same. Throws VALUE_TOO_LARGE, CHUNK_MISMATCH.
 */
export function checkManifest(rules: ContentRules, key: Key, { size, chunking }: Manifest): void {
  checkTotal(rules, key, size);
  if (size <= rules.maxInline) {
    const text = `the value of ${quote(key)} has ${size} bytes and is in pieces, which is for more than ${rules.maxInline}`;
    throw new KvError("CHUNK_MISMATCH", `${text} (max_value_inline)`, { data: { key: keyText(key) } });
  }
  const expected = rules.chunking;
  if (expected === undefined || describeChunking(expected) === describeChunking(chunking)) return;
  const text = `the value of ${quote(key)} is cut by ${describeChunking(chunking)}, not by ${describeChunking(expected)}`;
  throw new KvError("CHUNK_MISMATCH", text, {
    hint: "fetch the policy, then write again",
    data: { key: keyText(key) },
  });
}

function describeChunking(chunking: Chunking): string {
  if (chunking.mode === "fixed") return `fixed ${chunking.size}`;
  return `fastcdc ${chunking.min}/${chunking.avg}/${chunking.max}`;
}

/** May the key hold a value of `size` bytes, however it is stored? Throws VALUE_TOO_LARGE. */
export function checkTotal(rules: ContentRules, key: Key, size: number): void {
  checkSize(key, size, rules.maxTotal, "max_value_total");
}

/** May a transaction change so many keys? Throws TXN_TOO_LARGE. */
export function checkKeyCount(keys: number, most: number): void {
  if (keys <= most) return;
  throw new KvError("TXN_TOO_LARGE", `the transaction changes ${keys} keys, at most ${most} are allowed`, {
    hint: "split it into several transactions, or let an admin raise max_keys_per_txn",
  });
}

function checkSize(key: Key, size: number, most: number | undefined, rule: string): void {
  if (most === undefined || size <= most) return;
  throw new KvError(
    "VALUE_TOO_LARGE",
    `the value of ${quote(key)} has ${size} bytes, at most ${most} are allowed (${rule})`,
    { hint: `store less under this key, or let an admin raise ${rule}`, data: { key: keyText(key) } },
  );
}

/** Pointers are shorter than this (git-lfs: lfs/pointer.go). */
export const LFS_POINTER_BYTES = 1_024;
const LFS_VERSION = /^version\s+\S*(?:git-lfs|hawser|git-media)\S*\r?$/m;
const LFS_OID = /^oid\s+sha256:[0-9a-f]{64}\r?$/m;

/**
 * Whether git-lfs would take `value` for a pointer (git-lfs: docs/spec.md, "The Pointer"): a few lines, the version first, one
 * with the id. Its older spellings count too, and white space around it.
 */
export function isLfsPointer(value: Buffer): boolean {
  if (value.length >= LFS_POINTER_BYTES) return false;
  const text = value.toString("latin1").trim();
  return text.startsWith("version") && LFS_VERSION.test(text) && LFS_OID.test(text);
}

const quote = (key: Key): string => JSON.stringify(keyText(key));

/** Prefixes a message names. */
const NAMED_PREFIXES = 5;

function list(prefixes: readonly Key[]): string {
  if (prefixes.length === 0) return "none";
  const named = prefixes.slice(0, NAMED_PREFIXES).map((prefix) => JSON.stringify(byteStringToUtf8(prefix)));
  return named.join(", ") + (prefixes.length > NAMED_PREFIXES ? " and more" : "");
}
