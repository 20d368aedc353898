/**
 * Which names a request may call this service by. A page in a browser can have a name of its own that leads to 127.0.0.1 (DNS
 * rebinding); its requests carry that name in `Host`, and are refused.
 */

const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);

/** The name of a `Host` header without its port, in small letters. */
function nameOf(host: string): string {
  return host.replace(/:\d*$/, "").toLowerCase().replace(/\.$/, "");
}

/** Whether a request with this `Host` header is meant for us. `allowed`: further names, without ports. */
export function isOurHost(host: string | null, allowed: ReadonlySet<string>): boolean {
  if (host === null) return false;
  const name = nameOf(host);
  return LOOPBACK.has(name) || allowed.has(name);
}

/** The names that a listener's own address adds. */
export function namesOf(hostname: string, more: readonly string[]): ReadonlySet<string> {
  const own = hostname.includes(":") ? `[${hostname}]` : hostname;
  return new Set([own, ...more].map((name) => nameOf(name)));
}
