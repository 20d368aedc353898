/** A helper of replay-pool.ts: a thread that replays batches of transactions, one after the other, and answers with what came of each. */

import { parentPort, workerData } from "node:worker_threads";
import { type ObjectPlace, storeAt } from "../gitwire/store/object-store.ts";
import { etagHasher } from "./etag.ts";
import { rehashing } from "./rehashing-source.ts";
import { type ReplayJob, ReplayWork } from "./replay-job.ts";

const work = etagHasher(Number.POSITIVE_INFINITY).then(
  (etagOf) => new ReplayWork(rehashing(storeAt(workerData as ObjectPlace)), etagOf),
);

parentPort!.on("message", async (jobs: readonly ReplayJob[]) => {
  const { length } = jobs;
  const replay = await work;
  parentPort!.postMessage(Array.from({ length }, (_, i) => replay.run(jobs[i]!)));
});
