/**
 * OpenSSH public keys (RFC 4253 section 6.6, RFC 5656, RFC 8709, OpenSSH's PROTOCOL.u2f): the line of a `.pub` file and the
 * blob in it. Reading is strict: one encoding for each key, the right curve, RSA of 2048 bits or more.
 *
 *   line = type SP base64(blob) [SP comment]
 *   blob = string type, then
 *     ssh-ed25519                            string point
 *     ecdsa-sha2-nistp256 / 384 / 521        string curve, string point (04 x y)
 *     ssh-rsa                                mpint e, mpint n
 *     sk-ssh-ed25519@openssh.com             string point, string application
 *     sk-ecdsa-sha2-nistp256@openssh.com     string "nistp256", string point, string application
 */

import type { JsonWebKeyInput, KeyObject } from "node:crypto";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { ed25519KeyFault } from "./ed25519.ts";
import { SshReader, sshPositive, sshString } from "./ssh-wire.ts";

/** Key types that are known, by the name OpenSSH gives them. */
export type SshKeyType =
  | "ssh-ed25519"
  | "ecdsa-sha2-nistp256"
  | "ecdsa-sha2-nistp384"
  | "ecdsa-sha2-nistp521"
  | "ssh-rsa"
  | "sk-ssh-ed25519@openssh.com"
  | "sk-ecdsa-sha2-nistp256@openssh.com";

interface Ed25519Key {
  readonly kind: "ed25519";
  readonly point: Buffer;
}

interface OtherKey {
  readonly kind: "other";
  readonly object: KeyObject;
}

/** A public key that was read and found sound. */
export interface SshPublicKey {
  readonly type: SshKeyType;
  /** The canonical encoding: two keys are the same where their blobs are. */
  readonly blob: Buffer;
  /** What a security key was made for (`ssh:...`); undefined for other types. */
  readonly application: string | undefined;
  /** The key: an Ed25519 point, or what the runtime has of any other algorithm. */
  readonly key: Ed25519Key | OtherKey;
}

/** The line of a `.pub` file. */
export interface SshKeyLine extends SshPublicKey {
  /** "" where there is none. */
  readonly comment: string;
}

/** RSA keys below are too weak to be worth anything, above too slow to check (as OpenSSH). */
const RSA_BITS = { least: 2048, most: 16_384 };

interface Curve {
  readonly name: string;
  readonly jwk: string;
  /** Bytes of a coordinate. */
  readonly size: number;
}
const CURVES: Readonly<Record<string, Curve>> = {
  "ecdsa-sha2-nistp256": { name: "nistp256", jwk: "P-256", size: 32 },
  "ecdsa-sha2-nistp384": { name: "nistp384", jwk: "P-384", size: 48 },
  "ecdsa-sha2-nistp521": { name: "nistp521", jwk: "P-521", size: 66 },
  "sk-ecdsa-sha2-nistp256@openssh.com": { name: "nistp256", jwk: "P-256", size: 32 },
};

const isSk = (type: string): boolean => type.startsWith("sk-");
const base64url = (bytes: Buffer): string => bytes.toString("base64url");

/** Bytes of one coordinate, or of r and s, of an ECDSA key type. */
export function curveSize(type: SshKeyType): number {
  return CURVES[type]!.size;
}

/** The hash of `data`. */
export function sshHash(name: "sha256" | "sha512", data: Uint8Array): Buffer {
  return new Bun.CryptoHasher(name).update(data).digest() as Buffer;
}

/** `SHA256:...` as `ssh-keygen -l` prints it. */
export function sshFingerprint(blob: Uint8Array): string {
  return `SHA256:${sshHash("sha256", blob).toString("base64").replace(/=+$/, "")}`;
}

const LINE = /^([a-z0-9@.-]+)[ \t]+([A-Za-z0-9+/]+={0,2})(?:[ \t]+(.*))?$/;

/** Reads the line of a `.pub` file. Throws INPUT_INVALID with what is wrong. */
export function parseSshKeyLine(text: string): SshKeyLine {
  const line = text.trim();
  const match = line.length > 4 * LIMITS.sshKeyBytes ? null : LINE.exec(line);
  if (match === null) {
    const isPrivate = line.startsWith("-----BEGIN");
    throw new KvError("INPUT_INVALID", `${isPrivate ? "a private key" : "this"} is not an SSH public key`, {
      hint: "an SSH public key is one line: its type, its base64 and a comment, as in the .pub file",
    });
  }
  const [, type, base64, comment] = match as unknown as [string, string, string, string | undefined];
  const blob = Buffer.from(base64, "base64");
  if (blob.toString("base64") !== base64) {
    throw new KvError("INPUT_INVALID", "the SSH public key is not canonical base64: it may be cut short");
  }
  const key = decodeSshKey(blob);
  if (key.type !== type) {
    throw new KvError("INPUT_INVALID", `the SSH public key says '${type}' but is of type '${key.type}'`);
  }
  return { ...key, comment: comment?.trim() ?? "" };
}

