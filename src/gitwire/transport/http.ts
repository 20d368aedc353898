/**
 * Git over HTTP, the "smart" kind (git: gitprotocol-http).
 *
 *     discovery  =  GET <base>/info/refs?service=<service>       answers with the service's greeting
 *     request    =  POST <base>/<service>                        answers with the service's answer
 *
 * Redirects by git's rules (`http.followRedirects`): the first request may be sent elsewhere, and what follows goes there too.
 * Here the new address must besides be as secure as the old one, and no credential goes to another host.
 */

import { utf8 } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import { type ByteSource, readAll } from "../protocol/byte-stream.ts";
import { PktReader } from "../protocol/pkt-line.ts";
import type { Service } from "../protocol/ref-advertisement.ts";
import { type Answer, bytesBody, type RequestBody, type Transport } from "../protocol/transport.ts";
import type { ConnectOptions } from "./connect-options.ts";
import { authorizationHeader } from "./credential.ts";
import { cheapCredential, type FoundCredential, fillCredential } from "./credentials.ts";
import { type HttpRequest, responseSource, sendRequest } from "./http-client.ts";
import { statusError } from "./http-error.ts";
import { type HttpSettings, httpSettings } from "./http-settings.ts";
import { ProxyLogin } from "./proxy-login.ts";
import type { Tunnel } from "./tunnel.ts";
import { type HttpUrl, httpBase, origin, parseUrl } from "./url.ts";

type Source = ByteSource & { cancel(): Promise<void> };

export class HttpTransport implements Transport {
  readonly service: Service;
  readonly stateless = true;
  readonly #options: ConnectOptions;
  /** The address given. */
  readonly #first: HttpUrl;
  /** Where redirects led. */
  #url: HttpUrl;
  #settings: HttpSettings;
  #discovered = false;
  #credential: FoundCredential | undefined;
  #credentialSought = false;
  /** A person or a helper is asked once. */
  #asked = false;
  #approval: Promise<void> = Promise.resolve();
  #proxyLogin: ProxyLogin | undefined;
  #tunnel: { readonly key: string; readonly tunnel: Tunnel } | undefined;
  #open: Source | undefined;

  constructor(url: HttpUrl, service: Service, options: ConnectOptions) {
    this.service = service;
    this.#options = options;
    this.#first = url;
    this.#url = url;
    this.#settings = httpSettings(url, url, options);
  }

  get url(): string {
    return httpBase(this.#url);
  }

  async greeting(): Promise<PktReader> {
    const response = await this.#discover();
    return new PktReader(this.#track(response));
  }

  request(body: RequestBody): Answer {
    let sent = false;
    const answer = this.#post(body, (all) => {
      sent = all;
    });
    answer.catch(() => {});
    const source: ByteSource = { read: async () => (await answer).read() };
    return { reader: new PktReader(source), isSent: () => sent };
  }

  /**
   * Another resource below the repository's address, at most `limit` bytes; with `json` that is posted to it. Redirects are not
   * followed. Throws what its status means, or LIMIT_EXCEEDED; what is posted may be answered with an error in JSON, which is
   * returned like any answer.
   */
  async resource(tail: string, limit: number, json?: string): Promise<Buffer> {
    const response = await this.open(tail, json);
    const isTold = json !== undefined && /^application\/json\b/.test(response.headers.get("content-type") ?? "");
    if (response.status !== 200 && !isTold) throw await statusError(response, httpBase(this.#url));
    return readAll(this.#track(response), limit);
  }

  /** Asks for such a resource, and returns the response whatever its status, its body unread. */
  async open(tail: string, json?: string): Promise<Response> {
    const headers: (readonly [string, string])[] = json === undefined ? [] : [["Content-Type", "application/json"]];
    const response = await this.#send({
      method: json === undefined ? "GET" : "POST",
      url: serviceUrl(this.#url, `/${tail}`),
      headers,
      ...(json !== undefined && { body: bytesBody(utf8(json)) }),
    });
    if (isRedirect(response)) throw this.#refuseRedirect(response);
    return response;
  }

  async close(): Promise<void> {
    await this.#open?.cancel();
    this.#tunnel?.tunnel.close();
    await this.#approval;
  }

  async #discover(): Promise<Response> {
    const tail = `/info/refs?service=${this.service}`;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const response = await this.#send({
        method: "GET",
        url: serviceUrl(this.#url, tail),
        headers: this.#gitHeaders(),
      });
      if (!isRedirect(response)) {
        await this.#expect(response, `application/x-${this.service}-advertisement`);
        this.#discovered = true;
        return response;
      }
      if (this.#settings.followRedirects === "none") throw this.#refuseRedirect(response);
      await this.#follow(response, tail);
    }
    throw new KvError("NETWORK", `${httpBase(this.#first)} redirects too often`);
  }

