/**
 * `git-kv-stargate combine-packs`: what the daemon runs to have packs combined outside of its own memory (combine-process.ts). It reads requests
 * until there are no more; what is under way when its standard input ends, the daemon being gone, is broken off and leaves nothing.
 */

import * as path from "node:path";
import type { Context } from "../../cli/context.ts";
import { KvError } from "../../errors.ts";
import { objectFormat } from "../../gitwire/object/oid.ts";
import { combineHere } from "../../gitwire/store/combine.ts";
import { Quarantine } from "../../gitwire/store/quarantine.ts";
import { readLines } from "../../lines.ts";
import { type CombineAnswer, type CombineRequest, type CombineSign, LINE_BYTES, toFault } from "../combine-call.ts";

/** Milliseconds between two signs that the work goes on. */
const SIGN = 250;

export async function run({ stdin, out }: Context): Promise<void> {
  const end = new AbortController();
  const broken = Promise.withResolvers<never>();
  let work = Promise.resolve();
  const take = (line: string): void => {
    work = work.then(() => answer(JSON.parse(line) as CombineRequest, out, end.signal));
    work.catch(broken.reject);
  };
  try {
    await Promise.race([readLines(() => stdin.read(), LINE_BYTES, take), broken.promise]);
  } finally {
    end.abort(new KvError("TERMINATED", "nobody waits for the pack any more"));
    await work.catch(() => {});
  }
}

/** Rejects where the answer cannot be given, or nobody wants it. */
async function answer(request: CombineRequest, out: Context["out"], signal: AbortSignal): Promise<void> {
  const { dir, paths } = request;
  let found: Omit<CombineAnswer, "rss">;
  try {
    found = {
      pack: await combineHere(paths, { dir, format: objectFormat(request.format), signal, onStep: signs(out) }),
    };
  } catch (error) {
    found = { error: toFault(error) };
  }
  try {
    signal.throwIfAborted();
    out.record({ ...found, rss: process.memoryUsage.rss() } satisfies CombineAnswer);
    out.flush();
  } catch (error) {
    // Whoever would give the pack its place, or throw it away, may be dead.
    const quarantine = path.dirname(dir);
    Quarantine.reopen(path.dirname(quarantine), quarantine)?.discard();
    throw error;
  }
}

/** What tells the daemon that the work goes on, each time it is called and the last time was a while ago. */
function signs(out: Context["out"]): () => void {
  let next = performance.now() + SIGN;
  return () => {
    if (performance.now() < next) return;
    next = performance.now() + SIGN;
    out.record({ working: true } satisfies CombineSign);
    out.flush();
  };
}
