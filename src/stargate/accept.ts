/**
 * Making an admitted push last, in an order that a crash at any instruction cannot break (docs/design/030-order-of-an-accept.md):
 *
 *     objects fsynced in quarantine -> refs locked -> journal row fsynced -> objects moved in -> refs moved, all by one rename
 *     -> row marked
 *
 * The objects of a small push are not fsynced where they are: the row carries them (kept-packs.ts).
 *
 * Before the row, nothing has happened. From the row on, start-up can finish what is left (recovery.ts). The push is
 * acknowledged after the refs have moved.
 *
 * Pushes of several namespaces that are admitted in the same turn of the event loop go through these steps together: their rows are
 * one transaction of the journal, their refs move by the same rename (docs/design/262-accepting-together.md).
 */

import { type KvError, toKvError } from "../errors.ts";
import type { ObjectSource } from "../gitwire/object/object.ts";
import type { SmallPack } from "../gitwire/pack/pack-install.ts";
import type { Push } from "../gitwire/protocol/receive-pack-host.ts";
import type { RefTransaction } from "../gitwire/refs/ref-transaction.ts";
import { LIMITS } from "../limits.ts";
import type { Gate } from "./gate.ts";
import type { NewEntry } from "./journal.ts";

/** What is accepted; the rest of the journal's row is known here. */
export type Accepted = Omit<NewEntry, "acceptedAt" | "quarantine">;

/** The push, and a last look under the locks: from there to the moved refs nothing else runs in this process. */
export type AcceptedPush = Pick<Push, "quarantine" | "objects"> & {
  readonly recheck?: () => void;
  /** When its commands had arrived, milliseconds since 1970. */
  readonly startedAt?: number;
};

/** A push on its way. */
interface Member {
  readonly accepted: Accepted;
  readonly push: AcceptedPush;
  /** Its packs, where the row carries them. */
  readonly packs: readonly SmallPack[] | undefined;
}

/** One that waits for others to go with. */
interface Waiting extends Member {
  readonly done: PromiseWithResolvers<void>;
}

/**
 * Accepts. Throws CAS_CONFLICT, LOCKED, REF_INVALID or STORAGE: no ref has moved then, or (once the row is written) the gate
 * has stopped and start-up decides.
 */
export async function accept(gate: Gate, accepted: Accepted, push: AcceptedPush): Promise<void> {
  gate.requireSound();
  const packs = push.quarantine?.copies(LIMITS.keptPackBytes);
  // Should this fail, the files are thrown away with the quarantine, never synced again.
  if (packs === undefined) push.quarantine?.sync();
  gate.onStage("synced");
  const member = { accepted, push, packs };
  // What judges others goes by itself.
  if (accepted.kind === "txn") await gate.accepts.add(member);
  else await new Group(gate, [member]).accept();
}

/** The transactions that wait for the end of this turn of the event loop. They are of different namespaces: each one's take turns. */
export class AcceptQueue {
  readonly #gate: Gate;
  #waiting: Waiting[] = [];

  constructor(gate: Gate) {
    this.#gate = gate;
  }

  /** Accepts, together with whatever else comes in this turn of the event loop; throws as {@link accept}. */
  add(member: Member): Promise<void> {
    const done = Promise.withResolvers<void>();
    // The requests that have arrived are read and judged first.
    if (this.#waiting.push({ ...member, done }) === 1) setImmediate(() => void this.#acceptAll());
    return done.promise;
  }

  async #acceptAll(): Promise<void> {
    const members = this.#waiting;
    this.#waiting = [];
    if (members.length > 1) {
      const group = new Group(this.#gate, members);
      try {
        await group.accept(0);
        for (const { done } of members) done.resolve();
        return;
      } catch (error) {
        if (group.isWritten) {
          for (const { done } of members) done.reject(error);
          return;
        }
        // One of them cannot go now. Each finds out by itself, and waits for nobody's lock but its own.
      }
    }
    for (const member of members)
      void new Group(this.#gate, [member]).accept().then(member.done.resolve, member.done.reject);
  }
}

/** Pushes that last together or not at all. */
class Group {
  readonly #gate: Gate;
  readonly #members: readonly Member[];
  /** Their rows in the journal, once those are on disk. */
  #rows: readonly number[] | undefined;

  constructor(gate: Gate, members: readonly Member[]) {
    this.#gate = gate;
    this.#members = members;
  }

  /** False: nothing has happened yet. */
  get isWritten(): boolean {
    return this.#rows !== undefined;
  }

  /** Goes through all steps; `wait`: milliseconds for locks that others hold, the usual ones by default. Throws as {@link accept}. */
  async accept(wait?: number): Promise<void> {
    const gate = this.#gate;
    gate.requireSound();
    const changes = this.#members.flatMap(({ accepted }) =>
      accepted.updates.map(({ ref, oldOid, newOid }) => ({ name: ref, oldOid, newOid })),
    );
    const refs = await gate.repo.refs.begin(changes, { objects: this.#objects(), wait });
    await refs.prepare();
    try {
      for (const { push } of this.#members) push.recheck?.();
    } catch (error) {
      refs.abort();
      throw error;
    }
    gate.onStage("locked");
    const rows = this.#writeRows(refs);
    this.#rows = rows;
    gate.onStage("journaled");
    this.#migrate(refs, rows);
    gate.onStage("migrated");
    try {
      refs.commit();
    } catch (error) {
      throw this.#stop(error);
    }
    gate.onStage("moved");
    for (const [i, { push }] of this.#members.entries())
      gate.journal.finish(rows[i]!, push.startedAt === undefined ? undefined : gate.clock.now() - push.startedAt);
    gate.onStage("done");
    gate.onAccepted();
  }

  /** For looking up what the refs are moved to: each in its own push. */
  #objects(): ObjectSource {
    const [first] = this.#members as [Member];
    if (this.#members.length === 1) return first.push.objects;
    const sources = new Map(
      this.#members.flatMap(({ accepted, push }) => accepted.updates.map(({ newOid }) => [newOid, push.objects])),
    );
    const of = (oid: string): ObjectSource => sources.get(oid) ?? this.#gate.repo.objects;
    return { format: first.push.objects.format, read: (oid) => of(oid).read(oid), has: (oid) => of(oid).has(oid) };
  }

  #writeRows(refs: RefTransaction): readonly number[] {
    const gate = this.#gate;
    const acceptedAt = gate.clock.now();
    const rows = this.#members.map(({ accepted, push, packs = [] }) => ({
      entry: { ...accepted, acceptedAt, quarantine: push.quarantine?.folder },
      packs,
    }));
    try {
      return gate.journal.appendAll(rows);
    } catch (error) {
      refs.abort();
      const failure = toKvError(error);
      const { code = "" } = (failure.cause ?? {}) as { code?: string };
      // A full disk is undone cleanly; after any other failure the rows may be on disk or not.
      if (code !== "SQLITE_FULL") gate.fail(failure);
      throw failure;
    }
  }

  #migrate(refs: RefTransaction, rows: readonly number[]): void {
    try {
      for (const { push } of this.#members) push.quarantine?.migrate(this.#gate.repo.objects, { keep: true });
    } catch (error) {
      refs.abort();
      this.#takeBack(rows);
      throw toKvError(error);
    }
  }

  /** The rows must not outlive pushes that were refused: start-up would make them happen after all. */
  #takeBack(rows: readonly number[]): void {
    try {
      this.#gate.journal.drop(...rows);
    } catch (error) {
      this.#gate.fail(toKvError(error));
    }
  }

  #stop(error: unknown): KvError {
    const failure = toKvError(error);
    this.#gate.fail(failure);
    return failure;
  }
}
