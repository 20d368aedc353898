/**
 * The forms of address git takes for a repository (git: git-fetch "GIT URLS", connect.c `parse_connect_url`).
 *
 *     http[s]://[user[:password]@]host[:port]/path
 *     ssh://[user@]host[:port]/path          also git+ssh://, ssh+git://; `/~user/..` means the home of that user
 *     [user@]host:path                       "scp-like": no slash before the first colon; `[host:port]:path` works too
 *     git://host[:port]/path                 `/~user/..` as above
 *     file:///path                           a folder on this machine
 *     path                                   anything else
 *
 * A host may be an IPv6 address in brackets. A host or a path that begins with `-` would be an option to the program it is
 * handed to, so it is refused, as git does.
 */

import { KvError } from "../../errors.ts";

export interface HttpUrl {
  readonly kind: "http" | "https";
  /** Host name or address as it stands in the URL: an IPv6 address with its brackets. */
  readonly host: string;
  /** Undefined where the URL names none. */
  readonly port: number | undefined;
  /** Decoded; undefined where the URL has none. */
  readonly user: string | undefined;
  readonly password: string | undefined;
  /** Percent-encoded as given, "" or beginning with a slash, without slashes at its end; a query string included. */
  readonly path: string;
}

export interface SshUrl {
  readonly kind: "ssh";
  /** `[user@]host`, without brackets: the argument ssh gets. */
  readonly destination: string;
  /** Digits as given. */
  readonly port: string | undefined;
  /** Path on the other machine, decoded where it came in a URL: `/absolute`, `~user/..` or relative to the home. */
  readonly path: string;
}

export interface LocalUrl {
  readonly kind: "local";
  readonly path: string;
}

export interface GitUrl {
  readonly kind: "git";
  /** An IPv6 address with its brackets. */
  readonly host: string;
  readonly port: number | undefined;
  /** Decoded: `/absolute` or `~user/..`. */
  readonly path: string;
}

export type RemoteUrl = HttpUrl | SshUrl | GitUrl | LocalUrl;

/**
 * Parses an address. Throws INPUT_INVALID where it is malformed or unsafe, UNSUPPORTED for a transport that is not
 * spoken here (`ftp://`, `s3://`, `ext::`).
 */
export function parseUrl(address: string): RemoteUrl {
  if (address === "") throw invalid(address, "is empty");
  if (/[\0\n\r]/.test(address)) throw invalid(address, "holds a control character");
  const helper = /^([A-Za-z0-9][A-Za-z0-9+.-]*)::/.exec(address);
  if (helper !== null) throw unsupported(helper[1]!);
  const scheme = /^([A-Za-z0-9][A-Za-z0-9+.-]*):\/\//.exec(address);
  if (scheme === null) return isLocalPath(address) ? local(address) : parseScpLike(address);
  const rest = address.slice(scheme[0].length);
  switch (scheme[1]!) {
    case "http":
    case "https":
      return parseHttp(address, scheme[1] as "http" | "https", rest);
    case "ssh":
    case "git+ssh":
    case "ssh+git":
      return parseSsh(address, decode(address, rest));
    case "git":
      return parseGit(address, decode(address, rest));
    case "file":
      return parseFile(address, decode(address, rest));
    default:
      throw unsupported(scheme[1]!);
  }
}

/** True for a path, as against `host:path`: no colon before the first slash. */
function isLocalPath(address: string): boolean {
  const colon = address.indexOf(":");
  const slash = address.indexOf("/");
  return colon < 0 || (slash >= 0 && slash < colon);
}

function local(path: string): LocalUrl {
  return { kind: "local", path };
}

function parseFile(address: string, rest: string): LocalUrl {
  const slash = rest.indexOf("/");
  // As git: `file://host/path` is the path `//host/path`.
  if (slash < 0) throw invalid(address, "has no path");
  return local(slash === 0 ? rest : `//${rest}`);
}

