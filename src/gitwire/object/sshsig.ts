/**
 * SSH signatures (OpenSSH's PROTOCOL.sshsig), as `ssh-keygen -Y sign -n git` makes them and git keeps them in commits.
 *
 *   armor     = "-----BEGIN SSH SIGNATURE-----" LF base64 lines "-----END SSH SIGNATURE-----"
 *   blob      = "SSHSIG", uint32 1, string publickey, string namespace, string reserved, string hash, string signature
 *   signed    = "SSHSIG", string namespace, string reserved, string hash, string H(message)
 *   signature = string algorithm, then
 *     ssh-ed25519               string R S (64 bytes)
 *     ecdsa-sha2-nistp*         string (mpint r, mpint s)
 *     rsa-sha2-256, rsa-sha2-512  string of the modulus' length
 *     sk-*                      string as above, byte flags, uint32 counter; signed is then
 *                               SHA256(application), flags, counter, SHA256(signed)
 *
 * Only the namespace `git` is taken: a signature made for a file or a login must not become a commit's. SHA-1 is not.
 */

import type { KeyObject } from "node:crypto";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { verifyEd25519 } from "./ed25519.ts";
import { curveSize, decodeSshKey, type SshKeyType, type SshPublicKey, sshHash } from "./ssh-key.ts";
import { SshReader, sshPositive, sshString, uint32 } from "./ssh-wire.ts";

/** The namespace of signatures over commits and tags. */
export const GIT_NAMESPACE = "git";

/** A hash that the message goes through first. */
export type SshsigHash = "sha256" | "sha512";

/** A signature's parts. */
export interface Sshsig {
  readonly key: SshPublicKey;
  readonly namespace: string;
  /** Nothing yet; it is signed as it stands. */
  readonly reserved: Buffer;
  readonly hash: SshsigHash;
  /** string algorithm, string signature, ... */
  readonly signature: Buffer;
}

const MAGIC = Buffer.from("SSHSIG", "latin1");
const BEGIN = "-----BEGIN SSH SIGNATURE-----";
const END = "-----END SSH SIGNATURE-----";
/** ssh-keygen's own width. */
const LINE = 70;

const bad = (problem: string): KvError => new KvError("BAD_SIGNATURE", `the SSH signature ${problem}`);

/** True where the text is meant to be an SSH signature. */
export function isSshsig(armored: string): boolean {
  return armored.startsWith(BEGIN);
}

/** The blob in an armored signature. Throws BAD_SIGNATURE where there is anything besides it, or its base64 is not canonical. */
export function dearmorSshsig(armored: string): Buffer {
  if (armored.length > LIMITS.sshSignature) throw bad(`is longer than ${LIMITS.sshSignature} characters`);
  const unix = armored.replaceAll("\r\n", "\n");
  const text = unix.endsWith("\n") ? unix.slice(0, -1) : unix;
  const isArmored = text.startsWith(`${BEGIN}\n`) && text.endsWith(`\n${END}`);
  if (!isArmored || text.length < BEGIN.length + 2 + END.length) throw bad("is not between its BEGIN and END lines");
  const base64 = text.slice(BEGIN.length, -END.length).replaceAll("\n", "");
  const blob = Buffer.from(base64, "base64");
  if (blob.toString("base64") !== base64) throw bad("is not canonical base64");
  return blob;
}

/** Armors a blob as ssh-keygen does; ends with a newline. */
export function armorSshsig(blob: Buffer): string {
  const lines = blob.toString("base64").match(new RegExp(`.{1,${LINE}}`, "g")) ?? [];
  return [BEGIN, ...lines, END, ""].join("\n");
}

/** The signature that was read last: the next one by the same key is the same up to here from its end. */
let lastRead: { readonly blob: Buffer; readonly sshsig: Sshsig } | undefined;
const TAIL = 64;

