/**
 * What is wrong with a tree by git's own rules (git: git-fsck, fsck_tree in fsck.c). One pass over the bytes: a push of one key
 * brings some eight trees of 256 entries, and nothing is made of an entry that is in order.
 */

import { type DotFile, dotFileOf, isGitDirectoryName } from "./dot-names.ts";
import type { FsckRules } from "./fsck-rules.ts";
import type { ObjectFormat } from "./oid.ts";
import { MODE, nulAfter } from "./tree.ts";

const MODES: ReadonlySet<number> = new Set(Object.values(MODE));
const [SPACE, SLASH, ZERO, BACKSLASH] = [0x20, 0x2f, 0x30, 0x5c];
/** Most digits of a mode that is read. */
const MODE_DIGITS = 8;
/** Nothing git takes for one of its own files begins with another ASCII byte than these. */
const SUSPECT = new Set(Buffer.from(".gGmM~"));

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
    const space = spaceAfter(data, at);
    const nul = space < 0 ? -1 : nulAfter(data, space);
    if (nul < 0 || nul + format.rawSize >= data.length) return "badTree: an entry is cut short";
    const mode = modeOf(data, at, space);
    if (mode === undefined) return "badTree: a mode is not octal";
    const fault = modeFault(data, at, mode, rules) ?? nameFault(data, space + 1, nul, mode, rules, found);
    if (fault !== undefined) return fault;
    if (isNull(data, nul + 1, nul + 1 + format.rawSize)) {
      const missing = rules.fault("nullSha1", "an entry points at the null id");
      if (missing !== undefined) return missing;
    }
    const order = walk.add(space + 1, nul, mode === MODE.tree);
    if (order !== undefined) return order;
    at = nul + 1 + format.rawSize;
  }
  return undefined;
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
  let plain = true;
  for (let at = start; at < end; at++) {
    const byte = data[at]!;
    if (byte === SLASH) return rules.fault("fullPathname", "a name with a slash");
    if (byte === BACKSLASH || byte >= 0x80) plain = false;
  }
  if (plain && !SUSPECT.has(data[start]!)) return undefined;
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

interface Name {
  readonly start: number;
  readonly end: number;
  readonly isTree: boolean;
}

/** Holds the order of the names, and that none is there twice, once as a file and once as a folder included. */
class TreeWalk {
  readonly #data: Buffer;
  readonly #unsorted: string | undefined;
  readonly #duplicate: string | undefined;
  #previous: Name | undefined;
  /** Files whose name begins all names since: a folder of the same name may be yet to come. */
  readonly #files: Name[] = [];

  constructor(data: Buffer, rules: FsckRules) {
    this.#data = data;
    this.#unsorted = rules.fault("treeNotSorted", "the entries are not in order");
    this.#duplicate = rules.fault("duplicateEntries", "a name is there twice");
  }

  add(start: number, end: number, isTree: boolean): string | undefined {
    const name = { start, end, isTree };
    const order = this.#previous === undefined ? -1 : this.#compare(this.#previous, name);
    this.#previous = name;
    if (order > 0) return this.#unsorted;
    if (order === 0) return this.#duplicate;
    for (let last = this.#files.at(-1); last !== undefined; last = this.#files.at(-1)) {
      const size = last.end - last.start;
      if (this.#commonPrefix(last, name) === size) {
        if (size === end - start) return this.#duplicate;
        break;
      }
      this.#files.pop();
    }
    if (!isTree) this.#files.push(name);
    return undefined;
  }

  #compare(a: Name, b: Name): number {
    const same = this.#commonPrefix(a, b);
    return this.#byteAt(a, same) - this.#byteAt(b, same);
  }

  /** A folder is sorted as if its name ended in a slash. */
  #byteAt({ start, end, isTree }: Name, at: number): number {
    if (start + at < end) return this.#data[start + at]!;
    return isTree && start + at === end ? SLASH : 0;
  }

  #commonPrefix(a: Name, b: Name): number {
    const size = Math.min(a.end - a.start, b.end - b.start);
    let same = 0;
    while (same < size && this.#data[a.start + same] === this.#data[b.start + same]) same++;
    return same;
  }
}
