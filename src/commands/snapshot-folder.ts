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
  return {
    begin: () => {
      naming(target, () => fs.mkdirSync(temporary));
      isMade = true;
    },
    add: async (exported) => {
      const fd = naming(target, () => openNew(path.join(temporary, ...pathOf(exported, strip).split("/")), exported));
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

/** Where `a` and `a/b` are keys, or `A` and `a` on a disk that does not tell them apart, one name stands for two. */
function openNew(file: string, { key }: ExportedKey): number {
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    return fs.openSync(file, "wx");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "EEXIST" && code !== "ENOTDIR" && code !== "EISDIR") throw error;
    throw new KvError(
      "INPUT_INVALID",
      `the file of ${JSON.stringify(keyText(key))} would be that of another key, or a folder`,
      {
        cause: error,
      },
    );
  }
}