/** Reads a blob. Throws BAD_SIGNATURE. */
export function decodeSshsig(blob: Buffer): Sshsig {
  const same = blob.length - TAIL;
  if (lastRead?.blob.length === blob.length && lastRead.blob.compare(blob, 0, same, 0, same) === 0) {
    const { sshsig } = lastRead;
    return { ...sshsig, signature: blob.subarray(blob.length - sshsig.signature.length) };
  }
  const sshsig = readSshsig(blob);
  // Then the tail lies in the signature, and everything that tells lengths before it.
  lastRead = sshsig.signature.length < TAIL ? undefined : { blob, sshsig };
  return sshsig;
}

function readSshsig(blob: Buffer): Sshsig {
  const read = new SshReader(blob, "SSH signature");
  if (!read.bytes(MAGIC.length).equals(MAGIC)) throw bad("does not begin with SSHSIG");
  const version = read.uint32();
  if (version !== 1) throw bad(`is of version ${version}, not 1`);
  const keyBlob = read.string();
  const namespace = read.text();
  const reserved = read.string();
  const hash = read.text();
  const signature = read.string();
  read.end();
  if (hash !== "sha256" && hash !== "sha512") throw bad("hashes its message with neither sha256 nor sha512");
  return { key: signingKey(keyBlob), namespace, reserved, hash, signature };
}

/** Keys that made signatures lately: a ledger has few signers, and importing a key takes a third of the time of a check. */
const recentKeys = new Map<string, SshPublicKey>();
const RECENT_KEYS = 64;

function signingKey(blob: Buffer): SshPublicKey {
  const id = blob.latin1Slice();
  const known = recentKeys.get(id);
  if (known !== undefined) return known;
  const key = decodedKey(blob);
  if (recentKeys.size >= RECENT_KEYS) recentKeys.clear();
  recentKeys.set(id, key);
  return key;
}

function decodedKey(blob: Buffer): SshPublicKey {
  try {
    // The signature it comes from must not be kept in memory by it.
    return decodeSshKey(Buffer.from(blob));
  } catch (cause) {
    if (!(cause instanceof KvError)) throw cause;
    throw new KvError("BAD_SIGNATURE", cause.message, { cause });
  }
}

/** Encodes a signature that {@link sshsigMessage} was signed with. */
export function encodeSshsig(keyBlob: Buffer, hash: SshsigHash, signature: Buffer): Buffer {
  return Buffer.concat([
    MAGIC,
    uint32(1),
    sshString(keyBlob),
    sshString(GIT_NAMESPACE),
    sshString(""),
    sshString(hash),
    sshString(signature),
  ]);
}

/** The bytes that the key signs, for a message. */
export function sshsigMessage(
  message: Uint8Array,
  hash: SshsigHash,
  namespace = GIT_NAMESPACE,
  reserved: Buffer = Buffer.alloc(0),
): Buffer {
  const isUsual = namespace === GIT_NAMESPACE && reserved.length === 0;
  const head = (isUsual ? usualHeads[hash] : undefined) ?? messageHead(hash, namespace, reserved);
  if (isUsual) usualHeads[hash] = head;
  return Buffer.concat([head, sshHash(hash, message)]);
}

/** What git's messages begin with: the same for each hash. */
const usualHeads: Partial<Record<SshsigHash, Buffer>> = {};

/** What is signed up to the digest, its length included. */
function messageHead(hash: SshsigHash, namespace: string, reserved: Buffer): Buffer {
  const length = uint32(hash === "sha512" ? 64 : 32);
  return Buffer.concat([MAGIC, sshString(namespace), sshString(reserved), sshString(hash), length]);
}

