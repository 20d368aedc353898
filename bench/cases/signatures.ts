/**
 * Signature checks per second for each type of key: the whole check of a signed commit, as a Stargate and `verify` make it,
 * and beside it the bare arithmetic of the noble libraries on the same key and the same bytes. noble has no RSA; OpenPGP is
 * checked by a library of its own.
 */

import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { p256, p384, p521 } from "@noble/curves/nist.js";
import * as ed25519 from "@noble/ed25519";
import {
  joinSignature,
  type SignatureContext,
  splitCommit,
  verifyCommitSignature,
} from "../../src/gitwire/object/commit-signature.ts";
import { SHA1 } from "../../src/gitwire/object/oid.ts";
import { readOpenPgpKey } from "../../src/gitwire/object/openpgp.ts";
import { SshReader } from "../../src/gitwire/object/ssh-wire.ts";
import { dearmorSshsig, decodeSshsig, type Sshsig, sshsigMessage } from "../../src/gitwire/object/sshsig.ts";
import { tokenSigns } from "../../tests/support/security-key.ts";
import { median } from "../measure.ts";
import type { Row } from "../table.ts";
import type { Case } from "./case.ts";

const VECTORS = path.join(import.meta.dir, "../../tests/vectors/signatures");
/** Checks in one sample: some milliseconds' worth of the slowest. */
const CHECKS = 20;

ed25519.hashes.sha512 = (message) => new Uint8Array(createHash("sha512").update(message).digest());

const vector = (name: string): Buffer => fs.readFileSync(path.join(VECTORS, `${name}.sha1.commit`));
const text = (name: string): string => fs.readFileSync(path.join(VECTORS, name), "utf8");

export const signatures: Case = async ({ runs }) => {
  const rows: Row[] = [];
  const ssh = ["ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa2048", "rsa4096"];
  const commits = new Map(ssh.map((name) => [name, vector(name)]));
  const { payload } = splitCommit(SHA1, vector("ed25519"));
  for (const kind of ["ed25519", "ecdsa"] as const) {
    commits.set(`sk-${kind}`, joinSignature(SHA1, payload, tokenSigns(kind, payload).armored));
  }
  for (const [name, commit] of commits) {
    const ours = await perSecond(runs.short, checkOf(commit));
    const noble = nobleCheck(commit);
    const other = noble && { name: "noble, arithmetic only", value: await perSecond(Math.min(runs.short, 7), noble) };
    rows.push({ name: `signature check, ${name}`, unit: "per second", ours, ...(other && { other }) });
  }
  for (const name of ["pgp-ed25519", "pgp-rsa3072", "pgp-nistp384"]) {
    const openpgpKeys = [await readOpenPgpKey(text(`${name}.asc`))];
    const ours = await perSecond(runs.middle, checkOf(vector(name), openpgpKeys));
    rows.push({ name: `signature check, ${name}`, unit: "per second", ours, extra: "by the library openpgp" });
  }
  return rows;
};

type Check = () => unknown;

function checkOf(commit: Buffer, openpgpKeys: SignatureContext["openpgpKeys"] = []): Check {
  return async () => {
    const { kind } = await verifyCommitSignature(SHA1, commit, { now: Date.now(), openpgpKeys });
    if (kind !== "good") throw new Error(`the signature is ${kind}`);
  };
}

const CURVES = { "ecdsa-sha2-nistp256": p256, "ecdsa-sha2-nistp384": p384, "ecdsa-sha2-nistp521": p521 };

/** noble's check of what is signed in the end; undefined for keys it does not know, and security keys, which wrap others. */
function nobleCheck(commit: Buffer): Check | undefined {
  const { payload, signature } = splitCommit(SHA1, commit);
  const sshsig = decodeSshsig(dearmorSshsig(signature!));
  const message = sshsigMessage(payload, sshsig.hash);
  const must = (good: boolean): void => {
    if (!good) throw new Error("noble says it is bad");
  };
  const [point, bytes] = [publicPoint(sshsig), signatureBytes(sshsig)];
  const { type } = sshsig.key;
  if (type === "ssh-ed25519") return () => must(ed25519.verify(bytes, message, point, { zip215: false }));
  if (!Object.hasOwn(CURVES, type)) return undefined;
  const curve = CURVES[type as keyof typeof CURVES];
  const read = new SshReader(Buffer.from(bytes), "numbers");
  const size = curve.lengths.secretKey!;
  const padded = (number: Buffer): Buffer => Buffer.concat([Buffer.alloc(size - number.length), number]);
  const compact = Uint8Array.from(Buffer.concat([padded(read.positive()), padded(read.positive())]));
  return () => must(curve.verify(compact, message, point, { lowS: false }));
}

/** The last string but for the application: the point of the key. */
function publicPoint({ key }: Sshsig): Uint8Array {
  const read = new SshReader(key.blob, "key");
  let last = read.string();
  while (!read.atEnd && key.application === undefined && key.type !== "ssh-rsa") last = read.string();
  return Uint8Array.from(last);
}

function signatureBytes({ signature }: Sshsig): Uint8Array {
  const read = new SshReader(signature, "signature");
  read.string();
  return Uint8Array.from(read.string());
}

async function perSecond(samples: number, check: Check): Promise<number> {
  const rates: number[] = [];
  for (let sample = -2; sample < samples; sample++) {
    const started = performance.now();
    for (let i = 0; i < CHECKS; i++) await check();
    if (sample >= 0) rates.push((CHECKS * 1000) / (performance.now() - started));
  }
  return median(rates);
}
