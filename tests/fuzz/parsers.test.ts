/**
 * Every parser of bytes from outside, on every kept input and on inputs made from them. A parser takes its input or refuses it
 * with an error of its own; what it takes is consistent (see the targets).
 *
 * Inputs that make a parser answer in a way not met before are changed further, which leads deeper than changing the seeds alone.
 * GIT_KV_FUZZ multiplies the number of inputs (`make fuzz`), GIT_KV_FUZZ_KEEP=1 keeps those that led to something new. An input that breaks
 * a parser is always kept, under corpus/.
 */

import { describe, expect, test } from "bun:test";
import { random } from "../support/random.ts";
import { keep, kept } from "./corpus.ts";
import { mutate } from "./mutate.ts";
import { OBJECT_TARGETS } from "./object-targets.ts";
import { PACK_TARGETS } from "./pack-targets.ts";
import { outcomeOf, type Target } from "./target.ts";
import { WIRE_TARGETS } from "./wire-targets.ts";

const TIMES = Number(process.env.GIT_KV_FUZZ ?? 1);
const KEEP_NEW = process.env.GIT_KV_FUZZ_KEEP === "1";
/** Inputs that are changed further are not grown beyond this. */
const MOST_BYTES = 16_384;

const TARGETS = [...WIRE_TARGETS, ...OBJECT_TARGETS, ...PACK_TARGETS];

/** The outcome; an input that breaks the parser is kept. */
async function outcomeOrKept(target: Target, bytes: Buffer): Promise<string> {
  try {
    return await outcomeOf(target, bytes);
  } catch (error) {
    throw new Error(`${target.name}: kept as ${keep(target.name, "crash", bytes)}`, { cause: error });
  }
}

describe.each(TARGETS.map((target) => [target.name, target] as const))("%s", (name, target) => {
  test("kept inputs", async () => {
    const outcomes = new Set<string>();
    for (const { bytes } of kept(name)) outcomes.add(await outcomeOf(target, bytes));
    // The corpus reaches the good case and the refusals.
    expect(outcomes.has("ok")).toBe(true);
    expect(outcomes.size).toBeGreaterThan(1);
  });

  test(
    "inputs made from them",
    async () => {
      const rng = random(`fuzz ${name}`);
      const pool: Buffer[] = [];
      const met = new Set<string>();
      for (const { bytes } of kept(name)) {
        pool.push(bytes);
        met.add(await outcomeOf(target, bytes));
      }
      for (let round = target.rounds * TIMES; round > 0; round--) {
        const bytes = mutate(rng.pick(pool), rng, pool);
        const outcome = await outcomeOrKept(target, bytes);
        if (met.has(outcome) || bytes.length > MOST_BYTES) continue;
        met.add(outcome);
        pool.push(Buffer.from(bytes));
        if (KEEP_NEW) keep(name, "found", bytes);
      }
      expect(met.has("ok")).toBe(true);
    },
    60_000 * Math.max(1, TIMES),
  );
});
