/** Writers of one-key transactions, all in this process: they plan on the newest state, push, and try again where another was first. */

import { takeOffer, turnFeature } from "../src/kv/turn-words.ts";
import { TestClient } from "../tests/support/stargate.ts";

export interface WritersOptions {
  /** The Stargate's repository, to plan on, and its address. */
  readonly dir: string;
  readonly url: string;
  readonly writers: number;
  readonly namespaces: readonly string[];
  /** Transactions in all. */
  readonly count: number;
  /** Signs ledger commits, where the policy asks for it. */
  readonly sign?: (commit: Buffer) => Buffer;
  /** How many begin in a second, all writers together; undefined: each writer's next when its last is in. */
  readonly perSecond?: number;
}

export interface WritersResult {
  /** Milliseconds of each transaction, from the first try to the answer that it is in. */
  readonly ms: readonly number[];
  /** Milliseconds of each push that was let in. */
  readonly pushMs: readonly number[];
  readonly seconds: number;
  /** Pushes that met a tip which had moved. */
  readonly conflicts: number;
}

/** Runs them until all transactions are in. */
export async function runWriters(options: WritersOptions): Promise<WritersResult> {
  const ms: number[] = [];
  const pushMs: number[] = [];
  let [left, conflicts] = [options.count, 0];
  const writer = async (number: number): Promise<void> => {
    const client = new TestClient(options.dir, options.url);
    client.sign = options.sign;
    const ns = options.namespaces[number % options.namespaces.length]!;
    const first = performance.now();
    for (let own = 0; left-- > 0; own++) {
      const due = options.perSecond === undefined ? 0 : first + (own * 1000 * options.writers) / options.perSecond;
      if (due > performance.now()) await Bun.sleep(due - performance.now());
      const started = performance.now();
      const key = `user:${number}:${own % 1000}`;
      let place: string | undefined;
      for (let tries = 0; ; tries++) {
        const planned = client.plan({ [key]: `value ${performance.now()} ${number}` }, ns);
        const pushed = performance.now();
        const outcomes = [...(await client.push(planned, [], [turnFeature(place)])).refs.values()];
        if (outcomes.every(({ ok }) => ok)) {
          pushMs.push(performance.now() - pushed);
          // As a clone has what was written in it; what others wrote is read from the server's packs.
          client.repo.objects.keep(planned.objects);
          break;
        }
        const refused = outcomes.find((outcome) => !outcome.ok);
        if (refused?.ok === false && !refused.reason.startsWith("CAS_CONFLICT")) throw new Error(refused.reason);
        conflicts++;
        place = refused?.ok === false ? takeOffer(refused.reason).ticket : undefined;
        if (place === undefined) await Bun.sleep(Math.random() * Math.min(5 * 2 ** tries, 200));
      }
      ms.push(performance.now() - started);
    }
    client.repo.close();
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: options.writers }, (_, i) => writer(i)));
  return { ms, pushMs, seconds: (performance.now() - started) / 1000, conflicts };
}

/** The value below which `share` of them lie. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** `p50 3.1 ms, p95 8.0 ms, p99 12 ms` */
export function showPercentiles(values: readonly number[]): string {
  return [0.5, 0.95, 0.99].map((share) => `p${share * 100} ${percentile(values, share).toFixed(1)} ms`).join(", ");
}
