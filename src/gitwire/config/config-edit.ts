/**
 * Editing a config file the way `git config` does (git: config.c): only the lines concerned change, comments and order
 * stay, the result is byte for byte git's. The file is locked by `<file>.lock`, fsynced and renamed into place.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError, toKvError } from "../../errors.ts";
import { readConfigFile } from "../config.ts";
import { type Disk, errorCode, systemDisk, tryUnlink } from "../disk.ts";
import { type ConfigPart, parseConfigFile } from "./config-file.ts";
import { canonicalName } from "./config-name.ts";

export interface EditOptions {
  /** Concerns only the values that fit. */
  readonly match?: (value: string) => boolean;
  readonly disk?: Disk;
}

/**
 * Sets `name` in `file` (made where it is missing) to `value`, replacing the value it has. Throws CONFIG where it has several
 * that fit (see {@link unsetConfig}) or where the file's syntax is broken, LOCKED, IO.
 */
export function setConfig(file: string, name: string, value: string, options: EditOptions = {}): void {
  edit(file, options, (text) => {
    const places = findPlaces(text, file, name, options.match ?? (() => true));
    if (places.found.length > 1) {
      throw new KvError("CONFIG", `'${name}' has several values in ${file}; it cannot be set to one`, {
        hint: "unset it first, or say which value to replace",
      });
    }
    return places.found.length === 0 ? insert(text, places, name, value) : replace(text, places, name, value);
  });
}

/** Replaces all values of `name` that fit by the one `value` (`git config --replace-all`). Throws as {@link setConfig}. */
export function replaceConfig(file: string, name: string, value: string, options: EditOptions = {}): void {
  edit(file, options, (text) => {
    const places = findPlaces(text, file, name, options.match ?? (() => true));
    return places.found.length === 0 ? insert(text, places, name, value) : replace(text, places, name, value);
  });
}

/** Adds one more value after those there are. Throws CONFIG, LOCKED, IO. */
export function addConfig(file: string, name: string, value: string, options: { readonly disk?: Disk } = {}): void {
  edit(file, options, (text) =>
    insert(
      text,
      findPlaces(text, file, name, () => false),
      name,
      value,
    ),
  );
}

/**
 * Removes all values of `name` that fit, and the section where nothing is left of it (a comment counts). Returns how many
 * there were. Throws CONFIG, LOCKED, IO.
 */
export function unsetConfig(file: string, name: string, options: EditOptions = {}): number {
  let count = 0;
  edit(file, options, (text) => {
    const places = findPlaces(text, file, name, options.match ?? (() => true));
    count = places.found.length;
    return count === 0 ? undefined : replace(text, places, name, undefined);
  });
  return count;
}

interface Places {
  readonly parts: readonly ConfigPart[];
  /** `section` or `section.Subsection` of the variable. */
  readonly section: string;
  /** Numbers of the parts that are headers of this section. */
  readonly headers: ReadonlySet<number>;
  /** Numbers of the parts that are values of the variable and fit. */
  readonly found: readonly number[];
  /** The last part of the last section of this name: a new value goes behind it. */
  readonly last: number | undefined;
}

function findPlaces(text: string, file: string, name: string, match: (value: string) => boolean): Places {
  const wanted = canonicalName(name);
  const section = wanted.slice(0, wanted.lastIndexOf("."));
  const parts = parseConfigFile(text, file);
  const headers = new Set<number>();
  const found: number[] = [];
  let last: number | undefined;
  let inSection = false;
  for (const [i, part] of parts.entries()) {
    if (part.kind === "section") {
      inSection = part.section === section || (part.folded && part.section === section.toLowerCase());
      if (inSection) headers.add(i);
    }
    if (inSection && (part.kind === "section" || part.kind === "entry")) last = i;
    if (part.kind !== "entry" || part.entry.name !== wanted || !match(part.entry.value ?? "")) continue;
    found.push(i);
  }
  return { parts, section, headers, found, last };
}

/** The text with a new value at the end of the section, or in a new section at the end of the file. */
function insert(text: string, places: Places, name: string, value: string): string {
  const part = places.last === undefined ? places.parts.at(-1) : places.parts[places.last];
  let end = part?.end ?? (places.parts.length === 0 ? text.length : 0);
  // A section header ends before its line does.
  if (end > 0 && text[end - 1] !== "\n" && text[end] === "\n") end++;
  const before = text.slice(0, end);
  const header = places.last === undefined ? sectionLine(name) : "";
  return `${endLine(before)}${header}${valueLine(name, value)}${text.slice(end)}`;
}

function endLine(text: string): string {
  return text === "" || text.endsWith("\n") ? text : `${text}\n`;
}

