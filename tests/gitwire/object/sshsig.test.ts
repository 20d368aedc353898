/** SSH signatures, held against `ssh-keygen -Y sign` and `-Y verify`. Security keys are played by keys of the runtime. */

import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../../src/errors.ts";
import { encodeSshKey } from "../../../src/gitwire/object/ssh-key.ts";
import { parsePrivateKey, signWithKey } from "../../../src/gitwire/object/ssh-private-key.ts";
import { SshReader, sshString, uint32 } from "../../../src/gitwire/object/ssh-wire.ts";
import {
  armorSshsig,
  dearmorSshsig,
  decodeSshsig,
  ecdsaSignature,
  encodeSshsig,
  sshsigMessage,
  verifySshsig,
} from "../../../src/gitwire/object/sshsig.ts";
import { random } from "../../support/random.ts";
import { type Touch, tokenSigns as token } from "../../support/security-key.ts";
import { newKey, run, SSH_TYPES } from "../../support/signing.ts";
import { tempDir } from "../../support/temp.ts";

const MESSAGE = Buffer.from("tree 0\nauthor é\n\nmessage\n");

/** What we say: "good", or what is wrong. */
async function verdict(armored: string, message: Buffer = MESSAGE): Promise<string> {
  try {
    await verifySshsig(armored, message);
    return "good";
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    expect(error.code).toBe("BAD_SIGNATURE");
    return error.message;
  }
}

/** What ssh-keygen says of a signature by the key `blob`. */
function opensshAccepts(armored: string, blob: Buffer): boolean {
  const dir = tempDir("sshsig");
  const [signature, signers] = [path.join(dir, "sig"), path.join(dir, "signers")];
  fs.writeFileSync(signature, armored);
  const type = new SshReader(blob, "key").text();
  fs.writeFileSync(signers, `me ${type} ${blob.toString("base64")}\n`);
  const args = ["-Y", "verify", "-n", "git", "-I", "me", "-f", signers, "-s", signature];
  return spawnSync("ssh-keygen", args, { input: MESSAGE }).status === 0;
}

function opensshSigns(file: string, namespace = "git", hash = "sha512"): string {
  const message = path.join(tempDir("sshsig"), "message");
  fs.writeFileSync(message, MESSAGE);
  run("ssh-keygen", ["-q", "-Y", "sign", "-n", namespace, "-O", `hashalg=${hash}`, "-f", file, message]);
  return fs.readFileSync(`${message}.sig`, "utf8");
}

/** The signature taken apart, changed and put together again. */
function changed(armored: string, change: (parts: Buffer[]) => void): string {
  const read = new SshReader(dearmorSshsig(armored), "signature");
  const parts = [read.bytes(6), read.bytes(4), ...Array.from({ length: 5 }, () => read.string())];
  change(parts);
  const [magic, version, ...strings] = parts as [Buffer, Buffer, ...Buffer[]];
  return armorSshsig(Buffer.concat([magic, version, ...strings.map(sshString)]));
}
const KEY = 2;
const NAMESPACE = 3;
const RESERVED = 4;
const HASH = 5;
const SIGNATURE = 6;

/** Algorithm and bytes of the inner signature, changed. */
const inner = (change: (algorithm: string, bytes: Buffer) => readonly [string, Buffer]) => (parts: Buffer[]) => {
  const read = new SshReader(parts[SIGNATURE]!, "signature");
  const [algorithm, bytes] = change(read.text(), Buffer.from(read.string()));
  parts[SIGNATURE] = Buffer.concat([sshString(algorithm), sshString(bytes)]);
};

describe("ours and ssh-keygen's", () => {
  for (const type of SSH_TYPES) {
    test(`${type}: each takes the other's`, async () => {
      const { file, line } = newKey(type);
      const key = parsePrivateKey(fs.readFileSync(file, "utf8"));
      if (key.kind !== "plain") throw new Error("it is locked");
      const { blob } = key.publicKey;
      expect(blob.toString("base64")).toBe(line.split(" ")[1]!);
      for (const hash of ["sha512", "sha256"] as const) {
        const theirs = opensshSigns(file, "git", hash);
        expect(await verdict(theirs)).toBe("good");
        expect(armorSshsig(dearmorSshsig(theirs))).toBe(theirs);
        const message = sshsigMessage(MESSAGE, hash);
        const ours = armorSshsig(encodeSshsig(blob, hash, signWithKey(key.publicKey.type, key.privateKey, message)));
        expect(await verdict(ours)).toBe("good");
        expect(opensshAccepts(ours, blob)).toBe(true);
        expect(await verdict(ours, Buffer.concat([MESSAGE, Buffer.of(10)]))).toBe(
          "the SSH signature does not fit what is signed",
        );
      }
    });
  }

  test("a reserved field is ignored and signed, as the protocol asks", async () => {
    const key = generateKeyPairSync("ed25519").privateKey;
    const blob = blobOf(key);
    const reserved = Buffer.from("later");
    const signature = signWithKey("ssh-ed25519", key, sshsigMessage(MESSAGE, "sha512", "git", reserved));
    const armored = armorSshsig(encodeSshsig(blob, "sha512", signature));
    expect(await verdict(armored)).toContain("does not fit");
    expect(await verdict(changed(armored, (parts) => parts.splice(RESERVED, 1, reserved)))).toBe("good");
  });
});

