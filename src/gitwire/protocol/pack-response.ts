/** What fetches of every version share: the pack and the words that go with it, and the refusals. */

import { type Code, toKvError } from "../../errors.ts";
import type { Oid } from "../object/oid.ts";
import type { ByteSink } from "./byte-stream.ts";
import type { CommitGraph } from "./commit-graph.ts";
import type { ObjectFilter } from "./object-filter.ts";
import { listObjects, type ObjectListRequest } from "./object-list.ts";
import { newStatistics, packObjects } from "./pack-objects.ts";
import { pktLine } from "./pkt-line.ts";
import type { SidebandWriter } from "./sideband-writer.ts";
import type { UploadPackHost } from "./upload-pack-host.ts";

/** Git's words. */
const CORRUPTION = "aborting due to possible repository corruption on the remote side.";

export interface PackRequest {
  readonly wants: readonly Oid[];
  readonly haves: readonly Oid[];
  /** Tags that refs lead to, which are added where what they point at is sent; none without include-tag. */
  readonly tags: ObjectListRequest["tags"];
  readonly thin: boolean;
  readonly ofsDelta: boolean;
  readonly progress: boolean;
  /** What is left out. */
  readonly filter: ObjectFilter | undefined;
}

/** What a fetch asks for, once it is settled where its history ends. */
export type PackOrder = PackRequest & { readonly graph: CommitGraph };

/** Sends the pack and ends the conversation. Rejects where it breaks off; the client has been told then. */
export async function respondWithPack(host: UploadPackHost, writer: SidebandWriter, request: PackOrder): Promise<void> {
  try {
    const say = (text: string): void => {
      if (request.progress) writer.progress(text);
    };
    const { graph, wants, haves, filter, tags } = request;
    const list = await listObjects(host.objects, graph, { wants, haves, tags, filter });
    say(`Enumerating objects: ${list.objects.size}, done.\n`);
    const statistics = newStatistics(list.objects.size);
    for await (const chunk of packObjects(host.objects, list, request, statistics)) await writer.write(chunk);
    const { objects, deltas, reused, reusedDeltas, packReused } = statistics;
    say(`Total ${objects} (delta ${deltas}), reused ${reused} (delta ${reusedDeltas}), pack-reused ${packReused}\n`);
    await writer.end();
  } catch (error) {
    await writer.fatal(CORRUPTION);
    throw error;
  }
}

/** Tells the client why its request is not served. Never throws: it may be gone. */
export async function sayError(output: ByteSink, error: unknown): Promise<void> {
  const { code, message } = toKvError(error);
  if (code === "NETWORK") return;
  await output.write(pktLine(`ERR ${textFor(code, message).slice(0, 900)}\n`)).catch(() => {});
}

/** What is wrong here is the client's business only where it can change it; that an object is damaged it should know. */
function textFor(code: Code, message: string): string {
  if (code === "PROTOCOL" || code === "LIMIT_EXCEEDED" || code === "BUSY") return message;
  return `upload-pack: ${code === "CORRUPT" ? CORRUPTION : "internal error"}`;
}
