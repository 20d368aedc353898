/** SSH keys, public and private, held against ssh-keygen. */

import { describe, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../../src/errors.ts";
import { decodeSshKey, encodeSshKey, parseSshKeyLine, sshFingerprint } from "../../../src/gitwire/object/ssh-key.ts";
import { isPrivateKey, parsePrivateKey } from "../../../src/gitwire/object/ssh-private-key.ts";
import { sshPositive, sshString } from "../../../src/gitwire/object/ssh-wire.ts";
import { random } from "../../support/random.ts";
import { newKey, run, SSH_TYPES } from "../../support/signing.ts";

/** The message of the typed error that `act` throws. */
function problem(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    expect(error.code).toBe("INPUT_INVALID");
    return error.message;
  }
  return "none";
}

const line = (type: string, ...fields: (string | Buffer)[]): string =>
  `${type} ${Buffer.concat([sshString(type), ...fields.map((field) => sshString(field))]).toString("base64")}`;

describe("public keys", () => {
  // Making an RSA key of 4,096 bits takes seconds: that one is a vector.
  const large = path.join(import.meta.dir, "../../vectors/signatures/rsa4096");
  for (const type of [...SSH_TYPES, "rsa-4096"]) {
    test(`${type}: type, comment, blob and fingerprint`, () => {
      const file = type === "rsa-4096" ? large : newKey(type).file;
      const text = fs.readFileSync(`${file}.pub`, "utf8").trim();
      const key = parseSshKeyLine(`${text}\n`);
      const [bits, fingerprint, ...rest] = run("ssh-keygen", ["-l", "-f", `${file}.pub`])
        .trim()
        .split(" ");
      expect(key.type).toBe(text.split(" ")[0] as typeof key.type);
      expect(key.comment).toBe(rest.slice(0, -1).join(" "));
      expect(sshFingerprint(key.blob)).toBe(fingerprint!);
      const material = key.key;
      expect(material.kind).toBe(type.includes("ed25519") ? "ed25519" : "other");
      if (material.kind !== "other") return;
      expect(encodeSshKey(material.object)!.equals(key.blob)).toBe(true);
      if (type.startsWith("rsa")) expect(material.object.asymmetricKeyDetails?.modulusLength).toBe(Number(bits));
    });
  }

  test("a line without a comment, and one with spaces around", () => {
    const [type, base64] = newKey().line.split(" ");
    expect(parseSshKeyLine(`${type} ${base64}`).comment).toBe("");
    expect(parseSshKeyLine(`  ${type}\t${base64}   my key \n`).comment).toBe("my key");
  });

  test("what is no key line", () => {
    const { line: text, file } = newKey();
    const [type, base64] = text.split(" ") as [string, string];
    for (const wrong of ["", type, base64, `no-pty ${text}`, `${text}\n${text}`, `# ${text}`]) {
      expect(problem(() => parseSshKeyLine(wrong))).toContain("not an SSH public key");
    }
    expect(problem(() => parseSshKeyLine(fs.readFileSync(file, "utf8")))).toContain("a private key is not");
    expect(problem(() => parseSshKeyLine(`${type} ${base64.slice(0, -1)}`))).toMatch(/cut short|ends early/);
    expect(problem(() => parseSshKeyLine(`${type} ${base64.slice(0, -4)}`))).toContain("ends early");
    expect(problem(() => parseSshKeyLine(`${type} ${base64}AAAA`))).toContain("3 bytes too many");
    expect(problem(() => parseSshKeyLine(`ecdsa-sha2-nistp256 ${base64}`))).toContain("is of type 'ssh-ed25519'");
  });

  test("types that are not taken", () => {
    expect(problem(() => parseSshKeyLine(line("ssh-dss", "x")))).toContain("too weak");
    expect(problem(() => parseSshKeyLine(line("ssh-ed448", Buffer.alloc(57))))).toContain("are not known");
    const certificate = "ssh-ed25519-cert-v01@openssh.com";
    expect(problem(() => parseSshKeyLine(line(certificate, "x")))).toContain(certificate);
    expect(problem(() => decodeSshKey(sshString("a\n\x1b[31m")))).toContain("'a??[31m'");
  });

  test("points on no curve, on another one, compressed, or of small order", () => {
    const point = (curve: string): Buffer => {
      const { x, y } = generateKeyPairSync("ec", { namedCurve: curve }).publicKey.export({ format: "jwk" });
      return Buffer.concat([Buffer.of(4), Buffer.from(x!, "base64url"), Buffer.from(y!, "base64url")]);
    };
    const type = "ecdsa-sha2-nistp256";
    const good = point("prime256v1");
    expect(problem(() => parseSshKeyLine(line(type, "nistp256", good)))).toBe("none");
    expect(problem(() => parseSshKeyLine(line(type, "nistp384", good)))).toContain("another curve than its type");
    expect(problem(() => parseSshKeyLine(line(type, "nistp256", point("secp384r1"))))).toContain("uncompressed point");
    const compressed = Buffer.concat([Buffer.of(2), good.subarray(1, 33)]);
    expect(problem(() => parseSshKeyLine(line(type, "nistp256", compressed)))).toContain("uncompressed point");
    const off = Buffer.from(good);
    off[64]! ^= 1;
    expect(problem(() => parseSshKeyLine(line(type, "nistp256", off)))).toContain("not on the curve");
    expect(problem(() => parseSshKeyLine(line("ssh-ed25519", Buffer.alloc(31))))).toContain("31 bytes long");
    expect(problem(() => parseSshKeyLine(line("ssh-ed25519", Buffer.alloc(32))))).toContain("small order");
    expect(problem(() => parseSshKeyLine(line("ssh-ed25519", Buffer.alloc(32, 255))))).toContain("not canonical");
  });

  test("RSA keys too short, too long, or with an exponent that is none", () => {
    const rsa = (n: Buffer, e: Buffer): string =>
      `ssh-rsa ${Buffer.concat([sshString("ssh-rsa"), sshPositive(e), sshPositive(n)]).toString("base64")}`;
    const odd = (bytes: number, first = 0x80): Buffer => {
      const n = Buffer.alloc(bytes, 0x5b);
      n[0] = first;
      return n;
    };
    const e = Buffer.of(1, 0, 1);
    expect(problem(() => parseSshKeyLine(rsa(odd(256), e)))).toBe("none");
    expect(problem(() => parseSshKeyLine(rsa(odd(256, 0x40), e)))).toContain("2047 bits; 2048 are the least");
    expect(problem(() => parseSshKeyLine(rsa(odd(128), e)))).toContain("1024 bits");
    expect(problem(() => parseSshKeyLine(rsa(odd(2049), e)))).toContain("16384 are the most");
    for (const wrong of [Buffer.of(1), Buffer.of(4), Buffer.alloc(5, 1)]) {
      expect(problem(() => parseSshKeyLine(rsa(odd(256), wrong)))).toContain("RSA exponent");
    }
    const padded = Buffer.concat([sshString("ssh-rsa"), sshString(Buffer.of(0, 1, 0, 1)), sshPositive(odd(256))]);
    expect(problem(() => decodeSshKey(padded))).toContain("needless zeros");
  });

  test("bytes at random are a key or a typed error", () => {
    const { int } = random("ssh-key");
    const blobs = SSH_TYPES.map((type) => Buffer.from(newKey(type).line.split(" ")[1]!, "base64"));
    for (let i = 0; i < 2000; i++) {
      const blob = Buffer.from(blobs[i % blobs.length]!);
      blob[int(i % 2 === 0 ? 60 : blob.length)]! ^= 1 + int(255);
      problem(() => decodeSshKey(blob.subarray(0, int(10) === 0 ? int(blob.length) : blob.length)));
    }
  });
});