function parseGit(address: string, rest: string): GitUrl {
  const match = /^(\[[0-9A-Fa-f:.%]+\]|[^[\]:/@]+)(?::([0-9]{0,5}))?(\/.*)$/s.exec(rest);
  if (match === null || match[1]!.startsWith("-")) throw invalid(address, "has a malformed host, port or path");
  const port = match[2] === undefined || match[2] === "" ? undefined : Number(match[2]);
  if (port !== undefined && port > 65_535) throw invalid(address, "has a port over 65535");
  const path = match[3]!;
  return { kind: "git", host: match[1]!, port, path: path.startsWith("/~") ? path.slice(1) : path };
}

function parseSsh(address: string, rest: string): SshUrl {
  const end = hostEnd(rest);
  const slash = rest.indexOf("/", end);
  if (slash < 0) throw invalid(address, "has no path");
  const path = rest[slash + 1] === "~" ? rest.slice(slash + 1) : rest.slice(slash);
  return ssh(address, rest.slice(0, slash), path);
}

function parseScpLike(address: string): SshUrl {
  const colon = address.indexOf(":", hostEnd(address));
  if (colon < 0 || colon === address.length - 1) throw invalid(address, "has no path");
  const path = address.slice(colon + 1);
  return ssh(address, address.slice(0, colon), path.startsWith("/~") ? path.slice(1) : path);
}

/** Where to look for what ends the host: behind the closing bracket of `[..]` or `user@[..]`. */
function hostEnd(text: string): number {
  const open = text.startsWith("[") ? 0 : text.indexOf("@[") + 1;
  if (text[open] !== "[") return 0;
  const close = text.indexOf("]", open);
  return Math.max(close, 0);
}

function ssh(address: string, hostAndPort: string, path: string): SshUrl {
  const { host, port } = splitHostPort(hostAndPort);
  if (host === "") throw invalid(address, "has no host");
  if (host.startsWith("-")) throw invalid(address, "has a host that looks like an option");
  if (path.startsWith("-")) throw invalid(address, "has a path that looks like an option");
  return { kind: "ssh", destination: host, port, path };
}

/** Git takes brackets off whatever they hold, then looks for a port behind them, else inside (`[host:22]:path`). */
function splitHostPort(text: string): { host: string; port: string | undefined } {
  const close = hostEnd(text);
  if (close === 0) return splitPort(text);
  const open = text.startsWith("[") ? 0 : text.indexOf("@[") + 1;
  const host = text.slice(0, open) + text.slice(open + 1, close);
  const behind = splitPort(text.slice(close + 1));
  return behind.port === undefined ? splitPort(host) : { host, port: behind.port };
}

/** Splits at the first colon where digits up to 65535 follow to the end; an empty port (`host:`) is dropped. */
function splitPort(text: string): { host: string; port: string | undefined } {
  const colon = text.indexOf(":");
  if (colon < 0) return { host: text, port: undefined };
  const digits = text.slice(colon + 1);
  if (digits === "") return { host: text.slice(0, colon), port: undefined };
  if (!/^[0-9]{1,5}$/.test(digits) || Number(digits) > 65_535) return { host: text, port: undefined };
  return { host: text.slice(0, colon), port: digits };
}

