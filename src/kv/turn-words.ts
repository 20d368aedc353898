/**
 * How a client and a Stargate speak of turns (docs/design/154-turns.md), in what git's protocol leaves to both sides:
 *
 *     capability of the client  =  "kv-turn" ["=" ticket]        it plans again where the tip has moved; a ticket names its place
 *     end of a refusal          =  "; place " ticket " is kept for you"     the client plans again at once
 *
 * A server that does not know the capability passes over it, and a client that does not know the words shows them.
 */

import { type Capabilities, type CapabilityEntry, capabilityValue } from "../gitwire/protocol/capabilities.ts";

const CAPABILITY = "kv-turn";
const TICKET = /^[0-9a-f-]{36}$/;
const OFFER = /; place ([0-9a-f-]{36}) is kept for you$/;

/** The capability, with the place that was given before. */
export function turnFeature(ticket: string | undefined): CapabilityEntry {
  return ticket === undefined ? [CAPABILITY] : [CAPABILITY, ticket];
}

/** What a client asks for; undefined where it does not plan again. A ticket that is none is passed over. */
export function readTurnFeature(list: Capabilities): { readonly ticket: string | undefined } | undefined {
  if (!list.has(CAPABILITY)) return undefined;
  const ticket = capabilityValue(list, CAPABILITY);
  return { ticket: ticket !== undefined && TICKET.test(ticket) ? ticket : undefined };
}

/** The sentence of a refusal, with the place that is kept. */
export function offerPlace(message: string, ticket: string): string {
  return `${message}; place ${ticket} is kept for you`;
}

/** The sentence without the offer, and the ticket of the offer. */
export function takeOffer(sentence: string): { readonly message: string; readonly ticket: string | undefined } {
  const offer = OFFER.exec(sentence);
  if (offer === null) return { message: sentence, ticket: undefined };
  return { message: sentence.slice(0, offer.index), ticket: offer[1] };
}
