/** What an HTTP status that is not 200 means for a git request. */

import { KvError } from "../../errors.ts";

/**
 * The error for `response`: UNAUTHENTICATED (401, 407), FORBIDDEN (403), NOT_A_REPOSITORY (404, 410), LIMIT_EXCEEDED
 * (413), BUSY (429, 503), else NETWORK. `data` has the status and, where the server gives it, `retryAfter` in seconds.
 */
export async function statusError(response: Response, shownUrl: string): Promise<KvError> {
  const { status } = response;
  const said = await explanation(response);
  const retryAfter = retryAfterSeconds(response.headers.get("retry-after"));
  const data = { status, ...(retryAfter === undefined ? {} : { retryAfter }) };
  switch (status) {
    case 401:
      return new KvError("UNAUTHENTICATED", `authentication failed for ${shownUrl}${said}`, {
        data,
        hint: "give a user and a token by a credential helper, ~/.netrc or http.extraHeader",
      });
    case 407:
      return proxyRefusal(shownUrl, data);
    case 403:
      return new KvError("FORBIDDEN", `access to ${shownUrl} is forbidden${said}`, { data });
    case 404:
    case 410:
      return new KvError("NOT_A_REPOSITORY", `there is no repository at ${shownUrl}${said}`, { data });
    case 413:
      return new KvError("LIMIT_EXCEEDED", `${shownUrl} takes no request this large${said}`, { data });
    case 429:
    case 503:
      return new KvError("BUSY", `${shownUrl} is busy (HTTP ${status})${said}`, { data });
    default:
      return new KvError("NETWORK", `${shownUrl} answered with HTTP ${status}${said}`, { data });
  }
}

/** The error where the proxy wants a login, or another one (407). */
export function proxyRefusal(shownUrl: string, data: Readonly<Record<string, unknown>>): KvError {
  return new KvError("UNAUTHENTICATED", `the proxy for ${shownUrl} wants a password`, {
    data,
    hint: "write the user into the proxy's address, http.proxy = http://user@host:port, and the password there or into a credential helper",
  });
}

/** The first line of a plain-text answer. */
async function explanation(response: Response): Promise<string> {
  if (!/^text\/plain\b/.test(response.headers.get("content-type") ?? "")) {
    await response.body?.cancel().catch(() => {});
    return "";
  }
  const reader = response.body?.getReader();
  const first = await reader?.read().catch(() => undefined);
  await reader?.cancel().catch(() => {});
  const text = new TextDecoder().decode(first?.value?.subarray(0, MAX_EXPLANATION));
  const line = text
    .trim()
    .split("\n", 1)[0]!
    .replace(/[\x00-\x1f\x7f]+/g, " ");
  return line === "" ? "" : `: ${line}`;
}

const MAX_EXPLANATION = 300;

/** `Retry-After` as seconds from now; it may be a date. */
export function retryAfterSeconds(value: string | null): number | undefined {
  if (value === null) return undefined;
  if (/^[0-9]{1,9}$/.test(value)) return Number(value);
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, Math.ceil((at - Date.now()) / 1000));
}
