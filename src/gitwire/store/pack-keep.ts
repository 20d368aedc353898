/**
 * Keeps a pack that no ref names yet from a `git gc --prune=now` in another process: a file `<pack>.keep` beside it, there before
 * the pack can be seen and until the refs have moved, as `git receive-pack` does (git-index-pack, "--keep").
 *
 * `git repack` lists the packs it will remove before it reads the refs, and lists none that is kept. So either the pack is not on
 * its list, or the refs that name it were there to be read. A crash leaves the file behind, which {@link isAbandonedKeep} tells from
 * one that a person put there.
 */

import * as fs from "node:fs";
import * as os from "node:os";
import { errorCode, readFileIfThere } from "../disk.ts";

const MARK = "git-kv ";

export interface PackKeep {
  /** Lets go of the pack; harmless more than once. */
  release(): void;
}

/** Packs that are kept together until the refs have moved. */
export class PackKeeps {
  readonly #held: PackKeep[] = [];

  /** Keeps the pack that will be at `packPath`. */
  add(packPath: string): void {
    this.#held.push(keepPack(packPath));
  }

  /** Lets go of them all; harmless more than once. */
  release(): void {
    for (const keep of this.#held.splice(0)) keep.release();
  }
}

/** Runs `use`; the packs it adds are kept until it has ended. */
export async function whileKept<T>(use: (keeps: PackKeeps) => Promise<T>): Promise<T> {
  const keeps = new PackKeeps();
  try {
    return await use(keeps);
  } finally {
    keeps.release();
  }
}

/** Keeps the pack that will be at `packPath`. One that somebody keeps already stays theirs. */
export function keepPack(packPath: string): PackKeep {
  const file = packPath.replace(/\.pack$/, ".keep");
  let held = true;
  try {
    fs.writeFileSync(file, `${MARK}${process.pid} on ${os.hostname()}\n`, { flag: "wx", mode: 0o600 });
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw error;
    held = false;
  }
  return {
    release() {
      if (held) fs.rmSync(file, { force: true });
      held = false;
    },
  };
}

/** Whether a `.keep` is of a writer of ours, so that it is nobody's when it is old. */
export function isAbandonedKeep(file: string): boolean {
  return readFileIfThere(file)?.toString("latin1").startsWith(MARK) === true;
}
