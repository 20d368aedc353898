/** What a repository's config says about pushes as a whole (git: git-config, `receive.*`, `transfer.*`). */

import { LIMITS } from "../../limits.ts";
import type { GitConfig } from "../config.ts";
import { FsckRules } from "../object/fsck-rules.ts";
import { fsckRules } from "./fsck-config.ts";
import { KEEP_ALIVE } from "./sideband-writer.ts";

export interface ReceiveSettings {
  readonly advertiseAtomic: boolean;
  readonly advertisePushOptions: boolean;
  /** Whether clients are told that they may send deltas that name their base by its place. */
  readonly advertiseOfsDelta: boolean;
  /** Milliseconds of silence before a sign of life; 0 for none. */
  readonly keepAlive: number;
  /** Largest pack. */
  readonly packBytes: number;
  /** The rules new objects are held to; undefined where they are not checked. */
  readonly fsck: FsckRules | undefined;
  /** Whether a push may make this repository shallow. */
  readonly shallowUpdate: boolean;
}

/** Where no config is asked: everything that is offered, and every rule. */
export const STRICT_SETTINGS: ReceiveSettings = {
  advertiseAtomic: true,
  advertisePushOptions: true,
  advertiseOfsDelta: true,
  keepAlive: KEEP_ALIVE,
  packBytes: LIMITS.packBytes,
  fsck: FsckRules.strict,
  shallowUpdate: false,
};

/**
 * The settings of an ordinary repository: git's own, but that objects are checked unless `receive.fsckObjects` or
 * `transfer.fsckObjects` forbids it. Throws CONFIG.
 */
export function receiveSettings(config: GitConfig): ReceiveSettings {
  const most = config.getInt("receive.maxInputSize") ?? 0;
  const seconds = config.getInt("receive.keepAlive");
  const checks = config.getBool("receive.fsckObjects") ?? config.getBool("transfer.fsckObjects") ?? true;
  return {
    advertiseAtomic: config.getBool("receive.advertiseAtomic") ?? true,
    advertisePushOptions: config.getBool("receive.advertisePushOptions") ?? false,
    advertiseOfsDelta: config.getBool("repack.useDeltaBaseOffset") ?? true,
    keepAlive: Math.max(0, seconds === undefined ? KEEP_ALIVE : seconds * 1_000),
    packBytes: most > 0 ? Math.min(most, LIMITS.packBytes) : LIMITS.packBytes,
    fsck: checks ? fsckRules(config, "receive") : undefined,
    shallowUpdate: config.getBool("receive.shallowUpdate") ?? false,
  };
}
