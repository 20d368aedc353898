/**
 * OpenPGP signatures (RFC 9580; RFC 4880 before it) as `gpg --detach-sign --armor` makes them and git keeps them in commits.
 * The work is done by the library `openpgp`, which is loaded when the first key or signature turns up, not before.
 *
 * Stricter than the library: exactly one signature, of a binary document; no SHA-1 or MD5 anywhere, in the signature or in
 * what binds the key together; no DSA; RSA of 2048 bits or more. Whether a key is expired or revoked is judged at the time
 * that is passed in: the date in a signature is whatever its maker writes there.
 */

import type { PublicKey, Signature, SignaturePacket } from "openpgp";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";

/** A public key (with its subkeys) that was read and found to be one. */
export interface OpenPgpKey {
  /** Of the primary key, upper-case hex as gpg prints it. */
  readonly fingerprint: string;
  readonly userIds: readonly string[];
  /** The library's own form. */
  readonly key: PublicKey;
}

/** What a signature says. */
export type OpenPgpVerdict =
  | {
      readonly kind: "good";
      readonly key: OpenPgpKey;
      /** Of the key or subkey that signed. */
      readonly signedBy: string;
    }
  /** None of the keys given has made it. */
  | { readonly kind: "unknown"; readonly keyId: string }
  | { readonly kind: "bad"; readonly reason: string };

const SIGNATURE = /^-----BEGIN PGP SIGNATURE-----\n(?:(?!-----)[^\n]*\n)+-----END PGP SIGNATURE-----\r?\n?$/;
const KEY = /^-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:(?!-----)[^\n]*\n)+-----END PGP PUBLIC KEY BLOCK-----\s*$/;
/** Milliseconds by which the clock that made a signature may be ahead of ours. */
const CLOCK_SKEW = 10 * 60 * 1000;

type Library = typeof import("openpgp");

let loading: Promise<Library> | undefined;
const library = (): Promise<Library> => {
  loading ??= import("openpgp");
  return loading;
};

function strictness({ config, enums }: Library) {
  return {
    rejectHashAlgorithms: new Set([...config.rejectHashAlgorithms, enums.hash.sha1, enums.hash.md5]),
    rejectMessageHashAlgorithms: new Set([...config.rejectMessageHashAlgorithms, enums.hash.sha1, enums.hash.md5]),
    minRSABits: 2048,
    // Where a key was renewed, what binds it may be younger than the signature: it is judged at the time of receipt.
    allowInsecureVerificationWithReformattedKeys: true,
  };
}

/** True where the text is meant to be an OpenPGP signature. */
export function isOpenPgpSignature(armored: string): boolean {
  return armored.startsWith("-----BEGIN PGP SIGNATURE-----\n");
}

/** Reads an armored public key. Throws INPUT_INVALID where it is not exactly one. */
export async function readOpenPgpKey(armored: string): Promise<OpenPgpKey> {
  const text = armored.trimStart();
  const invalid = (problem: string, cause?: unknown): KvError =>
    new KvError("INPUT_INVALID", `the OpenPGP public key ${problem}`, {
      hint: "'gpg --armor --export-options export-minimal --export KEY' prints it",
      cause,
    });
  if (text.length > LIMITS.openpgpKey) throw invalid(`is longer than ${LIMITS.openpgpKey} characters`);
  if (!KEY.test(text)) throw invalid("is not one armored block");
  const { readKeys } = await library();
  const keys = await readKeys({ armoredKeys: text }).catch((cause: unknown) => {
    throw invalid(`cannot be read: ${reasonOf(cause)}`, cause);
  });
  const [key, ...more] = keys;
  if (key === undefined || more.length > 0) throw invalid(`block holds ${keys.length} keys, not one`);
  return { fingerprint: key.getFingerprint().toUpperCase(), userIds: key.getUserIDs(), key };
}

/**
 * Judges an armored detached signature over `message` with the keys in `keys`, at the time `now` (milliseconds), or its own where that is
 * later and `now` is only claimed. Never throws for what the signature holds.
 */
export async function verifyOpenPgp(
  armored: string,
  message: Uint8Array,
  keys: readonly OpenPgpKey[],
  time: { readonly now: number; readonly isClaimed?: boolean },
): Promise<OpenPgpVerdict> {
  if (armored.length > LIMITS.openpgpSignature) return bad(`is longer than ${LIMITS.openpgpSignature} characters`);
  if (!SIGNATURE.test(armored)) return bad("is not one armored block");
  const openpgp = await library();
  let signature: Signature;
  try {
    signature = await openpgp.readSignature({ armoredSignature: armored });
  } catch (error) {
    return bad(`cannot be read: ${reasonOf(error)}`);
  }
  const [packet, ...more] = signature.packets as unknown as SignaturePacket[];
  if (packet === undefined || more.length > 0)
    return bad(`block holds ${signature.packets.length} signatures, not one`);
  if (packet.signatureType !== openpgp.enums.signature.binary) return bad("is not one over a binary document");
  const created = packet.created?.getTime() ?? 0;
  const now = time.isClaimed === true ? Math.max(time.now, created) : time.now;
  if (created > now + CLOCK_SKEW) return bad("is from the future");
  const candidates = keys.filter(({ key }) => key.getKeys(packet.issuerKeyID).length > 0);
  if (candidates.length === 0) return { kind: "unknown", keyId: packet.issuerKeyID.toHex().toUpperCase() };
  let verdict: OpenPgpVerdict = bad("does not fit");
  // A key id has 64 bits only: two keys may share one.
  for (const candidate of candidates) {
    verdict = await verifyWith(openpgp, signature, packet, message, candidate, now);
    if (verdict.kind === "good") break;
  }
  return verdict;
}

async function verifyWith(
  openpgp: Library,
  signature: Signature,
  packet: SignaturePacket,
  message: Uint8Array,
  candidate: OpenPgpKey,
  now: number,
): Promise<OpenPgpVerdict> {
  const config = strictness(openpgp);
  const { key } = candidate;
  try {
    const { signatures } = await openpgp.verify({
      message: await openpgp.createMessage({ binary: message }),
      signature,
      verificationKeys: key,
      date: new Date(Math.max(now, packet.created?.getTime() ?? 0)),
      config,
    });
    for (const { verified } of signatures) await verified;
    if (signatures.length !== 1) return bad("is of a kind that signs no document");
    // The library asks whether the key was good when the signature says it was made; what counts is when it was received.
    const signer = await key.getSigningKey(packet.issuerKeyID, new Date(now), undefined, {
      ...openpgp.config,
      ...config,
    });
    return { kind: "good", key: candidate, signedBy: signer.getFingerprint().toUpperCase() };
  } catch (error) {
    return bad(`by ${candidate.fingerprint} is not valid: ${reasonOf(error)}`);
  }
}

const bad = (problem: string): OpenPgpVerdict => ({ kind: "bad", reason: `the OpenPGP signature ${problem}` });

/** The library's own words, as a part of a sentence on one line. */
function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/[^\x20-\x7e]+/g, " ").slice(0, 200);
}
