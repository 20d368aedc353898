/**
 * The password for a proxy whose address names a user only (git: proxy_auth in http.c): a credential like any other, asked for
 * once, and its helpers are told how it fared.
 */

import { KvError } from "../../errors.ts";
import type { ConnectOptions } from "./connect-options.ts";
import { type FoundCredential, fillCredential } from "./credentials.ts";
import { parseUrl, redactUrl } from "./url.ts";

export class ProxyLogin {
  readonly #options: ConnectOptions;
  #proxy: string | undefined;
  #found: FoundCredential | undefined;

  constructor(options: ConnectOptions) {
    this.#options = options;
  }

  /** The proxy's address with the password in it. Throws UNAUTHENTICATED where there is none to be had. */
  async addressOf(proxy: string): Promise<string> {
    // A SOCKS proxy's password is in its address, or there is none.
    if (!/^https?:/i.test(proxy)) return proxy;
    const url = parseUrl(proxy);
    if ((url.kind !== "http" && url.kind !== "https") || url.user === undefined || url.password !== undefined) {
      return proxy;
    }
    const { config, env } = this.#options;
    if (this.#proxy !== proxy) {
      this.#found = await fillCredential({ ...url, path: "/" }, config, env, []);
      this.#proxy = proxy;
    }
    const { username, password } = this.#found?.credential ?? {};
    if (password === undefined) {
      throw new KvError("UNAUTHENTICATED", `there is no password for the proxy ${redactUrl(proxy)}`, {
        hint: "give it by a credential helper, GIT_ASKPASS or in the proxy's address",
      });
    }
    const login = `${encodeURIComponent(username ?? url.user)}:${encodeURIComponent(password)}`;
    return proxy.replace(/^([a-z]+:\/\/)[^/]*@/i, `$1${login}@`);
  }

  /** The proxy let a request through. */
  async approve(): Promise<void> {
    await this.#found?.approve();
  }

  /** The proxy refused the password. */
  async reject(): Promise<void> {
    await this.#found?.reject();
    this.#found = undefined;
  }
}
