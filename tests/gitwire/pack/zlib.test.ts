import { describe, expect, test } from "bun:test";
import * as zlib from "node:zlib";
import { KvError } from "../../../src/errors.ts";
import {
  deflate,
  deflateBound,
  deflateDelta,
  deflateParts,
  inflateAt,
  inflateInto,
  inflateIntoSlow,
  STORED_FRAME,
  StreamInflater,
  TRUNCATED,
} from "../../../src/gitwire/pack/zlib.ts";
import { noise } from "../../support/noise.ts";
import { random } from "../../support/random.ts";

const rng = random("zlib");
const TEXT = Buffer.from("the quick brown fox jumps over the lazy dog, the quick brown fox again\n".repeat(3));
const SIZES = [0, 1, 39, 40, 41, 100, 2_047, 2_048, 65_534, 65_535, 65_536, 65_537, 200_000];

function sample(size: number, compressible: boolean): Buffer {
  return compressible ? Buffer.alloc(size, TEXT) : rng.bytes(size);
}

/** The error code a call ends with, or undefined. */
function codeOf(call: () => unknown): string | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    if (error instanceof KvError) return error.code;
    throw error;
  }
}

describe("deflate", () => {
  test("zlib reads back every size, and incompressible data hardly grows", () => {
    for (const size of SIZES) {
      for (const compressible of [true, false]) {
        const data = sample(size, compressible);
        const stream = deflate(data);
        expect(zlib.inflateSync(stream).equals(data)).toBe(true);
        expect(stream.length).toBeLessThanOrEqual(deflateBound(size));
      }
    }
  });

  test("what does not compress is stored where it would grow", () => {
    // Past the first few streams, which another engine makes.
    for (let times = 0; times < 100; times++) deflateDelta(noise("first", 300));
    for (let size = 41; size < 2_048; size += 13) {
      for (const make of [deflate, deflateDelta]) {
        const data = noise(`grow ${size}`, size);
        const stream = make(data);
        expect(zlib.inflateSync(stream).equals(data)).toBe(true);
        expect(stream.length).toBeLessThanOrEqual(size + STORED_FRAME);
      }
    }
  });

  test("in parts it is the same stream, and what does not compress is a view of the data", () => {
    for (const size of [...SIZES, 1_000_000]) {
      for (const compressible of [true, false]) {
        const data = compressible ? sample(size, true) : noise("parts", size);
        const parts = deflateParts(data);
        expect(zlib.inflateSync(Buffer.concat(parts)).equals(data)).toBe(true);
        const shared = parts.filter(({ buffer }) => buffer === data.buffer).reduce((sum, part) => sum + part.length, 0);
        if (size >= 65_536) expect(shared).toBe(compressible ? 0 : size);
      }
    }
  });

  test("large data whose beginning or middle compresses is compressed whole", () => {
    const text = Buffer.alloc(50_000, TEXT);
    const bytes = noise("mixed", 50_000);
    for (const data of [Buffer.concat([text, bytes]), Buffer.concat([bytes, text, bytes])]) {
      expect(Buffer.concat(deflateParts(data)).length).toBeLessThan(data.length - 45_000);
    }
  });

  test("text shrinks on both sides of the switch to libdeflate", () => {
    expect(deflate(Buffer.alloc(2_000, TEXT)).length).toBeLessThan(200);
    expect(deflate(Buffer.alloc(3_000, TEXT)).length).toBeLessThan(200);
  });
});

describe("inflateAt", () => {
  test("reads streams of every level at any place and reports what they took", () => {
    for (const size of SIZES) {
      for (const level of [0, 1, 6, 9]) {
        const data = sample(size, level !== 1);
        const stream = zlib.deflateSync(data, { level });
        const bytes = Buffer.concat([Buffer.from("before"), stream, Buffer.from("after")]);
        const found = inflateAt(bytes, 6, size);
        expect(found.data.equals(data)).toBe(true);
        expect(found.consumed).toBe(stream.length);
      }
    }
  });

  test("results do not share memory with later ones", () => {
    const first = inflateAt(deflate(Buffer.from("first")), 0, 5).data;
    inflateAt(deflate(Buffer.from("other")), 0, 5);
    expect(first.toString()).toBe("first");
  });

  test("refuses a stream of another size", () => {
    const stream = zlib.deflateSync(TEXT);
    for (const size of [0, 1, TEXT.length - 1, TEXT.length + 1, TEXT.length + 1_000_000]) {
      expect(codeOf(() => inflateAt(stream, 0, size))).toBe("BAD_OBJECT");
    }
  });

  test("never inflates a bomb past the declared size", () => {
    const bomb = zlib.deflateSync(Buffer.alloc(200 * 1024 * 1024));
    const before = process.memoryUsage().rss;
    expect(codeOf(() => inflateAt(bomb, 0, 1_000))).toBe("BAD_OBJECT");
    expect(process.memoryUsage().rss - before).toBeLessThan(50 * 1024 * 1024);
  });

  test("refuses a stream that needs a dictionary", () => {
    const stream = zlib.deflateSync(TEXT, { dictionary: TEXT });
    expect(codeOf(() => inflateAt(stream, 0, TEXT.length))).toBe("BAD_OBJECT");
  });
});

