/**
 * Which `http.<url>.*` (or `credential.<url>.*`) values apply to a URL (git-config, "http.<url>.*"; urlmatch.c).
 *
 * Scheme and port must be equal, the host too (`*` stands for one label of it), a user name only where the pattern has one,
 * and the pattern's path must be the URL's or a folder above it. The longer host wins, then the longer path, then the user.
 */

import { splitName } from "./config-name.ts";

interface NormalUrl {
  readonly scheme: string;
  readonly user: string | undefined;
  readonly host: string;
  readonly port: string;
  /** Begins with `/`; query and fragment are part of it. */
  readonly path: string;
}

type Rank = readonly [host: number, path: number, user: number];

/** The entries of `section.key` and `section.<url>.key` for `url`, those less specific than one before them left out. */
export function matchUrlEntries<T extends { readonly name: string }>(
  entries: readonly T[],
  section: string,
  key: string,
  url: string,
): T[] {
  const wanted = normalizeUrl(url, false);
  const found: T[] = [];
  let best: Rank = [0, 0, 0];
  for (const entry of entries) {
    if (!entry.name.startsWith(`${section}.`) || !entry.name.endsWith(`.${key}`)) continue;
    const name = splitName(entry.name);
    if (name?.variable !== key) continue;
    const { subsection } = name;
    const rank = subsection === undefined ? ([0, 0, 0] as const) : rankOf(subsection, wanted, section === "credential");
    if (rank === undefined || compareRanks(rank, best) < 0) continue;
    best = rank;
    found.push(entry);
  }
  return found;
}

function rankOf(pattern: string, url: NormalUrl | undefined, allowPartial: boolean): Rank | undefined {
  if (url === undefined) return undefined;
  const prefix = normalizeUrl(pattern, true);
  if (prefix !== undefined) return match(url, prefix);
  return allowPartial && matchesPartial(url, pattern) ? [0, 0, 0] : undefined;
}

function match(url: NormalUrl, prefix: NormalUrl): Rank | undefined {
  if (url.scheme !== prefix.scheme || url.port !== prefix.port) return undefined;
  if (prefix.user !== undefined && prefix.user !== url.user) return undefined;
  if (!matchesHost(url.host, prefix.host)) return undefined;
  const path = matchedPath(url.path, prefix.path);
  return path === 0 ? undefined : [prefix.host.length, path, prefix.user === undefined ? 0 : 1];
}

function matchesHost(host: string, pattern: string): boolean {
  const labels = host.split(".");
  const globs = pattern.split(".");
  return labels.length === globs.length && globs.every((glob, i) => glob === "*" || glob === labels[i]);
}

/** Length of the match plus one; 0 where `prefix` is not `path` or a folder above it. */
function matchedPath(path: string, prefix: string): number {
  if (prefix === "/") return 1;
  const bare = prefix.endsWith("/") ? prefix.slice(0, -1) : prefix;
  if (!path.startsWith(bare)) return 0;
  return path.length === bare.length || path[bare.length] === "/" ? bare.length + 1 : 0;
}

function compareRanks(a: Rank, b: Rank): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}

/** `[user@]host[:port][/path]` or `scheme://`, as `credential.<pattern>` may be: each part that is there must be equal. */
function matchesPartial(url: NormalUrl, pattern: string): boolean {
  const parts = /^(?:([A-Za-z0-9+.-]+):\/\/)?(?:([^/@]*)@)?([^/]*)(?:\/(.*))?$/s.exec(pattern);
  if (parts === null) return false;
  const [, scheme, user, host, path] = parts;
  const hostAndPort = url.port === "" ? url.host : `${url.host}:${url.port}`;
  if (scheme !== undefined && scheme !== url.scheme) return false;
  if (user !== undefined && decodeUser(user) !== url.user) return false;
  if (host !== undefined && host !== "" && host.toLowerCase() !== hostAndPort) return false;
  return path === undefined || path.replace(/\/+$/, "") === "" || `/${path.replace(/\/+$/, "")}` === url.path;
}

function decodeUser(user: string): string {
  return normalizeEscapes(user, RESERVED) ?? user;
}

const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: "80", https: "443" };
const RESERVED = ":/?#[]@!$&'()*+,;=";
const UNSAFE = ' <>"%{}|\\^`';

/** The URL's parts in the one way git writes them, or undefined where it is no absolute URL. */
function normalizeUrl(text: string, allowGlobs: boolean): NormalUrl | undefined {
  const parts = /^([A-Za-z0-9+.-]+):\/\/([^/?#]*)(.*)$/s.exec(text);
  if (parts === null || !/^[A-Za-z0-9]/.test(text)) return undefined;
  const [, rawScheme, authority, rest] = parts as unknown as [string, string, string, string];
  const scheme = rawScheme.toLowerCase();
  const at = authority.indexOf("@");
  const credentials = at < 0 ? undefined : authority.slice(0, at);
  const user = credentials === undefined ? undefined : normalizeEscapes(credentials.split(":")[0]!, RESERVED);
  const address = splitPort(authority.slice(at + 1).toLowerCase());
  const path = normalizePath(rest);
  if (address === undefined || path === undefined || (credentials !== undefined && user === undefined))
    return undefined;
  const hostChars = allowGlobs ? /^[a-z0-9.\-_[\]:*]*$/ : /^[a-z0-9.\-_[\]:]*$/;
  if (!hostChars.test(address.host) || (address.host === "" && scheme !== "file")) return undefined;
  const port = address.port === DEFAULT_PORTS[scheme] ? "" : address.port;
  return { scheme, user: user === "" ? undefined : user, host: address.host, port, path };
}

function splitPort(address: string): { host: string; port: string } | undefined {
  const parts = /^(\[[^\]]*\]|[^:]*)(?::([0-9]*))?$/.exec(address);
  if (parts === null) return undefined;
  const port = (parts[2] ?? "").replace(/^0+/, "");
  if (port === "" ? (parts[2] ?? "") !== "" : Number(port) > 65_535) return undefined;
  return { host: parts[1]!, port };
}

function normalizePath(rest: string): string | undefined {
  const cut = rest.search(/[?#]/);
  const path = cut < 0 ? rest : rest.slice(0, cut);
  const tail = cut < 0 ? "" : normalizeEscapes(rest.slice(cut), RESERVED);
  const segments: string[] = [];
  const given = path.replace(/^\//, "").split("/");
  for (const [i, raw] of given.entries()) {
    const segment = normalizeEscapes(raw, RESERVED);
    if (segment === undefined) return undefined;
    const isLast = i === given.length - 1;
    if (segment === "." || segment === "..") {
      if (segment === ".." && segments.pop() === undefined) return undefined;
      if (isLast) segments.push("");
    } else segments.push(segment);
  }
  return tail === undefined ? undefined : `/${segments.join("/")}${tail}`;
}

/** `%XX` only where it has to be, in upper case; undefined where an escape is malformed. */
function normalizeEscapes(text: string, keepEscaped: string): string | undefined {
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) return undefined;
  let out = "";
  for (const byte of Buffer.from(text)
    .latin1Slice()
    .match(/%[0-9A-Fa-f]{2}|[\s\S]/g) ?? []) {
    const isEscape = byte.length === 3;
    const char = isEscape ? String.fromCharCode(Number.parseInt(byte.slice(1), 16)) : byte;
    const mustEscape = char <= "\x1f" || char >= "\x7f" || UNSAFE.includes(char);
    if (mustEscape || (isEscape && keepEscaped.includes(char))) {
      out += `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
    } else out += char;
  }
  return out;
}
