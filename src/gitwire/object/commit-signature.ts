/**
 * The signature in a commit (git: gitformat-signature): the header `gpgsig` in a sha1 repository, `gpgsig-sha256` in a sha256
 * one. What is signed is the commit without that header, byte for byte.
 *
 * git ignores whatever further `gpgsig...` headers there are, so that one signature would fit any number of commits; and of a
 * doubled header two readers may each believe another one. Such a commit has no good signature here.
 */

import { asBuffer } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import type { ObjectFormat } from "./oid.ts";
import { isOpenPgpSignature, type OpenPgpKey, verifyOpenPgp } from "./openpgp.ts";
import { type SshKeyType, type SshPublicKey, sshFingerprint } from "./ssh-key.ts";
import { isSshsig, verifySshsig } from "./sshsig.ts";

/** Who signed. */
export type Signer =
  | {
      readonly kind: "ssh";
      readonly type: SshKeyType;
      /** The public key, base64 as in a `.pub` file: two signers are the same where this is. */
      readonly blob: string;
      /** `SHA256:...` */
      readonly fingerprint: string;
    }
  | {
      readonly kind: "openpgp";
      /** Of the primary key, upper-case hex. */
      readonly fingerprint: string;
      /** Of the key or subkey that signed. */
      readonly signedBy: string;
      readonly userIds: readonly string[];
    };

/** What is to be said of a commit's signature. */
export type SignatureVerdict =
  | { readonly kind: "unsigned" }
  | { readonly kind: "good"; readonly signer: Signer }
  /** By an OpenPGP key that is none of those given: nobody can tell whether it is good. */
  | { readonly kind: "unknown"; readonly keyId: string }
  | { readonly kind: "bad"; readonly reason: string };

/** What a verdict depends on besides the commit. */
export interface SignatureContext {
  /** When the commit was received, in milliseconds: keys must be valid then. */
  readonly now: number;
  /** True where nobody knows that, and `now` is what the commit says: then a signature's own date counts where it is later. */
  readonly isClaimed?: boolean;
  /** The OpenPGP keys a signature may be by; SSH signatures hold their key. */
  readonly openpgpKeys?: readonly OpenPgpKey[];
}

/** A commit taken apart; `signature` is undefined where there is none. */
export interface SplitCommit {
  /** What is signed. */
  readonly payload: Buffer;
  /** Armored. */
  readonly signature: string | undefined;
}

/** Name of the header that holds the signature. */
export function signatureHeader(format: ObjectFormat): string {
  return format.name === "sha1" ? "gpgsig" : "gpgsig-sha256";
}

/** Judges the signature of a commit. Never throws for what the commit holds. */
export async function verifyCommitSignature(
  format: ObjectFormat,
  commit: Uint8Array,
  context: SignatureContext,
): Promise<SignatureVerdict> {
  try {
    const { payload, signature } = splitCommit(format, commit);
    if (signature === undefined) return { kind: "unsigned" };
    if (isSshsig(signature)) return { kind: "good", signer: sshSigner(await verifySshsig(signature, payload)) };
    if (isOpenPgpSignature(signature)) return await openPgpVerdict(signature, payload, context);
    return { kind: "bad", reason: "the signature is neither an SSH nor an OpenPGP one" };
  } catch (error) {
    if (error instanceof KvError && error.code === "BAD_SIGNATURE") return { kind: "bad", reason: error.message };
    throw error;
  }
}

/** Signers by their keys, which a ledger has few of: the same object while a key is remembered (sshsig.ts). */
const signers = new WeakMap<SshPublicKey, Signer>();

function sshSigner(key: SshPublicKey): Signer {
  const known = signers.get(key);
  if (known !== undefined) return known;
  const { type, blob } = key;
  const signer: Signer = { kind: "ssh", type, blob: blob.toString("base64"), fingerprint: sshFingerprint(blob) };
  signers.set(key, signer);
  return signer;
}

async function openPgpVerdict(
  signature: string,
  payload: Buffer,
  context: SignatureContext,
): Promise<SignatureVerdict> {
  const verdict = await verifyOpenPgp(signature, payload, context.openpgpKeys ?? [], context);
  if (verdict.kind !== "good") return verdict;
  const { key, signedBy } = verdict;
  return { kind: "good", signer: { kind: "openpgp", fingerprint: key.fingerprint, signedBy, userIds: key.userIds } };
}

