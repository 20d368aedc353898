/**
 * The stream of events of one namespace (WHATWG HTML, "Server-sent events"): its newest state at once, and again whenever a
 * transaction was accepted. A client that reads slowly is told of the newest state only, so nothing is kept for it; what
 * happened between it finds in the ledger.
 *
 *     id: <seq> LF  event: tip LF  data: {"ns":NS,"seq":N,"oid":OID} LF  LF          ":" LF LF every 15 s
 */

import type { Oid } from "../gitwire/object/oid.ts";
import { namespaceRefs } from "../kv/namespace.ts";
import { stateAt } from "../kv/state.ts";
import { LIMITS } from "../limits.ts";
import type { Gate } from "./gate.ts";
import { WatchPlaces } from "./watch-places.ts";

/** Milliseconds between two signs of life. */
const HEARTBEAT = 15_000;

export interface WatchRequest {
  readonly ns: string;
  /** What the client knows already; 0: nothing. */
  readonly since: number;
  /** Who asks: that of a token, or the address of somebody without one. */
  readonly who: string;
  readonly isAnonymous: boolean;
  /** Asked at every sign of life: a token may have been revoked. */
  readonly isAllowed: () => boolean;
  /** Aborted where the client goes. */
  readonly signal: AbortSignal;
}

/** A stream, or why there is none now. */
export type Watch =
  | { readonly kind: "stream"; readonly stream: ReadableStream<Uint8Array> }
  | { readonly kind: "too many of one" | "all taken" };

/** All streams of one door. */
export class WatchStreams {
  readonly #known = new WatchPlaces(LIMITS.watchers, LIMITS.watchersOfOne);
  /** Of their own: whoever can reach an open door has as many addresses as they like. */
  readonly #anonymous = new WatchPlaces(LIMITS.watchers, LIMITS.watchersOfOne);
  readonly #heartbeat: number;

  constructor(heartbeat = HEARTBEAT) {
    this.#heartbeat = heartbeat;
  }

  get size(): number {
    return this.#known.size + this.#anonymous.size;
  }

  /** Opens a stream where there is a place for it. */
  open(gate: Gate, request: WatchRequest): Watch {
    const places = request.isAnonymous ? this.#anonymous : this.#known;
    const end = new AbortController();
    const taken = places.take(request.who, end);
    if (taken !== "taken") {
      gate.events.emit({ kind: "watch refused" });
      return { kind: taken };
    }
    gate.watching++;
    const signal = AbortSignal.any([end.signal, request.signal]);
    const close = (): void => {
      places.leave(end);
      gate.watching--;
    };
    signal.addEventListener("abort", close, { once: true });
    return { kind: "stream", stream: streamOf(gate, { ...request, signal }, this.#heartbeat, () => end.abort()) };
  }

  /** Ends all of them. */
  close(): void {
    this.#known.close();
    this.#anonymous.close();
  }
}

function streamOf(gate: Gate, request: WatchRequest, heartbeat: number, end: () => void): ReadableStream<Uint8Array> {
  const { ns, signal, isAllowed } = request;
  const ref = namespaceRefs(ns).ledger;
  let wake: () => void = () => {};
  const unlisten = gate.events.listen((event) => {
    if (event.kind === "accepted" && event.ns === ns) wake();
  });
  signal.addEventListener("abort", () => wake(), { once: true });
  let seen: Oid | undefined;
  const next = (): string | undefined => {
    const oid = gate.repo.refs.resolve(ref);
    if (oid === undefined || oid === seen) return undefined;
    seen = oid;
    const { seq } = stateAt(gate.repo.objects, oid).ledger;
    return seq <= request.since ? undefined : `id: ${seq}\nevent: tip\ndata: ${JSON.stringify({ ns, seq, oid })}\n\n`;
  };
  const stop = (): void => {
    unlisten();
    end();
  };
  return new ReadableStream<Uint8Array>(
    {
      start: (controller) => controller.enqueue(Buffer.from(":\n\n")),
      pull: async (controller) => {
        let timer: Timer | undefined;
        const woken = new Promise<boolean>((resolve) => {
          wake = () => resolve(false);
          timer = setTimeout(() => resolve(true), heartbeat);
        });
        let text = signal.aborted ? undefined : next();
        if (text === undefined && !signal.aborted) text = (await woken) ? ":\n\n" : (next() ?? ":\n\n");
        clearTimeout(timer);
        if (!signal.aborted && isAllowed()) return controller.enqueue(Buffer.from(text ?? ":\n\n"));
        stop();
        controller.close();
      },
      cancel: stop,
    },
    { highWaterMark: 1 },
  );
}
