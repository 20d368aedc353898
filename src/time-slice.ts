/**
 * Sharing one thread: a loop over many objects pauses now and then, so that other requests are served meanwhile.
 *
 *     const slice = new TimeSlice();
 *     for (...) { ...; if (slice.isOver()) await slice.pause(); }
 */

/** Milliseconds a loop may run before it lets others run. */
const SLICE = 10;
/** Iterations between two looks at the clock (a look costs about 30 ns, an iteration a microsecond or more). */
const STRIDE = 32;

export class TimeSlice {
  #end = performance.now() + SLICE;
  readonly #stride: number;
  #left: number;

  /** `stride`: iterations between two looks at the clock, fewer where one takes long. */
  constructor(stride = STRIDE) {
    this.#stride = stride;
    this.#left = stride;
  }

  /** True where the loop has run long enough; cheap enough to ask for every object. */
  isOver(): boolean {
    if (--this.#left > 0) return false;
    this.#left = this.#stride;
    return performance.now() >= this.#end;
  }

  /** Lets everything else that is ready run once: also what aborts `signal`, whose reason is thrown then. */
  async pause(signal?: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
    signal?.throwIfAborted();
    this.#end = performance.now() + SLICE;
  }
}

/** Work in steps: it yields where others may run, and a promise where it has to wait for one. */
export type Steps<T> = Generator<void | Promise<void>, T>;

/**
 * Runs `work` to its end, pausing at its yields where it has run long enough. Throws what `signal` is aborted with. `stride`: yields between two
 * looks at the clock, fewer where they are far apart.
 */
export async function inSlices<T>(work: Steps<T>, signal?: AbortSignal, stride?: number): Promise<T> {
  signal?.throwIfAborted();
  const slice = new TimeSlice(stride);
  try {
    for (;;) {
      const step = work.next();
      if (step.done === true) return step.value;
      if (step.value instanceof Promise) {
        await step.value;
        signal?.throwIfAborted();
      } else if (slice.isOver()) await slice.pause(signal);
    }
  } finally {
    // Where it is not at its end it puts away what it had under way.
    work.return(undefined as T);
  }
}

/** Runs `work` to its end without a pause: none that waits for something. */
export function atOnce<T>(work: Steps<T>): T {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
    if (step.value instanceof Promise) throw new Error("work that waits cannot be done at once");
  }
}
