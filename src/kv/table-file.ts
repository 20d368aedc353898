/**
 * Puts a file of `.git/kv` in its place whole: under a name of this process beside it first, `<file>.<pid>.tmp`. Those that processes left which were
 * killed meanwhile are removed by whoever writes the same file next: that is the very next command, which finds the work undone.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { isAlive } from "../alive.ts";

/** Milliseconds after which a temporary file is nobody's, whoever has that number now: writing one takes a second at the most. */
const ABANDONED = 60 * 60_000;

/** Writes `bytes` to `file`; with `sync` they are on the disk before they have that name. Throws the system's errors. */
export function replaceTable(file: string, bytes: Buffer, sync: boolean): void {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  removeAbandoned(file);
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    fs.writeFileSync(temporary, bytes, { flush: sync });
    fs.renameSync(temporary, file);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  }
}

function removeAbandoned(file: string): void {
  const start = `${path.basename(file)}.`;
  for (const name of fs.readdirSync(path.dirname(file))) {
    if (!name.startsWith(start)) continue;
    const pid = /^(\d+)\.tmp$/.exec(name.slice(start.length))?.[1];
    const other = path.join(path.dirname(file), name);
    // One of our own number is written over.
    if (pid !== undefined && (!isAlive(Number(pid)) || isOld(other))) fs.rmSync(other, { force: true });
  }
}

function isOld(file: string): boolean {
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  return stat !== undefined && Date.now() - stat.mtimeMs > ABANDONED;
}
