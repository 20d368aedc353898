/** `kv.autoFetch`: reads of a clone that ask the mirror first, where somebody would rather wait than read what is old. */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../errors.ts";
import type { GitConfig } from "../gitwire/config.ts";
import { parseDuration } from "../quantity.ts";
import { fetchMirror } from "./fetch.ts";
import { hasRemote } from "./remote-session.ts";
import { tidyUp } from "./tidy.ts";
import type { Workspace } from "./workspace.ts";

/**
 * Fetches from the mirror where the setting asks for it: `true` for every read, a duration (`30s`) where the last try of a read is as long
 * ago. A mirror that cannot be reached is told and not waited for again until then: what is here is read. Throws CONFIG for another value.
 */
export async function autoFetch(workspace: Workspace): Promise<void> {
  const { repo, around, remote } = workspace;
  const age = wantedAge(repo.config);
  if (age === undefined || !hasRemote(workspace)) return;
  const stamp = path.join(repo.commonDir, "kv", `asked-${encodeURIComponent(remote)}`);
  const since =
    around.clock.now() - (fs.statSync(stamp, { throwIfNoEntry: false })?.mtimeMs ?? Number.NEGATIVE_INFINITY);
  // A stamp of the future says that one of the clocks was wrong.
  if (since >= 0 && since < age * 1000) return;
  try {
    await fetchMirror(workspace);
  } catch (error) {
    around.signal.throwIfAborted();
    if (!(error instanceof KvError)) throw error;
    around.warn(`kv.autoFetch: ${error.message}; what is here is read`);
  }
  if (age > 0) setStamp(stamp, around.clock.now());
  await tidyUp(workspace);
}

/** Seconds that may pass between two looks; undefined where none is wanted. Throws CONFIG. */
export function wantedAge(config: GitConfig): number | undefined {
  const text = config.get("kv.autoFetch") ?? "false";
  if (/^\s*\d+\s?[a-z]+\s*$/.test(text)) {
    try {
      return parseDuration(text);
    } catch (error) {
      throw new KvError("CONFIG", `kv.autoFetch: '${text}' is neither true nor false nor a duration`, { cause: error });
    }
  }
  return config.getBool("kv.autoFetch") === true ? 0 : undefined;
}

function setStamp(file: string, now: number): void {
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, "");
    fs.utimesSync(file, now / 1000, now / 1000);
  } catch {
    // Where nothing can be written the next read asks again.
  }
}
