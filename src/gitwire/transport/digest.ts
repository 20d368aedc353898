/** Digest logins at a proxy (RFC 7616, RFC 2617): the password is not sent, a digest of it is. */

import { createHash, randomBytes } from "node:crypto";

const ALGORITHMS: Readonly<Record<string, string>> = { md5: "md5", "sha-256": "sha256" };

/** A challenge that the proxy gave, and how often it was answered. */
export class DigestChallenge {
  readonly #fields: ReadonlyMap<string, string>;
  #count = 0;

  private constructor(fields: ReadonlyMap<string, string>) {
    this.#fields = fields;
  }

  /** The challenge in the values of `Proxy-Authenticate` that can be answered here, or undefined. */
  static find(header: string): DigestChallenge | undefined {
    for (const [, text] of header.matchAll(
      /(?:^|,\s*|\n)Digest\s+((?:[a-z]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s,"]+)(?:\s*,\s*)?)+)/gi,
    )) {
      const fields = new Map<string, string>();
      for (const [, name, quoted, plain] of text!.matchAll(/([a-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/gi)) {
        fields.set(name!.toLowerCase(), quoted === undefined ? plain! : quoted.replace(/\\(.)/g, "$1"));
      }
      const qop = fields.get("qop");
      const isKnown = ALGORITHMS[(fields.get("algorithm") ?? "md5").toLowerCase()] !== undefined;
      if (isKnown && fields.has("nonce") && (qop === undefined || /(^|[\s,])auth($|[\s,])/.test(qop))) {
        return new DigestChallenge(fields);
      }
    }
    return undefined;
  }

  /** The value of `Proxy-Authorization` for a request of `method` for `uri`. */
  answer(
    user: string,
    password: string,
    method: string,
    uri: string,
    cnonce: string = randomBytes(16).toString("hex"),
  ): string {
    const field = (name: string): string => this.#fields.get(name) ?? "";
    const algorithm = this.#fields.get("algorithm");
    const hash = (text: string): string =>
      createHash(ALGORITHMS[(algorithm ?? "md5").toLowerCase()]!)
        .update(text)
        .digest("hex");
    const secret = hash(`${user}:${field("realm")}:${password}`);
    const asked = hash(`${method}:${uri}`);
    const nc = (++this.#count).toString(16).padStart(8, "0");
    const hasQop = this.#fields.has("qop");
    const response = hasQop
      ? hash(`${secret}:${field("nonce")}:${nc}:${cnonce}:auth:${asked}`)
      : hash(`${secret}:${field("nonce")}:${asked}`);
    const quoted = (name: string, value: string): string => `${name}="${value.replace(/["\\]/g, "\\$&")}"`;
    return `Digest ${[
      quoted("username", user),
      quoted("realm", field("realm")),
      quoted("nonce", field("nonce")),
      quoted("uri", uri),
      quoted("response", response),
      ...(algorithm === undefined ? [] : [`algorithm=${algorithm}`]),
      ...(hasQop ? ["qop=auth", `nc=${nc}`, quoted("cnonce", cnonce)] : []),
      ...(this.#fields.has("opaque") ? [quoted("opaque", field("opaque"))] : []),
    ].join(", ")}`;
  }
}
