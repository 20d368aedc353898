/** Keys of tests, and signatures by them, made from OpenSSH's PROTOCOL.sshsig by hand: also such as no honest program makes. */

import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { withLedger } from "./forged.ts";
import type { Planned, TestClient } from "./stargate.ts";
import { SIGNATURE_HEADER } from "./test-format.ts";

const string = (value: string | Buffer): Buffer => {
  const bytes = Buffer.from(value as string);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
};
const positive = (base64url: string): Buffer => {
  const bytes = Buffer.from(base64url, "base64url");
  return string(bytes[0]! >= 0x80 ? Buffer.concat([Buffer.alloc(1), bytes]) : bytes);
};

export interface SignOptions {
  readonly namespace?: string;
  /** RSA only. */
  readonly algorithm?: "rsa-sha2-512" | "rsa-sha2-256" | "ssh-rsa";
}

/** A key pair. */
export class TestKey {
  readonly comment: string;
  readonly #blob: Buffer;
  readonly #private: KeyObject;
  readonly #type: "ssh-ed25519" | "ssh-rsa";

  constructor(comment: string, type: "ssh-ed25519" | "ssh-rsa" = "ssh-ed25519") {
    this.comment = comment;
    this.#type = type;
    const { publicKey, privateKey } =
      type === "ssh-ed25519" ? generateKeyPairSync("ed25519") : generateKeyPairSync("rsa", { modulusLength: 2048 });
    this.#private = privateKey;
    const { x, e, n } = publicKey.export({ format: "jwk" });
    this.#blob =
      type === "ssh-ed25519"
        ? Buffer.concat([string(type), string(Buffer.from(x!, "base64url"))])
        : Buffer.concat([string(type), positive(e!), positive(n!)]);
  }

  /** As in a `.pub` file. */
  get line(): string {
    return `${this.#type} ${this.#blob.toString("base64")} ${this.comment}`;
  }

  /** An armored signature. */
  sign(message: string, { namespace = "git", algorithm = "rsa-sha2-512" }: SignOptions = {}): string {
    const head = [string(namespace), string(""), string("sha512")];
    const digest = string(createHash("sha512").update(message).digest());
    const signed = Buffer.concat([Buffer.from("SSHSIG"), ...head, digest]);
    const hash = { "rsa-sha2-512": "sha512", "rsa-sha2-256": "sha256", "ssh-rsa": "sha1" }[algorithm];
    const isRsa = this.#type === "ssh-rsa";
    const raw = sign(isRsa ? hash : null, signed, this.#private);
    const signature = Buffer.concat([string(isRsa ? algorithm : this.#type), string(raw)]);
    const version = Buffer.from([0, 0, 0, 1]);
    const blob = Buffer.concat([Buffer.from("SSHSIG"), version, string(this.#blob), ...head, string(signature)]);
    const lines = blob.toString("base64").match(/.{1,70}/g)!;
    return ["-----BEGIN SSH SIGNATURE-----", ...lines, "-----END SSH SIGNATURE-----"].join("\n");
  }

  /** The text of a commit with a header that signs it. */
  signCommit(text: string, header = SIGNATURE_HEADER, options: SignOptions = {}): string {
    return withHeader(text, header, this.sign(text, options));
  }

  /** The transaction with its ledger commit signed. */
  signed(client: TestClient, planned: Planned, options: SignOptions = {}): Planned {
    const header = client.repo.format.name === "sha1" ? "gpgsig" : "gpgsig-sha256";
    return withLedger(client, planned, (text) => this.signCommit(text, header, options));
  }
}

/** The text of a commit with one more header, after the others. */
export function withHeader(text: string, name: string, value: string): string {
  return text.replace("\n\n", `\n${name} ${value.replaceAll("\n", "\n ")}\n\n`);
}
