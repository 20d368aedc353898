import { expect, test } from "bun:test";
import { atOnce, inSlices, type Steps, TimeSlice } from "../src/time-slice.ts";

test("a slice is over after its time, and begins again after a pause", async () => {
  const slice = new TimeSlice();
  const asks = (): boolean => {
    for (let i = 0; i < 64; i++) if (slice.isOver()) return true;
    return false;
  };
  expect(asks()).toBe(false);
  const end = performance.now() + 15;
  while (performance.now() < end);
  expect(asks()).toBe(true);
  let others = 0;
  setImmediate(() => others++);
  await slice.pause();
  expect(others).toBe(1);
  expect(asks()).toBe(false);
});

/** Goes on for `ms` milliseconds, or until there is `enough`. */
function* work(ms: number, enough = () => false): Generator<void, string> {
  const end = performance.now() + ms;
  while (performance.now() < end && !enough()) yield;
  return "done";
}

test("work in slices lets others run, work at once does not", async () => {
  let others = 0;
  const timer = setInterval(() => others++, 1);
  expect(atOnce(work(40))).toBe("done");
  expect(others).toBe(0);
  // On a busy machine 40 ms may go by in one slice.
  expect(await inSlices(work(10_000, () => others > 0))).toBe("done");
  expect(others).toBeGreaterThan(0);
  clearInterval(timer);
});

test("steps that take long are each followed by a look at the clock, where that is asked for", async () => {
  const abort = new AbortController();
  const steps = { done: 0 };
  const long = function* (): Generator<void, void> {
    for (; steps.done < 20; steps.done++) {
      const end = performance.now() + 12;
      while (performance.now() < end);
      yield;
    }
  };
  setTimeout(() => abort.abort(new Error("stopped")), 1);
  expect(await inSlices(long(), abort.signal, 1).catch((error: Error) => error.message)).toBe("stopped");
  expect(steps.done).toBeLessThan(20);
});

test("work that is broken off before it begins does not begin", async () => {
  const told = AbortSignal.abort(new Error("told to"));
  let began = false;
  const begin = function* (): Generator<void, void> {
    began = true;
    yield;
  };
  expect(await inSlices(begin(), told).catch((error: Error) => error.message)).toBe("told to");
  expect(began).toBe(false);
});

test("work that waits for something goes on when it is there, and not at once", async () => {
  function* waiting(what: Promise<void>): Steps<string> {
    yield what;
    return "done";
  }
  let others = 0;
  const later = new Promise<void>((resolve) => {
    setTimeout(() => {
      others++;
      resolve();
    }, 5);
  });
  expect(await inSlices(waiting(later))).toBe("done");
  expect(others).toBe(1);
  await expect(inSlices(waiting(Promise.reject(new Error("it broke"))))).rejects.toThrow("it broke");
  const abort = new AbortController();
  const broken = inSlices(waiting(Promise.resolve()), abort.signal);
  abort.abort(new Error("enough"));
  await expect(broken).rejects.toThrow("enough");
  expect(() => atOnce(waiting(Promise.resolve()))).toThrow("cannot be done at once");
});