/** Verifies an armored signature over `message`: the key that made it. Throws BAD_SIGNATURE with what is wrong. */
export async function verifySshsig(armored: string, message: Uint8Array): Promise<SshPublicKey> {
  const sshsig = decodeSshsig(dearmorSshsig(armored));
  const { key, namespace, reserved, hash, signature } = sshsig;
  if (namespace !== GIT_NAMESPACE) throw bad("was made for another purpose: its namespace is not 'git'");
  if (!(await verifySshSignature(key, signature, sshsigMessage(message, hash, namespace, reserved)))) {
    throw bad("does not fit what is signed");
  }
  return key;
}

/**
 * Whether `signature` (string algorithm, string bytes, ...) over `data` is the key's. Throws BAD_SIGNATURE where it is
 * malformed, of an algorithm that does not go with the key, or made by a security key that nobody touched.
 */
export function verifySshSignature(
  { type, key, application }: SshPublicKey,
  signature: Buffer,
  data: Buffer,
): boolean | Promise<boolean> {
  const read = new SshReader(signature, "SSH signature");
  const algorithm = read.text();
  const bytes = read.string();
  const signed = application === undefined ? data : securityKeyData(read, application, data);
  read.end();
  if (key.kind === "other" && type === "ssh-rsa") return verifyRsa(key.object, algorithm, bytes, signed);
  if (algorithm !== type) throw bad("is of another algorithm than its key");
  if (key.kind === "other") return verifyEcdsa(type, key.object, bytes, signed);
  if (bytes.length !== 64) throw bad(`has ${bytes.length} bytes of Ed25519, not 64`);
  return verifyEd25519(key.point, signed, bytes);
}

/** Loaded when it is needed: most keys are Ed25519. */
const nodeCrypto = () => process.getBuiltinModule("node:crypto");

function verifyEcdsa(type: SshKeyType, key: KeyObject, bytes: Buffer, signed: Buffer): boolean {
  return nodeCrypto().verify(ecdsaHash(type), signed, { key, dsaEncoding: "ieee-p1363" }, ecdsaNumbers(type, bytes));
}

function securityKeyData(read: SshReader, application: string, data: Buffer): Buffer {
  const flags = read.byte();
  const counter = read.uint32();
  if ((flags & 1) === 0) throw bad("was made by a security key without being touched");
  const origin = sshHash("sha256", Buffer.from(application, "latin1"));
  return Buffer.concat([origin, Buffer.of(flags), uint32(counter), sshHash("sha256", data)]);
}

function verifyRsa(key: KeyObject, algorithm: string, bytes: Buffer, signed: Buffer): boolean {
  if (algorithm !== "rsa-sha2-256" && algorithm !== "rsa-sha2-512") {
    throw bad("is of RSA with SHA-1 or another algorithm; rsa-sha2-256 and rsa-sha2-512 are taken");
  }
  const bits = key.asymmetricKeyDetails!.modulusLength!;
  if (bytes.length !== Math.ceil(bits / 8)) throw bad("is not as long as its RSA key");
  return nodeCrypto().verify(algorithm === "rsa-sha2-256" ? "sha256" : "sha512", signed, key, bytes);
}

function ecdsaHash(type: SshKeyType): "sha256" | "sha384" | "sha512" {
  if (type.endsWith("nistp384")) return "sha384";
  return type.endsWith("nistp521") ? "sha512" : "sha256";
}

/** r and s, one after the other, each as long as the curve's numbers. */
function ecdsaNumbers(type: SshKeyType, bytes: Buffer): Buffer {
  const size = curveSize(type);
  const read = new SshReader(bytes, "SSH signature");
  const numbers = Buffer.alloc(2 * size);
  for (const end of [size, 2 * size]) {
    const number = read.positive();
    if (number.length > size) throw bad("holds a number that is larger than its curve");
    number.copy(numbers, end - number.length);
  }
  read.end();
  return numbers;
}

/** The signature bytes of ECDSA from r and s one after the other. */
export function ecdsaSignature(numbers: Buffer): Buffer {
  const half = numbers.length / 2;
  return Buffer.concat([sshPositive(numbers.subarray(0, half)), sshPositive(numbers.subarray(half))]);
}
