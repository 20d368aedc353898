/**
 * Ordinary refs that were made here and that the mirror has not got: the default branch with its first policy, made by `init`
 * while the mirror could not be reached. The mirror is the authority for them: where it has moved on, they are given up.
 */

import { KvError } from "../../errors.ts";
import { CommitGraph } from "../../gitwire/protocol/commit-graph.ts";
import { isReachable } from "../../gitwire/protocol/revision-range.ts";
import type { Gate } from "../gate.ts";
import type { JournalEntry } from "../journal.ts";
import type { MirrorPort, PushSession } from "./mirror-remote.ts";
import { packFor } from "./pack-source.ts";

/** Pushes what is pending. Throws what keeps the mirror from taking it, unless that is a refusal of the ref itself. */
export async function pushPendingRefs(gate: Gate, remote: MirrorPort, signal: AbortSignal): Promise<void> {
  const pending = gate.journal.unmirrored("ref");
  if (pending.length === 0) return;
  await remote.pushSession(async (session) => {
    for (const entry of pending) {
      const text = await pushOne(gate, session, entry);
      if (text !== undefined) gate.log("warn", "mirror", { ref: entry.updates[0]?.ref, message: text });
      gate.journal.markOneMirrored(entry.id, gate.clock.now());
      // A push session takes one push; what is left goes with the next round.
      return;
    }
  }, signal);
  if (pending.length > 1) await pushPendingRefs(gate, remote, signal);
}

/** Pushes one ref; the text says why the mirror does not want it. */
async function pushOne(gate: Gate, session: PushSession, entry: JournalEntry): Promise<string | undefined> {
  const [update] = entry.updates;
  const { objects, format } = gate.repo;
  if (update === undefined || !objects.has(update.newOid)) return "it is gone";
  const { ref, newOid } = update;
  const there = session.advertised.refs.find(ref)?.oid;
  if (there === newOid) return undefined;
  if (there !== undefined) {
    const graph = new CommitGraph(objects);
    const [from, to] = [graph.find(there), graph.find(newOid)];
    if (from < 0 || to < 0 || !(await isReachable(graph, from, to))) return "the mirror's branch has moved on";
  }
  const pack = await packFor(
    objects,
    [newOid],
    Array.from(session.advertised.refs, ({ oid }) => oid),
    false,
  );
  try {
    const result = await session.push({
      commands: [{ ref, oldOid: there ?? format.zeroOid, newOid }],
      pack,
      atomic: false,
    });
    const outcome = result.refs.get(ref);
    if (result.unpack !== "ok")
      throw new KvError("REMOTE_REJECTED", `the mirror could not unpack ${ref}: ${result.unpack}`);
    return outcome === undefined || outcome.ok ? undefined : `the mirror refused it: ${outcome.reason}`;
  } finally {
    pack.dispose();
  }
}
