/**
 * The elements of one array in a JSON document, one by one: the document may be larger than memory, an element may not. The array is
 * the document itself, or the member of a given name of an object. RFC 8259 is held to by JSON.parse for each element and by
 * the scan for what is between them.
 */

import { decodeUtf8 } from "../../bytes.ts";
import type { ByteReader } from "../../lines.ts";
import { badInput } from "./item.ts";

/** One element as it is written. */
export interface JsonElement {
  readonly text: string;
  /** Line it begins on, from 1. */
  readonly line: number;
  /** Its number in the array, from 1. */
  readonly number: number;
}

/** Is told a member; true: the object is one that may be without the array. */
export type TellMember = (name: string, value: unknown) => boolean;

/** What comes next outside of a value. */
type Wanted = "start" | "name" | "name or end" | "colon" | "value" | "value or end" | "comma or end" | "nothing";

/** Longest element: the largest value that is exported into one, in base64, and what is about it. */
const MOST_BYTES = 24 * 1024 * 1024;

const [QUOTE, BACKSLASH, COMMA, COLON, LF] = [0x22, 0x5c, 0x2c, 0x3a, 0x0a];
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

const isSpace = (byte: number): boolean => byte === 0x20 || byte === LF || byte === 0x0d || byte === 0x09;

/**
 * The elements of the document that `read` gives. `member` names the array in an object, whose other members `others` is told.
 * Throws INPUT_INVALID.
 */
export async function* jsonElements(
  read: ByteReader,
  member?: string,
  others?: TellMember,
): AsyncGenerator<readonly JsonElement[], void, undefined> {
  const scan = new ElementScan(member, others);
  for (let chunk = await read(); chunk !== undefined; chunk = await read()) {
    const some = scan.feed(chunk);
    if (some.length > 0) yield some;
  }
  scan.finish();
}

class ElementScan {
  readonly #member: string | undefined;
  readonly #others: TellMember;
  #wanted: Wanted = "start";
  /** Whether the array is open whose elements are handed on. */
  #inArray = false;
  #found = false;
  #mayLack = false;
  /** Name of the member under way. */
  #name = "";
  #line = 1;
  #count = 0;
  #elements: JsonElement[] = [];
  /** A value or name under way: its bytes so far, how deep it is, whether in a string, and where it began. */
  #parts: Buffer[] | undefined;
  #held = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;
  #valueLine = 1;

  constructor(member: string | undefined, others: TellMember = () => false) {
    this.#member = member;
    this.#others = others;
  }

  feed(chunk: Buffer): JsonElement[] {
    this.#elements = [];
    for (let at = 0; at < chunk.length; )
      at = this.#parts === undefined ? this.#between(chunk, at) : this.#inside(chunk, at);
    return this.#elements;
  }

  finish(): void {
    if (this.#parts !== undefined || this.#wanted !== "nothing") throw this.#bad("the document is cut off");
    if (!this.#found && !this.#mayLack) throw this.#bad(`there is no member "${this.#member}"`);
  }

  /** Takes one byte between values. */
  #between(chunk: Buffer, at: number): number {
    const byte = chunk[at]!;
    if (byte === LF) this.#line++;
    if (isSpace(byte)) return at + 1;
    const wanted = this.#wanted;
    if (wanted === "start") return this.#open(byte, at);
    if ((wanted === "name" || wanted === "name or end") && byte === QUOTE) return this.#begin(at);
    if (wanted === "colon" && byte === COLON) return this.#next("value", at);
    if (wanted === "comma or end" && byte === COMMA) return this.#next(this.#inArray ? "value" : "name", at);
    const mayEnd = wanted === "comma or end" || wanted === (this.#inArray ? "value or end" : "name or end");
    if (mayEnd && byte === (this.#inArray ? CLOSE_ARRAY : CLOSE_OBJECT)) return this.#close(at);
    if (wanted !== "value" && wanted !== "value or end")
      throw this.#bad(`${String.fromCharCode(byte)} is not expected`);
    if (!this.#inArray && this.#name === this.#member) {
      if (byte !== OPEN_ARRAY || this.#found) throw this.#bad(`"${this.#member}" is not one array`);
      return this.#openArray(at);
    }
    return this.#begin(at);
  }

  #open(byte: number, at: number): number {
    if (byte !== (this.#member === undefined ? OPEN_ARRAY : OPEN_OBJECT))
      throw this.#bad(`the document is not ${this.#member === undefined ? "an array" : "an object"}`);
    return this.#member === undefined ? this.#openArray(at) : this.#next("name or end", at);
  }

  #openArray(at: number): number {
    this.#inArray = true;
    this.#found = true;
    return this.#next("value or end", at);
  }

  #close(at: number): number {
    const isLast = !this.#inArray || this.#member === undefined;
    this.#inArray = false;
    return this.#next(isLast ? "nothing" : "comma or end", at);
  }

  #next(wanted: Wanted, at: number): number {
    this.#wanted = wanted;
    return at + 1;
  }

  #begin(at: number): number {
    this.#parts = [];
    this.#held = 0;
    this.#depth = 0;
    this.#inString = false;
    this.#valueLine = this.#line;
    return at;
  }

  /** Takes the bytes of a value up to its end, or all there are. */
  #inside(chunk: Buffer, start: number): number {
    let at = start;
    for (; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === BACKSLASH) this.#escaped = true;
        else if (byte === QUOTE) {
          this.#inString = false;
          if (this.#depth === 0) return this.#complete(chunk, start, at + 1);
        }
        continue;
      }
      if (byte === LF) this.#line++;
      if (byte === QUOTE) this.#inString = true;
      else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) this.#depth++;
      else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) {
        // Of a bare number or word what follows is the end.
        if (this.#depth === 0) return this.#complete(chunk, start, at);
        if (--this.#depth === 0) return this.#complete(chunk, start, at + 1);
      } else if (this.#depth === 0 && (byte === COMMA || isSpace(byte))) {
        if (byte === LF) this.#line--;
        return this.#complete(chunk, start, at);
      }
    }
    this.#keep(chunk.subarray(start));
    return at;
  }

  #keep(bytes: Buffer): void {
    this.#held += bytes.length;
    if (this.#held > MOST_BYTES) throw this.#bad(`an entry is longer than ${MOST_BYTES} bytes`);
    this.#parts!.push(Buffer.from(bytes));
  }

  #complete(chunk: Buffer, start: number, end: number): number {
    this.#keep(chunk.subarray(start, end));
    const text = decodeUtf8(Buffer.concat(this.#parts!));
    this.#parts = undefined;
    if (text === undefined) throw this.#bad("not UTF-8");
    if (this.#inArray) this.#elements.push({ text, line: this.#valueLine, number: ++this.#count });
    else if (this.#wanted === "value") this.#mayLack = this.#others(this.#name, this.#parse(text)) || this.#mayLack;
    else this.#name = String(this.#parse(text));
    const isName = !this.#inArray && this.#wanted !== "value";
    this.#wanted = isName ? "colon" : "comma or end";
    return end;
  }

  #parse(text: string): unknown {
    try {
      return JSON.parse(text);
    } catch {
      throw this.#bad("not valid JSON");
    }
  }

  #bad(message: string): Error {
    return badInput(`line ${this.#line}: ${message}`);
  }
}
