/** Writes a long list of chunks made on the way, letting others run in between. */

import { TimeSlice } from "../../time-slice.ts";
import type { ByteSink } from "./byte-stream.ts";

/** Writes all of `chunks`, each made when the one before is taken. A chunk is about a millisecond's work or more. */
export async function writeChunks(sink: ByteSink, chunks: Iterable<Buffer>): Promise<void> {
  const slice = new TimeSlice();
  for (const chunk of chunks) {
    await sink.write(chunk);
    await slice.pause();
  }
}
