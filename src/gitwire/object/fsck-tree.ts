/**
 * What is wrong with a tree by git's own rules (git: git-fsck, fsck_tree in fsck.c). One pass over the bytes: a push of one key
 * brings some eight trees of 256 entries, and nothing is made of an entry that is in order.
 */

import { type DotFile, dotFileOf, isGitDirectoryName } from "./dot-names.ts";
import type { FsckRules } from "./fsck-rules.ts";
import type { ObjectFormat } from "./oid.ts";
import { MODE, nulAfter, usualMode } from "./tree.ts";

const MODES: ReadonlySet<number> = new Set(Object.values(MODE));
const [SPACE, SLASH, ZERO, BACKSLASH] = [0x20, 0x2f, 0x30, 0x5c];
/** Most digits of a mode that is read. */
const MODE_DIGITS = 8;
/** Nothing git takes for one of its own files begins with another ASCII byte than these. */
const SUSPECT = new Uint8Array(256);
for (const byte of Buffer.from(".gGmM~")) SUSPECT[byte] = 1;

/** Told of entries whose blobs git reads settings from: the raw id begins at `data[at]`. */
export type DotFileFound = (file: DotFile, data: Buffer, at: number) => void;

/** Git's name of the first fault of a tree that counts and what it means, or undefined where there is none. */
export function treeFault(
  format: ObjectFormat,
  data: Buffer,
  rules: FsckRules,
  found: DotFileFound = () => {},
): string | undefined {
  const walk = new TreeWalk(data, rules);
  for (let at = 0; at < data.length; ) {
    const usual = usualMode(data, at);
    const space = usual === 0 ? spaceAfter(data, at) : at + (usual === MODE.file ? 6 : 5);
    const same = walk.sharedWith(space + 1);
    // What it shares with the name before has been looked at.
    const odd = space < 0 ? -1 : oddByte(data, space + 1 + (walk.isPlain ? same : 0));
    const isPlain = data[odd] === 0;
    const nul = isPlain || odd < 0 ? odd : nulAfter(data, odd);
    if (nul < 0 || nul + format.rawSize >= data.length) return "badTree: an entry is cut short";
    const mode = usual === 0 ? modeOf(data, at, space) : usual;
    if (mode === undefined) return "badTree: a mode is not octal";
    const fault = usual === 0 ? modeFault(data, at, mode, rules) : undefined;
    if (fault !== undefined) return fault;
    if (!isPlain || nul === space + 1 || SUSPECT[data[space + 1]!] === 1) {
      const bad = nameFault(data, space + 1, nul, mode, rules, found);
      if (bad !== undefined) return bad;
    }
    if (isNull(data, nul + 1, nul + 1 + format.rawSize)) {
      const missing = rules.fault("nullSha1", "an entry points at the null id");
      if (missing !== undefined) return missing;
    }
    const order = walk.add(space + 1, nul, mode === MODE.tree, isPlain, same);
    if (order !== undefined) return order;
    at = nul + 1 + format.rawSize;
  }
  return undefined;
}

/** Where the first byte from `start` on is that ends a name or makes it one to be looked at, or -1. */
function oddByte(data: Buffer, start: number): number {
  for (let at = start; at < data.length; at++) {
    const byte = data[at]!;
    if (byte === 0 || byte === SLASH || byte === BACKSLASH || byte >= 0x80) return at;
  }
  return -1;
}

/** Where the space from `start` on is, or -1. */
function spaceAfter(data: Buffer, start: number): number {
  const end = Math.min(start + MODE_DIGITS + 1, data.length);
  for (let at = start; at < end; at++) if (data[at] === SPACE) return at;
  return data.indexOf(SPACE, end);
}

function modeOf(data: Buffer, start: number, space: number): number | undefined {
  if (start === space) return undefined;
  let mode = 0;
  for (let at = start; at < space; at++) {
    const digit = data[at]! - ZERO;
    if (!(digit >= 0 && digit <= 7) || at - start >= MODE_DIGITS) return undefined;
    mode = mode * 8 + digit;
  }
  return mode;
}

