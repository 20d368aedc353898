/** Signatures of commits, held against commits that the real git signed with ssh-keygen and gpg (tests/vectors/signatures). */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { parseCommit, parseIdent } from "../../../src/gitwire/object/commit.ts";
import {
  joinSignature,
  type SignatureVerdict,
  splitCommit,
  verifyCommitSignature,
} from "../../../src/gitwire/object/commit-signature.ts";
import { type ObjectFormat, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { type OpenPgpKey, readOpenPgpKey } from "../../../src/gitwire/object/openpgp.ts";
import { parseSshKeyLine, sshFingerprint } from "../../../src/gitwire/object/ssh-key.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

const FOLDER = path.join(import.meta.dir, "../../vectors/signatures");
const DAY = 86_400_000;
const SSH = ["ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa2048", "rsa4096"];
const PGP = ["pgp-ed25519", "pgp-rsa3072", "pgp-nistp384", "pgp-expiring", "pgp-subkey"];

const vector = (name: string, format: ObjectFormat): Buffer =>
  fs.readFileSync(path.join(FOLDER, `${name}.${format.name}.commit`));
const text = (file: string): string => fs.readFileSync(path.join(FOLDER, file), "utf8");
const pgpKey = (name: string): Promise<OpenPgpKey> => readOpenPgpKey(text(`${name}.asc`));

/** When the commit says it was made, in milliseconds. */
function madeAt(format: ObjectFormat, commit: Buffer): number {
  return parseIdent(parseCommit(format, commit).committer).seconds * 1000;
}

function judge(format: ObjectFormat, commit: Buffer, keys: readonly OpenPgpKey[] = [], later = DAY) {
  return verifyCommitSignature(format, commit, {
    now: madeAt(format, vector("ed25519", format)) + later,
    openpgpKeys: keys,
  });
}

const reason = (verdict: SignatureVerdict): string =>
  verdict.kind === "bad" ? verdict.reason : `it is ${verdict.kind}`;
const edited = (commit: Buffer, from: string, to: string): Buffer => {
  const before = commit.latin1Slice();
  const after = before.replace(from, to);
  expect(after).not.toBe(before);
  return Buffer.from(after, "latin1");
};

for (const format of [SHA1, SHA256]) {
  const header = format === SHA1 ? "gpgsig" : "gpgsig-sha256";

  describe(`${format.name}: good ones`, () => {
    for (const name of SSH) {
      test(`${name}, by the key in its .pub file`, async () => {
        const key = parseSshKeyLine(text(`${name}.pub`));
        expect(await judge(format, vector(name, format))).toEqual({
          kind: "good",
          signer: {
            kind: "ssh",
            type: key.type,
            blob: text(`${name}.pub`).split(" ")[1]!,
            fingerprint: sshFingerprint(key.blob),
          },
        });
      });
    }

    for (const name of PGP) {
      test(`${name}, out of several keys`, async () => {
        const keys = await Promise.all(PGP.map(pgpKey));
        const key = keys[PGP.indexOf(name)]!;
        const verdict = await judge(format, vector(name, format), keys);
        expect(verdict).toMatchObject({
          kind: "good",
          signer: { kind: "openpgp", fingerprint: key.fingerprint, userIds: [`${name} <${name}@example.org>`] },
        });
        const { signedBy } = (verdict as { signer: { signedBy: string } }).signer;
        expect(signedBy === key.fingerprint).toBe(name !== "pgp-subkey");
      });
    }

    test("taken apart and put together again they are the same bytes", () => {
      for (const name of [...SSH, ...PGP]) {
        const commit = vector(name, format);
        const { payload, signature } = splitCommit(format, commit);
        expect(payload.includes("gpgsig")).toBe(false);
        expect(joinSignature(format, payload, signature!).equals(commit)).toBe(true);
        expect(splitCommit(format, payload)).toEqual({ payload, signature: undefined });
      }
    });
  });

  describe(`${format.name}: bad ones`, () => {
    test("a commit without one is unsigned", async () => {
      const { payload } = splitCommit(format, vector("ed25519", format));
      expect(await judge(format, payload)).toEqual({ kind: "unsigned" });
    });

    test("every byte of what is signed counts", async () => {
      for (const name of ["ed25519", "ecdsa256", "rsa2048", "pgp-ed25519"]) {
        const commit = vector(name, format);
        const keys = name.startsWith("pgp") ? [await pgpKey(name)] : [];
        expect((await judge(format, commit, keys)).kind).toBe("good");
        for (const changed of [
          edited(commit, "KV-NS: main", "KV-NS: mail"),
          edited(commit, "tree ", "tree 0").subarray(),
          edited(commit, "zoe@", "zoo@"),
          Buffer.concat([commit, Buffer.from("\n")]),
        ]) {
          expect((await judge(format, changed, keys)).kind).toBe("bad");
        }
      }
    });

    test("a signature moved from another commit", async () => {
      const { payload } = splitCommit(format, vector("ecdsa256", format));
      const { signature } = splitCommit(format, vector("ed25519", format));
      expect(reason(await judge(format, joinSignature(format, payload, signature!)))).toContain("does not fit");
    });

    test("two signatures, and further headers that look like one", async () => {
      const commit = vector("ed25519", format);
      const { signature } = splitCommit(format, commit);
      expect(reason(await judge(format, joinSignature(format, commit, signature!)))).toContain("two signatures");
      for (const other of ["gpgsig", "gpgsig-sha256", "gpgsig-sha1", "GPGSIG", "gpgsig2"].filter((o) => o !== header)) {
        const changed = edited(commit, `\n${header} `, `\n${other} x\n${header} `);
        expect(reason(await judge(format, changed))).toContain(`a header '${other}' where only '${header}' can be`);
        expect(reason(await judge(format, edited(commit, `\n${header} `, `\n${other} `)))).toContain(`'${other}'`);
      }
    });

    test("doubled and misplaced headers", async () => {
      const commit = vector("ed25519", format);
      const line = (name: string): string => commit.toString().match(new RegExp(`^${name} .*\n`, "m"))![0];
      for (const name of ["tree", "author", "committer"]) {
        const changed = edited(commit, `\n${header} `, `\n${line(name)}${header} `);
        expect(reason(await judge(format, changed))).toBe(`the commit has two '${name}' headers`);
      }
      const parent = edited(commit, `\n${header} `, `\nparent ${format.emptyTree}\n${header} `);
      expect(reason(await judge(format, parent))).toContain("a 'parent' header where none belongs");
      const nul = edited(commit, "committer ", "committer \0");
      expect(reason(await judge(format, nul))).toContain("NUL");
    });

    test("neither SSH nor OpenPGP, and text around an armor", async () => {
      const { payload } = splitCommit(format, vector("ed25519", format));
      for (const text of ["", "x", "-----BEGIN SIGNED MESSAGE-----\nAAAA\n-----END SIGNED MESSAGE-----\n"]) {
        expect(reason(await judge(format, joinSignature(format, payload, text)))).toContain("neither an SSH nor");
      }
      for (const name of ["ed25519", "pgp-ed25519"]) {
        const signed = splitCommit(format, vector(name, format));
        const keys = [await pgpKey("pgp-ed25519")];
        const verdict = (text: string) => judge(format, joinSignature(format, signed.payload, text), keys);
        expect((await verdict(signed.signature!)).kind).toBe("good");
        for (const text of [
          `${signed.signature}x\n`,
          `${signed.signature}${signed.signature}`,
          ` ${signed.signature}`,
        ]) {
          expect((await verdict(text)).kind).toBe("bad");
        }
      }
    });
  });

  describe(`${format.name}: OpenPGP`, () => {
    test("by a key that is not given: nobody can tell", async () => {
      const keys = [await pgpKey("pgp-rsa3072")];
      const { fingerprint } = await pgpKey("pgp-ed25519");
      expect(await judge(format, vector("pgp-ed25519", format), keys)).toEqual({
        kind: "unknown",
        keyId: fingerprint.slice(-16),
      });
    });

    test("expired, revoked and not yet made are judged at the time of receipt", async () => {
      const expiring = [await pgpKey("pgp-expiring")];
      const commit = vector("pgp-expiring", format);
      expect((await judge(format, commit, expiring, 700 * DAY)).kind).toBe("good");
      expect(reason(await judge(format, commit, expiring, 740 * DAY))).toContain("expired");
      expect(reason(await judge(format, commit, expiring, -DAY))).toContain("from the future");
      const revoked = await judge(format, vector("pgp-revoked", format), [await pgpKey("pgp-revoked")]);
      expect(reason(revoked)).toContain("revoked");
    });

    test("weak hashes and weak keys", async () => {
      for (const [name, why] of [
        ["pgp-sha1", "SHA1"],
        ["pgp-sha1-bound", "SHA1"],
        ["pgp-rsa1024", "2048"],
      ] as const) {
        expect(reason(await judge(format, vector(name, format), [await pgpKey(name)]))).toContain(why);
      }
    });
  });
}

test("a signature of megabytes is refused at once", async () => {
  const header = TEST_FORMAT === SHA1 ? "gpgsig" : "gpgsig-sha256";
  const commit = `tree ${TEST_FORMAT.emptyTree}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n${header}`;
  for (const begin of ["-----BEGIN SSH SIGNATURE-----", "-----BEGIN PGP SIGNATURE-----"]) {
    const data = Buffer.from(`${commit} ${begin}\n${" A\n".repeat(2_000_000)}\nx\n`);
    expect(reason(await judge(TEST_FORMAT, data))).toContain("is longer than");
  }
});

test("what is no OpenPGP key, or more than one, is refused with a reason", async () => {
  const one = text("pgp-ed25519.asc");
  const wrong = ["", "x", one.replace("mDME", "mDMF"), one + text("pgp-rsa3072.asc"), one.replace(/\n/, "\n-----\n")];
  for (const armored of [...wrong, text("ed25519.pub"), one.replaceAll("PUBLIC", "PRIVATE")]) {
    await expect(readOpenPgpKey(armored)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  }
});
