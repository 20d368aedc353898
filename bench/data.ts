/** The keys and values that are measured with: user profiles in key order, and batches that change a random part of them. */

import * as fs from "node:fs";
import { fromSeed } from "../tests/support/random.ts";

export const BATCH_SETS = 10_000;
export const BATCH_DELETIONS = 5_000;

/** A key and its value; undefined deletes it. */
export type Change = readonly [key: string, value: string | undefined];

export function keyOf(i: number): string {
  return `user:${String(i).padStart(7, "0")}:profile`;
}

export function profileOf(i: number): string {
  return `value of user ${i} ${((i * 2_654_435_761) % 2 ** 32).toString(16)}`;
}

/** `count` keys in order, all set. */
export function* everyKey(count: number): Generator<Change> {
  for (let i = 0; i < count; i++) yield [keyOf(i), profileOf(i)];
}

/** Batches over `count` keys; no key is in two of them. */
export class Batches {
  readonly #order: Uint32Array;

  constructor(count: number) {
    const random = fromSeed(20_260_102);
    this.#order = Uint32Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = random.int(i + 1);
      const moved = this.#order[i]!;
      this.#order[i] = this.#order[j]!;
      this.#order[j] = moved;
    }
  }

  /** Batch number `n`: 10,000 new values, then 5,000 deletions. */
  batch(n: number): Change[] {
    const size = BATCH_SETS + BATCH_DELETIONS;
    if ((n + 1) * size > this.#order.length) throw new Error(`too few keys for ${n + 1} batches`);
    const keys = this.#order.subarray(n * size, (n + 1) * size);
    return Array.from(keys, (i, at) => [
      keyOf(i),
      at < BATCH_SETS ? `changed in ${n}: ${profileOf(i + 1)}` : undefined,
    ]);
  }

  /** Keys that no batch below `batches` touches, for changes one at a time. */
  spare(n: number): string {
    return keyOf(this.#order.at(-1 - n)!);
  }
}

/** Writes changes as `git kv mset` reads them. */
export function writeBatch(file: string, changes: Iterable<Change>): void {
  const out = new FileWriter(file);
  for (const [key, value] of changes) {
    out.text(
      value === undefined ? `{"op":"del","key":"${key}"}\n` : `{"op":"set","key":"${key}","value":"${value}"}\n`,
    );
  }
  out.close();
}

/** A file written in large pieces. */
export class FileWriter {
  readonly #fd: number;
  #pending: string[] = [];
  #length = 0;

  constructor(file: string) {
    this.#fd = fs.openSync(file, "w");
  }

  /** ASCII text. */
  text(text: string): void {
    this.#pending.push(text);
    this.#length += text.length;
    if (this.#length > 1 << 20) this.#flush();
  }

  close(): void {
    this.#flush();
    fs.closeSync(this.#fd);
  }

  #flush(): void {
    fs.writeSync(this.#fd, this.#pending.join(""));
    this.#pending = [];
    this.#length = 0;
  }
}
