/**
 * Snapshots as JSON lines (docs/formats/snapshot.md), read.
 *
 *   header = {"snapshot":1,...}                     the first line, optional
 *   entry  = {"key":K, "value":TEXT | "value_b64":B | "parts":N, "ctype":T, "expires":SECONDS, "labels":{}, "size":N, "etag":E, ...}
 *   part   = {"part":I,"value_b64":B}               N of them, from 1, right after an entry with "parts":N
 *   end    = {"end":true,"keys":N}                  the last line, required where there is a header
 */

import { KvError } from "../../errors.ts";
import { decodeBase64, parseLabels, type SetOptions } from "../batch.ts";
import { parseKeyExpiry } from "../expiry.ts";
import { type JsonFields, parseJsonObject } from "../json-object.ts";
import { parseKey } from "../key.ts";
import { parseMediaType } from "../media-type.ts";
import { ETAG } from "../record.ts";
import {
  badInput,
  type ImportContext,
  type ImportEntry,
  type ImportItem,
  type ImportItems,
  itemAt,
  NO_OPTIONS,
} from "./item.ts";
import type { LineCursor } from "./line-cursor.ts";

const KNOWN: ReadonlySet<string> = new Set([
  "key",
  "value",
  "value_b64",
  "parts",
  "ctype",
  "ttl",
  "expires",
  "labels",
  "size",
  "etag",
  "rev",
  "type",
]);

/** Where the first line is none, and nobody has said that it is one. */
const OTHER = "--format names another format than JSON lines";

/** Items that are handed on at a time. */
const MANY = 1_000;

/** The items of the lines. Throws INPUT_INVALID for what makes all further lines meaningless. */
export async function* readJsonLines(lines: LineCursor, context: ImportContext): ImportItems {
  let items: ImportItem[] = [];
  const counts = { keys: 0, header: false, ended: false };
  let entryContext: LineContext = { ...context, isSnapshot: false };
  let isPassing = false;
  do {
    for (let line = lines.take(); line !== undefined; line = lines.take()) {
      const text = line.trim();
      if (text === "") continue;
      if (counts.ended) throw badInput(`line ${lines.number} comes after the end of the snapshot`);
      const place = `line ${lines.number}`;
      const parsed = parseLine(text);
      const fields = parsed instanceof KvError ? {} : parsed;
      if (isFrame(fields, counts, lines.number)) {
        entryContext = { ...context, isSnapshot: counts.header };
        continue;
      }
      // The parts of an entry that cannot be used.
      if (isPassing && fields.part !== undefined && fields.key === undefined) continue;
      counts.keys++;
      const { parts } = fields;
      const item = itemAt(place, () => readEntry(parsed, place, lines, entryContext));
      isPassing = item.kind === "bad" && parts !== undefined;
      const isOther = counts.keys === 1 && parsed instanceof KvError && context.isGuess === true;
      items.push(isOther ? { kind: "bad", place, message: parsed.message, hint: OTHER } : item);
      if (items.length < MANY && parts === undefined) continue;
      yield items;
      items = [];
    }
  } while (await lines.fill());
  if (items.length > 0) yield items;
  if (counts.header && !counts.ended)
    throw badInput(`line ${lines.number} is the last, and not the end of the snapshot: it is cut off`);
}

/** The line's object, or what is wrong with it. */
function parseLine(text: string): JsonFields | KvError {
  try {
    return parseJsonObject(text);
  } catch (error) {
    if (error instanceof KvError) return error;
    throw error;
  }
}

/** Takes the header and the end; false: it is neither. */
function isFrame(
  fields: JsonFields,
  counts: { keys: number; header: boolean; ended: boolean },
  number: number,
): boolean {
  if (fields.snapshot !== undefined) {
    if (counts.header || counts.keys > 0) throw badInput(`line ${number}: the header of a snapshot is its first line`);
    if (fields.snapshot !== 1) throw badInput(`line ${number}: a snapshot of version 1 is wanted`);
    counts.header = true;
    return true;
  }
  if (fields.end !== true || fields.key !== undefined) return false;
  if (fields.keys !== counts.keys)
    throw badInput(
      `line ${number}: the snapshot has ${counts.keys} keys, its end names ${JSON.stringify(fields.keys)}`,
    );
  counts.ended = true;
  return true;
}

