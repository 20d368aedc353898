/** A helper of replay-pool.ts: a thread that replays batches of transactions, one after the other, and answers with what came of each. */

import { parentPort, workerData } from "node:worker_threads";
import { type ObjectPlace, storeAt } from "../gitwire/store/object-place.ts";
import { etagHasher } from "./etag.ts";
import { rehashing } from "./rehashing-source.ts";
import { type ReplayJob, runReplay } from "./replay-job.ts";

const objects = rehashing(storeAt(workerData as ObjectPlace));
const hasher = etagHasher(Number.POSITIVE_INFINITY);

parentPort!.on("message", async (jobs: readonly ReplayJob[]) => {
  const etagOf = await hasher;
  parentPort!.postMessage(jobs.map((job) => runReplay(objects, etagOf, job)));
});
