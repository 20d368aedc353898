/**
 * Private key files as ssh-keygen writes them (OpenSSH's PROTOCOL.key; RFC 7468 for the older PEM forms), and signing with
 * those that no passphrase protects.
 *
 *   file    = "-----BEGIN OPENSSH PRIVATE KEY-----" LF base64 lines "-----END OPENSSH PRIVATE KEY-----"
 *   blob    = "openssh-key-v1" NUL, string cipher, string kdf, string kdfoptions, uint32 1, string publickey, string private
 *   private = uint32 check, uint32 check, string type, fields of the type, string comment, padding 1 2 3 ...
 *     ssh-ed25519          string point, string (seed, point)
 *     ecdsa-sha2-nistp*    string curve, string point, mpint d
 *     ssh-rsa              mpint n, e, d, iqmp, p, q
 */

import { createPrivateKey, createPublicKey, type KeyObject, sign } from "node:crypto";
import { assert, KvError } from "../../errors.ts";
import { decodeSshKey, encodeSshKey, type SshPublicKey } from "./ssh-key.ts";
import { SshReader, sshString } from "./ssh-wire.ts";
import { ecdsaSignature, type SshsigHash } from "./sshsig.ts";

/** What a private key file holds. */
export type PrivateKeyFile =
  /** A key that can sign at once. */
  | { readonly kind: "plain"; readonly publicKey: SshPublicKey; readonly privateKey: KeyObject }
  /** A passphrase protects it, or it lives in a security key: ssh-keygen knows what to do. */
  | {
      readonly kind: "locked";
      readonly why: "passphrase" | "security key";
      readonly publicKey: SshPublicKey | undefined;
    };

/** The numbers of a key, base64url (RFC 7518). */
type Jwk = Record<string, string | undefined>;

const MAGIC = Buffer.from("openssh-key-v1\0", "latin1");
const OPENSSH = /^-----BEGIN OPENSSH PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END OPENSSH PRIVATE KEY-----\s*$/;
const PEM = /^-----BEGIN (?:(?:RSA|EC|ENCRYPTED) )?PRIVATE KEY-----\s/;

/** True where the text is meant to be a private key. */
export function isPrivateKey(text: string): boolean {
  return /^-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/.test(text);
}

/** Reads a private key file. Throws INPUT_INVALID where it is malformed or of a type that is not known. */
export function parsePrivateKey(text: string): PrivateKeyFile {
  const openssh = OPENSSH.exec(text);
  if (openssh !== null) return readOpenSsh(Buffer.from(openssh[1]!, "base64"));
  if (PEM.test(text)) return readPem(text);
  throw invalid("is not a private key of a form that is known");
}

const invalid = (problem: string, cause?: unknown): KvError =>
  new KvError("INPUT_INVALID", `the private key ${problem}`, { cause });

function readOpenSsh(blob: Buffer): PrivateKeyFile {
  try {
    return decodeOpenSsh(blob);
  } catch (error) {
    if (!(error instanceof KvError) || error.code !== "BAD_SIGNATURE") throw error;
    throw new KvError("INPUT_INVALID", error.message, { cause: error });
  }
}

function decodeOpenSsh(blob: Buffer): PrivateKeyFile {
  const read = new SshReader(blob, "private key");
  if (!read.bytes(MAGIC.length).equals(MAGIC)) throw read.wrong("is not of OpenSSH's format");
  const cipher = read.text();
  read.string();
  read.string();
  if (read.uint32() !== 1) throw read.wrong("file does not hold exactly one key");
  const publicKey = decodeSshKey(Buffer.from(read.string()));
  if (cipher !== "none") return { kind: "locked", why: "passphrase", publicKey };
  if (publicKey.application !== undefined) return { kind: "locked", why: "security key", publicKey };
  const section = new SshReader(read.string(), "private key");
  const check = section.uint32();
  if (section.uint32() !== check) throw read.wrong("is damaged: its check numbers differ");
  if (section.text() !== publicKey.type) throw read.wrong("is of another type than its public key");
  const privateKey = importKey(readFields(publicKey, section));
  if (!blobOf(privateKey).equals(publicKey.blob)) throw read.wrong("does not belong to its public key");
  return { kind: "plain", publicKey, privateKey };
}

