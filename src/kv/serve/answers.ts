/** Answers of `git kv serve` in general: JSON, errors, and the headers that all have. */

import { type Code, type KvError, toKvError } from "../../errors.ts";

/**
 * A value is somebody's data, maybe a page: a browser that is shown one must not run it as a page of this service, from where it could read
 * all other keys, nor guess that it is one.
 */
export const SAFE_HEADERS = {
  "Cache-Control": "no-cache",
  "Content-Security-Policy": "default-src 'none'; sandbox",
  "X-Content-Type-Options": "nosniff",
} as const;

const STATUS: Partial<Record<Code, number>> = {
  KEY_NOT_FOUND: 404,
  NS_NOT_FOUND: 404,
  KEY_EXPIRED: 410,
  KEY_INVALID: 400,
  INPUT_INVALID: 400,
  LIMIT_EXCEEDED: 400,
  FORBIDDEN: 403,
  NETWORK: 503,
  BUSY: 503,
};

/** The HTTP status of an error. */
export function statusOf({ code }: KvError): number {
  return STATUS[code] ?? 500;
}

/** A JSON answer; `body` undefined: its headers alone. */
export function json(status: number, body: object, headers: Readonly<Record<string, string>> = {}): Response {
  const text = `${JSON.stringify(body)}\n`;
  return new Response(text, { status, headers: { ...SAFE_HEADERS, "Content-Type": "application/json", ...headers } });
}

/** The answer to a request that failed. */
export function failure(thrown: unknown, headers: Readonly<Record<string, string>> = {}): Response {
  const error = toKvError(thrown);
  const status = statusOf(error);
  const { code, message } = error;
  // That of an expired key is a flag of the command line.
  const hint = code === "KEY_EXPIRED" ? undefined : error.hint;
  return json(
    status,
    { error: { status, code, message, hint } },
    status === 503 ? { "Retry-After": "1", ...headers } : headers,
  );
}

/** Whether `If-None-Match` or a client's `since` names the entity tag `tag` (RFC 9110, section 13.1.2: weak comparison). */
export function matches(list: string, tag: string | undefined): boolean {
  if (tag === undefined) return false;
  const strong = (text: string): string => text.trim().replace(/^W\//, "");
  return list.trim() === "*" || list.split(",").some((each) => strong(each) === strong(tag));
}
