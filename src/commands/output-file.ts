/** A file that is written whole or not at all: under another name beside it first. What is no file (a pipe, a device) is written to. */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError, toKvError } from "../errors.ts";
import { fsyncDir, randomSuffix, writeAll } from "../gitwire/pack/temp-file.ts";

/** Letters of a name that are kept in that of the temporary file: each may take three of the 255 bytes a name has. */
const LEGIBLE = 60;

export class OutputFile {
  readonly #fd: number;
  readonly #target: string;
  /** Undefined where the target is written to directly, and when all is done. */
  #temporary: string | undefined;
  #isOpen = true;

  private constructor(fd: number, target: string, temporary: string | undefined) {
    this.#fd = fd;
    this.#target = target;
    this.#temporary = temporary;
  }

  /** Throws IO, naming the file, where it cannot be made. */
  static create(file: string): OutputFile {
    return naming(file, () => {
      const stat = fs.statSync(file, { throwIfNoEntry: false });
      if (stat?.isDirectory() === true) throw new KvError("IO", `cannot write ${file}: it is a folder`);
      if (stat !== undefined && !stat.isFile()) return new OutputFile(fs.openSync(file, "w"), file, undefined);
      // A link stays one: what it points at is replaced.
      const target = stat === undefined ? file : fs.realpathSync(file);
      const temporary = path.join(
        path.dirname(target),
        `.${path.basename(target).slice(0, LEGIBLE)}.${randomSuffix(6)}.tmp`,
      );
      const output = new OutputFile(
        fs.openSync(temporary, "wx", stat === undefined ? 0o666 : 0o600),
        target,
        temporary,
      );
      // Who could not read the file before cannot read it now.
      if (stat !== undefined) fs.fchmodSync(output.#fd, stat.mode & 0o777);
      return output;
    });
  }

  /** Throws STORAGE where the disk is full, IO. */
  write(bytes: Buffer): void {
    naming(this.#target, () => writeAll(this.#fd, bytes));
  }

  /** Gives the file its name. `fsync`: its bytes are on disk before it has that name, and the name is when this returns. */
  commit({ fsync }: { readonly fsync: boolean }): void {
    naming(this.#target, () => {
      const temporary = this.#temporary;
      if (temporary !== undefined && fsync) fs.fsyncSync(this.#fd);
      this.#close();
      if (temporary === undefined) return;
      fs.renameSync(temporary, this.#target);
      this.#temporary = undefined;
      if (fsync) fsyncDir(path.dirname(this.#target));
    });
  }

  /** Removes what was written; harmless after {@link commit}. */
  discard(): void {
    this.#close();
    if (this.#temporary !== undefined) fs.rmSync(this.#temporary, { force: true });
    this.#temporary = undefined;
  }

  #close(): void {
    if (this.#isOpen) fs.closeSync(this.#fd);
    this.#isOpen = false;
  }
}

/** What `work` returns. What it throws says that `file` cannot be written. */
export function naming<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof KvError) throw error;
    const { code, message, hint } = toKvError(error);
    throw new KvError(code, `cannot write ${file}: ${message}`, { cause: error, ...(hint !== undefined && { hint }) });
  }
}