for (const [name, inflate] of [
  ["the reused engine", inflateInto],
  ["documented calls", inflateIntoSlow],
] as const) {
  describe(`inflating with ${name}`, () => {
    const stream = zlib.deflateSync(TEXT);
    const output = Buffer.alloc(TEXT.length + 1);

    test("cut anywhere it is told as truncated, and works again afterwards", () => {
      for (let end = 0; end < stream.length; end++) {
        expect(inflate(stream, 0, end, output, TEXT.length)).toBe(TRUNCATED);
      }
      expect(inflate(stream, 0, stream.length, output, TEXT.length)).toBe(stream.length);
      expect(output.subarray(0, TEXT.length).equals(TEXT)).toBe(true);
    });

    test("every flipped bit is an error or gives the same data", () => {
      for (let bit = 0; bit < stream.length * 8; bit++) {
        const bad = Buffer.from(stream);
        bad[bit >> 3]! ^= 1 << (bit & 7);
        let consumed: number;
        try {
          consumed = inflate(bad, 0, bad.length, output, TEXT.length);
        } catch (error) {
          expect((error as KvError).code).toBe("BAD_OBJECT");
          continue;
        }
        if (consumed !== TRUNCATED) expect(output.subarray(0, TEXT.length).equals(TEXT)).toBe(true);
      }
    });

    test("what follows the stream is left alone", () => {
      const bytes = Buffer.concat([stream, rng.bytes(100)]);
      expect(inflate(bytes, 0, bytes.length, output, TEXT.length)).toBe(stream.length);
    });
  });
}

describe("StreamInflater", () => {
  test("the runtime's engine is the one we know", () => {
    expect(StreamInflater.supported).toBe(true);
  });

  test("gives the same data however the stream is split", () => {
    const data = Buffer.concat([Buffer.alloc(150_000, TEXT), rng.bytes(100_000)]);
    for (const level of [0, 6]) {
      const stream = Buffer.concat([zlib.deflateSync(data, { level }), Buffer.from("what follows")]);
      const length = stream.length - "what follows".length;
      for (const step of [1, 7, 4_096, 70_000, stream.length]) {
        const pieces: Buffer[] = [];
        const inflater = new StreamInflater(data.length, (piece) => pieces.push(Buffer.from(piece)));
        let at = 0;
        while (!inflater.done) at += inflater.push(stream, at, Math.min(stream.length, at + step));
        expect(at).toBe(length);
        expect(Buffer.concat(pieces).equals(data)).toBe(true);
      }
    }
  });

  test("refuses other sizes and damage", () => {
    const data = Buffer.alloc(100_000, TEXT);
    const stream = zlib.deflateSync(data);
    const drain = (bytes: Buffer, size: number, step: number): boolean => {
      const inflater = new StreamInflater(size, () => {});
      for (let at = 0; at < bytes.length && !inflater.done; )
        at += inflater.push(bytes, at, Math.min(bytes.length, at + step));
      return inflater.done;
    };
    const trailed = Buffer.concat([stream, Buffer.alloc(10)]);
    for (const step of [1, 50, 100_000]) {
      expect(codeOf(() => drain(trailed, data.length - 1, step))).toBe("BAD_OBJECT");
      expect(codeOf(() => drain(trailed, data.length + 1, step))).toBe("BAD_OBJECT");
      const bad = Buffer.from(stream);
      bad[bad.length - 1]! ^= 1;
      expect(codeOf(() => drain(bad, data.length, step))).toBe("BAD_OBJECT");
      expect(drain(stream.subarray(0, -1), data.length, step)).toBe(false);
      expect(drain(stream, data.length, step)).toBe(true);
    }
  });
});
