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

/** Quoted text to its end, and what follows. */
const CLOSED = {
  "'": /^'([^']*)'[ \t]*(.*)$/s,
  "`": /^`([^`]*)`[ \t]*(.*)$/s,
  '"': /^"((?:[^"\\]|\\.)*)"[ \t]*(.*)$/s,
} as const;

/** Most characters of one quoted value. */
const MOST = 8 * 1024 * 1024;

/** The value; undefined where something follows its closing quote. Throws INPUT_INVALID where there is none. */
async function readValue(rest: string, place: string, lines: LineCursor): Promise<string | undefined> {
  const quote = rest[0];
  if (quote !== "'" && quote !== '"' && quote !== "`") return rest.replace(/(?:^|\s+)#.*$/s, "").trimEnd();
  const closed = CLOSED[quote];
  const gathered = [rest];
  let length = rest.length;
  // Looked at only where a quote has come: a long text would be read again for each of its lines.
  for (let isMaybe = true; ; ) {
    const match = isMaybe ? closed.exec(gathered.join("\n")) : null;
    if (match !== null) {
      const [, text = "", after = ""] = match;
      if (after !== "" && !after.startsWith("#")) return undefined;
      return quote === '"' ? withoutEscapes(text) : text;
    }
    const line = await nextLine(lines);
    if (line === undefined) throw badInput(`${place}: the quote is not closed`);
    gathered.push(line);
    length += line.length + 1;
    if (length > MOST) throw badInput(`${place}: the value is longer than ${MOST} characters`);
    isMaybe = line.includes(quote);
  }
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
      write(`${name}=${quoted(text)}\n`);
    },
    end: () => {},
  };
}

function quoted(text: string): string {
  if (/^[A-Za-z0-9_.:/@%+,-]*$/.test(text)) return text;
  const escaped = text
    .replace(/["\\$`]/g, "\\$&")
    .replace(/\n/g, "\\n")
    .replace(/\r/g, "\\r");
  return `"${escaped}"`;
}
