/**
 * The syntax of git's config files (git-config, "Syntax").
 *
 *   file       = *( section / variable / comment / space )
 *   section    = "[" name [ 1*space DQ subsection DQ ] "]"       name = 1*( ALPHA / DIGIT / "-" / "." )
 *   variable   = name *space [ "=" value ] ( LF / EOF )          name = ALPHA *( ALPHA / DIGIT / "-" )
 *   value      = *( char / escape / DQ *char DQ ), cut at an unquoted "#" or ";", outer space removed
 *   escape     = "\" ( LF / "\" / DQ / "n" / "t" / "b" )         "\" LF joins two lines
 *
 * CR LF counts as LF. Section and variable names fold to lower case, subsections keep theirs, except in the old form
 * `[section.subsection]`. The parser keeps where everything stands, so that an edit leaves all else alone.
 */

import { isAscii } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import { isLetter, isNameChar } from "./config-name.ts";

/** One variable as written. `value` is undefined where there is no `=` (which means true). */
export interface FileEntry {
  /** Canonical `section.variable` or `section.Subsection.variable`; git takes a `variable` before any section too. */
  readonly name: string;
  readonly value: string | undefined;
  /** 1-based line of the variable's name. */
  readonly line: number;
}

/**
 * A piece of the file, [begin, end) in bytes; pieces follow each other without gaps. Before the first there may be a byte order
 * mark, or the CR of the CR LF it begins with.
 */
export type ConfigPart =
  | { readonly kind: "space" | "comment"; readonly begin: number; readonly end: number }
  | {
      readonly kind: "section";
      readonly begin: number;
      readonly end: number;
      /** `section` or `section.Subsection`. */
      readonly section: string;
      /** Written in the old form `[section.subsection]`, whose case does not count. */
      readonly folded: boolean;
    }
  | { readonly kind: "entry"; readonly begin: number; readonly end: number; readonly entry: FileEntry };

type Draft =
  | { kind: "space" | "comment" }
  | { kind: "section"; section: string; folded: boolean }
  | { kind: "entry"; entry: FileEntry };

/**
 * Takes a file apart. `text` is its bytes as a byte string (latin1); names and values come back as text (UTF-8).
 * Throws CONFIG with `file` and the line of the first thing that is not syntax.
 */
export function parseConfigFile(text: string, file: string): ConfigPart[] {
  return new Parser(text, file).parse();
}

/** The variables of a file, in order. Throws CONFIG. */
export function parseConfigEntries(text: string, file: string): readonly FileEntry[] {
  const known = parsed.get(file);
  if (known?.text === text) return known.entries;
  const entries: FileEntry[] = [];
  for (const part of parseConfigFile(text, file)) if (part.kind === "entry") entries.push(part.entry);
  if (parsed.size >= MOST_PARSED) parsed.clear();
  parsed.set(file, { text, entries });
  return entries;
}

/** A start reads the repository's config for its format and again for its settings: the second time it is known. */
const parsed = new Map<string, { readonly text: string; readonly entries: readonly FileEntry[] }>();
const MOST_PARSED = 16;

const LF = "\n";
const BOM = "\xef\xbb\xbf";

