/**
 * Ed25519 verdicts: the vectors of RFC 8032 (section 7.1), and signatures and keys bent in every way that is known to fool a
 * lax verifier, each judged natively, as an SSH signature is, and by @noble/ed25519 in its strict mode.
 */

import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import * as noble from "@noble/ed25519";
import { KvError } from "../../../src/errors.ts";
import { ed25519KeyFault, verifyByNode, verifyByWeb } from "../../../src/gitwire/object/ed25519.ts";
import { decodeSshKey } from "../../../src/gitwire/object/ssh-key.ts";
import { parsePrivateKey } from "../../../src/gitwire/object/ssh-private-key.ts";
import { sshString } from "../../../src/gitwire/object/ssh-wire.ts";
import { verifySshSignature } from "../../../src/gitwire/object/sshsig.ts";
import { random } from "../../support/random.ts";

noble.hashes.sha512 = (message) => new Uint8Array(createHash("sha512").update(message).digest());

interface Vector {
  readonly name: string;
  readonly seed: string;
  readonly publicKey: string;
  readonly message: string;
  readonly signature: string;
}
const RFC: readonly Vector[] = JSON.parse(
  fs.readFileSync(path.join(import.meta.dir, "../../vectors/signatures/rfc8032.json"), "utf8"),
);

const hex = (text: string): Buffer => Buffer.from(text, "hex");
const L = noble.Point.CURVE().n;
const P = noble.Point.CURVE().p;
const number = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
const bytes = (value: bigint): Buffer => hex(value.toString(16).padStart(64, "0")).reverse() as Buffer;

/** As a signature by an SSH key is judged. */
async function native(key: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<boolean> {
  try {
    const publicKey = decodeSshKey(Buffer.concat([sshString("ssh-ed25519"), sshString(Buffer.from(key))]));
    const blob = Buffer.concat([sshString("ssh-ed25519"), sshString(Buffer.from(signature))]);
    return await verifySshSignature(publicKey, blob, Buffer.from(message));
  } catch (error) {
    if (error instanceof KvError) return false;
    throw error;
  }
}

function strictNoble(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    return noble.verify(Uint8Array.from(signature), Uint8Array.from(message), Uint8Array.from(key), { zip215: false });
  } catch {
    // It throws for arguments of the wrong length.
    return false;
  }
}

