/** What the configuration says about requests to one URL (git: git-config `http.*` and `http.<url>.*`). */

import { expandPath, parseBool } from "../config/config-value.ts";
import type { ConnectOptions } from "./connect-options.ts";
import { cookieHeader, readCookieFile } from "./cookies.ts";
import type { Environment } from "./environment.ts";
import { type LowSpeed, lowSpeedRule } from "./low-speed.ts";
import { checkProxyLogin, proxyFor } from "./proxy.ts";
import type { RouteTerms } from "./route.ts";
import { proxyTlsSettings, type TlsSettings, tlsSettings } from "./tls-settings.ts";
import { type HttpUrl, httpBase, origin } from "./url.ts";

export interface HttpSettings {
  /** User-Agent, `http.extraHeader` and the cookies of `http.cookieFile`. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly proxy: string | undefined;
  /** What may ask for a route of ours (route.ts). */
  readonly terms: RouteTerms;
  /** Undefined for http:// through no or an http:// proxy. */
  readonly tls: TlsSettings | undefined;
  /** Which redirects are followed: all, that of the first request only, or none. */
  readonly followRedirects: "all" | "initial" | "none";
  /** Below which speed a transfer is given up. */
  readonly lowSpeed: LowSpeed | undefined;
}

/**
 * Settings for requests to `url`. Where a redirect led there from `first`, a host of other origin, headers of the
 * unspecific `http.extraHeader` that carry credentials are left out.
 */
export function httpSettings(url: HttpUrl, first: HttpUrl, options: ConnectOptions): HttpSettings {
  const { config, env } = options;
  const address = httpBase(url);
  const get = (key: string): string | undefined => config.urlMatch("http", key, address).at(-1);
  const proxy = proxyFor(url, options.proxy ?? get("proxy"), env);
  const method = env.GIT_HTTP_PROXY_AUTHMETHOD ?? options.proxyAuthMethod ?? get("proxyauthmethod");
  if (proxy !== undefined) checkProxyLogin(proxy, method);
  const resolve = config.urlMatch("http", "curloptresolve", address);
  const secure = url.kind === "https" || proxy?.startsWith("https:") === true;
  const agent = env.GIT_HTTP_USER_AGENT ?? get("useragent") ?? userAgent(options.agent);
  return {
    headers: [["User-Agent", agent], ...extraHeaders(url, first, options), ...cookies(url, get("cookiefile"), env)],
    proxy,
    terms: {
      resolve: resolve.slice(resolve.lastIndexOf("") + 1),
      digest: method === "digest",
      proxyTls: proxyTlsSettings(get, env),
    },
    tls: secure ? tlsSettings(get, env) : undefined,
    followRedirects: redirects(get("followredirects")),
    lowSpeed: lowSpeedRule(get, env),
  };
}

/** Hosts tell git from a browser by a User-Agent that begins with `git/`. */
function userAgent(agent: string): string {
  return `git/${agent.replace("/", "-")}`;
}

function redirects(value: string | undefined): HttpSettings["followRedirects"] {
  if (value === undefined || value === "initial") return "initial";
  return parseBool("http.followredirects", value) ? "all" : "none";
}

function extraHeaders(url: HttpUrl, first: HttpUrl, { config }: ConnectOptions): (readonly [string, string])[] {
  const values = config.urlMatch("http", "extraheader", httpBase(url));
  const forAll = new Set(origin(url) === origin(first) ? [] : config.getAll("http.extraheader"));
  const headers: (readonly [string, string])[] = [];
  for (const value of values.slice(values.lastIndexOf("") + 1)) {
    const colon = value.indexOf(":");
    if (colon <= 0 || /[\r\n\0]/.test(value)) continue;
    const name = value.slice(0, colon).trim();
    if (forAll.has(value) && CREDENTIAL_HEADERS.test(name)) continue;
    headers.push([name, value.slice(colon + 1).trim()]);
  }
  return headers;
}

function cookies(url: HttpUrl, file: string | undefined, env: Environment): (readonly [string, string])[] {
  if (file === undefined || file === "") return [];
  const header = cookieHeader(readCookieFile(expandPath(file, env)), url, Date.now());
  return header === undefined ? [] : [["Cookie", header]];
}

const CREDENTIAL_HEADERS = /^(authorization|proxy-authorization|cookie|.*token.*|.*key.*|.*secret.*)$/i;
