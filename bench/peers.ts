/** Programs that store versions of large files, each with a store of its own in the scratch; those that are not installed are left out. */

import { bytesBelow, CHANGED_BYTES } from "./large-data.ts";
import type { Scratch } from "./scratch.ts";

export interface Peer {
  readonly name: string;
  /** Stores a file of the scratch; returns by how many bytes its store has grown. */
  store(file: string): number;
}

/** A program that is run once for each file; `store` is its folder. */
function program(scratch: Scratch, name: string, store: string, command: (file: string) => readonly string[]): Peer {
  return {
    name,
    store(file) {
      const before = bytesBelow(scratch.path(store));
      scratch.run("", command(file), { env: { ...scratch.env, RESTIC_PASSWORD: "bench", RESTIC_REPOSITORY: store } });
      return bytesBelow(scratch.path(store)) - before;
    },
  };
}

/** restic and casync, where they are installed, each with an empty store called after `store`. */
export function peers(scratch: Scratch, store: string): Peer[] {
  const found: Peer[] = [];
  if (Bun.which("restic") !== null) {
    const dir = `${store}.restic`;
    const env = { ...scratch.env, RESTIC_PASSWORD: "bench", RESTIC_REPOSITORY: dir };
    scratch.run("", ["restic", "init", "-q"], { env });
    found.push(program(scratch, "restic", dir, (file) => ["restic", "backup", "-q", "--no-cache", file]));
  }
  if (Bun.which("casync") !== null) {
    const dir = `${store}.castr`;
    scratch.run("", ["mkdir", dir]);
    found.push(program(scratch, "casync", dir, (file) => ["casync", "make", `--store=${dir}`, `${file}.caibx`, file]));
  }
  return found;
}

/** Bytes of the pack with which stock git would push `to` after `from`, its delta search over whole files in memory. */
export function gitDeltaBytes(scratch: Scratch, repo: string, from: string, to: string): number {
  const script = `printf '${to}\\n^${from}\\n' | git pack-objects --revs --stdout --thin --delta-base-offset -q | wc -c`;
  return Number(scratch.run(repo, ["sh", "-c", script]).stdout.toString());
}

/** "1.02": how many times what changed. */
export function timesChanged(bytes: number): string {
  return (bytes / CHANGED_BYTES).toFixed(2);
}
