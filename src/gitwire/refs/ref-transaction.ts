/**
 * Moving refs: all of a transaction or none, whatever happens to the process in between.
 *
 * Locks are git's own (`<ref>.lock` for every ref, in order of name, then `packed-refs.lock`), so stock git's update-ref,
 * pack-refs, gc and receive-pack keep out while we work and the other way round.
 *
 * One ref is written as its loose file: staged, fsynced, renamed, folder fsynced.
 *
 * Several refs go into packed-refs, where one rename moves them all. A loose file would shadow its packed entry, so before
 * that, in prepare(), the *current* values of those refs are packed (a rename that changes no value) and their loose files
 * removed. At every instruction in between each ref reads as its old value. Refs a worktree has of its own (HEAD when
 * detached, refs/bisect/) cannot be packed: they are written one by one after the others.
 *
 * Deleting one ref takes its packed entry away first and then its loose file, so that the old value never comes back.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { assert, KvError, toKvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { errorCode, isMissing, removeEmptyParents } from "../disk.ts";
import type { ObjectSource } from "../object/object.ts";
import { isOid, type Oid } from "../object/oid.ts";
import type { LockSet } from "./lock-set.ts";
import type { PackedChange } from "./packed-refs.ts";
import { peelTag } from "./peel.ts";
import { checkAvailable, NameSpace } from "./ref-availability.ts";
import { checkRefName, compareRefNames, isPerWorktree } from "./ref-name.ts";
import type { RefReader } from "./ref-reader.ts";
import { appendReflog, removeEmptyFolders, removeReflog } from "./reflog.ts";

/** A ref to move. A symbolic ref (HEAD) is followed: the branch it names moves. */
export interface RefChange {
  readonly name: string;
  /** What the ref must be before: the zero id = it must not exist, undefined = anything. */
  readonly oldOid?: Oid | undefined;
  /** What it is after: the zero id = it is deleted. */
  readonly newOid: Oid;
}

export interface TransactionOptions {
  /** Where the new objects are, if not in the repository yet (a quarantine's view). */
  readonly objects?: ObjectSource;
  /** Why, for the reflog. */
  readonly message?: string;
  /** Milliseconds to wait for locks that others hold; default: the store's. */
  readonly wait?: number | undefined;
}

/** A change with what was found under the lock. */
interface Planned {
  /** The name asked for, and the ref at the end of its symbolic chain. */
  readonly asked: string;
  readonly name: string;
  readonly file: string;
  readonly oldOid: Oid;
  readonly newOid: Oid;
  readonly isLoose: boolean;
  readonly isPacked: boolean;
  readonly peeled: Oid | undefined;
}

type State = "new" | "prepared" | "done";

export class RefTransaction {
  readonly #store: RefReader;
  readonly #changes: readonly RefChange[];
  readonly #options: TransactionOptions;
  readonly #locks: LockSet;
  #planned: readonly Planned[] = [];
  #state: State = "new";
  #publishPacked = false;

  /** Use RefStore.begin. */
  constructor(store: RefReader, locks: LockSet, changes: readonly RefChange[], options: TransactionOptions) {
    this.#store = store;
    this.#locks = locks;
    this.#options = options;
    this.#changes = [...changes].sort((a, b) => compareRefNames(a.name, b.name));
    this.#checkChanges();
  }

