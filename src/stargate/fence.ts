/**
 * Keeps a ledger from going on beside what the mirror has of it. A repository that is behind its mirror (restored from a backup, copied
 * back, one of two Stargates) would begin a second history with its next write, and nobody could join the two again. So where
 * the mirror has a ledger that is not here, or goes on beyond ours, no transaction of that namespace is taken; where it has such a
 * policy, or nobody has looked at it since a restore, none at all (docs/design/275-not-beside-the-mirror.md).
 *
 * What was found stands in the journal, so that a restart does not forget it and `log` tells of it.
 */

import type { Clock } from "../clock.ts";
import { KvError } from "../errors.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { RefusedWrites } from "../kv/stargate-status.ts";
import type { RefStanding } from "../kv/sync-report.ts";
import { newUlid } from "../kv/ulid.ts";
import type { EntryKind, Journal } from "./journal.ts";
import type { Log } from "./log.ts";
import type { Door, Identity } from "./tokens.ts";

/** Milliseconds that writes wait for the first word of the mirror after a start. */
const FIRST_LOOK = 5_000;

const HINT =
  "the Stargate's operator takes that over with 'git-kv-stargate init --catch-up', or decides otherwise: docs/runbook.md, StargateWritesRefused";

/** A ledger of the mirror, or its policy, that is not part of ours. */
interface Foreign {
  /** "" is the policy. */
  readonly ns: string;
  readonly ref: string;
  readonly here: Oid;
  readonly there: Oid;
  /** Milliseconds since 1970. */
  readonly since: number;
}

export interface FenceAround {
  readonly journal: Journal;
  readonly clock: Clock;
  readonly log: Log;
  readonly zeroOid: Oid;
}

/** Who found out that the mirror has more. */
const MIRROR = { name: "mirror", door: undefined } as const;

export class Fence {
  /** Whether there is a mirror. */
  isGuarding = false;
  readonly #around: FenceAround;
  /** By namespace. */
  readonly #foreign: Map<string, Foreign>;
  /** By namespace: what the mirror had when somebody decided to go on beside it. */
  readonly #chosen: Map<string, Oid>;
  /** Since when this is a restored repository whose mirror nobody has seen. */
  #restored: number | undefined;
  /** While the mirror is asked for the first time. */
  #look: PromiseWithResolvers<void> | undefined;
  #patience: Timer | undefined;