function readFields(publicKey: SshPublicKey, read: SshReader): Jwk {
  const url = (bytes: Buffer): string => bytes.toString("base64url");
  if (publicKey.type === "ssh-ed25519") {
    const x = read.string();
    return { kty: "OKP", crv: "Ed25519", x: url(x), d: url(read.string().subarray(0, 32)) };
  }
  assert(publicKey.key.kind === "other", "a security key is no plain one");
  const jwk = publicKey.key.object.export({ format: "jwk" }) as Jwk;
  if (publicKey.type !== "ssh-rsa") {
    read.string();
    read.string();
    const d = read.positive();
    const size = Buffer.from(jwk.x!, "base64url").length;
    return { ...jwk, d: url(Buffer.concat([Buffer.alloc(Math.max(0, size - d.length)), d])) };
  }
  const [n, e, d, qi, p, q] = Array.from({ length: 6 }, () => read.positive()) as Buffer6;
  return { kty: "RSA", n: url(n), e: url(e), d: url(d), p: url(p), q: url(q), qi: url(qi), ...exponents(d, p, q) };
}

type Buffer6 = [Buffer, Buffer, Buffer, Buffer, Buffer, Buffer];

/** d mod p-1 and d mod q-1, which OpenSSH does not store. */
function exponents(d: Buffer, p: Buffer, q: Buffer): { dp: string; dq: string } {
  const number = (bytes: Buffer): bigint => BigInt(`0x${bytes.toString("hex")}`);
  const reduced = (prime: Buffer): string => {
    if (number(prime) < 3n) throw invalid("is damaged: its primes are none");
    const hex = (number(d) % (number(prime) - 1n)).toString(16);
    return Buffer.from(hex.padStart(prime.length * 2, "0"), "hex").toString("base64url");
  };
  return { dp: reduced(p), dq: reduced(q) };
}

function importKey(jwk: Jwk): KeyObject {
  try {
    return createPrivateKey({ key: jwk, format: "jwk" });
  } catch (cause) {
    throw invalid("is damaged: its numbers do not fit together", cause);
  }
}

function readPem(text: string): PrivateKeyFile {
  if (/^-----BEGIN ENCRYPTED |^Proc-Type: 4,ENCRYPTED/m.test(text)) {
    return { kind: "locked", why: "passphrase", publicKey: undefined };
  }
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(text);
  } catch (cause) {
    throw invalid("cannot be read", cause);
  }
  return { kind: "plain", publicKey: decodeSshKey(blobOf(privateKey)), privateKey };
}

/** The blob of the public half. */
function blobOf(privateKey: KeyObject): Buffer {
  const blob = encodeSshKey(createPublicKey(privateKey));
  if (blob === undefined) throw invalid("is of a type that SSH does not know");
  return blob;
}

/** Which hash a key's signatures go through first; ssh-keygen's choice for all of them. */
export const SIGNING_HASH: SshsigHash = "sha512";

/** Signs: string algorithm, string signature. */
export function signWithKey(type: string, privateKey: KeyObject, data: Buffer): Buffer {
  const encoded = (algorithm: string, bytes: Buffer): Buffer => Buffer.concat([sshString(algorithm), sshString(bytes)]);
  if (type === "ssh-ed25519") return encoded(type, sign(null, data, privateKey));
  if (type === "ssh-rsa") return encoded("rsa-sha2-512", sign("sha512", data, privateKey));
  const hash = type.endsWith("256") ? "sha256" : type.endsWith("384") ? "sha384" : "sha512";
  return encoded(type, ecdsaSignature(sign(hash, data, { key: privateKey, dsaEncoding: "ieee-p1363" })));
}
