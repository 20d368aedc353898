/**
 * The lock files one transaction holds, under git's names (`<file>.lock`), so that stock git and we exclude each other.
 *
 * Stock git leaves a lock behind when it is killed, and somebody has to remove it by hand. Ours say who made them: every
 * lock is a hard link to one record file, `git-kv-<token>.lock`,
 *
 *   record = "git-kv lock 1 " token SP pid SP start SP boot SP pid-namespace SP host LF *( lock-path LF )
 *
 * so a lock has its record from the instant it exists. Whoever meets the lock of a process that is gone removes all locks
 * of that record; only the holder of the claim `git-kv-<token>.break.lock` may do so, and it looks at each file again
 * first, so a lock taken meanwhile is never broken. A lock without a record (stock git's) is waited for and then reported.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { type Disk, errorCode, readFileIfThere, tryUnlink } from "../disk.ts";
import { liveness, type ProcessIdentity, thisProcess } from "./process-identity.ts";

export interface LockSetOptions {
  readonly disk: Disk;
  /** Folder of the record files: the repository's common folder. */
  readonly home: string;
  /** Milliseconds to wait for another holder; default {@link LIMITS.lockWait}. */
  readonly wait?: number;
  /** Clear away what dead processes left in `home` before the first lock; default false. */
  readonly sweep?: boolean;
  /** Who we are; only tests say something else. */
  readonly identity?: ProcessIdentity;
}

/** Tokens of this process's sets that were released and left files behind. */
const abandoned = new Set<string>();

interface LockRecord {
  readonly token: string;
  readonly owner: ProcessIdentity;
  readonly paths: readonly string[];
}

const RECORD_NAME = /^git-kv-[0-9a-f]{16}(?:\.break)?\.lock$/;
/** Milliseconds after which an incomplete record is no longer being written. */
const TORN_AFTER = 60_000;
/** Dead processes that died breaking each other's locks, one inside the other. */
const MOST_CLAIMS = 10;
const MAGIC = "git-kv lock 1 ";
/** Errors of link(2) on file systems without hard links. */
const NO_LINKS = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EXDEV", "EMLINK", "EINVAL"]);

/** True when a set of this process could not remove its files; {@link LockSet.sweep} tries again. */
export function hasAbandonedLocks(): boolean {
  return abandoned.size > 0;
}

export class LockSet {
  readonly #disk: Disk;
  readonly #home: string;
  readonly #wait: number;
  #sweepFirst: boolean;
  readonly #token = Buffer.from(crypto.getRandomValues(new Uint8Array(8))).toString("hex");
  readonly #identity: ProcessIdentity;
  #record: Buffer | undefined;
  #held: string[] = [];
  #temps: string[] = [];
  readonly #grownFolders = new Set<string>();

  constructor(options: LockSetOptions) {
    this.#disk = options.disk;
    this.#home = options.home;
    this.#wait = options.wait ?? LIMITS.lockWait;
    this.#sweepFirst = options.sweep ?? false;
    this.#identity = options.identity ?? thisProcess();
  }

