/**
 * Walking the entries of a sorted packed-refs file where they lie: offsets instead of an object for each ref, so that a million
 * refs are looked at without holding one (git: refs/packed-backend.c; see packed-refs.ts for the format).
 */

import { decodeUtf8 } from "../../bytes.ts";
import { LIMITS } from "../../limits.ts";
import type { ObjectFormat } from "../object/oid.ts";
import { isPerWorktree, isValidRefName } from "./ref-name.ts";

const LF = 10;
const DOT = 46;
const SLASH = 47;
const CARET = 94;
const LETTER_L = 108;

/** What a byte of a ref name asks for: nothing, a look at its neighbours, or the rules as a whole. */
const PLAIN = 0;
const NEAR = 1;
const ODD = 2;

const NAME_BYTE = new Uint8Array(256).fill(ODD).fill(PLAIN, 0x21, 0x7f);
const ODD_CHARACTERS = "~^:?*[\\@";
for (let i = 0; i < ODD_CHARACTERS.length; i++) NAME_BYTE[ODD_CHARACTERS.charCodeAt(i)] = ODD;
NAME_BYTE[DOT] = NEAR;
NAME_BYTE[SLASH] = NEAR;

/** 0 for the digits an object id is written with. */
const HEX_BYTE = new Uint8Array(256).fill(1).fill(0, 0x30, 0x3a).fill(0, 0x61, 0x67);

const PREFIX_LENGTH = "refs/".length;
/** First letters of the folders whose refs belong to one worktree (refs/bisect/, refs/rewritten/, refs/worktree/). */
const OWN_LETTERS = new Set([0x62, 0x72, 0x77]);

/** What reads an entry that is not as git writes it, and says what is wrong with one that is damaged. */
export interface EntryReader {
  /** Offset of the line feed of the line at `at`. Throws CORRUPT. */
  lineEnd(at: number): number;
  /** Throws CORRUPT where the object id at `at` is none. */
  checkOid(at: number): void;
}

export class PackedCursor {
  readonly body: Buffer;
  /** The entry's line: `oid SP name` from `start` to `end`, the name from `nameStart` on. */
  start = 0;
  nameStart = 0;
  end = 0;
  /** Offset of the peeled object id; -1 where the file has none for the ref. */
  peeledStart = -1;
  /** False where an object id is not written in small letters, as git writes it. */
  isPlain = true;
  readonly #format: ObjectFormat;
  readonly #reader: EntryReader;
  #next: number;
  readonly #limit: number;

  /** Walks the entries from the offset `from` to the offset `limit`. */
  constructor(format: ObjectFormat, body: Buffer, from: number, limit: number, reader: EntryReader) {
    this.#format = format;
    this.body = body;
    this.#next = from;
    this.#limit = limit;
    this.#reader = reader;
  }

  /**
   * Goes to the next ref; false after the last. Names no ref can have, names that are not UTF-8 and refs of a worktree are
   * passed over. Throws CORRUPT on a malformed line.
   */
  next(): boolean {
    const { hexSize } = this.#format;
    while (this.#next < this.#limit) {
      const at = this.#next;
      this.start = at;
      this.nameStart = at + hexSize + 1;
      this.end = this.#reader.lineEnd(at);
      this.#next = this.end + 1;
      this.peeledStart = -1;
      if (this.body[this.#next] === CARET) {
        this.peeledStart = this.#next + 1;
        this.#next = this.#reader.lineEnd(this.peeledStart - 1) + 1;
      }
      this.#checkIds();
      if (this.#hasSoundName()) return true;
    }
    return false;
  }

  /** The ref's name. */
  get name(): string {
    return this.body.utf8Slice(this.nameStart, this.end);
  }

  #checkIds(): void {
    this.isPlain = this.#isOid(this.start) && (this.peeledStart < 0 || this.#isOid(this.peeledStart));
    if (this.isPlain) return;
    this.#reader.checkOid(this.start);
    if (this.peeledStart >= 0) this.#reader.checkOid(this.peeledStart);
  }

  #isOid(at: number): boolean {
    const { body } = this;
    const end = at + this.#format.hexSize;
    let wrong = 0;
    for (let i = at; i < end; i++) wrong |= HEX_BYTE[body[i]!]!;
    return wrong === 0;
  }

  /** The rules of ref-name.ts, byte by byte as far as the bytes are ordinary ones. */
  #hasSoundName(): boolean {
    const { body, nameStart, end } = this;
    let isOrdinary = end - nameStart > PREFIX_LENGTH && !OWN_LETTERS.has(body[nameStart + PREFIX_LENGTH]!);
    for (let i = nameStart; isOrdinary && i < end; i++) {
      const kind = NAME_BYTE[body[i]!]!;
      if (kind === PLAIN) continue;
      // A name ends with neither, a component does not begin with a dot, "..", "//" are forbidden, and ".l" may be ".lock".
      const after = body[i + 1];
      isOrdinary = kind === NEAR && after !== LF && after !== DOT && after !== (body[i] === SLASH ? SLASH : LETTER_L);
    }
    if (isOrdinary) return end - nameStart <= LIMITS.refName;
    const name = decodeUtf8(body.subarray(nameStart, end));
    return name !== undefined && isValidRefName(name) && !isPerWorktree(name);
  }
}
