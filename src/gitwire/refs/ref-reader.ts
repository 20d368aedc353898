/**
 * Reading the refs of one repository as seen from one worktree: loose files over packed-refs (git: gitrepository-layout).
 *
 * Reads hold no lock. A list is consistent: packed-refs is read first, then the loose files, then packed-refs must still be
 * the same file. A transaction of several refs shows in packed-refs alone, by one rename, so a list has all of it or nothing.
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { type Disk, systemDisk } from "../disk.ts";
import type { ObjectSource } from "../object/object.ts";
import type { ObjectFormat, Oid } from "../object/oid.ts";
import { listLooseRefs, type RawRef, readLooseRef } from "./loose-refs.ts";
import { PackedCache } from "./packed-cache.ts";
import type { PackedRefs } from "./packed-refs.ts";
import { peelTag } from "./peel.ts";
import type { ProcessIdentity } from "./process-identity.ts";
import { checkRefName, compareRefNames, isPerWorktree, refPath } from "./ref-name.ts";
import { type LooseRef, type Ref, RefSnapshot } from "./ref-snapshot.ts";
import type { ReflogPolicy } from "./reflog.ts";

/** What HEAD says: a branch (which may not exist yet: `oid` undefined), or a commit alone. */
export type Head =
  | { readonly kind: "branch"; readonly ref: string; readonly oid: Oid | undefined }
  | { readonly kind: "detached"; readonly oid: Oid };

export interface RefStoreOptions {
  /** Folder of this worktree's own refs (HEAD ...), absolute. */
  readonly gitDir: string;
  /** Folder of the refs all worktrees share, absolute. */
  readonly commonDir: string;
  readonly format: ObjectFormat;
  /** Where tags are peeled and new values are looked up. */
  readonly objects: () => ObjectSource;
  /** Which refs get a reflog; none where it is left out. */
  readonly reflog?: ReflogPolicy;
  readonly disk?: Disk;
  /** Milliseconds to wait for a lock. */
  readonly lockWait?: number;
  readonly identity?: ProcessIdentity;
}

/** The reading half of a repository's refs; RefStore adds the writing one. */
export class RefReader {
  readonly gitDir: string;
  readonly commonDir: string;
  readonly format: ObjectFormat;
  readonly packed: PackedCache;
  readonly options: RefStoreOptions;
  readonly disk: Disk;

  constructor(options: RefStoreOptions) {
    this.options = options;
    this.gitDir = options.gitDir;
    this.commonDir = options.commonDir;
    this.format = options.format;
    this.disk = options.disk ?? systemDisk;
    this.packed = new PackedCache(`${options.commonDir}/packed-refs`, options.format);
  }

  /** What the ref's file or its packed entry says, or undefined where there is no such ref. Throws REF_INVALID, CORRUPT. */
  readRaw(name: string): RawRef | undefined {
    const loose = this.readLoose(name);
    if (loose !== undefined) return loose;
    if (isPerWorktree(name)) return undefined;
    const entry = this.packed.read().find(name);
    return entry === undefined ? undefined : { kind: "direct", oid: entry.oid };
  }

  /** What the ref's own file says, packed-refs left aside. */
  readLoose(name: string): RawRef | undefined {
    return readLooseRef(this.path(name), name, this.format);
  }

  /** Path of the ref's own file, whether it exists or not. Throws REF_INVALID. */
  path(name: string): string {
    return refPath(checkRefName(name), this.gitDir, this.commonDir);
  }

  /** The object the ref leads to, symbolic refs followed; undefined where there is none. Throws CORRUPT on a cycle. */
  resolve(name: string): Oid | undefined {
    return this.follow(name).oid;
  }

  /** As {@link resolve}; `name` is the ref at the end of the chain, which an update has to write. */
  follow(name: string): { readonly name: string; readonly oid: Oid | undefined } {
    let at = name;
    for (let hops = 0; hops <= LIMITS.symrefDepth; hops++) {
      const raw = this.readRaw(at);
      if (raw === undefined) return { name: at, oid: undefined };
      if (raw.kind === "direct") return { name: at, oid: raw.oid };
      at = raw.target;
    }
    throw new KvError("CORRUPT", `symbolic ref ${name} goes in a circle or is nested too deep`);
  }

  /** What HEAD says. Throws NOT_A_REPOSITORY where there is none. */
  head(): Head {
    const raw = this.readRaw("HEAD");
    if (raw === undefined) throw new KvError("NOT_A_REPOSITORY", `'${this.gitDir}' has no HEAD`);
    if (raw.kind === "direct") return { kind: "detached", oid: raw.oid };
    return { kind: "branch", ref: raw.target, oid: this.resolve(raw.target) };
  }

