/** The thread of meta-helper.ts: makes metadata and their trie into a pack of its own, whose entries it answers with. */

import { parentPort, workerData } from "node:worker_threads";
import { PackBuilder } from "../gitwire/pack/pack-builder.ts";
import { storeAt } from "../gitwire/store/object-place.ts";
import { atOnce } from "../time-slice.ts";
import { MetaMaker } from "./meta-changes.ts";
import type { MetaAnswer, MetaOrder, MetaPlace } from "./meta-helper.ts";
import { NodeWriter } from "./node-writer.ts";

const { objects: place, copiesBases } = workerData as MetaPlace;
const objects = storeAt(place);
let builder = newBuilder();
let maker = new MetaMaker(new NodeWriter(objects, builder));

parentPort!.on("message", (order: MetaOrder) => {
  if (order.kind === "lines") maker.add(order.text);
  else if (order.kind === "finish") {
    const answer = finish(order);
    parentPort!.postMessage(answer, [answer.block.entries.buffer]);
    begin();
    // Nobody waits for this thread now.
    Bun.gc(true);
  } else begin();
});

function begin(): void {
  builder.dispose();
  builder = newBuilder();
  maker = new MetaMaker(new NodeWriter(objects, builder));
}

function finish({ root, question }: Extract<MetaOrder, { readonly kind: "finish" }>): MetaAnswer {
  const answer = { question, root: atOnce(maker.finish(root)), block: builder.block() };
  // Of the next transaction most is elsewhere.
  objects.close();
  return answer;
}

function newBuilder(): PackBuilder {
  return new PackBuilder(objects.format, { dir: `${place.objectsDir}/pack`, copiesBases });
}
