/** Who makes an HTTP request: the password of Basic (any user name) or a Bearer token (RFC 7617, RFC 6750). */

import type { Identity, TokenStore } from "./tokens.ts";

/** Longest Authorization header that is looked at. */
const MAX_HEADER = 8_192;

export type Authentication =
  | { readonly kind: "known"; readonly who: Identity }
  | { readonly kind: "none" }
  | { readonly kind: "wrong" };

/** Looks at the Authorization header. */
export function authenticate(header: string | null, tokens: TokenStore, now: number): Authentication {
  if (header === null || header === "") return { kind: "none" };
  if (header.length > MAX_HEADER) return { kind: "wrong" };
  const token = tokenOf(header);
  const who = token === undefined ? undefined : tokens.identify(token, now);
  return who === undefined ? { kind: "wrong" } : { kind: "known", who: { ...who, door: "http" } };
}

function tokenOf(header: string): string | undefined {
  const [, scheme, value] = /^(\S+) +(\S+) *$/.exec(header) ?? [];
  if (scheme?.toLowerCase() === "bearer") return value;
  if (scheme?.toLowerCase() !== "basic") return undefined;
  const login = Buffer.from(value!, "base64").toString("utf8");
  const colon = login.indexOf(":");
  return colon < 0 ? undefined : login.slice(colon + 1);
}
