/**
 * Addresses that the configuration gives for hosts (git: git-config `http.curloptResolve`; curl: CURLOPT_RESOLVE).
 *
 *     entry  =  ["+"] host ":" port ":" address *("," address)    host: a name, or "*" for all
 *            /  "-" host ":" port                                 forgets what was said before
 */

import { KvError } from "../../errors.ts";

/** What `entries` say the addresses of `host` are at `port`; undefined where they say nothing. Throws CONFIG on an entry that is none. */
export function resolvedAddresses(
  entries: readonly string[],
  host: string,
  port: number,
): readonly string[] | undefined {
  const name = bare(host).toLowerCase();
  let found: readonly string[] | undefined;
  let forAll: readonly string[] | undefined;
  for (const entry of entries) {
    const [, sign, of, at, list] = /^([+-]?)(\[[^\]]+\]|[^:]+):([0-9]{1,5})(?::(.+))?$/.exec(entry) ?? [];
    const addresses = list?.split(",").map(bare);
    if (of === undefined || (addresses === undefined) !== (sign === "-")) {
      throw new KvError("CONFIG", `http.curloptResolve: '${entry}' is not HOST:PORT:ADDRESS`);
    }
    if (Number(at) !== port) continue;
    if (of === "*") forAll = addresses;
    else if (bare(of).toLowerCase() === name) found = addresses;
  }
  return found ?? forAll;
}

/** An IPv6 address without its brackets. */
export function bare(host: string): string {
  return host.trim().replace(/^\[(.*)\]$/, "$1");
}