  async #post(body: RequestBody, onSent: (sent: boolean) => void): Promise<Source> {
    await this.#drain();
    const tail = `/${this.service}`;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const response = await this.#send({
        method: "POST",
        url: serviceUrl(this.#url, tail),
        headers: [
          ...this.#gitHeaders(),
          ["Content-Type", `application/x-${this.service}-request`],
          ["Accept", `application/x-${this.service}-result`],
        ],
        body,
        onSent,
      });
      if (!isRedirect(response)) {
        if (!response.ok && response.status < 500) onSent(false);
        await this.#expect(response, `application/x-${this.service}-result`);
        return this.#track(response);
      }
      onSent(false);
      if (this.#settings.followRedirects === "all") await this.#follow(response, tail);
      else if (this.#settings.followRedirects === "initial" && !this.#discovered) await this.#rediscover(response);
      else throw this.#refuseRedirect(response);
    }
    throw new KvError("NETWORK", `${httpBase(this.#first)} redirects too often`);
  }

  /** A push that came without a discovery was sent elsewhere: the discovery finds out where. */
  async #rediscover(redirect: Response): Promise<void> {
    await redirect.body?.cancel();
    const response = await this.#discover();
    await response.body?.cancel();
  }

  /** Sends with the credential at hand; where the server wants one, gets one and sends once more. */
  async #send(request: Omit<HttpRequest, "signal">): Promise<Response> {
    if (!this.#credentialSought) await this.#seekCredential();
    for (;;) {
      const authorization = this.#credential && authorizationHeader(this.#credential.credential);
      const headers: HttpRequest["headers"] =
        authorization === undefined ? request.headers : [...request.headers, ["Authorization", authorization]];
      const response = await this.#sendThroughProxy({ ...request, headers, signal: this.#options.signal });
      const date = response.headers.has("age") ? null : response.headers.get("date");
      if (date !== null) this.#options.onDate?.(date);
      if (response.status !== 401) {
        if (response.ok) this.#approve();
        return response;
      }
      request.onSent?.(false);
      if (!(await this.#answerChallenge(response, authorization))) return response;
    }
  }

  async #sendThroughProxy(request: HttpRequest): Promise<Response> {
    const { proxy } = this.#settings;
    const shown = httpBase(this.#url);
    if (proxy === undefined) return sendRequest(await this.#routed(request, undefined), this.#settings, shown);
    this.#proxyLogin ??= new ProxyLogin(this.#options);
    const address = await this.#proxyLogin.addressOf(proxy);
    try {
      const routed = await this.#routed(request, address);
      const response = await this.#sendByProxy(routed, address, shown);
      await (response.status === 407 ? this.#proxyLogin.reject() : this.#proxyLogin.approve());
      return response;
    } catch (error) {
      if (error instanceof KvError && error.code === "UNAUTHENTICATED") await this.#proxyLogin.reject();
      throw error;
    }
  }

  /** The request by a route of ours, where it needs one. */
  async #routed(request: HttpRequest, proxy: string | undefined): Promise<HttpRequest> {
    const { terms } = this.#settings;
    if (proxy === undefined && terms.resolve.length === 0) return request;
    const { routeTo } = await import("./route.ts");
    const route = routeTo(this.#url, proxy, terms);
    if (route === undefined) return request;
    const key = JSON.stringify(route);
    if (this.#tunnel?.key !== key) {
      this.#tunnel?.tunnel.close();
      const [{ Tunnel }, { dial }] = await Promise.all([import("./tunnel.ts"), import("./dial.ts")]);
      this.#tunnel = { key, tunnel: await Tunnel.open(() => dial(route)) };
    }
    return { ...request, tunnel: this.#tunnel.tunnel };
  }

  async #sendByProxy(request: HttpRequest, proxy: string, shown: string): Promise<Response> {
    const settings = { ...this.#settings, proxy };
    if (request.tunnel !== undefined || !settings.terms.digest) return sendRequest(request, settings, shown);
    const { sendByDigest } = await import("./proxy-digest.ts");
    return sendByDigest(request, settings, shown);
  }

  /** A push needs a credential nearly always: one that costs nothing goes with the first request. A fetch is asked for it. */
  async #seekCredential(): Promise<void> {
    this.#credentialSought = true;
    const { config, env, logins } = this.#options;
    if (!hasAuthorization(this.#settings)) this.#credential = logins?.get(this.#loginKey);
    if (this.#credential !== undefined) return;
    const inUrl = this.#url.user !== undefined && this.#url.password !== undefined;
    if (hasAuthorization(this.#settings) || !(inUrl || this.service === "git-receive-pack")) return;
    this.#credential = await cheapCredential(this.#url, config, env);
  }

  /** The server took the credential, if there is one. */
  #approve(): void {
    if (this.#credential === undefined) return;
    this.#approval = this.#credential.approve();
    this.#options.logins?.set(this.#loginKey, this.#credential);
  }

  get #loginKey(): string {
    return `${this.#url.user ?? ""} ${httpBase(this.#url)}`;
  }

  /** After a 401: whether there is another credential to try. */
  async #answerChallenge(response: Response, refused: string | undefined): Promise<boolean> {
    await this.#credential?.reject();
    this.#credential = undefined;
    this.#options.logins?.delete(this.#loginKey);
    if (this.#asked || this.#options.anonymous === true || hasAuthorization(this.#settings)) return false;
    const { config, env } = this.#options;
    const challenges = [response.headers.get("www-authenticate") ?? ""].filter((text) => text !== "");
    const cheap = refused === undefined ? await cheapCredential(this.#url, config, env) : undefined;
    if (cheap === undefined) this.#asked = true;
    this.#credential = cheap ?? (await fillCredential(this.#url, config, env, challenges));
    if (this.#credential === undefined || authorizationHeader(this.#credential.credential) === refused) return false;
    await response.body?.cancel();
    return true;
  }

  /** Moves to where a redirect points: the address without the tail that the request had. */
  async #follow(response: Response, tail: string): Promise<void> {
    await response.body?.cancel();
    const from = httpBase(this.#url);
    const target = new URL(response.headers.get("location") ?? "", serviceUrl(this.#url, tail)).href;
    if (!target.endsWith(tail)) {
      throw new KvError("NETWORK", `${from} redirects to ${stripUserinfo(target)}, which is no git service`);
    }
    const url = parseUrl(target.slice(0, -tail.length));
    if (url.kind !== "http" && url.kind !== "https") throw this.#refuseRedirect(response);
    if (this.#url.kind === "https" && url.kind === "http") {
      throw new KvError("NETWORK", `${from} redirects from https to http: ${httpBase(url)}`, {
        hint: "use the new address itself if you trust it",
      });
    }
    if (origin(url) !== origin(this.#url)) {
      this.#credential = undefined;
      this.#credentialSought = false;
    }
    this.#url = url;
    this.#settings = httpSettings(url, this.#first, this.#options);
  }

  #refuseRedirect(response: Response): KvError {
    const target = stripUserinfo(response.headers.get("location") ?? "");
    return new KvError("NETWORK", `${httpBase(this.#url)} redirects to ${target}, which is not followed`, {
      hint: "use the new address, or see http.followRedirects",
      data: { status: response.status },
    });
  }

  async #expect(response: Response, type: string): Promise<void> {
    const shown = httpBase(this.#url);
    if (response.status !== 200) throw await statusError(response, shown);
    const got = (response.headers.get("content-type") ?? "").split(";", 1)[0]!.trim();
    if (got.toLowerCase() === type) return;
    await response.body?.cancel();
    throw new KvError("UNSUPPORTED", `${shown} does not answer as a git server (content type '${printable(got)}')`, {
      hint: "check the address: it must be that of a repository served by git's smart HTTP protocol",
    });
  }

  #gitHeaders(): (readonly [string, string])[] {
    const { version = 0 } = this.#options;
    return version === 0 ? [] : [["Git-Protocol", `version=${version}`]];
  }

  #track(response: Response): Source {
    this.#open = responseSource(response, httpBase(this.#url), this.#settings.lowSpeed);
    return this.#open;
  }

  /** Reads an answer to its end, so that its connection serves the next request; a long rest is cut off instead. */
  async #drain(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    for (let bytes = 0; open !== undefined; ) {
      const chunk = await open.read().catch(() => undefined);
      if (chunk === undefined) return;
      bytes += chunk.length;
      if (bytes > MAX_DRAIN) return await open.cancel();
    }
  }
}

/** As curl under git. */
const MAX_REDIRECTS = 20;
const MAX_DRAIN = 65_536;

function serviceUrl(url: HttpUrl, tail: string): string {
  const base = httpBase(url);
  return base + (base.includes("?") ? tail.replace("?", "&") : tail);
}

function isRedirect(response: Response): boolean {
  return [301, 302, 303, 307, 308].includes(response.status) && response.headers.has("location");
}

function hasAuthorization(settings: HttpSettings): boolean {
  return settings.headers.some(([name]) => name.toLowerCase() === "authorization");
}

function stripUserinfo(url: string): string {
  return printable(url.replace(/\/\/[^/?#]*@/, "//"));
}

function printable(text: string): string {
  return JSON.stringify(text.slice(0, 300)).slice(1, -1);
}
