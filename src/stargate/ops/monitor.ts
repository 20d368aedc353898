/**
 * What one gate has done lately, for the status page: latency and lag over the last hour, the mirror's success and the refusals
 * over a day, the newest pushes. Memory is bounded: about 200 KB a repository. After a restart the journal tells what was before.
 */

import type { AcceptedEvent, GateEvent, MirrorTryEvent, RejectedEvent } from "../events.ts";
import type { Gate } from "../gate.ts";
import type { JournalEntry } from "../journal.ts";
import { COUNT_STEP, COUNT_STEPS } from "../journal-counts.ts";
import { CountWindow } from "./count-window.ts";
import { QuantileSketch } from "./quantile-sketch.ts";
import { type SeriesPoint, TimeSeries } from "./time-series.ts";

/** Steps of the plots: an hour. */
const STEPS = 120;
const STEP = 30_000;
/** Newest events that are kept. */
const RECENT = 100;
/** Transactions of the past hour that are read at the start: more than 50 in each second. */
const SEEDS = 200_000;
/** Longest text of a refusal that is kept. */
const MESSAGE = 500;
/** What the names of tries at the mirror begin with; codes are in capitals. */
const TRY = "mirror ";

/** A figure and what it should be. */
export interface Objective {
  readonly name: "accept p95" | "mirror lag p95" | "mirror lag p99" | "mirror success";
  /** Milliseconds, or a share from 0 to 1; null where nothing was observed. */
  readonly value: number | null;
  readonly unit: "ms" | "share";
  readonly target: number;
  readonly ok: boolean;
  /** How many observations it is made from. */
  readonly samples: number;
  /** Seconds it looks back over. */
  readonly window: number;
}

export interface MonitorReport {
  readonly objectives: readonly Objective[];
  /** Seconds of one step of the two series. */
  readonly step: number;
  readonly accept: readonly SeriesPoint[];
  readonly lag: readonly SeriesPoint[];
  /** Of a day, by code. */
  readonly rejections: Readonly<Record<string, number>>;
  /** Newest first. */
  readonly recent: readonly (AcceptedEvent | RejectedEvent)[];
}

export class Monitor {
  readonly #accept = new TimeSeries(STEPS, STEP);
  readonly #lag = new TimeSeries(STEPS, STEP);
  /** Refusals by code, and tries at the mirror by result, named as in the journal. */
  readonly #day = new CountWindow(COUNT_STEPS, COUNT_STEP);
  #recent: (AcceptedEvent | RejectedEvent)[] = [];

  /** Watches `gate` from now on. */
  constructor(gate: Pick<Gate, "journal" | "clock" | "events">) {
    this.#seed(gate);
    gate.events.listen((event) => this.note(event));
  }

  note(event: GateEvent): void {
    switch (event.kind) {
      case "accepted":
        this.#accept.add(event.at, event.ms);
        this.#keep(event);
        return;
      case "rejected":
        this.#day.add(event.at, event.code);
        this.#keep({ ...event, message: event.message.slice(0, MESSAGE) });
        return;
      case "mirrored":
        for (const lag of event.lags) this.#lag.add(event.at, lag);
        return;
      case "mirror try":
        this.#day.add(event.at, `${TRY}${event.result}`);
        return;
      case "delivery":
        return;
    }
  }

  /**
   * What the page shows. `waiting`: when each transaction was accepted that the mirror should have and does not; it counts with its
   * age so far, or a mirror that takes nothing would look as fast as it was.
   */
  report(now: number, waiting: readonly number[] = []): MonitorReport {
    const day = this.#day.totals(now);
    const open = new QuantileSketch();
    for (const at of waiting) open.add(Math.max(0, now - at));
    return {
      objectives: this.#objectives(now, day, open),
      step: STEP / 1000,
      accept: this.#accept.points(now),
      lag: this.#lag.points(now, open),
      rejections: Object.fromEntries([...day].filter(([name]) => !name.startsWith(TRY))),
      recent: this.#recent.toReversed(),
    };
  }

  #objectives(now: number, day: ReadonlyMap<string, number>, open: QuantileSketch): Objective[] {
    const hour = (STEPS * STEP) / 1000;
    const [accept, lag] = [this.#accept.total(now), this.#lag.total(now, open)];
    const counted = (result: MirrorTryEvent["result"]): number => day.get(`${TRY}${result}`) ?? 0;
    const good = counted("ok");
    const bad = counted("failed") + counted("refused");
    const below = (name: Objective["name"], sketch: typeof accept, q: number, target: number): Objective => {
      const value = sketch.quantile(q) ?? null;
      const ok = value === null || value < target;
      return { name, value, unit: "ms", target, ok, samples: sketch.count, window: hour };
    };
    const success = good + bad === 0 ? null : good / (good + bad);
    return [
      below("accept p95", accept, 0.95, 150),
      below("mirror lag p95", lag, 0.95, 2_000),
      below("mirror lag p99", lag, 0.99, 10_000),
      {
        name: "mirror success",
        value: success,
        unit: "share",
        target: 0.999,
        ok: success === null || success >= 0.999,
        samples: good + bad,
        window: (COUNT_STEPS * COUNT_STEP) / 1000,
      },
    ];
  }

  #keep(event: AcceptedEvent | RejectedEvent): void {
    this.#recent.push(event);
    if (this.#recent.length > RECENT) this.#recent.shift();
  }

  #seed({ journal, clock }: Pick<Gate, "journal" | "clock">): void {
    // The oldest first: a step that is passed takes no more.
    for (const { acceptedAt, mirroredAt, ms } of journal.durations(clock.now() - STEPS * STEP, SEEDS).reverse()) {
      if (mirroredAt !== null) this.#lag.add(mirroredAt, Math.max(0, mirroredAt - acceptedAt));
      if (ms !== null) this.#accept.add(acceptedAt, ms);
    }
    for (const { at, name, count } of journal.counts()) this.#day.add(at, name, count);
    const accepted = journal
      .newest(RECENT)
      .reverse()
      .filter(({ kind }) => kind === "txn")
      .map(asEvent);
    const rejected = journal
      .rejections({ limit: RECENT })
      .map((row): RejectedEvent => ({ kind: "rejected", ...row, ms: 0 }));
    const both = [...accepted, ...rejected].sort((a, b) => a.at - b.at);
    for (const event of both.slice(-RECENT)) this.#keep(event);
  }
}

/** The transaction of a row as it was told when it was new. */
function asEvent({
  ns,
  txn,
  seq,
  oid,
  who,
  signer,
  keysSet,
  keysDel,
  acceptedAt,
  ms = 0,
}: JournalEntry): AcceptedEvent {
  return { kind: "accepted", at: acceptedAt, ns, txn, seq, oid, who, signer, keysSet, keysDel, ms };
}
