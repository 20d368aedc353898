/**
 * Metadata of many keys, and their trie, made apart from the rest of a transaction: from lines of text, which go to another thread at little cost
 * (meta-helper.ts).
 *
 *   lines = line *(%x00 line)
 *   line  = key                                                                       ; the key is removed
 *         / key SP1 type SP1 size SP1 etag SP1 ctype SP1 rev SP1 [base] SP1 [expires] SP1 [labels as JSON]
 *   SP1   = %x01                                                                      ; none of them holds one, nor a %x00
 */

import type { Oid } from "../gitwire/object/oid.ts";
import type { Steps } from "../time-slice.ts";
import { type Key, keyDigits, keyName } from "./key.ts";
import { type TrieChange, trieFileName, updateTrieInSteps } from "./ledger-trie.ts";
import type { NodeWriter } from "./node-writer.ts";
import { encodeMetadata, type MetadataFields, type ValueType } from "./record.ts";

const FIELD = "\x01";
const LINE = "\x00";

/** The line of a key and what its metadata say then; undefined: they are removed. */
export function metaLine(key: Key, fields: MetadataFields | undefined): string {
  if (fields === undefined) return key;
  const { type, size, etag, ctype, rev, base = "", expires = "", labels } = fields;
  const named = labels === undefined ? "" : JSON.stringify(labels);
  return `${key}\x01${type}\x01${size}\x01${etag}\x01${ctype}\x01${rev}\x01${base}\x01${expires}\x01${named}`;
}

/** Lines in one text. */
export function joinLines(lines: readonly string[]): string {
  return lines.join(LINE);
}

/** Makes records of lines, and the trie of them. */
export class MetaMaker {
  readonly #writer: NodeWriter;
  readonly #files: TrieChange[] = [];

  constructor(writer: NodeWriter) {
    this.#writer = writer;
  }

  /** Takes lines in one text. */
  add(text: string): void {
    for (const line of text.split(LINE)) {
      const [key, ...said] = line.split(FIELD) as [Key, ...string[]];
      const oid = said.length === 0 ? undefined : this.#writer.record("meta", encodeMetadata(key, fieldsOf(said)));
      const digits = keyDigits(key);
      this.#files.push({ digits, name: trieFileName("meta", keyName(key, digits)), oid });
    }
  }

  /** The root of the trie `root` after all changes; undefined where nothing is left. */
  finish(root: Oid | undefined): Steps<Oid | undefined> {
    return updateTrieInSteps(this.#writer, "meta", root, this.#files);
  }
}

function fieldsOf(said: readonly string[]): MetadataFields {
  const [type, size, etag, ctype, rev, base, expires, labels] = said as [ValueType, ...string[]];
  return {
    type,
    size: Number(size),
    etag: etag!,
    ctype: ctype!,
    rev: Number(rev),
    base: base === "" ? undefined : base,
    expires: expires === "" ? undefined : Number(expires),
    labels: labels === "" ? undefined : JSON.parse(labels!),
  };
}
