/**
 * Keys, the file names they are stored under, and back (docs/formats/data-format.md, section 3).
 *
 *   key    = 1*1024 bytes of UTF-8 without U+0000-U+001F and U+007F
 *   name   = *( ALPHA / DIGIT / "_" / "-" / "." / "%" HEX HEX )           at most 200 bytes, or
 *            the first 120 bytes of that, "~", 64 hex digits of SHA-256(key)
 *
 * Inside src/kv a key is a byte string (bytes.ts): it compares with `<` in byte order, which is the order of keys.
 */

import { byteStringToUtf8, utf8ToByteString } from "../bytes.ts";
import { KvError } from "../errors.ts";
import { LIMITS } from "../limits.ts";

/** A valid key as a byte string. */
export type Key = string;

const NAME_BYTES = 200;
const CUT_BYTES = 120;
const CONTROL = /[\x00-\x1f\x7f]/;

/** The key `text` names. Throws KEY_INVALID where it is empty, too long, has control characters or is no valid Unicode. */
export function parseKey(text: string): Key {
  if (text.length === 0) throw new KvError("KEY_INVALID", "the key is empty");
  if (!text.isWellFormed()) throw new KvError("KEY_INVALID", "the key is not valid Unicode");
  const key = utf8ToByteString(text);
  if (key.length > LIMITS.keyBytes) throw new KvError("KEY_INVALID", `the key is ${key.length} bytes long`);
  if (CONTROL.test(key)) throw new KvError("KEY_INVALID", `the key ${JSON.stringify(text)} has a control character`);
  return key;
}

/** The key as the user wrote it. */
export function keyText(key: Key): string {
  return byteStringToUtf8(key) ?? key;
}

/** True where `bytes`, a byte string, is a valid key. */
export function isKey(bytes: string): boolean {
  const sized = bytes.length > 0 && bytes.length <= LIMITS.keyBytes;
  return sized && !CONTROL.test(bytes) && byteStringToUtf8(bytes) !== undefined;
}

const keyRoom = Buffer.allocUnsafeSlow(LIMITS.keyBytes);

/** The bytes of a key, good until the next one is asked for. */
export function keyBytes(key: Key): Buffer {
  if (key.length > keyRoom.length) return Buffer.from(key, "latin1");
  return keyRoom.subarray(0, keyRoom.latin1Write(key, 0));
}

/** SHA-256 of the key, 64 lower-case hex digits: its place in the ledger's tries. */
export function keyDigits(key: Key): string {
  return Bun.SHA256.hash(keyBytes(key), "hex");
}

const UNSAFE = /[^A-Za-z0-9_.-]/g;
/** `%XX` of each byte that was asked for: a process that reads one key needs two or three of them. */
const PERCENT: (string | undefined)[] = [];

function percent(byte: string): string {
  const code = byte.charCodeAt(0);
  PERCENT[code] ??= `%${code.toString(16).toUpperCase().padStart(2, "0")}`;
  return PERCENT[code];
}
const SUFFIX_DOT = /\.(?=(?:manifest\.json|meta|ref|del)$)/;

/** Every byte that is not a letter, digit, `_`, `-` or `.` as `%XX`. Serves names and the labels of the kv-index. */
export function percentEncode(bytes: string): string {
  return bytes.replace(UNSAFE, percent);
}

const ENCODED = /^(?:[A-Za-z0-9_.-]|%[0-9A-F]{2})*$/;

/** The bytes `text` encodes, or undefined where it holds anything but safe characters and `%XX`. */
export function percentDecode(text: string): string | undefined {
  if (!ENCODED.test(text)) return undefined;
  return unescapeBytes(text);
}

/** Takes the `%XX` of `text` for what they stand for; a tenth of the time of a replacement with a function. */
function unescapeBytes(text: string): string {
  let bytes = "";
  let from = 0;
  for (let at = text.indexOf("%"); at >= 0; at = text.indexOf("%", from)) {
    const code = hexValue(text.charCodeAt(at + 1)) * 16 + hexValue(text.charCodeAt(at + 2));
    bytes += text.slice(from, at) + String.fromCharCode(code);
    from = at + 3;
  }
  return bytes + text.slice(from);
}

