/** OpenPGP signatures that gpg does not make: of version 6, of text, several at once, by keys that must not sign. */

import { describe, expect, test } from "bun:test";
import * as openpgp from "openpgp";
import { type OpenPgpVerdict, readOpenPgpKey, verifyOpenPgp } from "../../../src/gitwire/object/openpgp.ts";

const MESSAGE = Buffer.from("tree 0\n\nmessage\n");
const DAY = 86_400_000;
const NOW = Date.parse("2026-06-01T00:00:00Z");
const MADE = new Date(NOW - 10 * DAY);

type KeyOptions = Partial<Parameters<typeof openpgp.generateKey>[0]>;

/** A key made ten days ago. */
async function newKey(options: KeyOptions = {}): Promise<openpgp.PrivateKey> {
  const userIDs = { name: "Zoë", email: "zoe@example.org" };
  const { privateKey } = await openpgp.generateKey({
    type: "ecc",
    curve: "ed25519Legacy",
    userIDs,
    date: MADE,
    ...options,
    format: "object",
  } as Parameters<typeof openpgp.generateKey>[0] & { format: "object" });
  return privateKey as openpgp.PrivateKey;
}

interface SignOptions {
  readonly message?: openpgp.Message<string | Uint8Array>;
  readonly keys?: readonly openpgp.PrivateKey[];
  readonly date?: Date;
  readonly config?: openpgp.PartialConfig;
}

async function signed(key: openpgp.PrivateKey, options: SignOptions = {}): Promise<string> {
  const message = options.message ?? (await openpgp.createMessage({ binary: Uint8Array.from(MESSAGE) }));
  const armored = await openpgp.sign({
    message: message as openpgp.Message<Uint8Array>,
    signingKeys: [key, ...(options.keys ?? [])],
    detached: true,
    date: options.date ?? new Date(NOW),
    config: options.config ?? {},
  });
  return (armored as string).replaceAll("\r\n", "\n");
}

async function judge(
  armored: string,
  keys: readonly openpgp.PublicKey[],
  now = NOW,
  isClaimed = false,
): Promise<OpenPgpVerdict> {
  const read = await Promise.all(keys.map((key) => readOpenPgpKey(key.armor())));
  return verifyOpenPgp(armored, MESSAGE, read, { now, isClaimed });
}
const reason = (verdict: OpenPgpVerdict): string => (verdict.kind === "bad" ? verdict.reason : `it is ${verdict.kind}`);

describe("good", () => {
  test("keys of version 6, with Ed25519 and Ed448", async () => {
    for (const type of ["curve25519", "curve448"] as const) {
      const key = await newKey({ type, config: { v6Keys: true } });
      expect(key.keyPacket.version).toBe(6);
      const fingerprint = key.getFingerprint().toUpperCase();
      expect(fingerprint).toHaveLength(64);
      expect(await judge(await signed(key), [key.toPublic()])).toMatchObject({
        kind: "good",
        key: { fingerprint, userIds: ["Zoë <zoe@example.org>"] },
        signedBy: fingerprint,
      });
    }
  });

  test("a signing subkey", async () => {
    const key = await newKey({ subkeys: [{ sign: true }, {}] });
    const subkey = key.subkeys.find(({ bindingSignatures: [binding] }) => binding!.embeddedSignature)!;
    expect(await judge(await signed(key), [key.toPublic()])).toMatchObject({
      kind: "good",
      signedBy: subkey.getFingerprint().toUpperCase(),
    });
  });

  test("a clock a little ahead", async () => {
    const key = await newKey();
    const ahead = (minutes: number) => signed(key, { date: new Date(NOW + minutes * 60_000) });
    expect((await judge(await ahead(9), [key.toPublic()])).kind).toBe("good");
    expect(reason(await judge(await ahead(11), [key.toPublic()]))).toContain("from the future");
  });

  test("a commit that claims to be older: the signature's own date counts, where the time of receipt is not known", async () => {
    const key = await newKey();
    const armored = await signed(key);
    const claimed = NOW - 400 * DAY;
    expect((await judge(armored, [key.toPublic()], claimed, true)).kind).toBe("good");
    expect(reason(await judge(armored, [key.toPublic()], claimed))).toContain("from the future");
    const short = await newKey({ keyExpirationTime: (20 * DAY) / 1000 });
    expect(reason(await judge(await signed(short), [short.toPublic()], NOW + 11 * DAY, true))).toContain("expired");
  });

  test("a key that was renewed after it signed", async () => {
    const key = await newKey({ keyExpirationTime: (20 * DAY) / 1000 });
    const armored = await signed(key);
    expect((await judge(armored, [key.toPublic()])).kind).toBe("good");
    expect(reason(await judge(armored, [key.toPublic()], NOW + 11 * DAY))).toContain("expired");
    const renewed = await openpgp.reformatKey({
      privateKey: key,
      userIDs: { name: "Zoë", email: "zoe@example.org" },
      date: new Date(NOW + DAY),
      format: "object",
    });
    expect((await judge(armored, [renewed.publicKey], NOW + 11 * DAY)).kind).toBe("good");
  });
});

