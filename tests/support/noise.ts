/** Megabytes of bytes that look random and are the same for the same seed: those of random.ts come one by one. */

import { createCipheriv, createHash } from "node:crypto";

/** `size` bytes of AES-128 in counter mode under a key made of `seed`. */
export function noise(seed: string, size: number): Buffer {
  const key = createHash("sha256").update(seed).digest().subarray(0, 16);
  return createCipheriv("aes-128-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(size));
}