  /** Refs under refs/ whose names begin with `prefix`, in byte order; see {@link snapshot}. */
  list(prefix = "refs/"): Ref[] {
    return this.snapshot([prefix]);
  }

  /** As {@link view}, all of them in a list. */
  snapshot(prefixes: readonly string[] = ["refs/"]): Ref[] {
    return [...this.view(prefixes).refs()];
  }

  /**
   * Refs under refs/ whose names begin with one of `prefixes` (default: all), in byte order, as they were at one moment:
   * of a transaction all refs are seen or none. Broken refs and symbolic refs that lead nowhere are left out.
   */
  view(prefixes: readonly string[] = ["refs/"]): RefSnapshot {
    const outer = withoutNested(prefixes);
    for (let tries = 0; tries < 1000; tries++) {
      const packed = this.packed.read();
      const loose = this.#loose(packed, outer);
      if (!this.packed.isCurrent(packed)) continue;
      const peel = (oid: Oid): Oid | undefined => peelTag(this.options.objects(), oid);
      return new RefSnapshot({ format: this.format, packed, loose, prefixes: outer, peelTag: peel });
    }
    throw new KvError("BUSY", `packed-refs of '${this.commonDir}' changes too fast to be read`);
  }

  /** What the annotated tag at `ref` leads to in the end; undefined where the ref is no annotated tag. */
  peel(ref: Ref): Oid | undefined {
    const entry = isPerWorktree(ref.name) ? undefined : this.packed.read().find(ref.symref ?? ref.name);
    if (entry?.peelKnown === true && entry.oid === ref.oid) return entry.peeled;
    return peelTag(this.options.objects(), ref.oid);
  }

  /** Closes the packed-refs file. The store stays usable. */
  close(): void {
    this.packed.close();
  }

  /** The refs that have a file of their own. */
  #loose(packed: PackedRefs, prefixes: readonly string[]): Map<string, LooseRef> {
    const raws = new Map<string, RawRef | undefined>();
    for (const prefix of prefixes) {
      for (const name of this.#looseNames(prefix)) {
        const raw = this.#readSound(name);
        if (raw !== undefined) raws.set(name, raw === "broken" ? undefined : raw);
      }
    }
    const loose = new Map<string, LooseRef>();
    for (const [name, raw] of raws) {
      if (raw?.kind !== "symbolic") {
        loose.set(name, { oid: raw?.oid === this.format.zeroOid ? undefined : raw?.oid, symref: undefined });
        continue;
      }
      const { name: symref, oid } = this.#target(raw.target, raws, packed, prefixes);
      loose.set(name, { oid, symref });
    }
    return loose;
  }

  /** The ref at the end of the chain, and its value: from what was read where it lies in that, so that both agree. */
  #target(
    name: string,
    raws: ReadonlyMap<string, RawRef | undefined>,
    packed: PackedRefs,
    prefixes: readonly string[],
  ): { readonly name: string; readonly oid: Oid | undefined } {
    const raw = raws.get(name);
    if (raw?.kind === "direct") return { name, oid: raw.oid };
    if (raw === undefined && !raws.has(name) && prefixes.some((prefix) => name.startsWith(prefix))) {
      return { name, oid: packed.find(name)?.oid };
    }
    return this.#followSound(name);
  }

  #readSound(name: string): RawRef | "broken" | undefined {
    try {
      return this.readLoose(name);
    } catch (error) {
      if (error instanceof KvError) return "broken";
      throw error;
    }
  }

  #looseNames(prefix: string): string[] {
    const dir = prefix.startsWith("refs/") ? prefix.slice(0, prefix.lastIndexOf("/")) : "refs";
    if (!/^refs(?:\/|$)/.test(dir) || dir.split("/").includes("..")) return [];
    const names = listLooseRefs(this.commonDir, dir);
    if (this.gitDir === this.commonDir) return names.filter((name) => name.startsWith(prefix));
    const shared = names.filter((name) => !isPerWorktree(name));
    const own = listLooseRefs(this.gitDir, dir).filter(isPerWorktree);
    return [...shared, ...own].filter((name) => name.startsWith(prefix));
  }

  #followSound(name: string): ReturnType<RefReader["follow"]> {
    try {
      return this.follow(name);
    } catch {
      return { name, oid: undefined };
    }
  }
}

/** The prefixes under refs/ in byte order, without those that lie inside another one. A prefix may end inside "refs/". */
function withoutNested(prefixes: readonly string[]): string[] {
  const outer: string[] = [];
  const full = prefixes.map((prefix) => ("refs/".startsWith(prefix) ? "refs/" : prefix));
  for (const prefix of full.sort(compareRefNames)) {
    const last = outer.at(-1);
    if (prefix.startsWith("refs/") && (last === undefined || !prefix.startsWith(last))) outer.push(prefix);
  }
  return outer;
}
