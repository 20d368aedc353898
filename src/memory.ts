/** Memory of bulk work. */

/** Objects a phase leaves behind from which a collection pays. */
const BULK = 100_000;
/** The same of a phase that leaves little beside what is still in use: of 100,000 things it frees 20 MB and takes 60 to 130 ms. */
const LARGE = 500_000;

/**
 * Collects garbage after a phase that made a few objects for each of `count` things. The runtime lets its heap double before
 * it does so itself: a transaction of a million keys then peaked at 4.0 GB and took 31 s, with collections between its phases
 * it peaks at 2.4 GB and takes 27 s. `leaves`: how much of what it made is garbage.
 */
export function collectGarbage(count: number, leaves: "much" | "little" = "much"): void {
  if (count >= (leaves === "much" ? BULK : LARGE)) Bun.gc(true);
}

/**
 * Collects the garbage of work that goes on and on over small things and keeps next to nothing of them, whenever it is done with `every` of
 * them. An export of a million keys took 1,120 MB at its peak, with this 672, and 430 since nothing is kept of what it reads.
 */
export class GarbageMeter {
  readonly #every: number;
  #count = 0;

  constructor(every = BULK) {
    this.#every = every;
  }

  /** So many more things are done with. */
  add(count: number): void {
    this.#count += count;
    if (this.#count < this.#every) return;
    this.#count = 0;
    Bun.gc(true);
  }
}

/** Bytes of buffers after which it is looked how much memory the process has, and by which it must have grown for a collection. */
const BUFFERS = 8 * 1024 * 1024;
/** Smaller ones are the collector's own affair: there may be millions. */
const LEAST = 32 * 1024;

/**
 * Collects the buffers of work that takes one large object after the other, where they make the process grow. The runtime itself waits
 * until there are some hundred megabytes of them: reading the pieces of a value of 2 GiB took 223 MB at its peak, with this 150;
 * listing a million packed refs twice 182 MB, with this 127, of which 67 are their file.
 */
export class BufferMeter {
  #bytes = 0;
  /** Bytes the process had resident after the last collection, or when the first large buffer was taken: asking takes a while. */
  #resident: number | undefined;

  /** So many more bytes were taken, and so were those before let go of. */
  add(bytes: number): void {
    if (bytes < LEAST) return;
    this.#resident ??= process.memoryUsage.rss();
    this.#bytes += bytes;
    if (this.#bytes < BUFFERS) return;
    this.#bytes = 0;
    // Work in a buffer that is used again leaves nothing, and a collection takes as long as hashing eight megabytes.
    if (process.memoryUsage.rss() - this.#resident < BUFFERS) return;
    Bun.gc(true);
    this.#resident = process.memoryUsage.rss();
  }
}

/**
 * Collects the garbage of a process that lasts, where its heap, the buffers outside of it included, has grown by so many bytes since the last
 * collection, and by half. The memory of the process would not do: what was taken stays with the allocator, so that each collection came later
 * than the one before, at 150 MB, 180, 210.
 */
export class HeapMeter {
  readonly #garbage: number;
  /** Bytes in use after the last collection. */
  #used = heapUsed();

  constructor(garbage: number) {
    this.#garbage = garbage;
  }

  /** Looks, which takes some 40 us; true where it has collected. */
  collect(): boolean {
    const used = heapUsed();
    // The runtime collects too.
    this.#used = Math.min(this.#used, used);
    if (used - this.#used < Math.max(this.#garbage, this.#used / 2)) return false;
    Bun.gc(true);
    this.#used = heapUsed();
    return true;
  }
}

/** Buffers are counted when the runtime collects, which it does after some 30 MB of them. */
function heapUsed(): number {
  return process.memoryUsage().heapUsed;
}
