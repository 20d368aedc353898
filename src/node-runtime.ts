/**
 * What the library takes from Bun, for Node.js: hashing, compression, programs and sockets by its own modules. What is not there says so.
 * Loaded first, and does nothing in Bun.
 */

import * as crypto from "node:crypto";
import * as zlib from "node:zlib";
import { KvError } from "./errors.ts";
import { connect, spawn } from "./node-programs.ts";

/** As Bun's: it is as new after `digest`. */
class CryptoHasher {
  readonly #name: string;
  #hash: crypto.Hash;

  constructor(name: string) {
    this.#name = name;
    this.#hash = crypto.createHash(name);
  }

  update(data: string | Uint8Array): this {
    this.#hash.update(data);
    return this;
  }

  digest(into?: "hex" | Uint8Array): Uint8Array | string {
    const digest = this.#hash.digest();
    this.#hash = crypto.createHash(this.#name);
    return given(digest, into);
  }

  copy(): CryptoHasher {
    const copy = new CryptoHasher(this.#name);
    copy.#hash = this.#hash.copy();
    return copy;
  }
}

/** As Bun's: the digest as text, in the array that is given, or in one of its own. */
function hash(name: string, data: Uint8Array, into?: "hex" | Uint8Array): Uint8Array | string {
  return given(crypto.createHash(name).update(data).digest(), into);
}

function given(digest: Buffer, into: "hex" | Uint8Array | undefined): Uint8Array | string {
  if (into === "hex") return digest.toString("hex");
  into?.set(digest);
  return into ?? digest;
}

class SHA1 extends CryptoHasher {
  constructor() {
    super("sha1");
  }

  static hash(data: Uint8Array, into?: "hex" | Uint8Array): Uint8Array | string {
    return hash("sha1", data, into);
  }
}

class SHA256 extends CryptoHasher {
  constructor() {
    super("sha256");
  }

  static hash(data: Uint8Array, into?: "hex" | Uint8Array): Uint8Array | string {
    return hash("sha256", data, into);
  }
}

/** Largest number of bytes that add up in 32 bits (RFC 1950, section 9). */
const ADLER_RUN = 5_552;
const ADLER_BASE = 65_521;

function adler32(data: Uint8Array): number {
  let [a, b] = [1, 0];
  for (let at = 0; at < data.length; ) {
    const end = Math.min(at + ADLER_RUN, data.length);
    for (; at < end; at++) {
      a += data[at]!;
      b += a;
    }
    a %= ADLER_BASE;
    b %= ADLER_BASE;
  }
  return ((b << 16) | a) >>> 0;
}

function notHere(what: string) {
  return (): never => {
    throw new KvError("UNSUPPORTED", `${what} is there in Bun only, not in Node.js`, {
      hint: "run the program with Bun, or call the git-kv executable",
    });
  };
}

const RUNTIME = {
  CryptoHasher,
  SHA1,
  SHA256,
  hash: { adler32, crc32: (data: Uint8Array, sum = 0): number => zlib.crc32(data, sum) },
  // Bun's are raw streams unless they are told to be zlib's.
  deflateSync: (data: Uint8Array, { level }: { level?: number } = {}): Buffer =>
    zlib.deflateRawSync(data, level === undefined ? {} : { level }),
  inflateSync: (data: Uint8Array): Buffer => zlib.inflateSync(data),
  gc: (): void => {},
  sleep: (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms)),
  mmap: notHere("mapping a file"),
  spawn,
  connect,
  unsafe: { setJITPolicy: (): void => {} },
};

// In the bundle `Bun` is a variable of its own (build.ts): a program that asks whether it runs in Bun must not find one.
if (Reflect.get(globalThis, "Bun") === undefined) Object.assign(Bun, RUNTIME);
