/**
 * Remotes: what a name like `origin` stands for (git: git-config `remote.<name>.*`, `url.<base>.insteadOf` and
 * `pushInsteadOf`; remote.c).
 */

import type { GitConfig } from "../config.ts";

/** A remote, its addresses rewritten by `insteadOf` already. */
export interface Remote {
  /** Name in the configuration, or the address itself where it was given directly. */
  readonly name: string;
  /** False for an address that was given directly. */
  readonly configured: boolean;
  /** Where to fetch from: the first is used. */
  readonly urls: readonly string[];
  /** Where to push to: all of them, in order. */
  readonly pushUrls: readonly string[];
  /** Refspecs of `remote.<name>.fetch` as written. */
  readonly fetch: readonly string[];
  /** `remote.<name>.uploadpack`, `.receivepack`: the program to run on the other side. */
  readonly uploadPack: string | undefined;
  readonly receivePack: string | undefined;
  /** `remote.<name>.proxy`; "" means none whatever `http.proxy` says. */
  readonly proxy: string | undefined;
  /** `remote.<name>.proxyAuthMethod`. */
  readonly proxyAuthMethod: string | undefined;
}

/**
 * The remote called `nameOrUrl`. A name without `remote.<name>.url` or `.pushurl` is taken for an address, as git does:
 * `configured` tells.
 */
export function findRemote(config: GitConfig, nameOrUrl: string): Remote {
  const all = (key: string): readonly string[] => config.getAll(`remote.${nameOrUrl}.${key}`);
  const last = (key: string): string | undefined => config.get(`remote.${nameOrUrl}.${key}`);
  const urls = untilReset(all("url"));
  const explicitPush = untilReset(all("pushurl"));
  const configured = urls.length > 0 || explicitPush.length > 0;
  const given = urls.length > 0 ? urls : [nameOrUrl];
  const fetchUrls = given.map((url) => rewriteUrl(config, url));
  return {
    name: nameOrUrl,
    configured,
    urls: fetchUrls,
    pushUrls: pushUrls(config, given, explicitPush, fetchUrls),
    fetch: all("fetch"),
    uploadPack: last("uploadpack"),
    receivePack: last("receivepack"),
    proxy: last("proxy"),
    proxyAuthMethod: last("proxyauthmethod"),
  };
}

/** `url` after `url.<base>.insteadOf`: the longest prefix that matches is replaced by its base. */
export function rewriteUrl(config: GitConfig, url: string): string {
  return rewrite(config, url, "insteadof") ?? url;
}

/** A `pushurl` is rewritten by insteadOf only; without one, a `url` that pushInsteadOf matches becomes a push address. */
function pushUrls(
  config: GitConfig,
  urls: readonly string[],
  explicit: readonly string[],
  fetchUrls: readonly string[],
): readonly string[] {
  if (explicit.length > 0) return explicit.map((url) => rewriteUrl(config, url));
  const rewritten = urls.flatMap((url) => rewrite(config, url, "pushinsteadof") ?? []);
  return rewritten.length > 0 ? rewritten : fetchUrls;
}

/** The address rewritten by the longest matching prefix of `key`, the first of equally long ones; undefined where none is. */
function rewrite(config: GitConfig, url: string, key: "insteadof" | "pushinsteadof"): string | undefined {
  let longest = -1;
  let result: string | undefined;
  for (const base of config.subsections("url")) {
    for (const prefix of config.getAll(`url.${base}.${key}`)) {
      if (prefix.length <= longest || !url.startsWith(prefix)) continue;
      longest = prefix.length;
      result = base + url.slice(prefix.length);
    }
  }
  return result;
}

/** An empty value clears the list before it (git 2.46). */
function untilReset(values: readonly string[]): readonly string[] {
  return values.slice(values.lastIndexOf("") + 1);
}
