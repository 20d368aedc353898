/**
 * Which proxy an HTTP request goes through (git: git-config `http.proxy`, `remote.<name>.proxy`; curl's environment variables).
 *
 *     no_proxy  =  "*" / entry *( ("," / SP) entry)       entry = ["."] host [":" port] / IPv4 "/" bits
 *
 * An entry stands for the host and everything below it, or for the addresses of a network.
 */

import { KvError } from "../../errors.ts";
import type { Environment } from "./environment.ts";
import { type HttpUrl, origin, redactUrl } from "./url.ts";

/**
 * The proxy for `url`, as a URL, or undefined for none. `configured` is what the configuration says: undefined leaves it to the
 * environment, "" means none. Throws UNSUPPORTED for a proxy of another kind than HTTP and SOCKS.
 */
export function proxyFor(url: HttpUrl, configured: string | undefined, env: Environment): string | undefined {
  const proxy = configured ?? proxyVariable(url, env);
  if (proxy === undefined || proxy === "") return undefined;
  if (bypassesProxy(url, env.no_proxy ?? env.NO_PROXY ?? "")) return undefined;
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(proxy)?.[1]?.toLowerCase();
  if (scheme === undefined) return `http://${proxy}`;
  if (/^(https?|socks(4|4a|5|5h)?)$/.test(scheme)) return proxy;
  throw new KvError("UNSUPPORTED", `a ${scheme} proxy is not supported (${redactUrl(proxy)})`, {
    hint: "use an http:// or a socks5h:// proxy, or ssh with a ProxyCommand",
  });
}

/**
 * Throws UNSUPPORTED where the proxy's address has a login and `http.proxyAuthMethod` wants it sent by another method than Basic or
 * Digest: the password must not go out in the clear then.
 */
export function checkProxyLogin(proxy: string, method: string | undefined): void {
  if (method === undefined || !/^(negotiate|ntlm)$/.test(method) || !/^https?:\/\/[^/]*@/i.test(proxy)) return;
  throw new KvError("UNSUPPORTED", `a login at a proxy by ${method} is not supported (http.proxyAuthMethod)`, {
    hint: "use a proxy that takes 'basic' or 'digest', or ssh with a ProxyCommand",
  });
}

/** HTTP_PROXY in capitals is not read: a CGI server would fill it from a request header. */
function proxyVariable(url: HttpUrl, env: Environment): string | undefined {
  const own = url.kind === "https" ? (env.https_proxy ?? env.HTTPS_PROXY) : env.http_proxy;
  return own ?? env.all_proxy ?? env.ALL_PROXY;
}

/** Whether the list names the host of `url` or a domain it is in. */
export function bypassesProxy(url: HttpUrl, list: string): boolean {
  const host = url.host.toLowerCase().replace(/^\[|\]$/g, "");
  const port = origin(url).slice(origin(url).lastIndexOf(":") + 1);
  return list
    .toLowerCase()
    .split(/[,\s]+/)
    .some((entry) => {
      if (entry === "*" || isInNetwork(host, entry)) return true;
      const match = /^\.?(\[[^\]]*\]|[^:]*|[0-9a-f:]*::?[0-9a-f:.]*)(?::([0-9]+))?$/.exec(entry);
      const name = (match?.[1] ?? entry).replace(/^\[|\]$/g, "");
      if (name === "" || (match?.[2] !== undefined && match[2] !== port)) return false;
      return host === name || host.endsWith(`.${name}`);
    });
}

/** Whether `host` is an IPv4 address of the network `entry` (CIDR). */
function isInNetwork(host: string, entry: string): boolean {
  const [, network = "", bits] = /^([^/]*)\/(\d{1,2})$/.exec(entry) ?? [];
  const [a, b] = [addressOf(host), addressOf(network)];
  if (bits === undefined || a === undefined || b === undefined || Number(bits) > 32) return false;
  const size = 2 ** (32 - Number(bits));
  return Math.floor(a / size) === Math.floor(b / size);
}

/** An IPv4 address as a number; undefined for anything else. */
function addressOf(text: string): number | undefined {
  if (!/^(\d{1,3}\.){3}\d{1,3}$/.test(text)) return undefined;
  const parts = text.split(".").map(Number);
  return parts.every((part) => part < 256) ? parts.reduce((sum, part) => sum * 256 + part) : undefined;
}
