/** `git kv snapshot --dir`: each value in a file of its own, in a folder that is there whole or not at all. */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../errors.ts";
import { randomSuffix, writeAll } from "../gitwire/pack/temp-file.ts";
import { keyText } from "../kv/key.ts";
import type { ExportedKey } from "../kv/snapshot/exported.ts";
import { pathOf } from "../kv/snapshot/folder.ts";
import type { SnapshotWriter } from "../kv/snapshot/writer.ts";
import { naming } from "./output-file.ts";

export interface FolderWriter extends SnapshotWriter {
  /** Removes what was written, unless it has its name already. */
  discard(): void;
}

/** Writes to the folder `target`, which must not be there yet; `strip` is taken off every key. */
export function folderWriter(target: string, strip: string): FolderWriter {
  if (fs.existsSync(target)) {
    throw new KvError("INPUT_INVALID", `${target} is there already`, { hint: "name a folder that is to be made" });
  }
  const temporary = `${target}.${randomSuffix(6)}.tmp`;
  let isMade = false;
  let folders: FolderNames | undefined;
  const open = (exported: ExportedKey): number => {
    const parts = pathOf(exported, strip).split("/");
    if (folders?.isTaken(parts) === true) throw isTaken(exported);
    const file = path.join(temporary, ...parts);
    try {
      fs.mkdirSync(path.dirname(file), { recursive: true });
      return fs.openSync(file, "wx");
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw code === "EEXIST" || code === "ENOTDIR" || code === "EISDIR" ? isTaken(exported, error) : error;
    }
  };
  return {
    begin: () => {
      naming(target, () => fs.mkdirSync(temporary));
      isMade = true;
      // Elsewhere this is another name.
      if (fs.existsSync(`${temporary.slice(0, -3)}TMP`)) folders = new FolderNames();
    },
    add: async (exported) => {
      const fd = naming(target, () => open(exported));
      try {
        await exported.stream((bytes) => naming(target, () => writeAll(fd, bytes)));
      } finally {
        fs.closeSync(fd);
      }
    },
    end: () => naming(target, () => fs.renameSync(temporary, target)),
    discard: () => {
      if (isMade) fs.rmSync(temporary, { recursive: true, force: true });
    },
  };
}

/** The folders of a disk that does not tell `A` from `a`, nor ways to write é: one would stand for two. Files are told by the disk itself. */
export class FolderNames {
  readonly #names = new Map<string, string>();

  /** Whether a folder on the way to the file `parts` is there by another name; notes all of them. */
  isTaken(parts: readonly string[]): boolean {
    for (let end = 1; end < parts.length; end++) {
      const folder = parts.slice(0, end).join("/");
      const folded = folder.normalize("NFC").toLowerCase();
      const before = this.#names.get(folded);
      if (before !== undefined && before !== folder) return true;
      this.#names.set(folded, folder);
    }
    return false;
  }
}

/** Where `a` and `a/b` are keys, or `A` and `a` on a disk that does not tell them apart, one name stands for two. */
function isTaken({ key }: ExportedKey, cause?: unknown): KvError {
  const file = JSON.stringify(keyText(key));
  return new KvError("INPUT_INVALID", `the file of ${file} would be that of another key, or a folder`, { cause });
}
