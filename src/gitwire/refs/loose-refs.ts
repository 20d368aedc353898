/**
 * Loose refs: one file each (git: gitrepository-layout, refs/files-backend.c).
 *
 *   file = oid LF | "ref:" *SP refname LF        (or, from the old days, a symbolic link to refs/...)
 */

import * as fs from "node:fs";
import { compare } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { errorCode, isMissing } from "../disk.ts";
import { isOid, type ObjectFormat, type Oid, wrongFormat } from "../object/oid.ts";
import { checkRefFormat, isValidRefName } from "./ref-name.ts";

/** What a ref's file says. */
export type RawRef =
  | { readonly kind: "direct"; readonly oid: Oid }
  | { readonly kind: "symbolic"; readonly target: string };

/** No ref file is longer; a longer one is damaged. */
const MOST_BYTES = 4096;

const FLAGS = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW;
const SCRATCH = Buffer.alloc(MOST_BYTES);

/** The ref in `file`, or undefined where there is no such file. Throws CORRUPT (with `name`) where it is no ref. */
export function readLooseRef(file: string, name: string, format: ObjectFormat): RawRef | undefined {
  let text: string;
  try {
    // Most refs have no file, and an exception costs ten times as much as asking first.
    if (fs.lstatSync(file, { throwIfNoEntry: false }) === undefined) return undefined;
    text = readSmallFile(file);
  } catch (error) {
    if (isMissing(error)) return undefined;
    if (errorCode(error) === "ELOOP") return readSymlink(file, name, format);
    throw error;
  }
  return parseLooseRef(text, name, format);
}

/** What a loose ref's content says. Throws CORRUPT where it is no ref. */
function parseLooseRef(text: string, name: string, format: ObjectFormat): RawRef {
  if (text.startsWith("ref:")) {
    const target = text.slice(4).trim();
    if (!isValidRefName(target)) throw damaged(name, `it points at '${target.slice(0, 100)}'`);
    return { kind: "symbolic", target };
  }
  const digits = text.slice(0, format.hexSize).toLowerCase();
  const after = text[format.hexSize];
  if (!isOid(format, digits) || (after !== undefined && !/\s/.test(after))) {
    const wrong = wrongFormat(format, text.trim());
    if (wrong !== undefined) throw damaged(name, wrong.what, wrong.hint);
    throw damaged(name, text.trim() === "" ? "its file is empty" : "its file holds no object id");
  }
  return { kind: "direct", oid: digits };
}

function readSmallFile(file: string): string {
  const fd = fs.openSync(file, FLAGS);
  try {
    let length = 0;
    for (;;) {
      const got = fs.readSync(fd, SCRATCH, length, MOST_BYTES - length, null);
      length += got;
      if (got === 0 || length === MOST_BYTES) return SCRATCH.utf8Slice(0, length);
    }
  } finally {
    fs.closeSync(fd);
  }
}

function readSymlink(file: string, name: string, format: ObjectFormat): RawRef | undefined {
  const target = fs.readlinkSync(file);
  if (target.startsWith("refs/") && checkRefFormat(target)) return { kind: "symbolic", target };
  try {
    return parseLooseRef(fs.readFileSync(file, "utf8"), name, format);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function damaged(name: string, what: string, hint?: string): KvError {
  return new KvError("CORRUPT", `ref ${name} is damaged: ${what}`, hint === undefined ? {} : { hint });
}

/** Names of the loose refs under `<root>/<dir>` (dir = "refs" or "refs/heads" ...), lock files and strange names left out. */
export function listLooseRefs(root: string, dir: string): string[] {
  const names: string[] = [];
  const pending = [dir];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    for (const entry of readFolder(`${root}/${at}`)) {
      const name = `${at}/${entry.name}`;
      if (entry.isDirectory()) pending.push(name);
      else if (!entry.name.endsWith(".lock") && isValidRefName(name)) names.push(name);
    }
    if (names.length > LIMITS.refs) throw new KvError("LIMIT_EXCEEDED", `more than ${LIMITS.refs} loose refs`);
  }
  return names.sort(compare);
}

/** True when the folder holds a file at any depth: a loose ref, or the lock of one that is being made. */
export function holdsFiles(dir: string): boolean {
  return readFolder(dir).some((entry) => !entry.isDirectory() || holdsFiles(`${dir}/${entry.name}`));
}

function readFolder(dir: string): fs.Dirent[] {
  try {
    return fs.readdirSync(dir, { withFileTypes: true });
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
