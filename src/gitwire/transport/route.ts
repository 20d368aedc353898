/** Which routes need more than fetch: SOCKS proxies, addresses of `http.curloptResolve`, and HTTP proxies on terms of their own. */

import { KvError } from "../../errors.ts";
import { bare, resolvedAddresses } from "./curl-resolve.ts";
import type { ProxyHop, Route } from "./dial.ts";
import type { SocksKind } from "./socks.ts";
import type { TlsSettings } from "./tls-settings.ts";
import type { HttpUrl } from "./url.ts";

/** What decides about the way to a server. */
export interface RouteTerms {
  /** Entries of `http.curloptResolve`. */
  readonly resolve: readonly string[];
  /** The login at the proxy goes by Digest. */
  readonly digest: boolean;
  /** Settings of `http.proxySSL*` where there are any. */
  readonly proxyTls: TlsSettings | undefined;
}

/**
 * The route to `url` through `proxy` (an address with its password, or undefined for none) where fetch cannot take it by itself.
 * Throws UNSUPPORTED where there is none either.
 */
export function routeTo(url: HttpUrl, proxy: string | undefined, terms: RouteTerms): Route | undefined {
  const port = url.port ?? (url.kind === "https" ? 443 : 80);
  const target = { host: bare(url.host), port, addresses: resolvedAddresses(terms.resolve, url.host, port) };
  if (proxy === undefined) return target.addresses === undefined ? undefined : { ...target, proxy: undefined };
  const hop = hopTo(proxy, terms);
  if (hop.kind !== "http" && hop.kind !== "https") return { ...target, proxy: hop };
  const reason =
    hop.kind === "https" && terms.proxyTls !== undefined
      ? "http.proxySSLCert, proxySSLKey and proxySSLCAInfo"
      : hop.addresses !== undefined
        ? "http.curloptResolve for a proxy"
        : undefined;
  if (url.kind === "https") return reason === undefined && !hop.digest ? undefined : { ...target, proxy: hop };
  if (reason === undefined) return undefined;
  throw new KvError("UNSUPPORTED", `${reason} can only be heeded for https:// repositories`, {
    hint: "use the https:// address of the repository",
  });
}

/** Default ports, as curl has them. */
const PORTS: Readonly<Record<string, number>> = { http: 1080, https: 443 };

function hopTo(proxy: string, { resolve, digest, proxyTls }: RouteTerms): ProxyHop {
  const [, scheme = "", login, host = "", digits] =
    /^([a-z0-9]+):\/\/(?:([^/]*)@)?(\[[^\]]*\]|[^:/]*)(?::([0-9]{1,5}))?(?:\/|$)/i.exec(proxy) ?? [];
  if (host === "") throw new KvError("CONFIG", "the address of the proxy is not scheme://host:port");
  const name = scheme.toLowerCase();
  const kind = (name === "socks" ? "socks4" : name) as SocksKind | "http" | "https";
  const port = digits === undefined ? (PORTS[kind] ?? 1080) : Number(digits);
  const [user, password] = login === undefined ? [] : splitLogin(login);
  return {
    kind,
    host: bare(host),
    port,
    addresses: resolvedAddresses(resolve, host, port),
    user,
    password,
    digest: digest && user !== undefined,
    tls: kind === "https" ? (proxyTls ?? { rejectUnauthorized: true }) : undefined,
  };
}

/** User and password of an address, decoded. */
export function splitLogin(login: string): [user: string, password: string | undefined] {
  const colon = login.indexOf(":");
  const user = decodeURIComponent(colon < 0 ? login : login.slice(0, colon));
  return [user, colon < 0 ? undefined : decodeURIComponent(login.slice(colon + 1))];
}
