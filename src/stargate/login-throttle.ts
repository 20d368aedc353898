/**
 * Wrong tokens cost time: after some failures an address has to wait before its next token is looked at, twice as long each time.
 *
 * Nobody else waits: addresses are counted one by one (an IPv6 network of 64 bits as one), and a token that was good from an
 * address a while ago stays good there, so that a stranger behind the same proxy locks nobody out. The tables are bounded;
 * where one is full the address heard of longest ago is forgotten. All listeners of a daemon share one, so that nobody guesses at
 * each by turns.
 */

import { LIMITS } from "../limits.ts";

/** What is known of an address that gave wrong tokens. */
interface Failures {
  readonly count: number;
  readonly last: number;
  /** No token is looked at before then. */
  readonly until: number;
}

const FIRST_WAIT = 1_000;

export class LoginThrottle {
  readonly #failures = new Map<string, Failures>();
  /** Names of tokens and where they were good, each with the time. */
  readonly #familiar = new Map<string, number>();

  /**
   * Milliseconds before the token that came from `address` may be looked at; 0 where that is now, and then what it is counts:
   * `name` is what it is called, undefined where it is nobody's. Whoever has to wait must not be told which it was.
   */
  admit(address: string, name: string | undefined, now: number): number {
    if (name !== undefined && this.isFamiliar(address, name, now)) return 0;
    const wait = this.wait(address, now);
    if (wait > 0) return wait;
    if (name === undefined) this.failed(address, now);
    else this.succeeded(address, name, now);
    return 0;
  }

  /** Milliseconds that `address` has to wait before it may try a token; 0 for none. */
  wait(address: string, now: number): number {
    const failures = this.#failures.get(placeOf(address));
    // Where the clock was set back since, nobody knows how much of the wait is over.
    if (failures === undefined || now < failures.last) return 0;
    return Math.max(0, failures.until - now);
  }

  /** A token from `address` was wrong. */
  failed(address: string, now: number): void {
    const place = placeOf(address);
    const before = this.#failures.get(place);
    const isFresh = before !== undefined && now - before.last < LIMITS.loginMemory;
    const count = (isFresh ? before.count : 0) + 1;
    const beyond = count - LIMITS.loginFailures;
    const wait = beyond <= 0 ? 0 : Math.min(FIRST_WAIT * 2 ** (beyond - 1), LIMITS.loginWait);
    put(this.#failures, place, { count, last: now, until: now + wait });
  }

  /** The token called `name` was good from `address`. */
  succeeded(address: string, name: string, now: number): void {
    put(this.#familiar, familiarKey(address, name), now);
  }

  /** Whether the token called `name` was good from `address` lately: it need not wait for what others do there. */
  isFamiliar(address: string, name: string, now: number): boolean {
    const at = this.#familiar.get(familiarKey(address, name));
    return at !== undefined && now - at < LIMITS.loginMemory;
  }

  /** Entries held, for the bound's test. */
  get size(): number {
    return this.#failures.size + this.#familiar.size;
  }
}

/** Puts `value` last, and drops what was put first where there is no more room. */
function put<V>(table: Map<string, V>, key: string, value: V): void {
  table.delete(key);
  table.set(key, value);
  if (table.size <= LIMITS.loginAddresses) return;
  for (const oldest of table.keys()) {
    table.delete(oldest);
    return;
  }
}

const familiarKey = (address: string, name: string): string => `${placeOf(address)} ${name}`;

/** Whoever has one IPv6 address has all of its network. An IPv4 address written as one of IPv6 is itself. */
function placeOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped !== null) return mapped[1]!;
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.toLowerCase().split("%")[0]!.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  const groups = [...left, ...Array.from({ length: zeros }, () => "0"), ...right];
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/64`;
}
