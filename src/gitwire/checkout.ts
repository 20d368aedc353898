/**
 * Writes a commit's files into an empty worktree, and the index that says so (git: gitformat-index, version 2).
 *
 *   index = "DIRC" version count *entry checksum
 *   entry = ctime mtime dev ino mode uid gid size oid flags path NUL...     padded to eight bytes
 *
 * Files are written as stored: filters and line-ending conversion of .gitattributes are not applied.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import { readAs } from "./object/object.ts";
import { hashBytes, type ObjectFormat, type Oid } from "./object/oid.ts";
import { MODE, parseTree, type TreeEntry } from "./object/tree.ts";
import type { Repository } from "./repo.ts";

interface CheckedOut {
  /** Path inside the worktree, a byte string. */
  readonly path: string;
  readonly mode: number;
  readonly oid: Oid;
  readonly stat: fs.BigIntStats | undefined;
}

/** Checks the tree `oid` out into the worktree of `repo`, which holds no file yet. Throws BAD_OBJECT for a path git forbids. */
export function checkoutTree(repo: Repository, oid: Oid): void {
  const root = repo.worktree;
  if (root === undefined) throw new KvError("NOT_A_REPOSITORY", "there is no worktree to check out into");
  const entries: CheckedOut[] = [];
  walk(repo, oid, "", root, entries, 0);
  entries.sort((a, b) => (a.path < b.path ? -1 : 1));
  const temporary = path.join(repo.gitDir, "index.lock");
  fs.writeFileSync(temporary, encodeIndex(repo.format, entries), { flag: "wx" });
  fs.renameSync(temporary, path.join(repo.gitDir, "index"));
}

function walk(repo: Repository, tree: Oid, prefix: string, dir: string, entries: CheckedOut[], depth: number): void {
  if (depth > LIMITS.treeDepth) throw new KvError("LIMIT_EXCEEDED", "the tree is nested too deeply to check out");
  for (const entry of parseTree(repo.format, readAs(repo.objects, tree, "tree"))) {
    checkName(entry.name);
    const target = Buffer.concat([Buffer.from(`${dir}/`), Buffer.from(entry.name, "latin1")]).toString();
    if (entry.mode === MODE.tree) {
      // Not recursive: a folder that is there already could be a link out of the worktree, made by an entry of the same name.
      fs.mkdirSync(target);
      walk(repo, entry.oid, `${prefix}${entry.name}/`, target, entries, depth + 1);
    } else {
      entries.push({
        path: prefix + entry.name,
        mode: entry.mode,
        oid: entry.oid,
        stat: writeFile(repo, entry, target),
      });
    }
  }
}

/** Names that would leave the worktree or reach into `.git` on some file system (git: verify_path). */
function checkName(name: string): void {
  const plain = name.replace(
    /\u00e2\u0080[\u008c-\u008f\u00aa-\u00ae]|\u00e2\u0081[\u00aa-\u00af]|\u00ef\u00bb\u00bf/g,
    "",
  );
  const forbidden =
    name === "." || name === ".." || /[/\\\0]/.test(name) || /^(?:\.git|git~1)[ .]*(?::.*)?$/i.test(plain);
  if (forbidden)
    throw new KvError("BAD_OBJECT", `a tree holds the path ${JSON.stringify(name)}, which is not checked out`);
}

function writeFile(repo: Repository, entry: TreeEntry, target: string): fs.BigIntStats | undefined {
  if (entry.mode === MODE.gitlink) {
    fs.mkdirSync(target);
    return undefined;
  }
  const data = readAs(repo.objects, entry.oid, "blob");
  // "wx": never through a link or over a file that an earlier entry made.
  if (entry.mode === MODE.symlink) fs.symlinkSync(data.toString(), target);
  else fs.writeFileSync(target, data, { flag: "wx", mode: entry.mode === MODE.executable ? 0o777 : 0o666 });
  return fs.lstatSync(target, { bigint: true });
}

function encodeIndex(format: ObjectFormat, entries: readonly CheckedOut[]): Buffer {
  const header = Buffer.alloc(12);
  header.write("DIRC");
  header.writeUInt32BE(2, 4);
  header.writeUInt32BE(entries.length, 8);
  const body = Buffer.concat([header, ...entries.map((entry) => encodeEntry(format, entry))]);
  return Buffer.concat([body, hashBytes(format, body)]);
}

function encodeEntry(format: ObjectFormat, { path: name, mode, oid, stat }: CheckedOut): Buffer {
  const fixed = 40 + format.rawSize + 2;
  const size = Math.floor((fixed + name.length) / 8) * 8 + 8;
  const entry = Buffer.alloc(size);
  const low = (value: bigint): number => Number(value & 0xffffffffn);
  if (stat !== undefined) {
    const fields = [
      stat.ctimeNs / 1_000_000_000n,
      stat.ctimeNs % 1_000_000_000n,
      stat.mtimeNs / 1_000_000_000n,
      stat.mtimeNs % 1_000_000_000n,
      stat.dev,
      stat.ino,
    ];
    for (const [i, value] of fields.entries()) entry.writeUInt32BE(low(value), i * 4);
    entry.writeUInt32BE(low(stat.uid), 28);
    entry.writeUInt32BE(low(stat.gid), 32);
    entry.writeUInt32BE(low(stat.size), 36);
  }
  entry.writeUInt32BE(mode, 24);
  entry.write(oid, 40, "hex");
  entry.writeUInt16BE(Math.min(name.length, 0xfff), 40 + format.rawSize);
  entry.latin1Write(name, fixed);
  return entry;
}
