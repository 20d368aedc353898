/** Operations as programs give them, checked and made lines of a transaction. */

import { utf8ToByteString } from "../bytes.ts";
import { KvError } from "../errors.ts";
import { isOid, type ObjectFormat, type Oid } from "../gitwire/object/oid.ts";
import { parseLabels, type ValueInput, type WriteLine } from "./batch.ts";
import { parseKeyExpiry } from "./expiry.ts";
import { type Key, parseKey } from "./key.ts";
import { parseMediaType } from "./media-type.ts";
import type { Condition } from "./operation.ts";
import type { Labels } from "./record.ts";

/** What must be true of the key before: it is absent, its value is this blob, or its last revision is this one. */
export type KvCondition = { readonly absent: true } | { readonly blob: string } | { readonly rev: number };

/** A value to be set. */
export type KvInput = string | Uint8Array | AsyncIterable<Uint8Array>;

/** One operation of a transaction. */
export type KvOperation =
  | {
      readonly op: "set";
      readonly key: string;
      /** Text is stored as UTF-8; a value that comes in parts is never held whole. */
      readonly value: KvInput;
      /** Media type; text and JSON are recognised. */
      readonly ctype?: string;
      /** `90s`, `15m`, `2h`, `30d`, or `never`. */
      readonly ttl?: string;
      readonly expires?: Date;
      readonly labels?: Labels;
      readonly if?: KvCondition;
    }
  | { readonly op: "del"; readonly key: string; readonly if?: KvCondition }
  /** Changes nothing, demands a condition. */
  | { readonly op: "check"; readonly key: string; readonly if: KvCondition };

/** What values come from in parts; to be closed when the transaction is made, or is not. @internal */
export type OpenStreams = AsyncGenerator<Buffer, void, undefined>[];

/**
 * The line that does what `operation` says; a value in parts goes to `streams` as well. Throws KEY_INVALID, INPUT_INVALID. `now` in Unix seconds.
 *
 * @internal
 */
export function toWriteLine(
  operation: KvOperation,
  format: ObjectFormat,
  now: number,
  streams: OpenStreams,
): WriteLine {
  demand(isMap(operation), "an operation is not an object");
  const key = parseUserKey(operation.key);
  const condition = operation.if === undefined ? undefined : toCondition(operation.if, format);
  switch (operation.op) {
    case "del":
      return { op: "del", key, condition };
    case "check":
      if (condition === undefined) throw new KvError("INPUT_INVALID", "a check needs a condition");
      return { op: "check", key, condition };
    case "set": {
      const { value, ctype, ttl, expires, labels } = operation;
      const input = inputOf(value, operation.key, streams);
      demand(
        expires === undefined || (expires instanceof Date && !Number.isNaN(expires.getTime())),
        "expires is no valid date",
      );
      demand(ttl === undefined || typeof ttl === "string", "ttl is not a string");
      demand(labels === undefined || isMap(labels), "labels are not an object");
      const options = {
        ctype: ctype === undefined ? undefined : parseMediaType(ctype),
        expires: parseKeyExpiry(ttl, expires?.toISOString(), now),
        labels: labels === undefined || Object.keys(labels).length === 0 ? undefined : parseLabels(labels),
      };
      return { op: "set", key, value: input, options, condition };
    }
    default:
      throw new KvError(
        "INPUT_INVALID",
        `'${String((operation as { op: unknown }).op)}' is neither set, del nor check`,
      );
  }
}

/** Throws INPUT_INVALID. Programs may not have been checked by a compiler. @internal */
export function demand(condition: boolean, message: string): asserts condition {
  if (!condition) throw new KvError("INPUT_INVALID", message);
}

function isMap(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The bytes that keys begin with. Throws INPUT_INVALID. @internal */
export function parseUserPrefix(prefix: unknown): string {
  demand(typeof prefix === "string", "the prefix is not a string");
  return utf8ToByteString(prefix);
}

/** The key of a program that may not have been checked by a compiler. Throws KEY_INVALID. @internal */
export function parseUserKey(key: unknown): Key {
  if (typeof key === "string") return parseKey(key);
  throw new KvError("KEY_INVALID", "the key is not a string");
}

function inputOf(value: KvInput, key: string, streams: OpenStreams): ValueInput {
  if (!isIterable(value)) return { kind: "bytes", data: bytesOf(value, key) };
  const parts = partsOf(value, key);
  streams.push(parts);
  return { kind: "stream", read: async () => (await parts.next()).value ?? undefined };
}

function isIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}

/** Its parts, checked. One without bytes would be taken for the end. */
async function* partsOf(value: AsyncIterable<unknown>, key: string): AsyncGenerator<Buffer, void, undefined> {
  for await (const part of value) {
    if (typeof part === "string") {
      throw new KvError("INPUT_INVALID", `the value of ${JSON.stringify(key)} has parts that are text, not bytes`);
    }
    const bytes = bytesOf(part, key);
    if (bytes.length > 0) yield bytes;
  }
}

function bytesOf(value: unknown, key: string): Buffer {
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const named = `the value of ${JSON.stringify(key)}`;
  if (typeof value !== "string") throw new KvError("INPUT_INVALID", `${named} is neither a string nor bytes`);
  // Half a surrogate pair has no bytes in UTF-8: another character would be stored in its place.
  if (!value.isWellFormed()) throw new KvError("INPUT_INVALID", `${named} is not valid Unicode`);
  return Buffer.from(value);
}

function toCondition(given: KvCondition, format: ObjectFormat): Condition {
  if ("absent" in given) return { kind: "absent" };
  if ("rev" in given) {
    if (Number.isSafeInteger(given.rev) && given.rev >= 0) return { kind: "rev", rev: given.rev };
    throw new KvError("INPUT_INVALID", `${given.rev} is no revision`);
  }
  return { kind: "blob", oid: parseUserOid(given.blob, format) };
}

/** An object id of a program. Throws INPUT_INVALID. @internal */
export function parseUserOid(oid: unknown, format: ObjectFormat): Oid {
  if (typeof oid === "string" && isOid(format, oid)) return oid;
  throw new KvError("INPUT_INVALID", `'${String(oid)}' is not an object id of ${format.hexSize} hex digits`);
}
