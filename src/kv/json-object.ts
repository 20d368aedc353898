/**
 * One object of JSON (RFC 8259), of which nothing gets lost: JSON.parse keeps the last of two members of one name, and rounds numbers that
 * a double cannot hold.
 */

import { KvError } from "../errors.ts";

export type JsonFields = Readonly<Record<string, unknown>>;

/** What may nest. */
const MOST_DEPTH = 1_000;

/** The object `text` is. Throws INPUT_INVALID, also where a member of it or of what is in it is there twice. */
export function parseJsonObject(text: string): JsonFields {
  const written = membersWritten(text);
  const fields = parse(text);
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) throw bad("not a JSON object");
  if (membersIn(fields) < written) throw bad(`${JSON.stringify(nameTwice(text))} is there twice`);
  return fields as JsonFields;
}

/** As {@link parseJsonObject} returned of `text`, but that numbers that JavaScript has others for are the text they are written as. */
export function withNumbersAsWritten(text: string): JsonFields {
  if (!MAYBE_ROUNDED.test(text)) return JSON.parse(text);
  const access = JSON as unknown as SourceAccess;
  return access.parse(text, (_, value, { source }) =>
    typeof value === "number" && source !== undefined && isRounded(value, source) ? access.rawJSON(source) : value,
  ) as JsonFields;
}

/** JSON with access to the source text, which TypeScript does not know yet. */
interface SourceAccess {
  parse(
    text: string,
    reviver: (name: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): unknown;
}

/** Of up to 15 digits a double loses none. */
const MAYBE_ROUNDED = /[\d.]{16}|\d[eE]/;

function isRounded(value: number, source: string): boolean {
  const digits = source.replace(/[eE].*/, "").replace(/\D/g, "");
  let [start, end] = [0, digits.length];
  while (digits[start] === "0") start++;
  while (end > start && digits[end - 1] === "0") end--;
  if (!Number.isFinite(value) || (value === 0 && end > start)) return true;
  return end - start > 15 && String(value) !== source;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw bad("not valid JSON");
  }
}

const [QUOTE, BACKSLASH, COLON] = [0x22, 0x5c, 0x3a];
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

/** Members of all objects in `text`: each has the only colon outside of strings. */
function membersWritten(text: string): number {
  let [members, depth] = [0, 0];
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (char === QUOTE) at = endOfString(text, at);
    else if (char === COLON) members++;
    else if (char === OPEN_ARRAY || char === OPEN_OBJECT) depth++;
    else if (char === CLOSE_ARRAY || char === CLOSE_OBJECT) depth--;
    if (depth > MOST_DEPTH) throw bad(`nests deeper than ${MOST_DEPTH}`);
  }
  return members;
}

/** Where the string ends that begins at `start`: a quote before which stands an even number of backslashes. */
function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let before = at;
    while (text.charCodeAt(before - 1) === BACKSLASH) before--;
    if ((at - before) % 2 === 0) return at;
  }
  return text.length;
}

function membersIn(value: object): number {
  let members = 0;
  if (Array.isArray(value)) {
    for (const inner of value) if (typeof inner === "object" && inner !== null) members += membersIn(inner);
    return members;
  }
  for (const name in value) {
    const inner = (value as JsonFields)[name];
    members += typeof inner === "object" && inner !== null ? 1 + membersIn(inner) : 1;
  }
  return members;
}

/** The first name that is twice in one object of `text`, which is JSON and has one. */
function nameTwice(text: string): string {
  const open: Set<string>[] = [];
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (char === OPEN_OBJECT) open.push(new Set());
    else if (char === CLOSE_OBJECT) open.pop();
    if (char !== QUOTE) continue;
    const end = endOfString(text, at);
    const name = /^\s*:/.test(text.slice(end + 1, end + 100))
      ? (JSON.parse(text.slice(at, end + 1)) as string)
      : undefined;
    if (name !== undefined && open.at(-1)!.has(name)) return name;
    if (name !== undefined) open.at(-1)!.add(name);
    at = end;
  }
  return "a name";
}

const bad = (message: string): KvError => new KvError("INPUT_INVALID", message);
