/** A repository with a handful of commits and a tag, copied quickly for every case; and disks that fail. */

import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { type Disk, systemDisk } from "../../../src/gitwire/disk.ts";
import type { ObjectFormat } from "../../../src/gitwire/object/oid.ts";
import { type ProcessIdentity, thisProcess } from "../../../src/gitwire/refs/process-identity.ts";
import type { RefStoreOptions } from "../../../src/gitwire/refs/ref-reader.ts";
import { RefStore } from "../../../src/gitwire/refs/ref-store.ts";
import { ObjectStore } from "../../../src/gitwire/store/object-store.ts";
import { fsck, git, gitInput } from "../../support/git.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

export interface Fixture {
  readonly dir: string;
  readonly format: ObjectFormat;
  /** Commits, each the child of the one before. */
  readonly commits: readonly string[];
  /** An annotated tag of commits[0]. */
  readonly tag: string;
  readonly blob: string;
}

/** Makes the objects, in a bare repository. */
export function makeFixture(format: ObjectFormat = TEST_FORMAT): Fixture {
  const dir = tempDir(`refs-${format.name}`);
  git(dir, "init", "-q", "--bare", `--object-format=${format.name}`, "-b", "main");
  const tree = git(dir, "mktree");
  const commits: string[] = [];
  for (let i = 0; i < 6; i++) {
    const parents = commits.length === 0 ? [] : ["-p", commits.at(-1)!];
    commits.push(gitInput(dir, "", "commit-tree", tree, "-m", `commit ${i}`, ...parents));
  }
  const tag = gitInput(
    dir,
    `object ${commits[0]}\ntype commit\ntag t\ntagger T <t@example.com> 1700000000 +0000\n\ntag\n`,
    "mktag",
  );
  const blob = gitInput(dir, "blob", "hash-object", "-w", "--stdin");
  return { dir, format, commits, tag, blob };
}

/** What a repository starts with: loose files by ref name, and the lines of packed-refs. */
export interface Start {
  readonly loose?: Readonly<Record<string, string>>;
  readonly packed?: Readonly<Record<string, string>>;
}

/** A new bare repository that borrows the fixture's objects. */
export function newRepository(fixture: Fixture, start: Start = {}): string {
  const dir = tempDir("refs");
  for (const folder of ["objects/info", "refs/heads"]) fs.mkdirSync(path.join(dir, folder), { recursive: true });
  fs.writeFileSync(path.join(dir, "objects/info/alternates"), `${fixture.dir}/objects\n`);
  fs.copyFileSync(path.join(fixture.dir, "config"), path.join(dir, "config"));
  fs.writeFileSync(path.join(dir, "HEAD"), "ref: refs/heads/main\n");
  for (const [name, value] of Object.entries(start.loose ?? {})) {
    fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
    fs.writeFileSync(path.join(dir, name), `${value}\n`);
  }
  const packed = Object.entries(start.packed ?? {}).sort();
  if (packed.length > 0) {
    const lines = packed.map(
      ([name, oid]) => `${oid} ${name}\n${oid === fixture.tag ? `^${fixture.commits[0]}\n` : ""}`,
    );
    fs.writeFileSync(path.join(dir, "packed-refs"), `# pack-refs with: peeled fully-peeled sorted \n${lines.join("")}`);
  }
  return dir;
}

export function openRefs(dir: string, fixture: Fixture, options: Partial<RefStoreOptions> = {}): RefStore {
  const objects = new ObjectStore(path.join(dir, "objects"), fixture.format);
  return new RefStore({ gitDir: dir, commonDir: dir, format: fixture.format, objects: () => objects, ...options });
}

/** Name and value of every ref. */
export function values(store: RefStore): Record<string, string> {
  return Object.fromEntries(store.list().map(({ name, oid }) => [name, oid]));
}

/** The same, as git has it. */
export function gitValues(dir: string): Record<string, string> {
  const lines = git(dir, "for-each-ref", "--format=%(refname) %(objectname)").split("\n");
  return Object.fromEntries(lines.filter((line) => line !== "").map((line) => line.split(" ") as [string, string]));
}

/** What `git fsck` complains about, an unborn HEAD aside. */
export function complaints(dir: string): string {
  return fsck(dir)
    .replace(/^notice: HEAD points to an unborn branch.*$/m, "")
    .trim();
}

/** All lock and temporary files left in a repository. */
export function leftovers(dir: string): string[] {
  return (fs.readdirSync(dir, { recursive: true }) as string[]).filter((name) => /\.lock$|\.new$/.test(name));
}

/** A process that is gone. */
export const GONE: ProcessIdentity = { ...thisProcess(), pid: spawnSync("true").pid, start: "1" };

/** How a faulty disk fails: once; from then on, as if the process were killed; the same with half of the bytes written. */
export type Fault = "once" | "killed" | "torn";

/** A disk whose call number `n` (from 0) and, unless the fault is "once", all later ones fail. */
export function faultyDisk(n: number, fault: Fault): Disk & { calls(): number } {
  let count = 0;
  const wrapped: Record<string, unknown> = { calls: () => count };
  for (const [name, call] of Object.entries(systemDisk) as [string, (...args: unknown[]) => unknown][]) {
    wrapped[name] = (...args: unknown[]) => {
      const number = count++;
      const fails = fault === "once" ? number === n : number >= n;
      if (!fails) return call(...args);
      if (fault === "torn" && number === n && name === "create") {
        const [file, bytes] = args as [string, Uint8Array];
        fs.writeFileSync(file, bytes.subarray(0, bytes.length >> 1), { flag: "wx" });
      }
      throw Object.assign(new Error(`EIO: ${name}`), { code: "EIO" });
    };
  }
  return wrapped as unknown as Disk & { calls(): number };
}
