/**
 * Files of environment variables, as shells and dotenv libraries read them.
 *
 *   line    = [ "export " ] NAME "=" value [ " #" comment ] / "#" comment / blank
 *   value   = unquoted / "'" text "'" / '"' text '"' / "`" text "`"       quoted text may have newlines
 *   escapes = \n \r \t \" \\ \$ \`                         between double quotes only
 *
 * Nothing is substituted: a `$` stands for itself.
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { keyText, parseKey } from "../key.ts";
import { ANY } from "./dumps.ts";
import { wholeText } from "./exported.ts";
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
import type { SnapshotWriter, WriteText } from "./writer.ts";

const ASSIGNMENT = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*=[ \t]*(.*)$/s;

/** Reads a file of variables. */
export async function* readDotenv(lines: LineCursor, context: ImportContext): ImportItems {
  for (;;) {
    const line = await nextLine(lines);
    if (line === undefined) return;
    if (line.trim() === "" || line.trimStart().startsWith("#")) continue;
    yield [await readVariable(line, lines, context)];
  }
}

async function nextLine(lines: LineCursor): Promise<string | undefined> {
  for (;;) {
    const line = lines.take();
    if (line !== undefined) return line.endsWith("\r") ? line.slice(0, -1) : line;
    if (!(await lines.fill())) return undefined;
  }
}

async function readVariable(line: string, lines: LineCursor, context: ImportContext): Promise<ImportItem> {
  const place = `line ${lines.number}`;
  const [, name, rest] = ASSIGNMENT.exec(line) ?? [];
  if (name === undefined || rest === undefined) return { kind: "bad", place, message: "not NAME=VALUE" };
  const value = await readValue(rest, place, lines);
  return itemAt(place, (): ImportEntry => {
    if (value === undefined) throw badInput("something follows the closing quote");
    const data = Buffer.from(value);
    return {
      kind: "entry",
      place,
      key: parseKey(context.prefix + name),
      value: { kind: "bytes", data },
      options: NO_OPTIONS,
    };
  });
}

/** The value; undefined where something follows its closing quote. Throws INPUT_INVALID where there is none. */
async function readValue(rest: string, place: string, lines: LineCursor): Promise<string | undefined> {
  const quote = rest[0];
  if (quote !== "'" && quote !== '"' && quote !== "`") return withoutComment(rest).trimEnd();
  const gathered: string[] = [];
  let length = 0;
  for (let line: string | undefined = rest.slice(1); line !== undefined; line = await nextLine(lines)) {
    const end = quote === '"' ? endOfText(line) : line.indexOf(quote);
    gathered.push(end < 0 ? line : line.slice(0, end));
    length += line.length + 1;
    if (length > LIMITS.batchLine) throw badInput(`${place}: the value is longer than ${LIMITS.batchLine} characters`);
    if (end < 0) continue;
    const text = gathered.join("\n");
    if (!/^[ \t]*(?:#|$)/.test(line.slice(end + 1))) return undefined;
    return quote === '"' ? withoutEscapes(text) : text;
  }
  throw badInput(`${place}: the quote is not closed`);
}

/** A comment begins where a space is before it. */
function withoutComment(text: string): string {
  let at = text.indexOf("#");
  while (at > 0 && !/\s/.test(text[at - 1]!)) at = text.indexOf("#", at + 1);
  return at < 0 ? text : text.slice(0, at);
}

/** Where the double quote is that no backslash stands before; what a backslash at the end stands before is the end of the line. */
function endOfText(line: string): number {
  for (let at = 0; at < line.length; at++) {
    if (line[at] === "\\") at++;
    else if (line[at] === '"') return at;
  }
  return -1;
}

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t" };

function withoutEscapes(text: string): string {
  return text.replace(/\\(.)/gs, (whole, char: string) => ESCAPES[char] ?? (/["\\$`]/.test(char) ? char : whole));
}

const NAME = /^[A-Za-z_][A-Za-z0-9_.-]*$/;

/** Writes a file of variables; `prefix` is taken off every key. */
export function dotenvWriter(prefix: string, write: WriteText): SnapshotWriter {
  return {
    begin: () => {},
    add: async (exported) => {
      const key = keyText(exported.key);
      const name = key.slice(prefix.length);
      const refuse = (why: string): KvError =>
        new KvError("INPUT_INVALID", `${JSON.stringify(key)} cannot be a variable: ${why}`, { hint: ANY });
      if (!NAME.test(name)) throw refuse(`'${name}' is no name of one`);
      const text = await wholeText(exported);
      if (text === undefined || text.includes("\0")) throw refuse("its value is not text");
      const line = `${name}=${quoted(text)}\n`;
      if (Buffer.byteLength(line) > LIMITS.batchLine)
        throw refuse(`its value is longer than ${LIMITS.batchLine} bytes`);
      write(line);
    },
    end: () => {},
  };
}

/**
 * As shells and libraries all read it: within single quotes everything stands for itself. What has one of them is between double quotes, whose
 * escapes shells take, and libraries in part.
 */
function quoted(text: string): string {
  if (/^[A-Za-z0-9_.:/@%+,-]*$/.test(text)) return text;
  // A CR would be taken for a part of the line's end.
  if (!/['\r]/.test(text)) return `'${text}'`;
  return `"${text.replace(/["\\$`]/g, "\\$&").replace(/\r/g, "\\r")}"`;
}
