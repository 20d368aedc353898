/** The chunk commits of one epoch, found by the transactions they belong to: for an audit. */

import { KvError, toKvError } from "../errors.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { TimeSlice } from "../time-slice.ts";
import { parseChunkCommit } from "./attestation.ts";
import type { ChunkTip } from "./chunk-tree.ts";

/** A chunk commit in its chain. */
export interface ChunkLink extends ChunkTip {
  /** The one before; undefined for the first. */
  readonly parent: Oid | undefined;
}

export class ChunkHistory {
  /** What is wrong with the chain: it ends there. */
  readonly problem: { readonly oid: Oid; readonly error: KvError } | undefined;
  /** Whether there are commits before the first one that are not here. */
  readonly isCut: boolean;
  readonly #links: Map<string, ChunkLink>;

  private constructor(links: Map<string, ChunkLink>, problem: ChunkHistory["problem"], isCut: boolean) {
    this.#links = links;
    this.problem = problem;
    this.isCut = isCut;
  }

  /** Walks the chain back from `tip`, to one of `ends` at the most: what is before those is not here. Rejects with the signal's reason. */
  static async read(
    objects: ObjectSource,
    tip: Oid,
    signal: AbortSignal,
    ends?: ReadonlySet<Oid>,
  ): Promise<ChunkHistory> {
    const links = new Map<string, ChunkLink>();
    const slice = new TimeSlice();
    let problem: ChunkHistory["problem"];
    let isCut = false;
    let at: Oid | undefined = tip;
    while (at !== undefined) {
      signal.throwIfAborted();
      const oid: Oid = at;
      try {
        const { txn, tree, parent } = parseChunkCommit(objects.format, oid, readAs(objects, oid, "commit"));
        if (links.has(txn)) throw new KvError("ATTESTATION_MISMATCH", `its KV-Txn ${txn} is that of a later one too`);
        links.set(txn, { commit: oid, tree, parent });
        isCut = ends?.has(oid) === true;
        at = isCut ? undefined : parent;
      } catch (error) {
        problem = { oid, error: toKvError(error) };
        at = undefined;
      }
      if (slice.isOver()) await slice.pause();
    }
    return new ChunkHistory(links, problem, isCut);
  }

  /** The chunk commit of a transaction, which is not there a second time; undefined where it has none. */
  take(txn: string): ChunkLink | undefined {
    const link = this.#links.get(txn);
    this.#links.delete(txn);
    return link;
  }

  /** Chunk commits that no transaction has taken, newest first. */
  left(): ChunkLink[] {
    return [...this.#links.values()];
  }
}
