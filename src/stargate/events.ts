/** What happens at a gate, told to whoever watches: metrics, the status page, webhooks. Telling changes nothing. */

import type { Code } from "../errors.ts";
import type { Oid } from "../gitwire/object/oid.ts";

/** A transaction that was let in. */
export interface AcceptedEvent {
  readonly kind: "accepted";
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly ns: string;
  readonly txn: string;
  readonly seq: number;
  readonly oid: Oid;
  /** The token's or the user's name. */
  readonly who: string;
  /** Fingerprint of the key that signed it. */
  readonly signer: string | undefined;
  readonly keysSet: number;
  readonly keysDel: number;
  /** Milliseconds from the commands of the push to its answer. */
  readonly ms: number;
}

/** A push that was refused. */
export interface RejectedEvent {
  readonly kind: "rejected";
  readonly at: number;
  /** The namespace it was meant for; "" where it is none's. */
  readonly ns: string;
  readonly code: Code;
  readonly message: string;
  readonly who: string;
  readonly ms: number;
}

/** The mirror has transactions it did not have before. */
export interface MirroredEvent {
  readonly kind: "mirrored";
  readonly at: number;
  readonly ns: string;
  /** Milliseconds from accept to mirror, one for each transaction. */
  readonly lags: readonly number[];
}

/** A try to bring the mirror up to date. */
export interface MirrorTryEvent {
  readonly kind: "mirror try";
  readonly at: number;
  /** `refused`: for good, until somebody acts. */
  readonly result: "ok" | "failed" | "refused";
}

/** A try to deliver to a webhook. */
export interface DeliveryEvent {
  readonly kind: "delivery";
  readonly at: number;
  readonly hook: string;
  readonly result: "ok" | "failed";
}

/** Somebody wanted a stream of events and there was no place for it. */
export interface WatchRefusedEvent {
  readonly kind: "watch refused";
}

export type GateEvent =
  | AcceptedEvent
  | RejectedEvent
  | MirroredEvent
  | MirrorTryEvent
  | DeliveryEvent
  | WatchRefusedEvent;

export class GateEvents {
  readonly #listeners = new Set<(event: GateEvent) => void>();

  /** Tells `listener` of every event from now on; the result ends that. */
  listen(listener: (event: GateEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  emit(event: GateEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}