/** Takes a commit apart. Throws BAD_SIGNATURE where its headers could be read in two ways. */
export function splitCommit(format: ObjectFormat, commit: Uint8Array): SplitCommit {
  const data = asBuffer(commit);
  const end = data.indexOf("\n\n");
  const header = data.latin1Slice(0, end < 0 ? data.length : end + 1);
  if (header.includes("\0")) throw new KvError("BAD_SIGNATURE", "the commit has a NUL byte in its headers");
  const wanted = signatureHeader(format);
  const plain = end < 0 ? undefined : splitPlain(data, header, wanted);
  if (plain !== undefined) return plain;
  const seen: string[] = [];
  let signature: string | undefined;
  let payload: Buffer = data;
  // By hand: a regular expression over folded lines gives up on a few megabytes of them.
  for (let from = 0, to = 0; from < header.length; from = to) {
    to = endOfLine(header, from);
    const space = header.indexOf(" ", from);
    const name = header.slice(from, space < 0 || space >= to ? to - 1 : space);
    while (header[to] === " ") to = endOfLine(header, to);
    requireUnambiguous(name, wanted, seen);
    seen.push(name);
    if (name !== wanted) continue;
    signature = signatureText(header.slice(from + name.length, to));
    payload = Buffer.concat([data.subarray(0, from), data.subarray(to)]);
  }
  return { payload, signature };
}

/** The headers before a signature, where git writes it: nothing among them can be read in two ways. */
const PLAIN_HEAD = /^tree [0-9a-f]+\n(?:parent [0-9a-f]+\n)*author .*\ncommitter .*\n$/;

/** A commit whose last header is its only signature, behind the four that each has: nearly all that are signed. */
function splitPlain(data: Buffer, header: string, wanted: string): SplitCommit | undefined {
  const from = header.lastIndexOf(`\n${wanted} `) + 1;
  const value = header.slice(from + wanted.length);
  if (from === 0 || !PLAIN_HEAD.test(header.slice(0, from)) || /\n[^ ]/.test(value)) return undefined;
  return {
    payload: Buffer.concat([data.subarray(0, from), data.subarray(header.length)]),
    signature: signatureText(value),
  };
}

/** The value of the header: the first space and those that fold its lines removed. */
function signatureText(value: string): string {
  if (value.length > 2 * LIMITS.openpgpSignature) {
    throw new KvError("BAD_SIGNATURE", `the signature is longer than ${LIMITS.openpgpSignature} characters`);
  }
  return `\n${value}`.replaceAll("\n ", "\n").slice(1);
}

/** Puts a signature into a commit that has none, where git puts it: after the last header. */
export function joinSignature(format: ObjectFormat, payload: Uint8Array, signature: string): Buffer {
  const data = asBuffer(payload);
  const at = data.indexOf("\n\n") + 1;
  const folded = signature.replace(/\n$/, "").replaceAll("\n", "\n ");
  const header = Buffer.from(`${signatureHeader(format)} ${folded}\n`, "latin1");
  return Buffer.concat([data.subarray(0, at), header, data.subarray(at)]);
}

/** Where the next line begins. */
function endOfLine(header: string, from: number): number {
  const end = header.indexOf("\n", from);
  if (end < 0) throw new KvError("BAD_SIGNATURE", "the commit's headers are malformed");
  return end + 1;
}

/** Headers that must not come twice. Parents may, right after each other: what is in between is caught by the order. */
const SINGLE = ["tree", "author", "committer", "encoding"];

function requireUnambiguous(name: string, wanted: string, seen: readonly string[]): void {
  const wrong = (problem: string): KvError => new KvError("BAD_SIGNATURE", `the commit has ${problem}`);
  if (name !== wanted && name.slice(0, GPGSIG.length).toLowerCase() === GPGSIG)
    throw wrong(`a header '${printable(name)}' where only '${wanted}' can be`);
  if (name === "parent" && seen.includes("author")) throw wrong("a 'parent' header where none belongs");
  if (!seen.includes(name)) return;
  if (name === wanted) throw wrong("two signatures");
  if (SINGLE.includes(name)) throw wrong(`two '${name}' headers`);
}

/** What all headers with signatures begin with. */
const GPGSIG = "gpgsig";

const printable = (name: string): string => name.replace(/[^\x21-\x7e]/g, "?").slice(0, 60);
