/**
 * The kept inputs: a folder of corpus/ for each parser. `seed-*` are well-formed (make-corpus.ts wrote them, from what git
 * makes), `found-*` made a parser answer in a way no other input did, `crash-*` once broke it.
 */

import * as fs from "node:fs";
import * as path from "node:path";

const ROOT = path.join(import.meta.dir, "corpus");

/** The inputs kept for a parser, in the order of their names. */
export function kept(name: string): { file: string; bytes: Buffer }[] {
  const dir = path.join(ROOT, name);
  return fs
    .readdirSync(dir)
    .sort()
    .map((file) => ({ file, bytes: fs.readFileSync(path.join(dir, file)) }));
}

/** Keeps one more. Returns where. */
export function keep(name: string, kind: "seed" | "found" | "crash", bytes: Buffer): string {
  const dir = path.join(ROOT, name);
  fs.mkdirSync(dir, { recursive: true });
  const file = path.join(dir, `${kind}-${Bun.hash.crc32(bytes).toString(16).padStart(8, "0")}`);
  fs.writeFileSync(file, bytes);
  return file;
}