/** The value of an upper-case hex digit, given as its ASCII code. */
const hexValue = (code: number): number => (code <= 0x39 ? code - 0x30 : code - 0x37);

/** The name a key's files begin with: 1 to 200 bytes of ASCII. `digits` is given where it is known already. */
export function keyName(key: Key, digits?: string): string {
  let name = percentEncode(key);
  if (name.includes(".")) name = escapeDots(name);
  if (name.length <= NAME_BYTES) return name;
  return `${cutName(name)}~${digits ?? keyDigits(key)}`;
}

function escapeDots(name: string): string {
  let escaped = name.replace(SUFFIX_DOT, "%2E");
  if (escaped.startsWith(".")) escaped = `%2E${escaped.slice(1)}`;
  if (escaped.endsWith(".")) escaped = `${escaped.slice(0, -1)}%2E`;
  return escaped;
}

/** The first 120 bytes, fewer where a `%XX` would be cut. */
function cutName(name: string): string {
  const percent = name.lastIndexOf("%", CUT_BYTES - 1);
  return name.slice(0, percent > CUT_BYTES - 3 ? percent : CUT_BYTES);
}

/** What a name says of its key: the key itself, or, of a long one, its SHA-256 digits. */
export type NamedKey = { readonly kind: "key"; readonly key: Key } | { readonly kind: "long"; readonly digits: string };

const LONG_NAME = /^([^~]{118,120})~([0-9a-f]{64})$/;

/** Safe bytes, and `%XX` of bytes that are neither safe nor control characters; where a dot may be `%2E` is looked at apart. */
const NAME = /^(?:[A-Za-z0-9_.-]|%(?:2[0-9A-CEF]|3[A-F]|40|5[B-E]|60|7[B-E]|[89A-F][0-9A-F]))+$/;

/** Reads a name back, or undefined where no key has that name. Of a long name only the key itself tells all. */
export function parseName(name: string): NamedKey | undefined {
  if (name.includes("~")) {
    const long = LONG_NAME.exec(name);
    return long !== null && ENCODED.test(long[1]!) ? { kind: "long", digits: long[2]! } : undefined;
  }
  if (name.length > NAME_BYTES || !NAME.test(name)) return undefined;
  const key = name.includes("%") ? unescapeBytes(name) : name;
  // Only dots and bytes beyond ASCII leave room for a name that keyName would not have written.
  if (name.includes(".") || name.includes("%2E")) if (keyName(key) !== name) return undefined;
  return isKey(key) ? { kind: "key", key } : undefined;
}

/** What a name says, and what whoever met it made of its key. */
export class KnownName<T> {
  readonly key: NamedKey;
  of: T | undefined = undefined;
  #digits: string | undefined = undefined;

  constructor(key: NamedKey) {
    this.key = key;
  }

  /** As {@link nameDigits}. */
  get digits(): string {
    this.#digits ??= namedDigits(this.key);
    return this.#digits;
  }
}

/** Names read back, each once: those of a transaction's keys are met in one trie after the other. */
export class KeyNames<T = unknown> {
  readonly #known = new Map<string, KnownName<T>>();

  /** Undefined where no key has that name. */
  read(name: string): KnownName<T> | undefined {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const key = parseName(name);
    if (key === undefined) return undefined;
    const made = new KnownName<T>(key);
    this.#known.set(name, made);
    return made;
  }
}

/** SHA-256 digits of the key a name stands for, or undefined where no key has that name. */
export function nameDigits(name: string): string | undefined {
  const named = parseName(name);
  return named && namedDigits(named);
}

const namedDigits = (named: NamedKey): string => (named.kind === "long" ? named.digits : keyDigits(named.key));