describe("private keys", () => {
  for (const type of SSH_TYPES) {
    test(`${type}: without and with a passphrase, in OpenSSH's form and in PEM`, () => {
      for (const pem of type === "ed25519" ? [false] : [false, true]) {
        const { file, line: text } = newKey(type, { pem });
        const content = fs.readFileSync(file, "utf8");
        expect(isPrivateKey(content)).toBe(true);
        const key = parsePrivateKey(content);
        expect(key.kind).toBe("plain");
        expect(key.publicKey!.blob.toString("base64")).toBe(text.split(" ")[1]!);
        const locked = newKey(type, { pem, passphrase: "secret" });
        const held = parsePrivateKey(fs.readFileSync(locked.file, "utf8"));
        expect(held).toMatchObject({ kind: "locked", why: "passphrase" });
        const blob = held.publicKey?.blob.toString("base64");
        expect(blob).toBe(pem ? undefined : locked.line.split(" ")[1]!);
      }
    });
  }

  test("PKCS8, as ssh-keygen -m PKCS8 writes it", () => {
    for (const type of ["rsa-2048", "ecdsa-384"]) {
      const { file, line: text } = newKey(type);
      run("ssh-keygen", ["-q", "-p", "-N", "", "-m", "PKCS8", "-f", file]);
      const content = fs.readFileSync(file, "utf8");
      expect(content).toStartWith("-----BEGIN PRIVATE KEY-----");
      expect(parsePrivateKey(content).publicKey!.blob.toString("base64")).toBe(text.split(" ")[1]!);
    }
  });

  test("a security key's file is left to ssh-keygen", () => {
    const x = Buffer.from(generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" }).x!, "base64url");
    const type = "sk-ssh-ed25519@openssh.com";
    const blob = Buffer.concat([sshString(type), sshString(x), sshString("ssh:")]);
    const file = Buffer.concat([
      Buffer.from("openssh-key-v1\0"),
      ...["none", "none", ""].map(sshString),
      Buffer.of(0, 0, 0, 1),
      sshString(blob),
      sshString(Buffer.alloc(64)),
    ]);
    const text = `-----BEGIN OPENSSH PRIVATE KEY-----\n${file.toString("base64")}\n-----END OPENSSH PRIVATE KEY-----\n`;
    expect(parsePrivateKey(text)).toMatchObject({ kind: "locked", why: "security key" });
  });

  test("damaged files are typed errors", () => {
    const { int } = random("ssh-private-key");
    expect(problem(() => parsePrivateKey("hello"))).toContain("not a private key of a form that is known");
    expect(problem(() => parsePrivateKey("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))).toContain(
      "cannot be read",
    );
    for (const type of SSH_TYPES) {
      const text = fs.readFileSync(newKey(type).file, "utf8");
      const lines = text.trim().split("\n");
      const blob = Buffer.from(lines.slice(1, -1).join(""), "base64");
      for (let i = 0; i < 60; i++) {
        const bent = Buffer.from(blob);
        bent[int(bent.length)]! ^= 1 + int(255);
        const cut = bent.subarray(0, i % 3 === 0 ? int(bent.length) : bent.length);
        problem(() => parsePrivateKey([lines[0], cut.toString("base64"), lines.at(-1)].join("\n")));
      }
    }
  });
});
