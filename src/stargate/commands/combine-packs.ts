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
import { type CombineAnswer, type CombineRequest, LINE_BYTES, toFault } from "../combine-call.ts";

/** Bytes by which the process may grow before its garbage is collected. */
const GROWN = 32 * 1024 * 1024;

export async function run(context: Context): Promise<void> {
  const { stdin } = context;
  const end = new AbortController();
  const service = new CombineService(context, end.signal);
  const broken = Promise.withResolvers<never>();
  let work = Promise.resolve();
  const take = (line: string): void => {
    work = work.then(() => service.answer(JSON.parse(line) as CombineRequest));
    work.catch(broken.reject);
  };
  try {
    await Promise.race([readLines(() => stdin.read(), LINE_BYTES, take), broken.promise]);
  } finally {
    end.abort(new KvError("TERMINATED", "nobody waits for the pack any more"));
    await work.catch(() => {});
  }
}

class CombineService {
  readonly #out: Context["out"];
  readonly #signal: AbortSignal;
  /** Bytes resident after the last collection. */
  #resident = process.memoryUsage.rss();

  constructor({ out }: Context, signal: AbortSignal) {
    this.#out = out;
    this.#signal = signal;
  }

  /** Rejects where the answer cannot be given. */
  async answer({ dir, format, paths }: CombineRequest): Promise<void> {
    let answer: Omit<CombineAnswer, "rss">;
    try {
      answer = { pack: await combineHere(paths, { dir, format: objectFormat(format), signal: this.#signal }) };
    } catch (error) {
      answer = { error: toFault(error) };
    }
    try {
      this.#signal.throwIfAborted();
      this.#say({ ...answer, rss: process.memoryUsage.rss() });
    } catch (error) {
      // Whoever would give the pack its place, or throw it away, may be dead.
      Quarantine.reopen(...placeOf(dir))?.discard();
      throw error;
    }
    this.#collect();
  }

  #say(answer: CombineAnswer): void {
    this.#out.record(answer);
    this.#out.flush();
  }

  #collect(): void {
    if (process.memoryUsage.rss() - this.#resident < GROWN) return;
    Bun.gc(true);
    this.#resident = process.memoryUsage.rss();
  }
}

/** Object folder and quarantine of its folder `pack`. */
function placeOf(dir: string): [objectsDir: string, quarantine: string] {
  const quarantine = path.dirname(dir);
  return [path.dirname(quarantine), quarantine];
}
