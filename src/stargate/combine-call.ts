/**
 * What the daemon asks of the process that combines packs for it, signs that it is at work, and the answer: one line of JSON each, ended by LF.
 *
 *     request = {"dir":PATH,"format":"sha1"|"sha256","paths":[PATH,...]}
 *     sign    = {"working":true}
 *     answer  = {"pack":{"packPath","idxPath","objectCount","byteLength"},"rss":BYTES}
 *             | {"error":{"code","message"},"rss":BYTES}
 *
 * `dir` is the folder `pack` of a quarantine, the only place that process writes to.
 */

import { isCode, KvError, toKvError } from "../errors.ts";
import { errorCode } from "../gitwire/disk.ts";
import type { MergedPack } from "../gitwire/pack/pack-merge.ts";

export interface CombineRequest {
  readonly dir: string;
  readonly format: string;
  /** Older ones first. */
  readonly paths: readonly string[];
}

/** Said now and then while the work goes on, so that one that hangs is told from one that has much to do. */
export interface CombineSign {
  readonly working: true;
}

export interface CombineAnswer {
  readonly pack?: MergedPack;
  readonly error?: CombineFault;
  /** Memory of that process, in bytes. */
  readonly rss: number;
}

/** An error on its way: a code of ours, or the system's, which tells whether a pack is gone. */
interface CombineFault {
  readonly code: string;
  readonly message: string;
}

/** Longest line. A path takes a few hundred bytes, so this is some hundred thousand packs. */
export const LINE_BYTES = 64 * 1024 * 1024;

export function toFault(thrown: unknown): CombineFault {
  const { code, message } = toKvError(thrown);
  return { code: errorCode(thrown) ?? code, message };
}

export function fromFault({ code, message }: CombineFault): Error {
  return isCode(code) ? new KvError(code, message) : Object.assign(new Error(message), { code });
}
