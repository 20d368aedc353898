/** `git kv snapshot --format folder`: each value in a file of its own, in a folder that is there whole or not at all. */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../errors.ts";
import type { ExportedKey } from "../kv/snapshot/exported.ts";
import { pathOf } from "../kv/snapshot/folder.ts";
import type { SnapshotWriter } from "../kv/snapshot/writer.ts";
import { OutputFile } from "./output-file.ts";

export interface FolderWriter extends SnapshotWriter {
  /** Removes what was written, unless it has its name already. */
  discard(): void;
}

/** Writes to the folder `target`, which must not be there yet; `strip` is taken off every key. */
export function folderWriter(target: string, strip: string): FolderWriter {
  if (fs.existsSync(target)) {
    throw new KvError("INPUT_INVALID", `${target} is there already`, { hint: "name a folder that is to be made" });
  }
  const temporary = `${target}.${process.pid}.tmp`;
  const files = new Set<string>();
  return {
    begin: () => fs.mkdirSync(temporary),
    add: (exported) => addFile(temporary, exported, pathOf(exported, strip), files),
    end: () => fs.renameSync(temporary, target),
    discard: () => fs.rmSync(temporary, { recursive: true, force: true }),
  };
}

async function addFile(root: string, exported: ExportedKey, name: string, files: Set<string>): Promise<void> {
  const parts = name.split("/");
  for (let depth = 1; depth < parts.length; depth++) {
    const folder = parts.slice(0, depth).join("/");
    if (files.has(folder))
      throw new KvError("INPUT_INVALID", `${JSON.stringify(folder)} would have to be a file and a folder`);
  }
  files.add(name);
  const file = path.join(root, ...parts);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const output = OutputFile.create(file);
  try {
    await exported.stream((bytes) => output.write(bytes));
    output.commit();
  } finally {
    output.discard();
  }
}