function modeFault(data: Buffer, start: number, mode: number, rules: FsckRules): string | undefined {
  const padded = data[start] === ZERO ? rules.fault("zeroPaddedFilemode", "a mode with leading zeros") : undefined;
  if (padded !== undefined || MODES.has(mode)) return padded;
  return rules.fault("badFilemode", "a mode that git does not write");
}

function nameFault(
  data: Buffer,
  start: number,
  end: number,
  mode: number,
  rules: FsckRules,
  found: DotFileFound,
): string | undefined {
  if (start === end) return rules.fault("emptyName", "an entry has no name");
  for (let at = start; at < end; at++)
    if (data[at] === SLASH) return rules.fault("fullPathname", "a name with a slash");
  const name = data.utf8Slice(start, end);
  if (name === ".") return rules.fault("hasDot", "an entry called '.'");
  if (name === "..") return rules.fault("hasDotdot", "an entry called '..'");
  if (isGitDirectoryName(name)) return rules.fault("hasDotgit", "a name that some file systems take for '.git'");
  const file = dotFileOf(name);
  if (file === undefined) return undefined;
  if (mode === MODE.symlink) return rules.fault(`${file}Symlink`, `.${file} is a symbolic link`);
  found(file, data, end + 1);
  return undefined;
}

function isNull(data: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (data[at] !== 0) return false;
  return true;
}

/** Holds the order of the names, and that none is there twice, once as a file and once as a folder included. */
class TreeWalk {
  readonly #data: Buffer;
  readonly #unsorted: string | undefined;
  readonly #duplicate: string | undefined;
  /** The name before. */
  #start = 0;
  #end = 0;
  #isTree = false;
  #hasPrevious = false;
  /** Whether it has no byte that is to be looked at. */
  isPlain = true;
  /** Where the files are whose name begins all names since, start and end of each: a folder of the same name may be yet to come. */
  readonly #files: number[] = [];

  constructor(data: Buffer, rules: FsckRules) {
    this.#data = data;
    this.#unsorted = rules.fault("treeNotSorted", "the entries are not in order");
    this.#duplicate = rules.fault("duplicateEntries", "a name is there twice");
  }

  /** Bytes that the name at `start` shares with the one before. */
  sharedWith(start: number): number {
    return this.#commonPrefix(this.#start, this.#end, start);
  }

  /** Takes the next name, which shares its first `same` bytes with the one before; returns what is wrong with its place. */
  add(start: number, end: number, isTree: boolean, isPlain: boolean, same: number): string | undefined {
    const files = this.#files;
    const previous = this.#start;
    const before = this.#hasPrevious ? this.#byteAt(previous + same, this.#end, this.#isTree) : -1;
    const order = before - this.#byteAt(start + same, end, isTree);
    this.#start = start;
    this.#end = end;
    this.#isTree = isTree;
    this.#hasPrevious = true;
    this.isPlain = isPlain;
    if (order > 0) return this.#unsorted;
    if (order === 0) return this.#duplicate;
    for (let last = files.length - 2; last >= 0; last -= 2) {
      const from = files[last]!;
      const to = files[last + 1]!;
      const shared = from === previous ? same : this.#commonPrefix(from, to, start);
      if (shared === to - from) {
        if (shared === end - start) return this.#duplicate;
        break;
      }
      files.length = last;
    }
    if (!isTree) files.push(start, end);
    return undefined;
  }

  /** A folder is sorted as if its name ended in a slash. */
  #byteAt(at: number, end: number, isTree: boolean): number {
    if (at < end) return this.#data[at]!;
    return isTree ? SLASH : 0;
  }

  /** Bytes that the name from `start` to `end` shares with the one at `other`, which a NUL ends. */
  #commonPrefix(start: number, end: number, other: number): number {
    const data = this.#data;
    const size = end - start;
    let same = 0;
    while (same < size && data[start + same] === data[other + same]) same++;
    return same;
  }
}
