/**
 * The etag of a value: BLAKE3-256 of its bytes (docs/formats/data-format.md, section 4).
 *
 * hash-wasm's BLAKE3 takes 1.6 us for a small value where @noble/hashes takes 6.3 us, and hashes long ones 2.6 times as fast,
 * but compiling its WebAssembly takes about a millisecond: it is worth it for many values or long ones, not for one small. Those that
 * come in portions are hashed elsewhere (etag-stream.ts).
 */

import { blake3 } from "@noble/hashes/blake3.js";

/** Computes etags. */
export type EtagHasher = (value: Uint8Array) => string;

/** Total bytes from which the WebAssembly implementation pays for its start. */
const WASM_FROM = 256 * 1024;

const PREFIX = "blake3:";
const scratch = Buffer.from(PREFIX + "0".repeat(64));

const digest = Buffer.alloc(32);

/** One flat string: a concatenation would keep both its parts alive, 150 bytes more for each of a million values. */
function format(hex: string): string {
  scratch.latin1Write(hex, PREFIX.length);
  return scratch.latin1Slice();
}

/** The etag of one value, in portable code that starts at once. */
export const etagOf: EtagHasher = (value) => format(Buffer.from(blake3(value)).toString("hex"));

let compiled: Promise<EtagHasher> | undefined;

/** A hasher for about `bytes` of values in all. */
export async function etagHasher(bytes: number): Promise<EtagHasher> {
  if (bytes < WASM_FROM) return etagOf;
  compiled ??= compileHasher();
  return compiled;
}

async function compileHasher(): Promise<EtagHasher> {
  const { createBLAKE3 } = await import("hash-wasm");
  const hasher = await createBLAKE3();
  // Making text of it is left to the runtime, which takes a third of the time.
  return (value) => {
    digest.set(hasher.init().update(value).digest("binary"));
    return format(digest.hexSlice());
  };
}