  /**
   * Locks the refs, compares old values and writes all that can fail for want of space; no ref has moved when it returns.
   * Throws CAS_CONFLICT (data: ref, expected, actual), LOCKED, REF_INVALID, STORAGE, IO, with everything undone.
   */
  async prepare(): Promise<void> {
    assert(this.#state === "new", "prepare() is called once");
    try {
      const targets = this.#changes.map((change) => this.#store.follow(change.name).name);
      const names = new NameSpace(targets);
      await this.#acquire(targets, names);
      this.#planned = this.#changes.map((change, i) => this.#plan(change, targets[i]!, names));
      this.#stage();
      this.#state = "prepared";
    } catch (error) {
      this.abort();
      throw toKvError(error);
    }
  }

  /** Takes the locks. Where a ref stands in the way of a lock file's folder, it is named as for any other conflict. */
  async #acquire(targets: readonly string[], names: NameSpace): Promise<void> {
    try {
      await this.#locks.acquire(this.#lockFiles(targets));
    } catch (error) {
      if (error instanceof KvError && error.code === "REF_INVALID") {
        for (const target of targets) checkAvailable(this.#store, target, names);
      }
      throw error;
    }
  }

  /** Moves the refs; they have moved, durably, when it returns. On STORAGE or IO nobody knows whether they have. */
  commit(): void {
    assert(this.#state === "prepared", "commit() follows prepare()");
    try {
      this.#log();
      this.#publish();
    } catch (error) {
      throw toKvError(error);
    } finally {
      this.abort();
    }
    this.#tidy();
  }

  /** Lets go of the locks; no ref has moved. Does nothing after commit(). */
  abort(): void {
    this.#state = "done";
    this.#locks.release();
  }

  #checkChanges(): void {
    const { format } = this.#store;
    let last: string | undefined;
    for (const { name, oldOid, newOid } of this.#changes) {
      checkRefName(name);
      if (name === last) throw new KvError("REF_INVALID", `ref ${name} occurs twice in one transaction`);
      last = name;
      for (const oid of [oldOid ?? newOid, newOid]) {
        if (!isOid(format, oid))
          throw new KvError("REF_INVALID", `'${oid.slice(0, 80)}' is no ${format.name} object id`);
      }
    }
    if (this.#changes.length > LIMITS.refs) throw new KvError("LIMIT_EXCEEDED", "too many refs in one transaction");
  }

  /** Files to lock, in the order every transaction keeps: refs by name (symbolic ones and their targets), packed-refs last. */
  #lockFiles(targets: readonly string[]): string[] {
    const names = new Set(targets);
    if (names.size < targets.length) {
      throw new KvError("REF_INVALID", "two changes of one transaction lead to the same ref");
    }
    for (const change of this.#changes) names.add(change.name);
    const files = [...names].sort(compareRefNames).map((name) => this.#store.path(name));
    const deletes = this.#changes.some((change) => change.newOid === this.#store.format.zeroOid);
    const packable = targets.filter((name) => !isPerWorktree(name)).length;
    if (packable > 1 || deletes) files.push(this.#store.packed.file);
    return files;
  }

  #plan(change: RefChange, target: string, names: NameSpace): Planned {
    const store = this.#store;
    const { zeroOid } = store.format;
    if (store.follow(change.name).name !== target) {
      throw new KvError("CAS_CONFLICT", `symbolic ref ${change.name} changed meanwhile`, {
        data: { ref: change.name, expected: target, actual: store.follow(change.name).name },
      });
    }
    const loose = store.readLoose(target);
    const packed = isPerWorktree(target) ? undefined : store.packed.read().find(target);
    const actual = loose?.kind === "direct" ? loose.oid : (packed?.oid ?? zeroOid);
    if (change.oldOid !== undefined && change.oldOid !== actual) throw conflict(change.name, change.oldOid, actual);
    if (actual === zeroOid && change.newOid !== zeroOid) checkAvailable(store, target, names);
    return {
      asked: change.name,
      name: target,
      file: store.path(target),
      oldOid: actual,
      newOid: change.newOid,
      isLoose: loose !== undefined,
      isPacked: packed !== undefined,
      peeled: change.newOid === zeroOid ? undefined : this.#peelNew(target, change.newOid),
    };
  }

  /** Looks the new value up, as git does: a ref to nothing is refused, and so is a branch that is no commit. */
  #peelNew(name: string, oid: Oid): Oid | undefined {
    const objects = this.#options.objects ?? this.#store.options.objects();
    const object = objects.read(oid);
    if (object === undefined) throw noTarget(name, `ref '${name}' with nonexistent object ${oid}`);
    if (object.kind !== "commit" && name.startsWith("refs/heads/")) {
      throw noTarget(name, `non-commit object ${oid} to branch '${name}'`);
    }
    return object.kind === "tag" ? peelTag(objects, oid) : undefined;
  }

  #stage(): void {
    const shared = this.#planned.filter((ref) => !isPerWorktree(ref.name));
    const isDeletion = (ref: Planned): boolean => ref.newOid === this.#store.format.zeroOid;
    if (shared.length > 1) {
      this.#packShadows(shared.filter((ref) => ref.isLoose));
      this.#stagePacked(shared.map((ref) => this.#packedChange(ref)));
    } else if (shared.some((ref) => isDeletion(ref) && ref.isPacked)) {
      this.#stagePacked(shared.map((ref) => this.#packedChange(ref)));
    }
    for (const ref of this.#looseWrites()) this.#locks.stage(ref.file, Buffer.from(`${ref.newOid}\n`));
  }

  #packedChange(ref: Planned): PackedChange {
    const isDeletion = ref.newOid === this.#store.format.zeroOid;
    return { name: ref.name, oid: isDeletion ? undefined : ref.newOid, peeled: ref.peeled };
  }

  /** Packs the current values of refs with loose files and removes the files; no ref changes its value. */
  #packShadows(refs: readonly Planned[]): void {
    if (refs.length === 0) return;
    const objects = this.#store.options.objects();
    this.#stagePacked(refs.map(({ name, oldOid }) => ({ name, oid: oldOid, peeled: peelTag(objects, oldOid) })));
    this.#locks.publish(this.#store.packed.file);
    this.#publishPacked = false;
    for (const ref of refs) this.#store.disk.unlink(ref.file);
    // Should a removal come undone in a power cut, the old loose value would shadow the new packed one.
    for (const dir of new Set(refs.map((ref) => path.dirname(ref.file)))) this.#store.disk.syncDir(dir);
  }