/** The blob of a private key's public half. */
function blobOf(key: KeyObject): Buffer {
  return encodeSshKey(createPublicKey(key))!;
}

describe("refused", () => {
  const ed25519 = newKey();
  const good = opensshSigns(ed25519.file);

  test("every namespace but git", async () => {
    for (const namespace of ["file", "email", "GIT", "git ", "git@example.com"]) {
      expect(await verdict(opensshSigns(ed25519.file, namespace))).toContain("its namespace is not 'git'");
    }
    const forged = changed(opensshSigns(ed25519.file, "file"), (parts) =>
      parts.splice(NAMESPACE, 1, Buffer.from("git")),
    );
    expect(await verdict(forged)).toContain("does not fit");
  });

  test("other versions, hashes and keys, trailing and missing bytes", async () => {
    expect(await verdict(good)).toBe("good");
    expect(await verdict(changed(good, (parts) => parts.splice(1, 1, uint32(2))))).toContain("of version 2");
    for (const hash of ["sha1", "md5", "SHA512", ""]) {
      expect(await verdict(changed(good, (parts) => parts.splice(HASH, 1, Buffer.from(hash))))).toContain(
        "neither sha256 nor",
      );
    }
    const other = newKey();
    const theirBlob = Buffer.from(other.line.split(" ")[1]!, "base64");
    expect(await verdict(changed(good, (parts) => parts.splice(KEY, 1, theirBlob)))).toContain("does not fit");
    const blob = dearmorSshsig(good);
    for (let length = 0; length < blob.length; length += 3) {
      expect(await verdict(armorSshsig(blob.subarray(0, length)))).not.toBe("good");
    }
    expect(await verdict(armorSshsig(Buffer.concat([blob, Buffer.of(0)])))).toContain("1 bytes too many");
    expect(
      await verdict(
        changed(good, (parts) => parts.splice(SIGNATURE, 1, Buffer.concat([parts[SIGNATURE]!, Buffer.of(0)]))),
      ),
    ).toContain("too many");
  });

  test("armor with anything besides, and base64 that is not canonical", async () => {
    const lines = good.trimEnd().split("\n");
    for (const text of [
      `x\n${good}`,
      `${good}x`,
      `${good}\n`,
      good.replace("\n", "\n\n-----BEGIN SSH SIGNATURE-----\n"),
      good.replace("BEGIN SSH", "BEGIN  SSH"),
      [lines[0], "A A=", lines.at(-1)].join("\n"),
      [lines[0], lines.at(-1)].join("\n"),
      [lines[0], ...lines.slice(1, -1).map((line) => `${line} `), lines.at(-1)].join("\n"),
      "A".repeat(20_000),
      "",
    ]) {
      expect(await verdict(text)).not.toBe("good");
    }
    // Where the lines break, and how they end, is no part of the signature.
    expect(await verdict([lines[0], lines.slice(1, -1).join(""), lines.at(-1), ""].join("\n"))).toBe("good");
    expect(await verdict(good.replaceAll("\n", "\r\n"))).toBe("good");
  });

  test("RSA with SHA-1, and RSA signatures cut or grown", async () => {
    const key = newKey("rsa-2048");
    const rsa = opensshSigns(key.file);
    const held = parsePrivateKey(fs.readFileSync(key.file, "utf8"));
    if (held.kind !== "plain") throw new Error("it is locked");
    const message = sshsigMessage(MESSAGE, "sha512");
    const signed = (algorithm: string, hash: string): string => {
      const signature = Buffer.concat([sshString(algorithm), sshString(sign(hash, message, held.privateKey))]);
      return armorSshsig(encodeSshsig(held.publicKey.blob, "sha512", signature));
    };
    expect(await verdict(signed("rsa-sha2-256", "sha256"))).toBe("good");
    expect(await verdict(signed("rsa-sha2-512", "sha512"))).toBe("good");
    expect(await verdict(signed("ssh-rsa", "sha1"))).toContain("SHA-1");
    expect(opensshAccepts(signed("ssh-rsa", "sha1"), held.publicKey.blob)).toBe(false);
    expect(await verdict(signed("rsa-sha2-512", "sha1"))).toContain("does not fit");
    expect(await verdict(signed("rsa-sha2-256", "sha512"))).toContain("does not fit");
    for (const bend of [(b: Buffer) => b.subarray(1), (b: Buffer) => Buffer.concat([Buffer.of(0), b])]) {
      expect(
        await verdict(
          changed(
            rsa,
            inner((algorithm, bytes) => [algorithm, bend(bytes)]),
          ),
        ),
      ).toContain("not as long");
    }
  });

  test("ECDSA numbers that are zero, negative, padded or too large, and other algorithms", async () => {
    const ecdsa = opensshSigns(newKey("ecdsa-256").file);
    const bent = (numbers: (r: Buffer, s: Buffer) => Buffer[]): Promise<string> =>
      verdict(
        changed(
          ecdsa,
          inner((algorithm, bytes) => {
            const read = new SshReader(bytes, "numbers");
            return [algorithm, Buffer.concat(numbers(Buffer.from(read.positive()), Buffer.from(read.positive())))];
          }),
        ),
      );
    const mpint = (bytes: Buffer): Buffer =>
      sshString((bytes[0] ?? 0) > 127 ? Buffer.concat([Buffer.of(0), bytes]) : bytes);
    expect(await bent((r, s) => [mpint(r), mpint(s)])).toBe("good");
    expect(await bent((r, s) => [ecdsaSignature(Buffer.concat([padded(r), padded(s)]))])).toBe("good");
    expect(await bent((r) => [mpint(r), mpint(Buffer.alloc(0))])).toContain("not positive");
    expect(await bent((r) => [mpint(r), sshString(Buffer.of(0))])).toContain("needless zeros");
    expect(await bent((r, s) => [sshString(Buffer.concat([Buffer.of(0, 0), r])), mpint(s)])).toContain(
      "needless zeros",
    );
    expect(await bent((r) => [mpint(r), sshString(Buffer.alloc(32, 255))])).toContain("not positive");
    expect(await bent((r) => [mpint(r), mpint(Buffer.alloc(33, 1))])).toContain("larger than its curve");
    expect(await bent((r) => [mpint(r), mpint(Buffer.alloc(32, 255))])).toContain("does not fit");
    expect(await bent((r, s) => [mpint(r), mpint(s), Buffer.of(0)])).toContain("too many");
    const renamed = changed(
      ecdsa,
      inner((_, bytes) => ["ecdsa-sha2-nistp384", bytes]),
    );
    expect(await verdict(renamed)).toContain("another algorithm than its key");
    expect(
      await verdict(
        changed(
          good,
          inner((_, bytes) => ["ssh-ed448", bytes]),
        ),
      ),
    ).toContain("another algorithm");
  });

  test("bytes at random never pass, and never throw anything else", async () => {
    const { int, next } = random("sshsig");
    const all = SSH_TYPES.map((type) => dearmorSshsig(opensshSigns(newKey(type).file)));
    for (let i = 0; i < 1500; i++) {
      const blob = Buffer.from(all[i % all.length]!);
      const count = 1 + int(3);
      for (let j = 0; j < count; j++) blob[int(blob.length)]! ^= 1 + int(255);
      const cut = next() < 0.2 ? blob.subarray(0, int(blob.length)) : blob;
      if (cut.equals(all[i % all.length]!)) continue;
      expect(await verdict(armorSshsig(cut))).not.toBe("good");
    }
  });
});

