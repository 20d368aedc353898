/** A security key (FIDO token) played by a key of the runtime: what it answers when it is asked to sign. */

import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { encodeSshKey } from "../../src/gitwire/object/ssh-key.ts";
import { SshReader, sshString, uint32 } from "../../src/gitwire/object/ssh-wire.ts";
import { armorSshsig, ecdsaSignature, encodeSshsig, sshsigMessage } from "../../src/gitwire/object/sshsig.ts";

export interface Touch {
  /** 1 = somebody touched it. */
  readonly flags?: number;
  readonly application?: string;
  /** The flags that are signed, where they are others than those shown. */
  readonly signedFlags?: number;
  readonly trailing?: Buffer;
}

const sha256 = (bytes: Buffer | string): Buffer => createHash("sha256").update(bytes).digest();

/** The armored signature over `message` by a new security key, and the key's blob. */
export function tokenSigns(kind: "ed25519" | "ecdsa", message: Buffer, touch: Touch = {}) {
  const { flags = 1, application = "ssh:", signedFlags = flags, trailing = Buffer.alloc(0) } = touch;
  const privateKey: KeyObject =
    kind === "ed25519"
      ? generateKeyPairSync("ed25519").privateKey
      : generateKeyPairSync("ec", { namedCurve: "prime256v1" }).privateKey;
  const type = kind === "ed25519" ? "sk-ssh-ed25519@openssh.com" : "sk-ecdsa-sha2-nistp256@openssh.com";
  const plain = new SshReader(encodeSshKey(createPublicKey(privateKey))!, "key");
  plain.string();
  const fields = kind === "ed25519" ? [plain.string()] : [plain.string(), plain.string()];
  const blob = Buffer.concat([sshString(type), ...fields.map(sshString), sshString(application)]);
  const counter = uint32(7);
  const signed = [sha256(application), Buffer.of(signedFlags), counter, sha256(sshsigMessage(message, "sha512"))];
  const data = Buffer.concat(signed);
  const bytes =
    kind === "ed25519"
      ? sign(null, data, privateKey)
      : ecdsaSignature(sign("sha256", data, { key: privateKey, dsaEncoding: "ieee-p1363" }));
  const signature = Buffer.concat([sshString(type), sshString(bytes), Buffer.of(flags), counter, trailing]);
  return { armored: armorSshsig(encodeSshsig(blob, "sha512", signature)), blob };
}
