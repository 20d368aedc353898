/**
 * A helper of replay-pool.ts: a thread that replays batches of transactions, one after the other, and answers with what came of each. Meanwhile it
 * tells of the objects it reads: one transaction may take seconds.
 */

import { parentPort, workerData } from "node:worker_threads";
import type { ObjectSource } from "../gitwire/object/object.ts";
import { type ObjectPlace, storeAt } from "../gitwire/store/object-place.ts";
import { etagHasher } from "./etag.ts";
import { rehashing } from "./rehashing-source.ts";
import { type ReplayJob, runReplay } from "./replay-job.ts";

/** Objects between two words of them. */
const STRIDE = 4_096;

const objects = rehashing(counted(storeAt(workerData as ObjectPlace)));
const hasher = etagHasher(Number.POSITIVE_INFINITY);

parentPort!.on("message", async (jobs: readonly ReplayJob[]) => {
  const etagOf = await hasher;
  parentPort!.postMessage(jobs.map((job) => runReplay(objects, etagOf, job)));
});

/** `source`, telling of each {@link STRIDE} objects that were read. */
function counted(source: ObjectSource): ObjectSource {
  let read = 0;
  return {
    format: source.format,
    has: (oid) => source.has(oid),
    read: (oid) => {
      if (++read % STRIDE === 0) parentPort!.postMessage(STRIDE);
      return source.read(oid);
    },
  };
}
