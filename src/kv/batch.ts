/**
 * Batches: operations as JSON lines, all in one transaction or none.
 *
 *   {"op":"set","key":K, "value":STRING-OR-JSON | "value_b64":B | "file":PATH, "ctype":T, "ttl":D | "expires":T, "labels":{}, "if":C}
 *   {"op":"del","key":K, "if":C}
 *   {"op":"check","key":K, "if":C}
 *   C = {"absent":true} | {"blob":OID} | {"rev":N}
 *
 * Every bad line is found before anything is done with the good ones.
 */

import { EXIT, KvError } from "../errors.ts";
import { isOid, type ObjectFormat } from "../gitwire/object/oid.ts";
import { LIMITS } from "../limits.ts";
import type { ByteReader } from "../lines.ts";
import { type Expiry, parseKeyExpiry } from "./expiry.ts";
import { type JsonFields, parseJsonObject, withNumbersAsWritten } from "./json-object.ts";
import { type Key, parseKey } from "./key.ts";
import type { Refusal } from "./known-rules.ts";
import { parseMediaType } from "./media-type.ts";
import type { Condition } from "./operation.ts";
import { isLabels, type Labels } from "./record.ts";

/** Where the value of a line comes from. */
export type BatchValue =
  | {
      readonly kind: "bytes";
      readonly data: Buffer /** Its etag, where that has been computed. */;
      readonly etag?: string | undefined;
    }
  | { readonly kind: "file"; readonly path: string };

/** Where a set's value comes from. */
export type ValueInput = BatchValue | { readonly kind: "stream"; readonly read: ByteReader };

/** What a set says besides its value. */
export interface SetOptions {
  readonly ctype: string | undefined;
  readonly expires: Expiry;
  readonly labels: Labels | undefined;
}

/** One line of a batch, checked. */
export type BatchLine = WriteLine<BatchValue>;

/** One operation as its writer gives it, checked. */
export type WriteLine<Value = ValueInput> =
  | {
      readonly op: "set";
      readonly key: Key;
      readonly value: Value;
      readonly options: SetOptions;
      readonly condition: Condition | undefined;
      /** A key that is there is left as it is. */
      readonly keep?: boolean;
    }
  | { readonly op: "del"; readonly key: Key; readonly condition: Condition | undefined }
  | { readonly op: "check"; readonly key: Key; readonly condition: Condition };

/** What reading a line depends on. */
export interface BatchContext {
  readonly format: ObjectFormat;
  /** Unix seconds. */
  readonly now: number;
  /** Checks a file a line names and returns its absolute path; throws a KvError where it cannot be read. */
  readonly file: (path: string) => string;
  /** What is to be said against a line that can be read; undefined: nothing. */
  readonly refusal?: ((line: BatchLine) => Promise<Refusal | undefined> | undefined) | undefined;
}

/** Takes a line; where that takes time, the next one waits for it. */
export type UseLine = (line: BatchLine) => void | Promise<void>;

/** A line that cannot be used. */
interface BadLine {
  readonly line: number;
  readonly message: string;
}

/** What some editors put at the beginning of a file. */
const MARK = "\ufeff";

/** Most bad lines an error names. */
const NAMED_LINES = 20;

/** Reads a batch line by line and hands each good one on; `finish` throws INPUT_INVALID naming every bad line. */
export class BatchReader {
  readonly #context: BatchContext;
  readonly #use: UseLine;
  readonly #bad: BadLine[] = [];
  readonly #seen = new Map<Key, number>();
  readonly #hints = new Set(["nothing was written"]);
  #number = 0;

  /** `use` takes a good line; what it throws of its input makes the line a bad one. */
  constructor(context: BatchContext, use: UseLine) {
    this.#context = context;
    this.#use = use;
  }

  /** Takes the next line of the batch, without its newline; blank lines are skipped. */
  add(text: string): void | Promise<void> {
    const line = ++this.#number;
    if (line === 1 && text.startsWith(MARK)) text = text.slice(MARK.length);
    if (text.trim() === "") return undefined;
    try {
      const parsed = parseLine(text, this.#context);
      const before = this.#seen.get(parsed.key);
      if (before !== undefined) throw new KvError("INPUT_INVALID", `the key is on line ${before} already`);
      this.#seen.set(parsed.key, line);
      const refusal = this.#context.refusal?.(parsed);
      const work =
        refusal === undefined ? this.#use(parsed) : refusal.then((why) => this.#useUnless(why, line, parsed));
      if (work instanceof Promise) return work.catch((error: unknown) => this.#wentWrong(line, error));
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
      this.#bad.push({ line, message: error.message });
    }
    return undefined;
  }

  #useUnless(refusal: Refusal | undefined, line: number, parsed: BatchLine): void | Promise<void> {
    if (refusal === undefined) return this.#use(parsed);
    this.#bad.push({ line, message: refusal.message });
    this.#hints.add(refusal.hint);
    return undefined;
  }

  /** What takes time also asks the Stargate and the disk, whose failures are not the line's. */
  #wentWrong(line: number, error: unknown): void {
    if (!(error instanceof KvError) || (error.exit !== EXIT.invalid && error.exit !== EXIT.policy)) throw error;
    this.#bad.push({ line, message: error.message });
  }

