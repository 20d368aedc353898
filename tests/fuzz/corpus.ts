/**
 * The kept inputs: a folder of corpus/ for each parser. `seed-*` are well-formed (make-corpus.ts wrote them, from what git
 * makes), `found-*` made a parser answer in a way no other input did, `crash-*` once broke it. Where the run is in sha256, the seeds
 * are those of corpus-sha256/, and inputs of both folders are tried.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { SHA1 } from "../../src/gitwire/object/oid.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

const SHA1_ROOT = path.join(import.meta.dir, "corpus");
const ROOT = TEST_FORMAT === SHA1 ? SHA1_ROOT : path.join(import.meta.dir, "corpus-sha256");

/** The inputs kept for a parser, in the order of their names. */
export function kept(name: string): { file: string; bytes: Buffer }[] {
  const own = filesIn(path.join(ROOT, name));
  if (ROOT === SHA1_ROOT) return own;
  const others = filesIn(path.join(SHA1_ROOT, name));
  return [...own, ...others.filter(({ file }) => own.length === 0 || !file.startsWith("seed-"))];
}

function filesIn(dir: string): { file: string; bytes: Buffer }[] {
  return (fs.existsSync(dir) ? fs.readdirSync(dir) : [])
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
