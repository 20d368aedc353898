/**
 * The cookies of `http.cookieFile` (git-config; the format is that of Netscape and curl).
 *
 *     line  =  ["#HttpOnly_"] domain TAB subdomains TAB path TAB secure TAB expires TAB name TAB value
 *           /  "Set-Cookie:" name "=" value *( ";" attribute )        an answer's header, kept as it came
 *
 * Subdomains and secure are TRUE or FALSE, expires is in seconds since 1970 (0: with the session, which is ours). What a server
 * sets meanwhile is not kept.
 */

import * as fs from "node:fs";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import type { HttpUrl } from "./url.ts";

interface Cookie {
  /** Without a dot in front; undefined fits every host. */
  readonly domain: string | undefined;
  readonly subdomains: boolean;
  readonly path: string;
  readonly secure: boolean;
  readonly name: string;
  readonly value: string;
}

/** The value of the Cookie header for `url`, or undefined where none of the file's cookies is meant for it. `now` in milliseconds. */
export function cookieHeader(text: string, url: HttpUrl, now: number): string | undefined {
  const fitting = text
    .split(/\r?\n/)
    .flatMap((line) => parseLine(line, now) ?? [])
    .filter((cookie) => isFor(cookie, url));
  // Of cookies of one name the last counts; those with longer paths come first (RFC 6265, 5.4), and then by curl's rules.
  const byPlace = new Map(fitting.map((cookie) => [`${cookie.name} ${cookie.domain} ${cookie.path}`, cookie]));
  const pairs = [...byPlace.values()].sort(
    (a, b) =>
      b.path.length - a.path.length ||
      (b.domain ?? "").length - (a.domain ?? "").length ||
      b.name.length - a.name.length,
  );
  return pairs.length === 0 ? undefined : pairs.map(({ name, value }) => `${name}=${value}`).join("; ");
}

/** The text of a cookie file; nothing where there is none, as for git. Throws CONFIG, LIMIT_EXCEEDED. */
export function readCookieFile(file: string): string {
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return "";
  if (stat.size > LIMITS.configBytes) throw new KvError("LIMIT_EXCEEDED", `the cookie file ${file} is too large`);
  try {
    return fs.readFileSync(file, "latin1");
  } catch (cause) {
    throw new KvError("CONFIG", `cannot read the cookies in ${file}: ${(cause as Error).message}`, { cause });
  }
}

function parseLine(line: string, now: number): Cookie | undefined {
  const header = /^Set-Cookie:\s*([^=;\s]+)=([^;]*)(.*)$/i.exec(line);
  if (header !== null) return parseHeader(header, now);
  const text = line.startsWith("#HttpOnly_") ? line.slice("#HttpOnly_".length) : line;
  const fields = text.split("\t");
  if (text.startsWith("#") || (fields.length !== 7 && fields.length !== 6)) return undefined;
  const [domain = "", subdomains, path = "/", secure, expires, name = "", value = ""] = fields;
  const end = Number(expires);
  if (end !== 0 && end * 1000 <= now) return undefined;
  return {
    domain: domain.replace(/^\./, "").toLowerCase(),
    subdomains: subdomains?.toUpperCase() === "TRUE",
    path,
    secure: secure?.toUpperCase() === "TRUE",
    name,
    value,
  };
}

function parseHeader([, name = "", value = "", rest = ""]: readonly string[], now: number): Cookie | undefined {
  const attributes = new Map(
    rest
      .split(";")
      .map((part) => part.split("="))
      .map(([key = "", ...tail]) => [key.trim().toLowerCase(), tail.join("=").trim()]),
  );
  const expires = Date.parse(attributes.get("expires") ?? "");
  if (expires <= now || Number(attributes.get("max-age") ?? "1") <= 0) return undefined;
  return {
    domain: attributes.get("domain")?.replace(/^\./, "").toLowerCase(),
    subdomains: true,
    path: attributes.get("path") ?? "/",
    secure: attributes.has("secure"),
    name,
    value: value.trim(),
  };
}

/** Nothing that goes there leaves the machine: as good as TLS, for curl too. */
const LOOPBACK = /^(?:localhost|127\.0\.0\.1|\[::1\])$/;

function isFor({ domain, subdomains, path, secure, name, value }: Cookie, url: HttpUrl): boolean {
  // Nothing that would end the header's line.
  if (name === "" || /[\0\r\n;]/.test(name + value)) return false;
  const host = url.host.toLowerCase();
  if (secure && url.kind !== "https" && !LOOPBACK.test(host)) return false;
  if (domain !== undefined && host !== domain && !(subdomains && host.endsWith(`.${domain}`))) return false;
  if (path === "" || path === "/" || url.path === path) return true;
  return url.path.startsWith(path.endsWith("/") ? path : `${path}/`);
}