describe("bad", () => {
  test("over text, where line ends do not count", async () => {
    const key = await newKey();
    const message = await openpgp.createMessage({ text: MESSAGE.toString() });
    expect(reason(await judge(await signed(key, { message }), [key.toPublic()]))).toContain(
      "not one over a binary document",
    );
  });

  test("two signatures in one block", async () => {
    const [key, other] = [await newKey(), await newKey()];
    const armored = await signed(key, { keys: [other] });
    expect(reason(await judge(armored, [key.toPublic(), other.toPublic()]))).toContain("holds 2 signatures, not one");
  });

  test("by another key than those given, and by one that only shares the user id", async () => {
    const [key, other] = [await newKey(), await newKey()];
    const keyId = key.getKeyID().toHex().toUpperCase();
    expect(await judge(await signed(key), [other.toPublic()])).toEqual({ kind: "unknown", keyId });
    expect(await judge(await signed(key), [])).toEqual({ kind: "unknown", keyId });
  });

  test("revoked before or after: a revocation counts from then on, one for a leaked key always", async () => {
    const key = await newKey();
    const armored = await signed(key);
    const revoke = async (flag: openpgp.enums.reasonForRevocation) =>
      (await openpgp.revokeKey({ key, reasonForRevocation: { flag }, date: new Date(NOW + DAY), format: "object" }))
        .publicKey;
    const retired = await revoke(openpgp.enums.reasonForRevocation.keyRetired);
    expect((await judge(armored, [retired])).kind).toBe("good");
    expect(reason(await judge(armored, [retired], NOW + 2 * DAY))).toContain("revoked");
    const leaked = await revoke(openpgp.enums.reasonForRevocation.keyCompromised);
    expect(reason(await judge(armored, [leaked]))).toContain("revoked");
  });

  test("armor cut, doubled, or of another kind", async () => {
    const key = await newKey();
    const armored = await signed(key);
    expect((await judge(armored, [key.toPublic()])).kind).toBe("good");
    const lines = armored.trimEnd().split("\n");
    for (const text of [
      "",
      armored + armored,
      `${armored}x\n`,
      `x\n${armored}`,
      armored.replaceAll("SIGNATURE", "MESSAGE"),
      key.toPublic().armor(),
      [...lines.slice(0, -3), lines.at(-1), ""].join("\n"),
      [lines[0], "", "AAAA", lines.at(-1), ""].join("\n"),
      `${lines[0]}\n\n${"A".repeat(70_000)}\n${lines.at(-1)}\n`,
    ]) {
      expect((await judge(text, [key.toPublic()])).kind).toBe("bad");
    }
  });
});
