/**
 * Whose turn it is to write a namespace (docs/design/154-turns.md). Nobody's, as long as pushes come one at a time. A push that
 * finds the tip moved and would plan again is given a place in a line; its refusal is held back until it is first, and names the
 * turn that is kept for it, so that what is planned next meets no other push. Who waits longest is served first.
 *
 * A turn is a courtesy, not a lock: the tips that a push names decide whether it is let in, and a turn that nobody uses lapses.
 */

import { randomUUID } from "node:crypto";
import { LIMITS } from "../limits.ts";

/** How long things last, in milliseconds. */
export interface TurnTimes {
  /** From a turn's beginning until the push arrives that was planned in it. */
  readonly plan: number;
  /** From a push's commands until all of it is there and decided. */
  readonly push: number;
  /** A client waits no longer for its answer. */
  readonly wait: number;
  /** A turn that was too short is twice as long the next time, up to this. */
  readonly most: number;
}

const TURN_TIMES: TurnTimes = { plan: 2_000, push: 5_000, wait: 20_000, most: 300_000 };

/** Calls `act` after `ms` milliseconds; what is returned calls it off. */
export type After = (ms: number, act: () => void) => () => void;

const systemAfter: After = (ms, act) => {
  const timer = setTimeout(act, ms);
  // A process that has nothing else to do need not see a turn lapse.
  timer.unref();
  return () => clearTimeout(timer);
};

/** A turn that is somebody's. */
export interface Turn {
  readonly ns: string;
  /** What its holder names it by. */
  readonly ticket: string;
  /** Milliseconds until it lapses, unless the push arrives; 0 where it has not begun: the place is kept, and no more. */
  readonly ms: number;
}

/** Somebody's place: it is kept while the client plans again. */
interface Place {
  readonly ticket: string;
  /** Places are served in this order. */
  readonly since: number;
  /** Turns that lapsed. */
  lapsed: number;
}

interface Waiter {
  readonly place: Place;
  /** How long the turn is at first. */
  readonly base: number;
  readonly grant: (turn: Turn | undefined) => void;
}

interface Line {
  holder: { readonly place: Place; callOff: () => void } | undefined;
  /** In the order of their places. */
  readonly waiting: Waiter[];
}

export class Turns {
  readonly #times: TurnTimes;
  readonly #after: After;
  readonly #lines = new Map<string, Line>();
  /** Places whose turn has lapsed: the client may still come, and has not lost its place. The oldest are forgotten first. */
  readonly #lapsed = new Map<string, Place>();
  #places = 0;
  #isClosed = false;

  constructor(times: TurnTimes = TURN_TIMES, after: After = systemAfter) {
    this.#times = times;
    this.#after = after;
  }

  /** Whether a push to `ns` has to wait for others. */
  isBusy(ns: string): boolean {
    return this.#lines.has(ns);
  }

  /** Pushes that wait, in all namespaces. */
  get waiting(): number {
    let count = 0;
    for (const { waiting } of this.#lines.values()) count += waiting.length;
    return count;
  }

  /** The push that was planned in the turn `ticket` has arrived; undefined where the turn has lapsed. */
  arrive(ns: string, ticket: string | undefined): Turn | undefined {
    const line = this.#lines.get(ns);
    const place = line?.holder?.place;
    if (line === undefined || place === undefined || place.ticket !== ticket) return undefined;
    return this.#hold(ns, line, place, this.#times.push);
  }

  /** The turn goes on after a push that came too late all the same; undefined where it has lapsed. */
  renew({ ns, ticket }: Turn): Turn | undefined {
    const line = this.#lines.get(ns);
    const place = line?.holder?.place;
    if (line === undefined || place === undefined || place.ticket !== ticket) return undefined;
    return this.#hold(ns, line, place, this.#times.plan);
  }

  /**
   * Resolves with a turn when all who came earlier have had theirs; with one that has not begun where that takes too long, and with
   * undefined where the line is too long or `gone` says that nobody waits any more. `ticket` names a place that is kept; `phase` is what the turn is for.
   */
  wait(ns: string, phase: "plan" | "push", ticket?: string, gone?: AbortSignal): Promise<Turn | undefined> {
    const line = this.#lines.get(ns) ?? { holder: undefined, waiting: [] };
    const isFull = line.waiting.length >= LIMITS.waitingPushes;
    if (this.#isClosed || isFull || gone?.aborted === true) return Promise.resolve(undefined);
    this.#lines.set(ns, line);
    const place = this.#place(ticket);
    return new Promise((resolve) => {
      const step = (turn: Turn | undefined): void => {
        line.waiting.splice(line.waiting.indexOf(waiter), 1);
        waiter.grant(turn);
        this.#next(ns, line);
      };
      const hangUp = (): void => step(undefined);
      const callOff = this.#after(this.#times.wait, () => {
        // Whoever waited so long comes again, and is not the last then.
        this.#remember(place);
        step({ ns, ticket: place.ticket, ms: 0 });
      });
      gone?.addEventListener("abort", hangUp, { once: true });
      const waiter: Waiter = {
        place,
        base: this.#times[phase],
        grant: (turn) => {
          callOff();
          gone?.removeEventListener("abort", hangUp);
          resolve(turn);
        },
      };
      const at = line.waiting.findIndex((other) => other.place.since > place.since);
      line.waiting.splice(at < 0 ? line.waiting.length : at, 0, waiter);
      this.#next(ns, line);
    });
  }

  /** The turn is over. Nothing happens where it had lapsed before. */
  leave({ ns, ticket }: Turn): void {
    const line = this.#lines.get(ns);
    if (line?.holder?.place.ticket !== ticket) return;
    line.holder.callOff();
    line.holder = undefined;
    this.#next(ns, line);
  }

  /** Nobody waits any longer. */
  close(): void {
    this.#isClosed = true;
    for (const [ns, line] of [...this.#lines]) {
      line.holder?.callOff();
      line.holder = undefined;
      for (const { grant } of line.waiting.splice(0)) grant(undefined);
      this.#lines.delete(ns);
    }
  }

  #place(ticket: string | undefined): Place {
    const kept = ticket === undefined ? undefined : this.#lapsed.get(ticket);
    if (kept !== undefined) this.#lapsed.delete(kept.ticket);
    return kept ?? { ticket: randomUUID(), since: ++this.#places, lapsed: 0 };
  }

  #remember(place: Place): void {
    this.#lapsed.set(place.ticket, place);
    for (const oldest of this.#lapsed.keys()) {
      if (this.#lapsed.size <= LIMITS.waitingPushes) break;
      this.#lapsed.delete(oldest);
    }
  }

  /** Gives the turn to whoever is first. */
  #next(ns: string, line: Line): void {
    if (line.holder !== undefined) return;
    const first = line.waiting.shift();
    if (first !== undefined) first.grant(this.#hold(ns, line, first.place, first.base));
    else if (this.#lines.get(ns) === line) this.#lines.delete(ns);
  }

  #hold(ns: string, line: Line, place: Place, base: number): Turn {
    line.holder?.callOff();
    const ms = Math.min(base * 2 ** place.lapsed, this.#times.most);
    const lapse = (): void => {
      place.lapsed++;
      this.#remember(place);
      line.holder = undefined;
      this.#next(ns, line);
    };
    line.holder = { place, callOff: this.#after(ms, lapse) };
    return { ns, ticket: place.ticket, ms };
  }
}