/** Both ways of asking the runtime must say the same of a sound key. */
async function runtimeAgrees(key: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<void> {
  const point = Buffer.from(key);
  if (ed25519KeyFault(point) !== undefined || signature.length !== 64) return;
  expect(await verifyByWeb(point, message, signature)).toBe(verifyByNode(point, message, signature));
}

/** Both must say `verdict`. */
async function judge(verdict: boolean, key: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<void> {
  await runtimeAgrees(key, message, signature);
  expect([await native(key, message, signature), strictNoble(key, message, signature)]).toEqual([verdict, verdict]);
}

/** A signature over `message` by the key of `seed`, with a point of small order added to R: its maker alone can do that. */
function withTorsion(seed: Buffer, message: Buffer, torsion: noble.Point): Buffer {
  const { scalar, prefix, pointBytes } = noble.utils.getExtendedPublicKey(Uint8Array.from(seed));
  const hash = (...parts: Uint8Array[]): bigint =>
    number(createHash("sha512").update(Buffer.concat(parts)).digest()) % L;
  const r = hash(prefix, message);
  const R = noble.Point.BASE.multiply(r).add(torsion).toBytes();
  return Buffer.concat([R, bytes((r + hash(R, pointBytes, message) * scalar) % L)]);
}

/** The eight points of small order, in every encoding: y and y + p where that fits, with either sign. */
function smallOrderEncodings(): Buffer[] {
  const generator = noble.Point.fromHex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a");
  const ys = new Set<bigint>();
  for (let point = generator, i = 0; i < 8; i++, point = point.add(generator)) ys.add(point.toAffine().y);
  expect(ys.size).toBe(5);
  return [...ys].flatMap((y) =>
    [y, y + P].filter((value) => value < 1n << 255n).flatMap((value) => [bytes(value), bytes(value | (1n << 255n))]),
  );
}

describe("RFC 8032, section 7.1", () => {
  for (const { name, seed, publicKey, message, signature } of RFC) {
    test(name, async () => {
      expect(Buffer.from(noble.sign(hex(message), hex(seed))).toString("hex")).toBe(signature);
      await judge(true, hex(publicKey), hex(message), hex(signature));
      await judge(false, hex(publicKey), Buffer.concat([hex(message), Buffer.of(0)]), hex(signature));
      for (let bit = 0; bit < 512; bit += 7) {
        const flipped = hex(signature);
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        await judge(false, hex(publicKey), hex(message), flipped);
      }
    });
  }
});

describe("malleability", () => {
  test("S + k * L is another text for the same S, and refused", async () => {
    for (const { publicKey, message, signature } of RFC) {
      const s = number(hex(signature).subarray(32));
      let tried = 0;
      for (let bent = s + L; bent < 1n << 256n; bent += L, tried++) {
        await judge(false, hex(publicKey), hex(message), Buffer.concat([hex(signature).subarray(0, 32), bytes(bent)]));
      }
      expect(tried).toBeGreaterThan(10);
      await judge(false, hex(publicKey), hex(message), Buffer.concat([hex(signature).subarray(0, 32), bytes(L - s)]));
    }
  });

  test("keys of small order, in every encoding, sign nothing", async () => {
    const encodings = smallOrderEncodings();
    expect(encodings.length).toBe(14);
    const zero = Buffer.alloc(32);
    for (const key of encodings) {
      expect(ed25519KeyFault(key)).toBeString();
      for (const R of encodings) {
        for (let i = 0; i < 8; i++) await judge(false, key, Buffer.of(i), Buffer.concat([R, zero]));
      }
    }
  });

  test("keys and R that are not reduced modulo p are refused", async () => {
    const { message, signature, publicKey } = RFC[0]!;
    for (let k = 0n; k < 19n; k++) {
      for (const sign of [0n, 1n << 255n]) {
        const bent = bytes((P + k) | sign);
        expect(ed25519KeyFault(bent)).toBe("is not canonical");
        await judge(false, bent, hex(message), hex(signature));
        await judge(false, hex(publicKey), hex(message), Buffer.concat([bent, hex(signature).subarray(32)]));
      }
    }
  });

  test("signatures and keys of another length", async () => {
    const { message, signature, publicKey } = RFC[1]!;
    for (const bent of [hex(""), hex(signature).subarray(1), hex(`${signature}00`)]) {
      await judge(false, hex(publicKey), hex(message), bent);
    }
    await judge(false, hex(publicKey).subarray(1), hex(message), hex(signature));
    await judge(false, hex(`${publicKey}00`), hex(message), hex(signature));
  });

  test("bytes at random", async () => {
    const { int, bytes: some, pick } = random("ed25519");
    for (let i = 0; i < 200; i++) {
      const { message, signature, publicKey } = pick(RFC.slice(0, 3));
      const [key, text, bent] = [hex(publicKey), hex(message), hex(signature)];
      const target = pick([key, bent]);
      some(1 + int(4)).copy(target, int(target.length - 4));
      const untouched = key.equals(hex(publicKey)) && bent.equals(hex(signature));
      await judge(untouched, key, text, bent);
    }
  });
});

test("a maker who adds small order to its own R: RFC 8032 leaves it open; here it is refused, as OpenSSH does", async () => {
  const generator = noble.Point.fromHex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a");
  for (const { seed, publicKey, message } of RFC) {
    let torsion = generator;
    for (let order = 1; order < 8; order++, torsion = torsion.add(generator)) {
      const signature = withTorsion(hex(seed), hex(message), torsion);
      await runtimeAgrees(hex(publicKey), hex(message), signature);
      expect([
        await native(hex(publicKey), hex(message), signature),
        strictNoble(hex(publicKey), hex(message), signature),
      ]).toEqual([false, true]);
    }
    await judge(true, hex(publicKey), hex(message), withTorsion(hex(seed), hex(message), noble.Point.ZERO));
  }
});

test("a private key's signature is the one of the RFC", () => {
  const { seed, publicKey } = RFC[0]!;
  const der = Buffer.concat([hex("302e020100300506032b657004220420"), hex(seed)]).toString("base64");
  const key = parsePrivateKey(`-----BEGIN PRIVATE KEY-----\n${der}\n-----END PRIVATE KEY-----\n`);
  expect(key.kind).toBe("plain");
  expect(key.publicKey?.blob.subarray(-32).toString("hex")).toBe(publicKey);
});