  /** Ends the batch. Throws INPUT_INVALID where a line was bad. */
  finish(): void {
    if (this.#bad.length === 0) return;
    const named = this.#bad.slice(0, NAMED_LINES).map(({ line, message }) => `line ${line}: ${message}`);
    if (this.#bad.length > NAMED_LINES) named.push(`and ${this.#bad.length - NAMED_LINES} more bad lines`);
    throw new KvError(
      "INPUT_INVALID",
      `the batch has ${this.#bad.length} bad line${this.#bad.length === 1 ? "" : "s"}\n${named.join("\n")}`,
      {
        hint: [...this.#hints].join("; "),
        data: { lines: this.#bad.slice(0, 1000) },
      },
    );
  }
}

const bad = (message: string): KvError => new KvError("INPUT_INVALID", message);

const KNOWN = {
  set: new Set(["op", "key", "value", "value_b64", "file", "ctype", "ttl", "expires", "labels", "if"]),
  del: new Set(["op", "key", "if"]),
  check: new Set(["op", "key", "if"]),
};

function parseLine(text: string, context: BatchContext): BatchLine {
  if (text.length > LIMITS.batchLine) throw bad(`the line is longer than ${LIMITS.batchLine} characters`);
  const fields = parseJsonObject(text);
  const { op, key: keyField } = fields;
  if (op !== "set" && op !== "del" && op !== "check")
    throw bad(`"op" is ${JSON.stringify(op) ?? "missing"}, not "set", "del" or "check"`);
  const unknown = Object.keys(fields).find((name) => !KNOWN[op].has(name));
  if (unknown !== undefined) throw bad(`"${op}" has no field ${JSON.stringify(unknown)}`);
  if (typeof keyField !== "string") throw bad(`"key" is ${keyField === undefined ? "missing" : "not a string"}`);
  const key = parseKey(keyField);
  const condition = fields.if === undefined ? undefined : parseCondition(fields.if, context.format);
  if (op === "del") return { op, key, condition };
  if (op === "check") {
    if (condition === undefined) throw bad('"check" needs an "if"');
    return { op, key, condition };
  }
  return { op, key, value: parseValue(fields, text, context), options: parseOptions(fields, context), condition };
}

function parseValue(fields: JsonFields, text: string, context: BatchContext): BatchValue {
  const given = (["value", "value_b64", "file"] as const).filter((name) => fields[name] !== undefined);
  if (given.length !== 1) throw bad('"set" needs exactly one of "value", "value_b64" and "file"');
  const value = fields[given[0]!];
  if (given[0] === "value") return { kind: "bytes", data: valueBytes(value, text) };
  if (typeof value !== "string") throw bad(`"${given[0]}" is not a string`);
  return given[0] === "file"
    ? { kind: "file", path: context.file(value) }
    : { kind: "bytes", data: decodeBase64(value) };
}

/** The bytes of base64 of RFC 4648, section 4, padding optional. Throws INPUT_INVALID. */
export function decodeBase64(text: string): Buffer {
  const data = Buffer.from(text, "base64");
  // Buffer skips what it does not know; only the canonical spelling (padding optional) is taken.
  if (data.toString("base64").replace(/=+$/, "") !== text.replace(/=+$/, "")) throw bad('"value_b64" is not base64');
  return data;
}

function parseOptions(fields: JsonFields, context: BatchContext): SetOptions {
  const text = (name: string): string | undefined => {
    const value = fields[name];
    if (value !== undefined && typeof value !== "string") throw bad(`"${name}" is not a string`);
    return value as string | undefined;
  };
  const ctype = text("ctype");
  const ttl = text("ttl");
  const expires = typeof fields.expires === "number" ? `@${fields.expires}` : text("expires");
  return {
    ctype: ctype === undefined ? undefined : parseMediaType(ctype),
    expires: parseKeyExpiry(ttl, expires, context.now),
    labels: fields.labels === undefined ? undefined : parseLabels(fields.labels),
  };
}

function valueBytes(value: unknown, line: string): Buffer {
  if (typeof value !== "string") return Buffer.from(JSON.stringify(withNumbersAsWritten(line).value));
  // Half a surrogate pair has no bytes in UTF-8: another character would be stored in its place.
  if (!value.isWellFormed()) throw bad('"value" is not valid Unicode');
  return Buffer.from(value);
}

/** Labels where `value` is a map of strings. Throws INPUT_INVALID. */
export function parseLabels(value: unknown): Labels {
  if (!isLabels(value))
    throw bad('"labels" is not a map of at most 64 strings, names 1 to 255 long, values at most 1,024');
  for (const name in value)
    if (!name.isWellFormed() || !value[name]!.isWellFormed()) throw bad('"labels" is not valid Unicode');
  return value;
}

function parseCondition(value: unknown, format: ObjectFormat): Condition {
  const fields = typeof value === "object" && value !== null ? (value as JsonFields) : {};
  const names = Object.keys(fields);
  if (names.length === 1) {
    if (fields.absent === true) return { kind: "absent" };
    if (typeof fields.blob === "string" && isOid(format, fields.blob)) return { kind: "blob", oid: fields.blob };
    if (Number.isSafeInteger(fields.rev) && (fields.rev as number) >= 0)
      return { kind: "rev", rev: fields.rev as number };
  }
  throw bad('"if" is one of {"absent":true}, {"blob":OID} and {"rev":N}');
}
