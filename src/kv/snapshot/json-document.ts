/**
 * A JSON document (RFC 8259) as a tree whose nodes know their line: JSON.parse keeps the last of two members of one name and
 * knows no lines, and both matter to whoever imports a file made by hand.
 */

import { badInput } from "./item.ts";

/** What a document may nest. */
export const MOST_DEPTH = 200;

/** An object's members in order, or what is stored as the text of a key: a string, or any other value as it is written. */
export type DocumentNode =
  | {
      readonly kind: "map";
      readonly line: number;
      readonly members: readonly (readonly [name: string, node: DocumentNode])[];
    }
  | { readonly kind: "leaf"; readonly line: number; readonly text: string };

/** Parses `text`. Throws INPUT_INVALID with the line of what is wrong. */
export function parseJsonDocument(text: string): DocumentNode {
  const parser = new Parser(text);
  return parser.document();
}

const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*"/y;
const SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

const STRING_OR_SPACE = /"(?:[^"\\]|\\.)*"|[ \t\n\r]+/g;

/** A list without white space, its strings in their usual form, and its numbers as they are written: of 20 digits none is lost. */
function compact(list: string): string {
  return list.replace(STRING_OR_SPACE, (part) => (part.startsWith('"') ? JSON.stringify(JSON.parse(part)) : ""));
}

class Parser {
  readonly #text: string;
  #at = 0;
  /** Line of {@link #lineAt}. */
  #line = 1;
  #lineAt = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): DocumentNode {
    const node = this.#node(0);
    this.#skip();
    if (this.#at < this.#text.length)
      throw this.#bad("something follows the document", "--format jsonl takes an object on each line");
    return node;
  }

  #node(depth: number): DocumentNode {
    if (depth > MOST_DEPTH) throw this.#bad(`nests deeper than ${MOST_DEPTH}`);
    this.#skip();
    const line = this.#lineHere();
    const char = this.#text[this.#at];
    if (char === "{") return { kind: "map", line, members: this.#members(depth) };
    const start = this.#at;
    if (char === '"') return { kind: "leaf", line, text: this.#string() };
    if (char === "[") this.#array(depth);
    else if (this.#match(SCALAR) === undefined) throw this.#bad("no value where one belongs");
    const source = this.#text.slice(start, this.#at);
    return { kind: "leaf", line, text: char === "[" ? compact(source) : source };
  }

  #members(depth: number): (readonly [string, DocumentNode])[] {
    const members: (readonly [string, DocumentNode])[] = [];
    const seen = new Set<string>();
    this.#list("}", () => {
      if (this.#text[this.#at] !== '"') throw this.#bad("no name where one belongs");
      const name = this.#string();
      if (seen.has(name)) throw this.#bad(`${JSON.stringify(name)} is there twice`);
      seen.add(name);
      this.#skip();
      if (this.#text[this.#at] !== ":") throw this.#bad("no ':' where one belongs");
      this.#at++;
      members.push([name, this.#node(depth + 1)]);
    });
    return members;
  }

  #array(depth: number): void {
    this.#list("]", () => void this.#node(depth + 1));
  }

  /** Things between brackets, with commas between them. */
  #list(close: string, one: () => void): void {
    this.#at++;
    this.#skip();
    if (this.#text[this.#at] === close) {
      this.#at++;
      return;
    }
    for (;;) {
      this.#skip();
      one();
      this.#skip();
      const char = this.#text[this.#at];
      if (char !== "," && char !== close) throw this.#bad(`no ',' or '${close}' where one belongs`);
      this.#at++;
      if (char === close) return;
    }
  }

  #string(): string {
    const source = this.#match(STRING);
    if (source === undefined)
      throw this.#bad("a string is not closed, or has a control character or an unknown escape");
    const text = JSON.parse(source) as string;
    if (!text.isWellFormed()) throw this.#bad("a string is not valid Unicode");
    return text;
  }

  #skip(): void {
    this.#match(SPACE);
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #lineHere(): number {
    for (let next = this.#text.indexOf("\n", this.#lineAt); next >= 0 && next < this.#at; ) {
      this.#line++;
      this.#lineAt = next + 1;
      next = this.#text.indexOf("\n", this.#lineAt);
    }
    return this.#line;
  }

  #bad(message: string, hint?: string): Error {
    return badInput(`line ${this.#lineHere()}: ${message}`, hint);
  }
}
