/**
 * kill -9, EIO and ENOSPC at the system calls of a transaction that change something (docs/design/150-faults-at-every-call.md): refs all
 * old or all new, what was acknowledged is there, no lock is left, the next push works, git finds nothing wrong.
 *
 * `make crash` tries every call; `make test` a sample, drawn anew each time (GIT_KV_SEED draws one again).
 */

import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { random } from "../support/random.ts";
import { large, type TestValues } from "../support/stargate.ts";
import { type CallPoint, callPoints, type Fault } from "../support/syscall-tracer.ts";
import { Sweep } from "./sweep.ts";

const EVERY = process.env.GIT_KV_CRASH === "all";
/** Points of each kind that `make test` tries, for a transaction of two refs. */
const SAMPLE = 2;
/** Over the inline limit. */
const LARGE = 1_200_000;

setDefaultTimeout(EVERY ? 30 * 60_000 : 120_000);

const numbers = random("crash points");
let sweep: Sweep;

afterEach(() => sweep.stop());

/** Two keys, whose objects ride in the journal; or a value in pieces: three refs move, and the objects are synced where they are. */
const contents: [string, refs: number, next: (n: number) => TestValues][] = [
  ["two refs", 2, (n) => ({ [`key-${n % 7}`]: `value ${n}`, [`other-${n}`]: "x" })],
  ["three refs", 3, (n) => ({ [`large-${n % 3}`]: large(numbers.bytes(LARGE)), [`other-${n}`]: "x" })],
];

const kinds: [string, (at: CallPoint) => Fault, growing: boolean][] = [
  ["kill -9", (at) => ({ kind: "kill", at }), false],
  ["EIO", (at) => ({ kind: "fail", error: "EIO", at, on: false }), false],
  ["ENOSPC once", (at) => ({ kind: "fail", error: "ENOSPC", at, on: false }), true],
  ["ENOSPC until there is room", (at) => ({ kind: "fail", error: "ENOSPC", at, on: true }), true],
];

const cases = contents.flatMap(([what, refs, next]) =>
  kinds.map((kind) => [`${kind[0]}, ${what}`, refs, next, kind] as const),
);

test.each(cases)("%s", async (name, refs, next, [, fault, growing]) => {
  let n = 0;
  sweep = await Sweep.start(() => next(n++), refs);
  const calls = await sweep.calls(growing);
  expect(calls.length).toBeGreaterThan(10);
  const points = callPoints(calls)
    .map((point, i) => ({ point, line: `call ${i + 1} of ${calls.length}: ${calls[i]}` }))
    // Wake-ups of threads and lines of the log are no files.
    .filter(({ line }) => !/\(\d+<(?:anon_inode|socket|pipe):/.test(line));
  const wanted = refs === 2 ? SAMPLE : 1;
  for (const { point, line } of EVERY ? points : numbers.shuffle(points).slice(0, 4 * wanted)) {
    // Not every transaction makes every call: one that was not met is no sample.
    if (!EVERY && sweep.tally.met >= wanted) break;
    try {
      await sweep.meet(fault(point));
    } catch (error) {
      console.error(`${name} at ${line}`);
      throw error;
    }
  }
  const { points: tried, met, torn, lost, unsaid } = sweep.tally;
  console.error(
    `${name}: ${tried} of ${points.length} calls tried, ${met} met; ${torn} torn, ${lost} lost, ${unsaid} in though the answer did not say so`,
  );
  expect([torn, lost]).toEqual([0, 0]);
  expect(met).toBeGreaterThan(0);
});