/** Reads a blob. Throws INPUT_INVALID for a key that is malformed, of a type not known, or too weak. */
export function decodeSshKey(blob: Buffer): SshPublicKey {
  try {
    return decode(blob);
  } catch (cause) {
    if (!(cause instanceof KvError)) throw cause;
    throw new KvError("INPUT_INVALID", cause.message, { cause, ...(cause.hint !== undefined && { hint: cause.hint }) });
  }
}

function decode(blob: Buffer): SshPublicKey {
  const read = new SshReader(blob, "SSH public key");
  if (blob.length > LIMITS.sshKeyBytes) throw read.wrong(`is longer than ${LIMITS.sshKeyBytes} bytes`);
  const type = read.text() as SshKeyType;
  const key = decodeByType(type, read);
  const application = isSk(type) ? read.text() : undefined;
  if (application !== undefined && !application.startsWith("ssh:")) {
    throw read.wrong("was not made for SSH: its application does not begin with 'ssh:'");
  }
  read.end();
  return { type, blob, application, key };
}

function decodeByType(type: string, read: SshReader): SshPublicKey["key"] {
  switch (type) {
    case "ssh-ed25519":
    case "sk-ssh-ed25519@openssh.com":
      return decodeEd25519(read);
    case "ssh-rsa":
      return decodeRsa(read);
    case "ssh-dss":
      throw read.wrong("is of type ssh-dss, which is too weak");
  }
  if (Object.hasOwn(CURVES, type)) return decodeEcdsa(read, CURVES[type]!);
  const known = "ssh-ed25519, ecdsa-sha2-nistp256/384/521, ssh-rsa and their sk- twins are";
  throw new KvError("INPUT_INVALID", `SSH keys of type '${printable(type)}' are not known`, {
    hint: type.includes("-cert-") ? "give the key itself, not its certificate" : known,
  });
}

const printable = (text: string): string => text.replace(/[^\x21-\x7e]/g, "?").slice(0, 60);

function decodeEd25519(read: SshReader): Ed25519Key {
  const point = read.string();
  const fault = ed25519KeyFault(point);
  if (fault !== undefined) throw read.wrong(fault);
  return { kind: "ed25519", point };
}

function decodeEcdsa(read: SshReader, curve: Curve): OtherKey {
  if (read.text() !== curve.name) throw read.wrong("names another curve than its type");
  const point = read.string();
  if (point.length !== 1 + 2 * curve.size || point[0] !== 4) {
    throw read.wrong(`is not an uncompressed point of ${curve.name}`);
  }
  const x = base64url(point.subarray(1, 1 + curve.size));
  const y = base64url(point.subarray(1 + curve.size));
  return imported(read, { kty: "EC", crv: curve.jwk, x, y });
}

function decodeRsa(read: SshReader): OtherKey {
  const e = read.positive();
  const n = read.positive();
  const bits = n.length * 8 - Math.clz32(n[0]!) + 24;
  if (bits < RSA_BITS.least) throw read.wrong(`is an RSA key of ${bits} bits; ${RSA_BITS.least} are the least`);
  if (bits > RSA_BITS.most) throw read.wrong(`is an RSA key of ${bits} bits; ${RSA_BITS.most} are the most`);
  if (e.length > 4 || (e.at(-1)! & 1) === 0 || (e.length === 1 && e[0]! < 3)) {
    throw read.wrong("has an RSA exponent that is even, 1 or longer than 32 bits");
  }
  return imported(read, { kty: "RSA", n: base64url(n), e: base64url(e) });
}

/** The runtime's key: it refuses points that are not on their curve. */
function imported(read: SshReader, key: JsonWebKeyInput["key"]): OtherKey {
  // Loaded here: most keys are Ed25519.
  const { createPublicKey } = process.getBuiltinModule("node:crypto");
  try {
    return { kind: "other", object: createPublicKey({ key, format: "jwk" }) };
  } catch {
    throw read.wrong("is not a key of its type: its point is not on the curve, or its numbers are out of range");
  }
}

/** The blob of a public key of the runtime; undefined for a type that SSH does not know. */
export function encodeSshKey(key: KeyObject): Buffer | undefined {
  const { kty, crv, x, y, n, e } = key.export({ format: "jwk" });
  const bytes = (text: string | undefined): Buffer => Buffer.from(text!, "base64url");
  if (kty === "OKP" && crv === "Ed25519") return Buffer.concat([sshString("ssh-ed25519"), sshString(bytes(x))]);
  if (kty === "RSA") return Buffer.concat([sshString("ssh-rsa"), sshPositive(bytes(e)), sshPositive(bytes(n))]);
  const found = Object.entries(CURVES).find(([type, { jwk }]) => jwk === crv && !isSk(type));
  if (kty !== "EC" || found === undefined) return undefined;
  const point = Buffer.concat([Buffer.of(4), bytes(x), bytes(y)]);
  return Buffer.concat([sshString(found[0]), sshString(found[1].name), sshString(point)]);
}
