/** Workspaces over real repositories, with a clock that a test winds. */

import type { Clock } from "../../src/clock.ts";
import type { ObjectFormat } from "../../src/gitwire/object/oid.ts";
import { initRepository } from "../../src/gitwire/repo/init.ts";
import { openRepository } from "../../src/gitwire/repo.ts";
import { Workspace } from "../../src/kv/workspace.ts";
import { fsck } from "./git.ts";
import { tempDir } from "./temp.ts";

/** A clock at `at` milliseconds whose randomness counts up: every ULID is another, every pause is short. */
export function countingClock(at = 1_767_322_800_000): Clock & { at: number } {
  let count = 0;
  return {
    at,
    now() {
      return this.at;
    },
    random(length) {
      const bytes = Buffer.alloc(length);
      if (length >= 6) bytes.writeUIntBE(++count, length - 6, 6);
      return bytes;
    },
    utcOffset: () => 0,
  };
}

export interface WorkspaceOptions {
  readonly ns?: string;
  readonly clock?: Clock;
  readonly signal?: AbortSignal;
  readonly progress?: (text: string) => void;
  readonly note?: (text: string) => void;
  readonly warn?: (text: string) => void;
  /** On top of the environment of the tests. */
  readonly env?: Record<string, string | undefined>;
}

/** A workspace of the repository at `dir`. */
export function workspaceAt(dir: string, options: WorkspaceOptions = {}): Workspace {
  const inherited = Object.entries(process.env).filter(([name]) => !name.endsWith("_DATE"));
  const env = { ...Object.fromEntries(inherited), ...options.env };
  return new Workspace(openRepository(dir, env), options.ns, {
    env,
    clock: options.clock ?? countingClock(),
    signal: options.signal ?? new AbortController().signal,
    progress: options.progress ?? (() => {}),
    warn: options.warn ?? (() => {}),
    note: options.note ?? (() => {}),
  });
}

/** What `git fsck --strict` complains of; an unborn HEAD, which a repository of keys alone has, is no complaint. */
export function complaints(dir: string): string {
  return fsck(dir).replace(/^notice: HEAD points to an unborn branch \(\w+\)$/m, "");
}

/** A new bare repository. */
export function newRepository(format: ObjectFormat): string {
  const dir = tempDir("kv");
  initRepository(dir, { bare: true, format }).close();
  return dir;
}