  constructor(around: FenceAround) {
    this.#around = around;
    const { journal } = around;
    this.#foreign = new Map(
      journal.unmirrored("foreign").map(({ ns, oid, updates: [update], acceptedAt }) => {
        return [ns, { ns, ref: update!.ref, here: update!.oldOid, there: oid, since: acceptedAt }];
      }),
    );
    this.#chosen = new Map(journal.unmirrored("fork").map(({ ns, oid }) => [ns, oid]));
    this.#restored = journal.unmirrored("restore")[0]?.acceptedAt;
  }

  /** The mirror is about to be asked for the first time: writes wait for what it says, for a while. */
  beginLook(): void {
    this.endLook();
    this.#look = Promise.withResolvers();
    this.#patience = setTimeout(() => this.endLook(), FIRST_LOOK);
  }

  /** The mirror has answered or cannot be asked. */
  endLook(): void {
    clearTimeout(this.#patience);
    this.#look?.resolve();
    this.#look = undefined;
  }

  /** Waits while the mirror is asked for the first time. */
  async settled(): Promise<void> {
    await this.#look?.promise;
  }

  /**
   * What of the mirror is not part of ours, of all that it has (ref-standing.ts, isForeign). Throws STORAGE, IO, CORRUPT where the
   * journal cannot be told; it holds all the same.
   */
  seen(foreign: readonly RefStanding[]): void {
    this.endLook();
    const isQuiet = this.#foreign.size === 0 && this.#chosen.size === 0 && this.#restored === undefined;
    if (isQuiet && foreign.length === 0) return;
    this.#restored = undefined;
    const there = new Map(foreign.map((one) => [one.ns, one.there]));
    for (const { ns } of this.#foreign.values()) {
      if (there.has(ns)) continue;
      this.#foreign.delete(ns);
      this.#around.log("info", "fence", { ns, message: "the mirror has nothing any more that is not here" });
    }
    for (const [ns, oid] of this.#chosen) if (there.get(ns) !== oid) this.#chosen.delete(ns);
    this.#note(foreign);
    this.#keep();
  }

  /**
   * Somebody decides that writes go on beside `foreign`, until the mirror has something else; `isAll`: and where nobody has seen the
   * mirror since a restore.
   */
  choose(foreign: readonly RefStanding[], isAll: boolean, who: Identity): void {
    this.#note(foreign);
    for (const { ns, there } of foreign) {
      this.#chosen.set(ns, there!);
      this.#record("fork", this.#foreign.get(ns)!, who);
    }
    if (isAll && this.#restored !== undefined) {
      if (foreign.length === 0) this.#record("fork", undefined, who);
      this.#restored = undefined;
    }
    this.#keep();
  }

  /** Notes that `who` has it overwritten. */
  overwritten({ ns, ref, here, there }: RefStanding, who: Identity): void {
    const none = this.#around.zeroOid;
    this.#record("force", { ns, ref, here: there ?? none, there: here ?? none }, who);
  }

  /** Whether nobody has seen the mirror since a restore. */
  get isBlind(): boolean {
    return this.#restored !== undefined;
  }

  /** The namespaces ("" stands for all) that no writes are taken to, and why. */
  refused(): RefusedWrites[] {
    if (!this.isGuarding) return [];
    const refused: RefusedWrites[] = [];
    if (this.#restored !== undefined) {
      const why = "this repository was restored from a backup, and the mirror has not been seen since";
      refused.push({ ns: "", since: this.#restored, why });
    }
    for (const { ns, ref, here, there, since } of this.#foreign.values()) {
      if (this.#chosen.get(ns) === there) continue;
      const at = here === this.#around.zeroOid ? "is not here" : `is at ${here} here`;
      const what = ns === "" ? "a policy" : `transactions of '${ns}'`;
      refused.push({
        ns,
        since,
        why: `the mirror has ${what} that this repository has not: ${ref} is at ${there} there and ${at}`,
      });
    }
    return refused;
  }

  /** Throws DIVERGED where no write to `ns` ("" is the policy) is taken. */
  require(ns: string): void {
    if (this.#foreign.size === 0 && this.#restored === undefined) return;
    const refused = this.refused().find((one) => one.ns === "" || one.ns === ns);
    if (refused === undefined) return;
    const what = refused.ns === "" ? "writes" : `writes to '${ns}'`;
    throw new KvError("DIVERGED", `no ${what} are taken: ${refused.why}`, { hint: HINT });
  }

  /** Takes note of what the mirror has. */
  #note(foreign: readonly RefStanding[]): void {
    const { clock, log, zeroOid } = this.#around;
    for (const { ns, ref, here = zeroOid, there } of foreign) {
      const since = this.#foreign.get(ns)?.since ?? clock.now();
      const isNew = this.#foreign.get(ns)?.there !== there;
      this.#foreign.set(ns, { ns, ref, here, there: there!, since });
      if (isNew) log("error", "fence", { ns, ref, here, there, message: "the mirror has what is not here" });
    }
  }

  /** Brings the journal to what is known here. */
  #keep(): void {
    const { journal, clock } = this.#around;
    const open = journal.unmirrored("foreign");
    const gone = [
      ...open.filter(({ ns, oid }) => this.#foreign.get(ns)?.there !== oid),
      ...journal.unmirrored("fork").filter(({ ns, oid }) => this.#chosen.get(ns) !== oid),
      ...(this.#restored === undefined ? journal.unmirrored("restore") : []),
    ];
    for (const one of this.#foreign.values()) {
      if (!open.some(({ ns, oid }) => ns === one.ns && oid === one.there)) this.#record("foreign", one, MIRROR);
    }
    for (const { id } of gone) journal.markOneMirrored(id, clock.now());
  }

  /** Writes a row; `one` is undefined where nothing of the mirror is known. */
  #record(
    kind: EntryKind,
    one: Omit<Foreign, "since"> | undefined,
    who: { readonly name: string; readonly door: Door | undefined },
  ): void {
    const { journal, clock, zeroOid } = this.#around;
    const { ns = "", there = zeroOid } = one ?? {};
    journal.record({
      ...{ kind, ns, txn: newUlid(clock), seq: 0, oid: there, signer: undefined, keysSet: 0, keysDel: 0 },
      updates: one === undefined ? [] : [{ ref: one.ref, oldOid: one.here, newOid: one.there }],
      who: who.name,
      door: who.door,
      acceptedAt: clock.now(),
    });
  }
}