const padded = (bytes: Buffer): Buffer => Buffer.concat([Buffer.alloc(32 - bytes.length), bytes]);

describe("security keys", () => {
  const tokenSigns = (kind: "ed25519" | "ecdsa", touch: Touch = {}) => token(kind, MESSAGE, touch);

  for (const kind of ["ed25519", "ecdsa"] as const) {
    test(`sk-${kind}: touched is good, for ssh-keygen too`, async () => {
      for (const touch of [{}, { flags: 5 }, { application: "ssh:git-kv" }]) {
        const { armored, blob } = tokenSigns(kind, touch);
        expect(await verdict(armored)).toBe("good");
        expect(opensshAccepts(armored, blob)).toBe(true);
      }
    });

    test(`sk-${kind}: not touched, claimed to be touched, made for a web page, or with bytes behind`, async () => {
      const untouched = tokenSigns(kind, { flags: 4 });
      expect(await verdict(untouched.armored)).toContain("without being touched");
      // ssh-keygen looks at the signature only, and leaves the flag to whoever asks.
      expect(opensshAccepts(untouched.armored, untouched.blob)).toBe(true);
      expect(await verdict(tokenSigns(kind, { flags: 1, signedFlags: 0 }).armored)).toContain("does not fit");
      expect(await verdict(tokenSigns(kind, { application: "https://example.com" }).armored)).toContain(
        "not made for SSH",
      );
      expect(await verdict(tokenSigns(kind, { trailing: Buffer.of(0) }).armored)).toContain("too many");
    });
  }
});

test("decoding tells the parts", async () => {
  const { key, namespace, hash } = decodeSshsig(dearmorSshsig(opensshSigns(newKey().file)));
  expect([key.type, namespace, hash]).toEqual(["ssh-ed25519", "git", "sha512"]);
});