/** The text with the values found removed and `value`, if there is one, in the place of the last. */
function replace(text: string, places: Places, name: string, value: string | undefined): string {
  let out = "";
  let copied = 0;
  for (let i = 0; i < places.found.length; i++) {
    const part = places.parts[places.found[i]!]!;
    let { begin, end } = part;
    if (value === undefined) {
      const section = emptiedSection(places, i);
      if (section !== undefined) ({ begin, end, last: i } = section);
    }
    while (begin > 0 && /[ \t\r]/.test(text[begin - 1]!)) begin--;
    if (begin > copied) out += endLine(text.slice(copied, begin));
    copied = end;
  }
  if (value !== undefined) out += valueLine(name, value);
  return out + text.slice(copied);
}

/**
 * Where the value number `first` of those found begins its section, and those from `first` to `last` are all that is in it,
 * and no comment is in or before it: the extent of the whole section.
 */
function emptiedSection(places: Places, first: number): { begin: number; end: number; last: number } | undefined {
  const { parts, headers, found } = places;
  const from = sectionStart(places, found[first]!);
  if (from === undefined) return undefined;
  let last = first;
  let at = found[first]! + 1;
  for (; at < parts.length; at++) {
    const { kind } = parts[at]!;
    if (kind === "comment") return undefined;
    if (kind === "section" && !headers.has(at)) break;
    if (kind === "entry") {
      if (found[last + 1] !== at) return undefined;
      last++;
    }
  }
  return { begin: parts[from]!.begin, end: parts[at]?.begin ?? parts.at(-1)!.end, last };
}

/** First part of the run of headers and space before `entry`; undefined where something else is in the way. */
function sectionStart({ parts, headers }: Places, entry: number): number | undefined {
  let seenHeader = false;
  let at = entry;
  for (; at > 0; at--) {
    const { kind } = parts[at - 1]!;
    if (kind === "comment") return undefined;
    if (kind === "entry") {
      if (!seenHeader) return undefined;
      break;
    }
    if (kind === "section") {
      if (!headers.has(at - 1)) break;
      seenHeader = true;
    }
  }
  return at;
}

/** `name` as the caller wrote it, taken apart into bytes. */
function writtenName(name: string): { section: string; subsection: string | undefined; variable: string } {
  const bytes = Buffer.from(name).latin1Slice();
  const first = bytes.indexOf(".");
  const last = bytes.lastIndexOf(".");
  return {
    section: bytes.slice(0, first),
    subsection: first === last ? undefined : bytes.slice(first + 1, last),
    variable: bytes.slice(last + 1),
  };
}

function sectionLine(name: string): string {
  const { section, subsection } = writtenName(name);
  return subsection === undefined ? `[${section}]\n` : `[${section} "${subsection.replace(/["\\]/g, "\\$&")}"]\n`;
}

function valueLine(name: string, value: string): string {
  if (value.includes("\0")) throw new KvError("CONFIG", `value of '${name}' holds a NUL byte`);
  const quote = /^ | $|[;#\r]/.test(value) ? '"' : "";
  const escaped = value.replace(/["\\]/g, "\\$&").replaceAll("\n", "\\n").replaceAll("\t", "\\t");
  return `\t${writtenName(name).variable} = ${quote}${Buffer.from(escaped).latin1Slice()}${quote}\n`;
}

/** Edits that meet another one try again this often. */
const MOST_TRIES = 20;

/** Lets `change` make a new text of the file's (undefined: leave it) under git's lock. */
function edit(file: string, options: { readonly disk?: Disk }, change: (text: string) => string | undefined): void {
  const disk = options.disk ?? systemDisk;
  // A config that is a symbolic link stays one, as with git.
  const target = fs.existsSync(file) ? fs.realpathSync(file) : path.resolve(file);
  try {
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const before = readText(target);
      const after = change(before);
      // What is there already needs no lock, be that in the way or not.
      if (after === undefined || after === before || writeLocked(disk, target, before, after)) return;
    }
  } catch (error) {
    throw toKvError(error);
  }
  throw new KvError("LOCKED", `'${target}' keeps being changed by another process`, { hint: "try again" });
}

function readText(file: string): string {
  return (readConfigFile(file) ?? Buffer.alloc(0)).latin1Slice();
}

/** Puts `after` in place; false where the file is not `before` any more, now that it is locked. */
function writeLocked(disk: Disk, target: string, before: string, after: string): boolean {
  const lock = `${target}.lock`;
  disk.mkdir(path.dirname(target));
  try {
    disk.create(lock, Buffer.from(after, "latin1"), true);
  } catch (error) {
    if (errorCode(error) === "EEXIST") throw new KvError("LOCKED", `'${lock}' is held by another git process`);
    tryUnlink(disk, lock);
    throw error;
  }
  try {
    const isCurrent = readText(target) === before;
    if (isCurrent) rename(disk, lock, target);
    else disk.unlink(lock);
    return isCurrent;
  } catch (error) {
    tryUnlink(disk, lock);
    throw error;
  }
}

function rename(disk: Disk, lock: string, target: string): void {
  const mode = fs.statSync(target, { throwIfNoEntry: false })?.mode;
  if (mode !== undefined) fs.chmodSync(lock, mode & 0o7777);
  disk.rename(lock, target);
  disk.syncDir(path.dirname(target));
}