/** `isSnapshot`: an entry without a time says that its key never expires, whatever the policy has by default. */
interface LineContext extends ImportContext {
  readonly isSnapshot: boolean;
}

function readEntry(fields: JsonFields | KvError, place: string, lines: LineCursor, context: LineContext): ImportEntry {
  if (fields instanceof KvError) throw fields;
  for (const name in fields) if (!KNOWN.has(name)) throw badInput(`there is no field ${JSON.stringify(name)}`);
  const { key, value, value_b64, parts, etag, size } = fields;
  if (typeof key !== "string") throw badInput(`"key" is ${key === undefined ? "missing" : "not a string"}`);
  if (etag !== undefined && !(typeof etag === "string" && ETAG.test(etag)))
    throw badInput('"etag" is not blake3:<hex>');
  if (size !== undefined && !isCount(size)) throw badInput('"size" is not a number of bytes');
  const given = Number(value !== undefined) + Number(value_b64 !== undefined) + Number(parts !== undefined);
  if (given !== 1) throw badInput('exactly one of "value", "value_b64" and "parts" is wanted');
  const about = {
    place,
    key: parseKey(context.prefix + key),
    options: readOptions(fields, context),
    etag,
    size,
  } as const;
  if (parts !== undefined) {
    if (!isCount(parts) || parts === 0) throw badInput('"parts" is not a number from 1');
    return { kind: "entry", ...about, value: { kind: "stream", read: partReader(lines, parts) } };
  }
  return { kind: "entry", ...about, value: { kind: "bytes", data: readValue(value, value_b64) } };
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function readValue(text: unknown, base64: unknown): Buffer {
  if (base64 !== undefined) {
    if (typeof base64 !== "string") throw badInput('"value_b64" is not a string');
    return decodeBase64(base64);
  }
  if (typeof text !== "string") throw badInput('"value" is not a string');
  // Half a surrogate pair has no bytes in UTF-8.
  if (!text.isWellFormed()) throw badInput('"value" is not valid Unicode');
  return Buffer.from(text);
}

function readOptions({ ctype, ttl, expires, labels }: JsonFields, context: LineContext): SetOptions {
  const isSilent = ctype === undefined && ttl === undefined && expires === undefined && labels === undefined;
  if (isSilent && !context.isSnapshot) return NO_OPTIONS;
  const text = (name: string, value: unknown): string | undefined => {
    if (value === undefined || typeof value === "string") return value;
    throw badInput(`"${name}" is not a string`);
  };
  const type = text("ctype", ctype);
  const at = typeof expires === "number" ? `@${expires}` : text("expires", expires);
  return {
    ctype: type === undefined ? undefined : parseMediaType(type),
    expires: parseKeyExpiry(text("ttl", ttl), at, context.now) ?? (context.isSnapshot ? "never" : undefined),
    labels: labels === undefined ? undefined : parseLabels(labels),
  };
}

/** Reads the parts that follow an entry. */
function partReader(lines: LineCursor, parts: number): () => Promise<Buffer | undefined> {
  let next = 1;
  return async () => {
    if (next > parts) return undefined;
    let line = lines.take();
    while (line === undefined) {
      if (!(await lines.fill()))
        throw badInput(`line ${lines.number} is the last: part ${next} of ${parts} is missing`);
      line = lines.take();
    }
    const fields = parseLine(line);
    if (fields instanceof KvError || fields.part !== next || typeof fields.value_b64 !== "string")
      throw badInput(`line ${lines.number} is not part ${next} of ${parts}`);
    // One without bytes would be the end of the value.
    if (fields.value_b64 === "") throw badInput(`line ${lines.number}: part ${next} of ${parts} is empty`);
    next++;
    try {
      return decodeBase64(fields.value_b64);
    } catch {
      throw badInput(`line ${lines.number}: "value_b64" is not base64`);
    }
  };
}
