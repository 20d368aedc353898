/**
 * `info/alternates`: further object folders to read from, one a line (git: gitrepository-layout, "objects/info/alternates").
 * Relative paths are taken from the object folder the file belongs to; `#` starts a comment; a line in double quotes is
 * C-quoted. Folders that are missing or were seen before are passed over, as git does.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { LIMITS } from "../../limits.ts";
import { mayBeThere, readFileIfThere } from "../disk.ts";

/** The object folders that `objectsDir` borrows from, near ones first, itself not included; `extra` come first. */
export function alternateDirs(objectsDir: string, extra: readonly string[] = []): string[] {
  const seen = new Set([realPath(objectsDir) ?? objectsDir]);
  const found: string[] = [];
  const visit = (dir: string, depth: number): void => {
    const real = realPath(dir);
    if (real === undefined || seen.has(real)) return;
    seen.add(real);
    found.push(dir);
    if (depth < LIMITS.alternatesDepth) for (const next of readAlternates(dir)) visit(next, depth + 1);
  };
  for (const dir of extra) visit(path.resolve(dir), 1);
  for (const dir of readAlternates(objectsDir)) visit(dir, 1);
  return found;
}

function realPath(dir: string): string | undefined {
  try {
    return fs.statSync(dir).isDirectory() ? fs.realpathSync(dir) : undefined;
  } catch {
    return undefined;
  }
}

function readAlternates(objectsDir: string): string[] {
  const file = path.join(objectsDir, "info", "alternates");
  const bytes = mayBeThere(file) ? readFileIfThere(file) : undefined;
  if (bytes === undefined) return [];
  const dirs: string[] = [];
  for (const line of bytes.toString("utf8").split("\n")) {
    const entry = line.startsWith('"') ? unquote(line) : line;
    if (entry === undefined || entry === "" || entry.startsWith("#")) continue;
    dirs.push(path.resolve(objectsDir, entry));
  }
  return dirs;
}

const ESCAPES: Readonly<Record<string, number>> = {
  a: 7,
  b: 8,
  t: 9,
  n: 10,
  v: 11,
  f: 12,
  r: 13,
  '"': 34,
  "\\": 92,
};

/** Text of a C-quoted line, or undefined where the quoting is not right. */
function unquote(line: string): string | undefined {
  const body = /^"((?:[^"\\]|\\.)*)"$/.exec(line)?.[1];
  if (body === undefined) return undefined;
  const bytes: Buffer[] = [];
  for (const [, octal, letter, text] of body.matchAll(/\\([0-3][0-7]{2})|\\(.)|([^\\]+)/g)) {
    if (octal !== undefined) bytes.push(Buffer.from([Number.parseInt(octal, 8)]));
    else if (text !== undefined) bytes.push(Buffer.from(text, "utf8"));
    else {
      const value = ESCAPES[letter!];
      if (value === undefined) return undefined;
      bytes.push(Buffer.from([value]));
    }
  }
  return Buffer.concat(bytes).toString("utf8");
}
