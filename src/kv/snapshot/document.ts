/**
 * Settings in one JSON or YAML document, flat or nested: the names on the way to a value, joined by a separator, are its key. A string's
 * text is the value; a number, `true`, `null` as they are written; a list as JSON; an empty map as `{}`. Exported, every
 * value is a string.
 */

import { decodeUtf8, withoutMark } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import type { ByteReader } from "../../lines.ts";
import { keyText, parseKey } from "../key.ts";
import { ANY } from "./dumps.ts";
import { type ExportedKey, wholeText } from "./exported.ts";
import {
  badInput,
  type ImportContext,
  type ImportEntry,
  type ImportItem,
  type ImportItems,
  itemAt,
  NO_OPTIONS,
} from "./item.ts";
import { type DocumentNode, MOST_DEPTH, parseJsonDocument } from "./json-document.ts";
import type { SnapshotWriter, WriteText } from "./writer.ts";

/** Largest document. */
const MOST_BYTES = 64 * 1024 * 1024;

export type DocumentFormat = "json" | "yaml";

/** Reads a document. */
export async function* readDocument(format: DocumentFormat, read: ByteReader, context: ImportContext): ImportItems {
  const text = await readText(read);
  // Loaded here: the package is large.
  const root =
    format === "json" ? parseJsonDocument(text) : (await import("./yaml-document.ts")).parseYamlDocument(text);
  if (root.kind === "leaf") {
    const isDump = /^\[\{"[^[\]]*"key":/.test(root.text);
    throw badInput(
      `line ${root.line}: the document is not a map of keys`,
      isDump ? "--format consul takes what 'consul kv export' prints" : undefined,
    );
  }
  if (context.isGuess && isEtcdDump(root)) {
    const what = "this is what 'etcdctl get -w json' prints: its keys and values are within 'kvs', in base64";
    throw badInput(what, "--format etcd takes them, --format json the document as it is");
  }
  yield [...leavesOf(root, context.prefix, context.separator)];
}

function isEtcdDump({ members }: Extract<DocumentNode, { kind: "map" }>): boolean {
  const [header, kvs] = ["header", "kvs"].map((wanted) => members.find(([name]) => name === wanted)?.[1]);
  return header?.kind === "map" && header.members.some(([name]) => name === "cluster_id") && kvs?.kind === "leaf";
}

async function readText(read: ByteReader): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for (let part = await read(); part !== undefined; part = await read()) {
    size += part.length;
    if (size > MOST_BYTES) throw badInput(`the document is larger than ${MOST_BYTES} bytes`);
    parts.push(Buffer.from(part));
  }
  const bytes = withoutMark(Buffer.concat(parts));
  const text = decodeUtf8(bytes);
  if (text !== undefined) return text;
  // The first line that is none tells where to look.
  const lines = bytes.latin1Slice().split("\n");
  const bad = lines.findIndex((line) => decodeUtf8(Buffer.from(line, "latin1")) === undefined);
  throw badInput(`line ${bad + 1} is not UTF-8`);
}

function* leavesOf(
  node: Extract<DocumentNode, { kind: "map" }>,
  path: string,
  separator: string,
): Generator<ImportItem> {
  for (const [name, inner] of node.members) {
    if (inner.kind === "map" && inner.members.length > 0) yield* leavesOf(inner, path + name + separator, separator);
    else yield leaf(path + name, inner);
  }
}

function leaf(name: string, node: DocumentNode): ImportItem {
  const place = `line ${node.line}`;
  return itemAt(place, (): ImportEntry => {
    const data = Buffer.from(node.kind === "map" ? "{}" : node.text);
    return { kind: "entry", place, key: parseKey(name), value: { kind: "bytes", data }, options: NO_OPTIONS };
  });
}

export interface DocumentOptions {
  readonly format: DocumentFormat;
  /** What is taken off every key. */
  readonly prefix: string;
  /** What names are split at; undefined: not at all. */
  readonly separator: string | undefined;
}

/** Writes a document. Keys that begin alike follow each other, so each map is opened and closed once. */
export function documentWriter(options: DocumentOptions, write: WriteText): SnapshotWriter {
  const { format, prefix, separator } = options;
  if (separator === "") throw badInput("the separator of names is empty");
  const syntax = format === "json" ? JSON_SYNTAX : YAML_SYNTAX;
  let open: readonly string[] = [];
  let isFirst = true;
  /** Names written of which each begins the next one, and the last one the name under way. */
  const begun: string[] = [];
  const enter = (path: readonly string[], exported: ExportedKey): void => {
    const shared = path.findIndex((name, i) => name !== open[i]);
    const keep = shared < 0 ? path.length : shared;
    for (let depth = open.length; depth > keep; depth--) write(syntax.close(depth));
    if (open.length > keep) isFirst = false;
    for (let depth = keep; depth < path.length; depth++) {
      const name = path.slice(0, depth + 1).join(separator);
      if (begun.includes(name)) throw refuse(exported, `${JSON.stringify(prefix + name)} is a key and not a map`);
      write(syntax.open(path[depth]!, depth + 1, isFirst));
      isFirst = true;
    }
    open = path;
  };
  return {
    begin: () => write(syntax.begin),
    add: async (exported) => {
      const text = await wholeText(exported);
      if (text === undefined) throw refuse(exported, "its value is not text");
      const key = keyText(exported.key).slice(prefix.length);
      const path = separator === undefined ? [key] : key.split(separator);
      if (path.length > MOST_DEPTH) throw refuse(exported, `it would nest deeper than ${MOST_DEPTH}`);
      while (begun.length > 0 && !key.startsWith(begun.at(-1)!)) begun.pop();
      enter(path.slice(0, -1), exported);
      begun.push(key);
      write(syntax.value(path.at(-1)!, text, path.length, isFirst));
      isFirst = false;
    },
    end: () => {
      for (let depth = open.length; depth > 0; depth--) write(syntax.close(depth));
      write(syntax.end(isFirst && open.length === 0));
    },
  };
}

function refuse({ key }: ExportedKey, why: string): KvError {
  return new KvError("INPUT_INVALID", `${JSON.stringify(keyText(key))} cannot be in the document: ${why}`, {
    hint: ANY,
  });
}

interface Syntax {
  readonly begin: string;
  open(name: string, depth: number, isFirst: boolean): string;
  value(name: string, text: string, depth: number, isFirst: boolean): string;
  close(depth: number): string;
  end(isEmpty: boolean): string;
}

const indent = (depth: number): string => "  ".repeat(depth);

/** Characters that YAML wants escaped, and JSON does not. */
const UNPRINTABLE = /[\x7f-\x9f\u2028\u2029\ufeff]/g;

function yamlString(text: string): string {
  return JSON.stringify(text).replace(UNPRINTABLE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Longest key that needs no mark before it. */
const SIMPLE_KEY = 1_000;

function yamlKey(name: string, depth: number): string {
  const key = yamlString(name);
  const before = indent(depth - 1);
  return key.length <= SIMPLE_KEY ? `${before}${key}:` : `${before}? ${key}\n${before}:`;
}

const JSON_SYNTAX: Syntax = {
  begin: "{",
  open: (name, depth, isFirst) => `${isFirst ? "" : ","}\n${indent(depth)}${JSON.stringify(name)}: {`,
  value: (name, text, depth, isFirst) =>
    `${isFirst ? "" : ","}\n${indent(depth)}${JSON.stringify(name)}: ${JSON.stringify(text)}`,
  close: (depth) => `\n${indent(depth)}}`,
  end: () => "\n}\n",
};

/** A string of JSON is one of YAML. */
const YAML_SYNTAX: Syntax = {
  begin: "",
  open: (name, depth) => `${yamlKey(name, depth)}\n`,
  value: (name, text, depth) => `${yamlKey(name, depth)} ${yamlString(text)}\n`,
  close: () => "",
  end: (isEmpty) => (isEmpty ? "{}\n" : ""),
};
