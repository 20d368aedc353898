/**
 * The address of `request`, for its path and its parameters. The host in it means nothing: a request of HTTP/1.0 need not name one
 * (health checks of proxies often do not), and one may name what is no host at all; the runtime then gives a path alone, or an
 * address that is none.
 */
export function requestUrl({ url }: Request): URL {
  const tail = url.replace(/^https?:\/\/[^/]*/i, "");
  return new URL(`http://localhost${tail.startsWith("/") ? "" : "/"}${tail}`);
}
