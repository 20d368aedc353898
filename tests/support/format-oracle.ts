/**
 * The trees of the data format straight from its text, slow and simple: each is built from the whole set of keys at once.
 * Tests hold the incremental code against it.
 */

import { createHash } from "node:crypto";
import type { Oid } from "../../src/gitwire/object/oid.ts";
import { encodeTree, MODE, sortEntries, type TreeEntry } from "../../src/gitwire/object/tree.ts";
import type { MemoryObjects } from "./memory-objects.ts";

/** One file to place: the key it belongs to (a byte string), its name and blob. */
export interface OracleFile {
  readonly key: string;
  readonly fileName: string;
  readonly oid: Oid;
}

const isSafe = (c: string): boolean => /[A-Za-z0-9_.-]/.test(c);
const percent = (bytes: string): string =>
  [...bytes].map((c) => (isSafe(c) ? c : `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`)).join("");
const sha256 = (key: string): string => createHash("sha256").update(Buffer.from(key, "latin1")).digest("hex");

/** name(key) by the letter of section 3. */
export function oracleName(key: string): string {
  const parts = [...key].map((c) => percent(c));
  const escapeDot = (i: number): void => {
    if (parts[i] === ".") parts[i] = "%2E";
  };
  for (const suffix of [".manifest.json", ".meta", ".ref", ".del"]) {
    if (key.endsWith(suffix)) escapeDot(key.length - suffix.length);
  }
  escapeDot(0);
  escapeDot(parts.length - 1);
  const name = parts.join("");
  if (name.length <= 200) return name;
  let cut = "";
  for (const part of parts) {
    if (cut.length + part.length > 120) break;
    cut += part;
  }
  return `${cut}~${sha256(key)}`;
}

function write(objects: MemoryObjects, entries: TreeEntry[]): Oid {
  return objects.write("tree", encodeTree(objects.format, sortEntries(entries)));
}

const file = ({ fileName, oid }: OracleFile): TreeEntry => ({ mode: MODE.file, name: fileName, oid });

/** A ledger trie over `files` (section 4); undefined where there is none. */
export function oracleTrie(objects: MemoryObjects, files: readonly OracleFile[], depth = 0): Oid | undefined {
  if (files.length === 0) return undefined;
  if (files.length <= 256) return write(objects, files.map(file));
  const entries: TreeEntry[] = [];
  for (const digit of "0123456789abcdef") {
    const group = files.filter(({ key }) => sha256(key)[depth] === digit);
    if (group.length > 0) entries.push({ mode: MODE.tree, name: digit, oid: oracleTrie(objects, group, depth + 1)! });
  }
  return write(objects, entries);
}

/** node(P, S) of section 5. */
export function oracleIndex(objects: MemoryObjects, files: readonly OracleFile[], prefix = ""): Oid {
  if (files.length <= 256) return write(objects, files.map(file));
  const entries = files.filter(({ key }) => key === prefix).map(file);
  const groups = new Map<string, OracleFile[]>();
  for (const one of files) {
    if (one.key === prefix) continue;
    const byte = one.key[prefix.length]!;
    groups.set(byte, [...(groups.get(byte) ?? []), one]);
  }
  for (const group of groups.values()) {
    if (group.length === 1) {
      entries.push(file(group[0]!));
      continue;
    }
    let shared = group[0]!.key.slice(prefix.length);
    for (const { key } of group) while (!key.startsWith(shared, prefix.length)) shared = shared.slice(0, -1);
    const label = shared.slice(0, 64);
    entries.push({ mode: MODE.tree, name: `${percent(label)}~`, oid: oracleIndex(objects, group, prefix + label) });
  }
  return write(objects, entries);
}