function parseHttp(address: string, kind: "http" | "https", rest: string): HttpUrl {
  const cut = rest.search(/[/?#]/);
  const authority = cut < 0 ? rest : rest.slice(0, cut);
  const tail = cut < 0 ? "" : rest.slice(cut);
  const at = authority.lastIndexOf("@");
  const userinfo = at < 0 ? undefined : authority.slice(0, at);
  const match = /^(\[[0-9A-Fa-f:.%]+\]|[^[\]:]+)(?::([0-9]*))?$/.exec(authority.slice(at + 1));
  if (match === null || /[^\x21-\x7e]|[<>"\\^`{|}]/.test(match[1]!)) {
    // The address is not repeated: with a slash in a password that is not encoded, this is where it would be.
    throw new KvError("INPUT_INVALID", `an ${kind}:// address has a malformed host or port`, {
      hint: "percent-encode '/', ':' and '@' in a user name or password",
    });
  }
  const port = match[2] === undefined || match[2] === "" ? undefined : Number(match[2]);
  if (port !== undefined && port > 65_535) throw invalid(address, "has a port over 65535");
  if (tail.includes("#")) throw invalid(address, "has a fragment");
  const path = tail.startsWith("?") ? `/${tail}` : tail.replace(/\/+$/, "");
  return { kind, host: match[1]!, port, ...parseUserinfo(address, userinfo), path: encodePath(path) };
}

function parseUserinfo(address: string, userinfo: string | undefined): Pick<HttpUrl, "user" | "password"> {
  if (userinfo === undefined) return { user: undefined, password: undefined };
  const [user, password] = splitOnce(userinfo);
  return { user: decode(address, user), password: password === undefined ? undefined : decode(address, password) };
}

/** Spaces, quotes and bytes over 0x7e cannot stand in a request line: they are percent-encoded, all else stays as given. */
function encodePath(path: string): string {
  return path.replace(/[^\x21\x23-\x3b\x3d\x3f-\x7e]+/g, (text) => encodeURIComponent(text));
}

function decode(address: string, text: string): string {
  if (!text.includes("%")) return text;
  let decoded: string;
  try {
    decoded = decodeURIComponent(text);
  } catch {
    throw invalid(address, "is not percent-encoded UTF-8");
  }
  if (/[\0\n\r]/.test(decoded)) throw invalid(address, "holds a control character");
  return decoded;
}

/** `scheme://host[:port]` of an HTTP URL; equal for two URLs exactly where credentials of one may be sent to the other. */
export function origin(url: HttpUrl): string {
  const port = url.port ?? (url.kind === "https" ? 443 : 80);
  return `${url.kind}://${url.host.toLowerCase()}:${port}`;
}

/** Whether two addresses name the same repository, whoever logs in: equal, or HTTP URLs that differ in nothing but the login. */
export function isSameRepository(one: string, other: string): boolean {
  if (one === other) return true;
  const [a, b] = [parseUrl(one), parseUrl(other)];
  return isHttp(a) && isHttp(b) && origin(a) === origin(b) && a.path === b.path;
}

function isHttp(url: RemoteUrl): url is HttpUrl {
  return url.kind === "http" || url.kind === "https";
}

/** An HTTP URL without user and password: what requests are made to. */
export function httpBase(url: HttpUrl): string {
  return `${url.kind}://${url.host}${url.port === undefined ? "" : `:${url.port}`}${url.path}`;
}

/** The address as messages may show it: its password taken out, and a user of an HTTP URL that could be a token. */
export function redactUrl(address: string): string {
  return address.replace(/^([A-Za-z0-9][A-Za-z0-9+.-]*:\/\/)([^/?#]*)@/, (_, scheme: string, userinfo: string) => {
    const [user, password] = splitOnce(userinfo);
    const shown = /^https?:/i.test(scheme) && user.length >= TOKEN_LENGTH ? "***" : user;
    return password === undefined ? `${scheme}${shown}@` : `${scheme}${shown}:***@`;
  });
}

/** A user name this long in an HTTP URL is taken for a token. */
const TOKEN_LENGTH = 20;

function splitOnce(userinfo: string): [string, string | undefined] {
  const colon = userinfo.indexOf(":");
  return colon < 0 ? [userinfo, undefined] : [userinfo.slice(0, colon), userinfo.slice(colon + 1)];
}

function invalid(address: string, why: string): KvError {
  return new KvError("INPUT_INVALID", `the repository address '${printable(redactUrl(address))}' ${why}`);
}

function printable(text: string): string {
  return JSON.stringify(text.slice(0, 300)).slice(1, -1);
}

function unsupported(scheme: string): KvError {
  return new KvError("UNSUPPORTED", `transport '${scheme}' is not supported`, {
    hint: "use http://, https://, ssh://, git://, host:path or a local path",
  });
}