  /**
   * Takes `<file>.lock` for each of `files`, in the order given. Throws LOCKED where one stays taken too long,
   * REF_INVALID where a file stands in the place of a folder; the locks taken so far stay until {@link release}.
   */
  async acquire(files: readonly string[]): Promise<void> {
    const locks = files.map((file) => `${file}.lock`);
    this.#writeRecord(locks);
    if (this.#sweepFirst) this.sweep();
    this.#sweepFirst = false;
    const deadline = performance.now() + this.#wait;
    for (const lock of locks) {
      for (let pause = 1; !this.#tryLock(lock); pause = Math.min(pause * 2, 50)) {
        if (performance.now() >= deadline) throw lockedError(lock);
        await Bun.sleep(pause * (0.5 + Math.random()));
      }
      this.#held.push(lock);
    }
  }

  /** Writes what `file` is to become beside it, on the disk when this returns. The lock of `file` must be held. */
  stage(file: string, content: Uint8Array): void {
    const temp = tempPath(file, this.#token);
    this.#temps.push(temp);
    this.#disk.create(temp, content, true);
  }

  /** Puts the staged content of `file` in place and waits until the name is on the disk. */
  publish(file: string): void {
    const temp = tempPath(file, this.#token);
    this.#disk.rename(temp, file);
    this.#temps = this.#temps.filter((other) => other !== temp);
    this.#disk.syncDir(path.dirname(file));
    for (const dir of this.#grownFolders) this.#disk.syncDir(dir);
    this.#grownFolders.clear();
  }

  /**
   * Removes all locks and what was staged and not published. Never throws: what the disk refuses to remove is cleared away
   * by whoever meets it, as if we were dead.
   */
  release(): void {
    if (this.#record === undefined) return;
    const stuck = [...this.#temps, ...this.#held.reverse()].filter((file) => !tryUnlink(this.#disk, file));
    // The record goes last, and stays where a lock does: it leads to it.
    if (stuck.length > 0 || !tryUnlink(this.#disk, this.#recordPath(this.#token))) abandoned.add(this.#token);
    this.#temps = [];
    this.#held = [];
    this.#record = undefined;
  }

  /**
   * Removes everything that transactions of dead processes left in the repository and returns how many there were.
   * With `alone` the caller vouches that no other git-kv process uses the repository, so holders that cannot be seen
   * from here (an earlier container) count as dead too.
   */
  sweep(alone = false): number {
    let swept = 0;
    for (const name of fs.readdirSync(this.#home)) {
      if (!RECORD_NAME.test(name)) continue;
      const file = path.join(this.#home, name);
      const record = readRecord(file);
      if (record === undefined) this.#dropTornRecord(file, alone);
      if (record === undefined || record.token === this.#token || !this.#isDead(record, alone)) continue;
      this.#writeRecord([]);
      if (this.#recover(record, file, alone)) swept++;
    }
    return swept;
  }

  /** A record that was never written to its end has no locks yet; it only lies in the way. */
  #dropTornRecord(file: string, alone: boolean): void {
    const stat = fs.statSync(file, { throwIfNoEntry: false });
    if (stat !== undefined && (alone || Date.now() - stat.mtimeMs > TORN_AFTER)) tryUnlink(this.#disk, file);
  }

  #recordPath(token: string): string {
    return path.join(this.#home, `git-kv-${token}.lock`);
  }

  #writeRecord(locks: readonly string[]): void {
    if (this.#record !== undefined) return;
    const { pid, start, boot, namespace, host } = this.#identity;
    const lines = [`${MAGIC}${this.#token} ${pid} ${start} ${boot} ${namespace} ${host}`];
    for (const lock of locks) lines.push(path.relative(this.#home, lock));
    this.#record = Buffer.from(`${lines.join("\n")}\n`);
    this.#disk.create(this.#recordPath(this.#token), this.#record, false);
  }

  /** True when the lock is ours now; false where somebody else has it. */
  #tryLock(lock: string): boolean {
    for (let tries = 0; tries < 100; tries++) {
      const outcome = this.#link(lock);
      if (outcome === "taken" && !this.#breakDead(lock)) return false;
      if (outcome === "held") return true;
      // The folder was missing, or vanished again because another process removed it as empty.
      if (outcome === "no folder") this.#makeFolder(path.dirname(lock));
    }
    return false;
  }

  #link(lock: string): "held" | "taken" | "no folder" {
    try {
      this.#disk.link(this.#recordPath(this.#token), lock);
      return "held";
    } catch (error) {
      const code = errorCode(error) ?? "";
      if (!NO_LINKS.has(code)) return linkFailure(error, lock);
    }
    try {
      this.#disk.create(lock, this.#record!, false);
      return "held";
    } catch (error) {
      return linkFailure(error, lock);
    }
  }

  #makeFolder(dir: string): void {
    for (let at = dir; !fs.existsSync(at); at = path.dirname(at)) this.#grownFolders.add(path.dirname(at));
    try {
      this.#disk.mkdir(dir);
    } catch (error) {
      const code = errorCode(error);
      if (code === "EEXIST" || code === "ENOTDIR") throw notAFolder(dir);
      if (code !== "ENOENT") throw error;
    }
  }

  /** True when the lock is gone (it was of a dead process, or its holder released it), so that trying again makes sense. */
  #breakDead(lock: string): boolean {
    const content = readFileIfThere(lock);
    if (content === undefined) return true;
    const record = parseRecord(content);
    if (record === undefined || record.token === this.#token || !this.#isDead(record, false)) return false;
    return this.#recover(record, lock, false);
  }

  #isDead(record: LockRecord, alone: boolean): boolean {
    if (abandoned.has(record.token)) return true;
    const state = liveness(record.owner);
    return state === "dead" || (alone && state === "unknown");
  }

  /**
   * Removes the locks of a dead record, `seen` (where we met it) among them; true when `seen` is gone. False where somebody
   * else is at it. A claim may be of a dead process in its turn, and so on.
   */
  #recover(record: LockRecord, seen: string, alone: boolean, depth = 0): boolean {
    const claim = path.join(this.#home, `git-kv-${record.token}.break.lock`);
    if (this.#link(claim) !== "held") {
      const other = readRecord(claim);
      if (other === undefined || other.token === this.#token || depth > MOST_CLAIMS || !this.#isDead(other, alone)) {
        return false;
      }
      return this.#recover(other, claim, alone, depth + 1);
    }
    const locks = record.paths.map((relative) => path.resolve(this.#home, relative));
    for (const lock of [...locks, seen]) {
      tryUnlink(this.#disk, tempPath(lock.replace(/\.lock$/, ""), record.token));
      if (readRecord(lock)?.token === record.token) tryUnlink(this.#disk, lock);
    }
    tryUnlink(this.#disk, this.#recordPath(record.token));
    tryUnlink(this.#disk, claim);
    abandoned.delete(record.token);
    return readRecord(seen)?.token !== record.token;
  }
}

/** Staged content sits beside its file under a name that git's own reader skips (`*.lock`). */
function tempPath(file: string, token: string): string {
  return `${file}.${token}.lock`;
}

function readRecord(file: string): LockRecord | undefined {
  const content = readFileIfThere(file);
  return content === undefined ? undefined : parseRecord(content);
}

function parseRecord(content: Buffer): LockRecord | undefined {
  if (content.latin1Slice(0, MAGIC.length) !== MAGIC) return undefined;
  const [first, ...paths] = content.toString().split("\n");
  const [token, pid, start, boot, namespace, host] = first!.slice(MAGIC.length).split(" ");
  if (!/^[0-9a-f]{16}$/.test(token ?? "") || !/^[0-9]{1,10}$/.test(pid ?? "") || host === undefined) return undefined;
  const owner = { pid: Number(pid), start: start!, boot: boot!, namespace: namespace!, host };
  return { token: token!, owner, paths: paths.filter(isInside) };
}

/** A record is only trusted with paths inside the repository. */
function isInside(relative: string): boolean {
  return relative !== "" && !path.isAbsolute(relative) && !relative.split("/").includes("..");
}

function linkFailure(error: unknown, lock: string): "taken" | "no folder" {
  const code = errorCode(error);
  if (code === "EEXIST") return "taken";
  if (code === "ENOENT") return "no folder";
  if (code === "ENOTDIR") throw notAFolder(path.dirname(lock));
  throw error;
}

function notAFolder(dir: string): KvError {
  return new KvError("REF_INVALID", `'${dir}' cannot be made a folder: a file is in its place`, {
    hint: "a ref and a folder of refs cannot have the same name",
  });
}

function lockedError(lock: string): KvError {
  const record = readRecord(lock);
  const who = record === undefined ? "another git process" : `process ${record.owner.pid} on ${record.owner.host}`;
  return new KvError("LOCKED", `'${lock}' is held by ${who}`, { data: { lock } });
}
