/** Repositories and packs to push, for tests of the protocol's client side. */

import type { ObjectFormat, Oid } from "../../src/gitwire/object/oid.ts";
import { type FinishedPack, PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import { git } from "./git.ts";
import { tempDir } from "./temp.ts";
import { TEST_FORMAT } from "./test-format.ts";

/** A new bare repository that anybody may push to. */
export function bareRepository(format: "sha1" | "sha256" = TEST_FORMAT.name): string {
  const dir = tempDir("bare");
  git(dir, "init", "-q", "--bare", `--object-format=${format}`, "-b", "main");
  git(dir, "config", "receive.advertisePushOptions", "true");
  git(dir, "config", "http.receivepack", "true");
  return dir;
}

/** A bare repository with `count` commits on main, the oldest first. */
export function repositoryWith(
  count: number,
  format: "sha1" | "sha256" = TEST_FORMAT.name,
): { dir: string; commits: Oid[] } {
  const dir = bareRepository(format);
  return { dir, commits: addCommits(dir, count, "file") };
}

/** Adds a commit with one more file to a branch, made by real git. */
export function addCommit(dir: string, file: string, content: string, branch = "refs/heads/main"): Oid {
  return importCommits(dir, [[file, content]], branch)[0]!;
}

/** Adds `count` commits with one more file each; returns them, the oldest first. */
export function addCommits(dir: string, count: number, name: string, branch = "refs/heads/main"): Oid[] {
  const files = Array.from({ length: count }, (_, i): [string, string] => [`${name}-${i}`, `${name} ${i}\n`]);
  return importCommits(dir, files, branch);
}

function importCommits(dir: string, files: readonly (readonly [string, string])[], branch: string): Oid[] {
  const old = git(dir, "for-each-ref", "--format=%(objectname)", branch);
  const lines: string[] = [];
  for (const [i, [file, content]] of files.entries()) {
    lines.push(`commit ${branch}`, "committer Test <test@example.com> now", `data ${Buffer.byteLength(file)}`, file);
    if (i === 0 && old !== "") lines.push(`from ${old}`);
    lines.push(`M 100644 inline ${file}`, `data ${Buffer.byteLength(content)}`, content);
  }
  gitFastImport(dir, `${lines.join("\n")}\n`);
  return git(dir, "rev-list", "--first-parent", "--reverse", `--max-count=${files.length}`, branch).split("\n");
}

function gitFastImport(dir: string, input: string): void {
  const run = Bun.spawnSync(["git", "fast-import", "--quiet", "--date-format=now", "--force"], {
    cwd: dir,
    stdin: Buffer.from(input),
  });
  if (run.exitCode !== 0) throw new Error(run.stderr.toString());
}

/** A pack with one commit (on `parent`) of one file, and the commit's id. */
export function packWithCommit(
  content: string,
  options: { parent?: Oid; format?: ObjectFormat; extra?: readonly Uint8Array[] } = {},
): { pack: FinishedPack; commit: Oid } {
  const format = options.format ?? TEST_FORMAT;
  const builder = new PackBuilder(format);
  const blob = builder.write("blob", Buffer.from(content));
  const entries = [entry("file", blob)];
  for (const [i, data] of (options.extra ?? []).entries()) {
    entries.push(entry(`large-${String(i).padStart(4, "0")}`, builder.write("blob", data)));
  }
  const tree = builder.write("tree", Buffer.concat(entries));
  const parent = options.parent === undefined ? "" : `parent ${options.parent}\n`;
  const who = "Test <test@example.com> 1767323045 +0000";
  const text = `tree ${tree}\n${parent}author ${who}\ncommitter ${who}\n\n${content}\n`;
  return { commit: builder.write("commit", Buffer.from(text)), pack: builder.finish() };
}

function entry(name: string, oid: Oid): Buffer {
  return Buffer.concat([Buffer.from(`100644 ${name}\0`), Buffer.from(oid, "hex")]);
}