class Parser {
  readonly #text: string;
  readonly #file: string;
  readonly #parts: ConfigPart[] = [];
  #pos = 0;
  #line = 1;
  #atEnd = false;
  #section = "";
  #begin = 0;
  #open: Draft | undefined;

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
    if (text.startsWith(BOM)) this.#pos = BOM.length;
  }

  parse(): ConfigPart[] {
    for (;;) {
      const line = this.#line;
      const c = this.#next();
      if (c === LF) {
        if (this.#atEnd) break;
        this.#start({ kind: "space" });
      } else if (isSpace(c)) {
        this.#start({ kind: "space" });
      } else if (c === "#" || c === ";") {
        this.#start({ kind: "comment" });
        this.#pos = this.#lineEnd();
      } else if (c === "[") {
        const begin = this.#pos - 1;
        this.#section = this.#sectionName(line);
        const folded = this.#text[this.#pos - 2] !== '"';
        this.#start({ kind: "section", section: decode(this.#section), folded }, begin);
      } else {
        const begin = this.#pos - 1;
        this.#start({ kind: "entry", entry: this.#entry(c, line) }, begin);
      }
    }
    this.#finish(this.#text.length);
    return this.#parts;
  }

  /** Next character, CR LF as LF; LF for ever at the end. */
  #next(): string {
    if (this.#pos >= this.#text.length) {
      this.#atEnd = true;
      return LF;
    }
    let c = this.#text[this.#pos++]!;
    if (c === "\r" && this.#text[this.#pos] === LF) {
      this.#pos++;
      c = LF;
    }
    if (c === LF) this.#line++;
    return c;
  }

  /** Where the line ends that {@link #pos} is in: at its LF, or at the end. */
  #lineEnd(): number {
    const end = this.#text.indexOf(LF, this.#pos);
    return end < 0 ? this.#text.length : end;
  }

  /** What is there of a name, from {@link #pos} on. */
  #nameText(): string {
    const begin = this.#pos;
    while (this.#pos < this.#text.length && isNameChar(this.#text.charCodeAt(this.#pos))) this.#pos++;
    return this.#text.slice(begin, this.#pos);
  }

  #start(draft: Draft, begin = this.#pos - 1): void {
    if (draft.kind === "space" && this.#open?.kind === "space") return;
    this.#finish(begin);
    this.#open = draft;
    this.#begin = begin;
  }

  #finish(end: number): void {
    if (this.#open !== undefined) this.#parts.push({ ...this.#open, begin: this.#begin, end } as ConfigPart);
    this.#open = undefined;
  }

  #sectionName(line: number): string {
    let name = "";
    for (;;) {
      name += this.#nameText().toLowerCase();
      const c = this.#next();
      if (this.#atEnd) throw this.#bad(line);
      if (c === "]") break;
      if (isSpace(c)) return `${name}.${this.#subsection(c, line)}`;
      if (c !== ".") throw this.#bad(line);
      name += c;
    }
    if (name === "") throw this.#bad(line);
    return name;
  }

  #subsection(first: string, line: number): string {
    let c = first;
    while (isSpace(c)) {
      if (c === LF) throw this.#bad(line);
      c = this.#next();
    }
    if (c !== '"') throw this.#bad(line);
    let name = "";
    for (;;) {
      c = this.#next();
      if (c === LF) throw this.#bad(line);
      if (c === '"') break;
      if (c === "\\") {
        c = this.#next();
        if (c === LF) throw this.#bad(line);
      }
      name += c;
    }
    if (this.#next() !== "]") throw this.#bad(line);
    return name;
  }

  #entry(first: string, line: number): FileEntry {
    if (!isLetter(first.charCodeAt(0))) throw this.#bad(line);
    const name = first + this.#nameText();
    let c = this.#next();
    while (c === " " || c === "\t") c = this.#next();
    let value: string | undefined;
    if (c !== LF) {
      if (c !== "=") throw this.#bad(line);
      value = decode(this.#value(line));
    }
    const stem = this.#section === "" ? "" : `${this.#section}.`;
    return { name: decode(stem + name.toLowerCase()), value, line };
  }

  #value(line: number): string {
    const end = this.#lineEnd();
    const rest = this.#text.slice(this.#pos, end);
    // Most say what they say: only the space around them is to go.
    if (isPlain(rest)) {
      this.#pos = end;
      this.#next();
      return trimSpace(rest);
    }
    return this.#writtenValue(line);
  }

  /** A value with quotes, escapes or a comment behind it. */
  #writtenValue(line: number): string {
    let value = "";
    /** Length of the value before the run of unquoted space at its end. */
    let kept = 0;
    let quoted = false;
    let inComment = false;
    for (;;) {
      const c = this.#next();
      if (c === LF) {
        if (quoted) throw this.#bad(line);
        return value.slice(0, kept);
      }
      if (inComment) continue;
      if (!quoted && isSpace(c)) {
        if (kept > 0) value += c;
        continue;
      }
      if (!quoted && (c === ";" || c === "#")) {
        inComment = true;
        continue;
      }
      if (c === '"') quoted = !quoted;
      else if (c === "\\") value += this.#escape(line);
      else value += c;
      kept = value.length;
    }
  }

  #escape(line: number): string {
    const c = this.#next();
    if (c === LF && !this.#atEnd) return "";
    const meaning = ESCAPES[c];
    if (meaning === undefined) throw this.#bad(line);
    return meaning;
  }

  #bad(line: number): KvError {
    return new KvError("CONFIG", `bad config line ${line} in ${this.#file}`, {
      data: { file: this.#file, line },
      hint: "mend the line; 'git help config' describes the syntax",
    });
  }
}

const ESCAPES: Readonly<Record<string, string>> = { t: "\t", b: "\b", n: "\n", "\\": "\\", '"': '"' };

function isSpace(c: string): boolean {
  return c === " " || c === "\t" || c === "\n" || c === "\r";
}

/** Whether a line holds no quote, escape, comment or CR. */
function isPlain(line: string): boolean {
  return !(
    line.includes('"') ||
    line.includes("\\") ||
    line.includes("#") ||
    line.includes(";") ||
    line.includes("\r")
  );
}

function trimSpace(line: string): string {
  let [begin, end] = [0, line.length];
  while (begin < end && isSpace(line[begin]!)) begin++;
  while (end > begin && isSpace(line[end - 1]!)) end--;
  return line.slice(begin, end);
}

function decode(bytes: string): string {
  return isAscii(bytes) ? bytes : Buffer.from(bytes, "latin1").toString();
}
