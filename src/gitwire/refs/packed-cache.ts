/**
 * The packed-refs file of a repository, read again only when it has been replaced. The descriptor of the file read stays
 * open: its inode number cannot be used again while it is, so one stat() tells for certain whether the file is the same.
 */

import * as fs from "node:fs";
import { isMissing } from "../disk.ts";
import type { ObjectFormat } from "../object/oid.ts";
import { PackedRefs } from "./packed-refs.ts";

interface Held {
  readonly refs: PackedRefs;
  readonly fd: number;
  readonly stat: fs.BigIntStats;
}

/** Descriptors of caches that nobody closed. */
const forgotten = new FinalizationRegistry<number>((fd) => fs.closeSync(fd));

/** Files from this size on are mapped into memory, not read. */
const MAP_FROM = 1024 * 1024;

export class PackedCache {
  readonly file: string;
  readonly #format: ObjectFormat;
  readonly #empty: PackedRefs;
  #held: Held | undefined;

  constructor(file: string, format: ObjectFormat) {
    this.file = file;
    this.#format = format;
    this.#empty = PackedRefs.empty(format);
  }

  /** The refs of the file as it is now. Throws CORRUPT where it is damaged. */
  read(): PackedRefs {
    if (this.#held !== undefined && this.isCurrent(this.#held.refs)) return this.#held.refs;
    this.close();
    let fd: number;
    try {
      fd = fs.openSync(this.file, "r");
    } catch (error) {
      if (isMissing(error)) return this.#empty;
      throw error;
    }
    try {
      const refs = PackedRefs.parse(this.#format, this.#content(fd));
      this.#held = { refs, fd, stat: fs.fstatSync(fd, { bigint: true }) };
      forgotten.register(this, fd, this.#held);
      return refs;
    } catch (error) {
      fs.closeSync(fd);
      throw error;
    }
  }

  /**
   * The file's bytes. A large one is mapped, as git maps it: of a million refs those that begin with a prefix are found by touching a
   * few pages (117 MB for the process before, and 67 MB read anew after every change). The file is only ever replaced, never changed.
   */
  #content(fd: number): Uint8Array {
    if (process.platform === "linux" && fs.fstatSync(fd).size >= MAP_FROM) {
      try {
        return Bun.mmap(`/proc/self/fd/${fd}`, { shared: false });
      } catch {
        // Bun opens what it maps for writing as well, which the file may not allow.
      }
    }
    return fs.readFileSync(fd);
  }

  /** True when the file is still the one that `refs` (of the latest {@link read}) came from. */
  isCurrent(refs: PackedRefs): boolean {
    const held = this.#held;
    const now = fs.statSync(this.file, { bigint: true, throwIfNoEntry: false });
    if (held === undefined || now === undefined) return now === undefined && refs === this.#empty;
    const then = held.stat;
    return (
      refs === held.refs &&
      now.ino === then.ino &&
      now.dev === then.dev &&
      now.size === then.size &&
      now.mtimeNs === then.mtimeNs
    );
  }

  /** Lets go of the file; the next read opens it again. */
  close(): void {
    if (this.#held === undefined) return;
    forgotten.unregister(this.#held);
    fs.closeSync(this.#held.fd);
    this.#held = undefined;
  }
}
