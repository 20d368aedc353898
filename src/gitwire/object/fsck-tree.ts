/**
 * What is wrong with a tree by git's own rules (git: git-fsck, fsck_tree in fsck.c). One pass over the bytes: a push of one key
 * brings some eight trees of 256 entries, and nothing is made of an entry that is in order.
 */

import type { ObjectFormat } from "./oid.ts";
import { MODE } from "./tree.ts";

const MODES: ReadonlySet<number> = new Set(Object.values(MODE));
const [SPACE, DOT, SLASH, ZERO, BACKSLASH] = [0x20, 0x2e, 0x2f, 0x30, 0x5c];

/** Git's name of the first fault of a tree and what it means, or undefined where there is none. */
export function treeFault(format: ObjectFormat, data: Buffer): string | undefined {
  const walk = new TreeWalk(data);
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(SPACE, at);
    const nul = space < 0 ? -1 : data.indexOf(0, space);
    if (nul < 0 || nul + format.rawSize >= data.length) return "badTree: an entry is cut short";
    const fault = modeFault(data, at, space) ?? nameFault(data, space + 1, nul);
    if (fault !== undefined) return fault;
    if (isNull(data, nul + 1, nul + 1 + format.rawSize)) return "nullSha1: an entry points at the null id";
    // Of the modes only a tree's has five digits.
    const order = walk.add(space + 1, nul, space - at === 5);
    if (order !== undefined) return order;
    at = nul + 1 + format.rawSize;
  }
  return undefined;
}

function modeFault(data: Buffer, start: number, space: number): string | undefined {
  if (data[start] === ZERO) return "zeroPaddedFilemode: a mode with leading zeros";
  let mode = 0;
  for (let at = start; at < space; at++) {
    const digit = data[at]! - ZERO;
    if (!(digit >= 0 && digit <= 7) || at - start >= 6) return "badTree: a mode is not octal";
    mode = mode * 8 + digit;
  }
  return MODES.has(mode) ? undefined : "badFilemode: a mode that git does not write";
}

function nameFault(data: Buffer, start: number, end: number): string | undefined {
  if (start === end) return "emptyName: an entry has no name";
  let plain = true;
  for (let at = start; at < end; at++) {
    const byte = data[at]!;
    if (byte === SLASH) return "fullPathname: a name with a slash";
    if (byte === BACKSLASH || byte >= 0x80) plain = false;
  }
  // Nothing git takes for `.git` begins with another ASCII byte than these (`.`, `g`, `G`).
  const first = data[start]!;
  if (plain && first !== DOT && first !== 0x67 && first !== 0x47) return undefined;
  const name = data.utf8Slice(start, end);
  if (name === ".") return "hasDot: an entry called '.'";
  if (name === "..") return "hasDotdot: an entry called '..'";
  return isGitDirectoryName(name) ? "hasDotgit: a name that some file systems take for '.git'" : undefined;
}

/** Characters HFS+ leaves out when it compares names (git: utf8.c, next_hfs_char). */
const HFS_IGNORED = /[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g;

/** True for what some file system takes for `.git` (git: is_hfs_dotgit, is_ntfs_dotgit). */
export function isGitDirectoryName(name: string): boolean {
  if (name.replace(HFS_IGNORED, "").toLowerCase() === ".git") return true;
  return name.split("\\").some((part) => /^(?:\.git|git~1)[ .]*(?::.*)?$/is.test(part));
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
  #previous: Name | undefined;
  /** Files whose name begins all names since: a folder of the same name may be yet to come. */
  readonly #files: Name[] = [];

  constructor(data: Buffer) {
    this.#data = data;
  }

  add(start: number, end: number, isTree: boolean): string | undefined {
    const name = { start, end, isTree };
    const order = this.#previous === undefined ? -1 : this.#compare(this.#previous, name);
    this.#previous = name;
    if (order > 0) return "treeNotSorted: the entries are not in order";
    if (order === 0) return DUPLICATE;
    for (let last = this.#files.at(-1); last !== undefined; last = this.#files.at(-1)) {
      const size = last.end - last.start;
      if (this.#commonPrefix(last, name) === size) {
        if (size === end - start) return DUPLICATE;
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

const DUPLICATE = "duplicateEntries: a name is there twice";