  #stagePacked(changes: readonly PackedChange[]): void {
    const objects = this.#store.options.objects;
    const content = this.#store.packed.read().rewrite(changes, (oid) => peelTag(objects(), oid));
    this.#locks.stage(this.#store.packed.file, Buffer.concat(content));
    this.#publishPacked = true;
  }

  /** The refs that get a loose file: a lone shared one, and those of this worktree. */
  #looseWrites(): Planned[] {
    const several = this.#planned.filter((ref) => !isPerWorktree(ref.name)).length > 1;
    return this.#planned.filter(
      (ref) => ref.newOid !== this.#store.format.zeroOid && (!several || isPerWorktree(ref.name)),
    );
  }

  #publish(): void {
    if (this.#publishPacked) this.#locks.publish(this.#store.packed.file);
    for (const ref of this.#looseWrites()) this.#publishLoose(ref.file);
    for (const ref of this.#deletions()) this.#removeLoose(ref);
  }

  #publishLoose(file: string): void {
    try {
      this.#locks.publish(file);
    } catch (error) {
      const code = errorCode(error);
      if (code !== "EISDIR" && code !== "ENOTEMPTY" && code !== "EEXIST") throw error;
      removeEmptyFolders(this.#store.disk, file);
      this.#locks.publish(file);
    }
  }

  #deletions(): Planned[] {
    return this.#planned.filter((ref) => ref.newOid === this.#store.format.zeroOid);
  }

  #removeLoose(ref: Planned): void {
    if (!fs.existsSync(ref.file) || fs.statSync(ref.file).isDirectory()) return;
    this.#store.disk.unlink(ref.file);
    this.#store.disk.syncDir(path.dirname(ref.file));
  }

  /** Reflog entries come before the values, as in git: a value without its entry would be lost to a gc. */
  #log(): void {
    const policy = this.#store.options.reflog;
    if (policy === undefined) return;
    const { zeroOid } = this.#store.format;
    const message = this.#options.message ?? "";
    const head = this.#store.readRaw("HEAD");
    for (const ref of this.#planned) {
      if (ref.newOid === zeroOid) continue;
      const names = new Set([ref.name, ref.asked]);
      if (head?.kind === "symbolic" && head.target === ref.name) names.add("HEAD");
      for (const name of names) {
        const entry = { name, oldOid: ref.oldOid, newOid: ref.newOid };
        appendReflog(this.#store.disk, this.#store, policy, entry, message);
      }
    }
  }

  /** After deletions: logs and folders that are empty now. Leaving some behind does no harm. */
  #tidy(): void {
    for (const ref of this.#deletions()) {
      try {
        removeReflog(this.#store.disk, this.#store, ref.name);
        const top = ref.name.split("/", 2).join("/");
        removeEmptyParents(this.#store.disk, path.dirname(ref.file), `${this.#store.commonDir}/${top}`);
      } catch (error) {
        if (!isMissing(error)) throw toKvError(error);
      }
    }
  }
}

/** In git's words (refs/files-backend.c). */
function noTarget(ref: string, what: string): KvError {
  return new KvError("REF_INVALID", `cannot update ref '${ref}': trying to write ${what}`);
}

function conflict(ref: string, expected: Oid, actual: Oid): KvError {
  const say = (oid: Oid): string => (/^0+$/.test(oid) ? "absent" : `at ${oid}`);
  return new KvError("CAS_CONFLICT", `ref ${ref} is ${say(actual)}, expected ${say(expected)}`, {
    data: { ref, expected, actual },
  });
}
