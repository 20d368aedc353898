/** Repositories and packs that the tests of packs and stores share. */

import * as fs from "node:fs";
import * as path from "node:path";
import type { GitObject } from "../../../src/gitwire/object/object.ts";
import { hashBytes, type ObjectFormat, type ObjectKind, type Oid } from "../../../src/gitwire/object/oid.ts";
import { packHeader } from "../../../src/gitwire/pack/pack-builder.ts";
import type { EntryType } from "../../../src/gitwire/pack/pack-entry.ts";
import { encodeOfsDistance, encodeTypeSize } from "../../../src/gitwire/pack/pack-entry.ts";
import { deflate } from "../../../src/gitwire/pack/zlib.ts";
import { git, gitBytes, gitInput } from "../../support/git.ts";
import { tempDir } from "../../support/temp.ts";

/** A bare repository with a history that deltifies well, a tag, and one larger incompressible blob; everything loose or in packs as git made it. */
export function makeRepo(format: ObjectFormat, commits = 40): string {
  const dir = tempDir("repo");
  git(dir, "init", "-q", "--bare", `--object-format=${format.name}`, "-b", "main", ".");
  const stream: string[] = [];
  const lines = Array.from({ length: 120 }, (_, i) => `line ${i} of the file, ${(i * 7919) % 1009}`);
  for (let i = 0; i < commits; i++) {
    lines[(i * 37) % lines.length] = `changed in commit ${i}`;
    const text = `${lines.join("\n")}\n`;
    stream.push(`commit refs/heads/main\nmark :${i + 1}\ncommitter A <a@example.com> ${1_700_000_000 + i} +0000\n`);
    stream.push(`data <<E\ncommit number ${i}\nE\n`);
    if (i > 0) stream.push(`from :${i}\n`);
    stream.push(`M 100644 inline dir/file\ndata ${text.length}\n${text}\n`);
    stream.push(`M 100644 inline dir/small${i}\ndata <<E\nsmall ${i}\nE\n`);
  }
  stream.push(`tag v1\nfrom :${commits}\ntagger A <a@example.com> 1700000000 +0000\ndata <<E\na tag\nE\n`);
  gitInput(dir, stream.join(""), "fast-import", "--quiet");
  return dir;
}

/** Every object of a repository, as git reads it. */
export function allObjects(dir: string): Map<Oid, GitObject> {
  const out = gitBytes(dir, "cat-file", "--batch-all-objects", "--batch");
  const objects = new Map<Oid, GitObject>();
  for (let at = 0; at < out.length; ) {
    const end = out.indexOf(10, at);
    const [oid, kind, size] = out.toString("latin1", at, end).split(" ");
    const data = out.subarray(end + 1, end + 1 + Number(size));
    objects.set(oid!, { kind: kind as ObjectKind, data });
    at = end + 1 + Number(size) + 1;
  }
  return objects;
}

/** The repository's packs, by path. */
export function packsOf(dir: string): string[] {
  const packDir = path.join(dir, "objects", "pack");
  return fs
    .readdirSync(packDir)
    .filter((name) => name.endsWith(".pack"))
    .map((name) => path.join(packDir, name));
}

/** Repacks everything into one pack with many deltas, of the kind that git is told to make. */
export function repackOnce(dir: string, deltas: "ofs" | "ref"): string {
  git(dir, "config", "repack.useDeltaBaseOffset", String(deltas === "ofs"));
  git(dir, "repack", "-a", "-d", "-f", "-q");
  const [pack] = packsOf(dir);
  if (pack === undefined) throw new Error("git made no pack");
  return pack;
}

/** One entry of a handmade pack. */
export interface HandEntry {
  readonly type: EntryType;
  readonly data: Buffer;
  /** The size the entry declares, its data's by default. */
  readonly size?: number;
  /** Distance to the base (type 6) or its id (type 7). */
  readonly base?: number | Oid;
  /** The zlib stream, that of `data` by default. */
  readonly stream?: Buffer;
}

export function encodeEntry(entry: HandEntry): Buffer {
  const head = Buffer.alloc(64);
  let end = encodeTypeSize(head, 0, entry.type, entry.size ?? entry.data.length);
  if (typeof entry.base === "number") end = encodeOfsDistance(head, end, entry.base);
  if (typeof entry.base === "string") end += head.write(entry.base, end, "hex");
  return Buffer.concat([head.subarray(0, end), entry.stream ?? deflate(entry.data)]);
}

/** A pack of exactly these entries, declaring `count` of them. */
export function handPack(format: ObjectFormat, entries: readonly HandEntry[], count = entries.length): Buffer {
  const body = Buffer.concat([packHeader(count), ...entries.map(encodeEntry)]);
  return Buffer.concat([body, hashBytes(format, body)]);
}

/** Names in a folder, sorted; none where there is no such folder. */
export function listDir(dir: string): string[] {
  return fs.existsSync(dir) ? fs.readdirSync(dir).sort() : [];
}
