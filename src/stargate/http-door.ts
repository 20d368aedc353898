/**
 * The HTTP door: git's smart protocol (git: gitprotocol-http) and the status call.
 *
 *     GET  /<name>/info/refs?service=git-upload-pack | git-receive-pack
 *     POST /<name>/git-upload-pack, /<name>/git-receive-pack
 *     GET  /<name>/kv/status
 *     POST /<name>/kv/sync                 (sync-call.ts)
 *     GET  /<name>/kv/watch?ns=NS          (watch-stream.ts)
 *
 * Who asks is known before anything of a body is used. Bodies stream in both directions.
 */

import { type Code, KvError, toKvError } from "../errors.ts";
import { readAll } from "../gitwire/protocol/byte-stream.ts";
import type { Service } from "../gitwire/protocol/ref-advertisement.ts";
import { parseNamespace } from "../kv/namespace.ts";
import { LIMITS } from "../limits.ts";
import { requestUrl } from "../request-url.ts";
import { type Authentication, authenticate } from "./http-auth.ts";
import { bodySource, ResponseBody } from "./http-stream.ts";
import type { Log } from "./log.ts";
import type { LoginThrottle } from "./login-throttle.ts";
import type { Registry } from "./registry.ts";
import { protocolVersion, type Served, serveSession } from "./service.ts";
import { statusOf } from "./status.ts";
import { answerSync, errorAnswer, parseSyncRequest } from "./sync-call.ts";
import { allows, type Identity, type Scope } from "./tokens.ts";
import { WatchStreams } from "./watch-stream.ts";

/** Seconds a connection may say nothing before we know who it is. Bun ends headers that take longer than 12 seconds. */
const IDLE_SECONDS = 30;

export interface HttpDoorOptions {
  readonly hostname: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly registry: Registry;
  readonly now: () => number;
  readonly log: Log;
  /** That of all listeners. */
  readonly throttle: LoginThrottle;
}

type Route =
  | { readonly kind: "advertise"; readonly name: string }
  | { readonly kind: "service"; readonly name: string; readonly service: Service }
  | { readonly kind: "status" | "sync" | "watch"; readonly name: string };

/** Longest request for a sync. */
const SYNC_REQUEST_BYTES = 4_096;

/** Seconds after which those who find no place among the streams of events may ask again. */
const WATCH_LATER = "30";

const NO_CACHE = {
  "Cache-Control": "no-cache, max-age=0, must-revalidate",
  Expires: "Fri, 01 Jan 1980 00:00:00 GMT",
  Pragma: "no-cache",
} as const;

export class HttpDoor {
  readonly #options: HttpDoorOptions;
  readonly #server: Bun.Server<undefined>;
  readonly #sessions = new Set<Promise<void>>();
  readonly #watches = new WatchStreams();
  #isClosing = false;

  /** Listens. Throws IO where the address cannot be had. */
  constructor(options: HttpDoorOptions) {
    this.#options = options;
    try {
      this.#server = Bun.serve({
        hostname: options.hostname,
        port: options.port,
        idleTimeout: IDLE_SECONDS,
        maxRequestBodySize: Number.MAX_SAFE_INTEGER,
        fetch: (request) => this.#handle(request),
        error: (error) => this.#broken(toKvError(error)),
      });
    } catch (error) {
      const { hostname, port } = options;
      throw new KvError("IO", `cannot listen on ${hostname}:${port}: ${toKvError(error).message}`, { cause: error });
    }
  }

  /** `http://127.0.0.1:8418` */
  get url(): string {
    const { hostname } = this.#options;
    return `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${this.#server.port}`;
  }

  /** Takes nothing new and waits for what is under way, `most` milliseconds at the most. */
  async close(most: number): Promise<void> {
    this.#isClosing = true;
    this.#watches.close();
    const stopped = this.#server.stop(false);
    const drained = Promise.allSettled([...this.#sessions]);
    await Promise.race([drained, Bun.sleep(most)]);
    // What is left are connections that nothing happens on.
    await Promise.race([stopped, Bun.sleep(50)]);
    await this.#server.stop(true);
  }

  async #handle(request: Request): Promise<Response> {
    if (this.#isClosing) return text(503, "the Stargate is shutting down", { Connection: "close", "Retry-After": "1" });
    const url = requestUrl(request);
    const route = routeOf(url.pathname);
    const served = route === undefined ? undefined : this.#options.registry.byName(route.name);
    if (route === undefined || served === undefined) return text(404, "no such repository");
    if (route.kind === "status") return this.#status(request, served);
    if (route.kind === "sync") return this.#sync(request, served);
    if (route.kind === "watch") return this.#watch(request, url, served);
    const service = route.kind === "service" ? route.service : serviceOf(url.searchParams.get("service"));
    const methods = route.kind === "service" ? ["POST"] : ["GET", "HEAD"];
    if (!methods.includes(request.method)) return text(405, `use ${methods[0]}`, { Allow: methods.join(", ") });
    if (service === undefined) return text(403, "only git's smart HTTP protocol is spoken here: give ?service=");
    const who = this.#admit(request, served, service === "git-receive-pack" ? "write" : "read");
    if (who instanceof Response) return who;
    if (isTurnedOff(served, service)) return text(403, `${service} is turned off for this repository`);
    if (route.kind === "service") return this.#post(request, served, service, who);
    if (request.method === "HEAD") return new Response(null, { headers: answerHeaders(service, "advertisement") });
    return this.#serve(request, served, service, who, "only");
  }

  #post(request: Request, served: Served, service: Service, who: Identity): Response | Promise<Response> {
    const type = request.headers.get("content-type");
    const expected = `application/x-${service}-request`;
    if (type !== expected) return text(415, `the content type is not ${expected}`);
    const encoding = request.headers.get("content-encoding") ?? "identity";
    if (!/^(?:identity|x-gzip|gzip)$/i.test(encoding)) return text(415, "only gzip is unpacked here");
    return this.#serve(request, served, service, who, "skip");
  }

  /** Who asks, or the response that sends them away. */
  #admit(request: Request, served: Served, needed: Scope): Identity | Response {
    const { gate, name } = served;
    const now = this.#options.now();
    const found = authenticate(request.headers.get("authorization"), gate.tokens, now);
    const early = this.#throttled(request, name, found, now);
    if (early !== undefined) return early;
    if (found.kind === "known") {
      if (allows(found.who.scope, needed)) return found.who;
      return text(403, `this token may ${found.who.scope}, ${needed} is needed`);
    }
    if (found.kind === "none" && needed === "read" && gate.settings.anonymousRead) {
      return { name: "anonymous", scope: "read", door: "http" };
    }
    const why = found.kind === "none" ? "a token is needed" : "the token is not known, or expired or revoked";
    return text(401, `${why}: give it as the password`, {
      "WWW-Authenticate": `Basic realm="${name}", charset="UTF-8"`,
    });
  }

  /** The response to somebody who gave too many wrong tokens lately; whatever the one is that comes now, it is not said. */
  #throttled(request: Request, repo: string, found: Authentication, now: number): Response | undefined {
    if (found.kind === "none") return undefined;
    const address = this.#server.requestIP(request)?.address ?? "";
    const name = found.kind === "known" ? `${repo} ${found.who.name}` : undefined;
    const wait = this.#options.throttle.admit(address, name, now);
    if (wait === 0) return undefined;
    const seconds = String(Math.ceil(wait / 1_000));
    return text(429, `too many wrong tokens: try again in ${seconds} s`, { "Retry-After": seconds });
  }

  async #serve(
    request: Request,
    served: Served,
    service: Service,
    who: Identity,
    advertise: "only" | "skip",
  ): Promise<Response> {
    // Bun's timer runs on while a body arrives, and would break off any push that takes longer; http-stream.ts has its own.
    this.#server.timeout(request, 0);
    const body = new ResponseBody();
    request.signal.addEventListener("abort", () => body.hangUp());
    const gzip = /gzip/i.test(request.headers.get("content-encoding") ?? "");
    const most = service === "git-upload-pack" ? LIMITS.requestBody : Number.POSITIVE_INFINITY;
    const input = bodySource(request.body, gzip, most);
    const version = protocolVersion(request.headers.get("git-protocol"));
    const session = serveSession(
      served,
      { input, output: body },
      { service, version, stateless: true, advertise, who, gone: request.signal },
    );
    this.#track(
      session
        .then(
          () => body.end(),
          (error: unknown) => this.#failed(served, service, who, toKvError(error), body),
        )
        .finally(() => this.#server.timeout(request, IDLE_SECONDS)),
    );
    await body.begun;
    return new Response(body.content, {
      headers: answerHeaders(service, advertise === "only" ? "advertisement" : "result"),
    });
  }

  /** What nobody could say anything about: the reason is for whoever runs this, and stands in the log. */
  #broken({ code, message, stack }: KvError): Response {
    this.#options.log("error", "http", { code, message, ...(code === "BUG" && { stack }) });
    return text(500, `internal error: ${code}`);
  }

  #failed(served: Served, service: Service, who: Identity, error: KvError, body: ResponseBody): void {
    const { code, message, stack } = error;
    const level = code === "BUG" || code === "CORRUPT" ? "error" : "info";
    const more = code === "BUG" ? { stack } : {};
    this.#options.log(level, service, { repo: served.name, code, message, who: who.name, ...more });
    // Where an error could be said it was, and the body ends so that the client reads it; a bug of ours breaks it off.
    if (code === "BUG") body.abort(error);
    else body.end();
  }

  #track(session: Promise<void>): void {
    this.#sessions.add(session);
    session.finally(() => this.#sessions.delete(session));
  }

  #status(request: Request, served: Served): Response {
    if (request.method !== "GET") return text(405, "use GET", { Allow: "GET" });
    const who = this.#admit(request, served, "read");
    if (who instanceof Response) return who;
    return Response.json(statusOf(served, this.#options.now()), { headers: NO_CACHE });
  }

  #watch(request: Request, url: URL, served: Served): Response {
    if (request.method !== "GET") return text(405, "use GET", { Allow: "GET" });
    const who = this.#admit(request, served, "read");
    if (who instanceof Response) return who;
    const since = url.searchParams.get("since") ?? request.headers.get("last-event-id") ?? "0";
    if (!/^\d{1,15}$/.test(since)) return text(400, "since is a sequence number");
    let ns: string;
    try {
      ns = parseNamespace(url.searchParams.get("ns") ?? "main");
    } catch (error) {
      return text(400, toKvError(error).message);
    }
    const isAllowed = (): boolean => !(this.#admit(request, served, "read") instanceof Response);
    const isAnonymous = who.token === undefined;
    const watch = this.#watches.open(served.gate, {
      ns,
      since: Number(since),
      who: isAnonymous ? (this.#server.requestIP(request)?.address ?? "") : `${served.name} ${who.name}`,
      isAnonymous,
      isAllowed,
      signal: request.signal,
    });
    if (watch.kind !== "stream") {
      const later = { "Retry-After": WATCH_LATER };
      if (watch.kind === "all taken") return text(503, "too many watch already", later);
      return text(429, `${LIMITS.watchersOfOne} streams of events are open for ${who.name} already`, later);
    }
    this.#server.timeout(request, 0);
    return new Response(watch.stream, {
      headers: { ...NO_CACHE, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no" },
    });
  }

  async #sync(request: Request, served: Served): Promise<Response> {
    if (request.method !== "POST") return text(405, "use POST", { Allow: "POST" });
    const who = this.#admit(request, served, "read");
    if (who instanceof Response) return who;
    // A mirror may take its time, and says nothing meanwhile.
    this.#server.timeout(request, 0);
    const work = readAll(bodySource(request.body, false, SYNC_REQUEST_BYTES), SYNC_REQUEST_BYTES).then((body) =>
      answerSync(served, parseSyncRequest(body.toString("utf8")), who),
    );
    this.#track(work.then(() => {}).catch(() => {}));
    try {
      return Response.json(await work, { headers: NO_CACHE });
    } catch (error) {
      const status = httpStatus(toKvError(error).code);
      return Response.json(errorAnswer(error), { status, headers: NO_CACHE });
    } finally {
      this.#server.timeout(request, IDLE_SECONDS);
    }
  }
}

function routeOf(pathname: string): Route | undefined {
  let path: string;
  try {
    path = decodeURIComponent(pathname);
  } catch {
    return undefined;
  }
  const [, name, tail] =
    /^\/(.+?)\/(info\/refs|git-upload-pack|git-receive-pack|kv\/(?:status|sync|watch))$/.exec(path) ?? [];
  if (name === undefined || tail === undefined) return undefined;
  if (tail === "info/refs") return { kind: "advertise", name };
  if (tail.startsWith("kv/")) return { kind: tail.slice(3) as "status" | "sync" | "watch", name };
  return { kind: "service", name, service: tail as Service };
}

/** The status a refusal goes out with; the error itself is in the body. */
function httpStatus(code: Code): number {
  switch (code) {
    case "FORBIDDEN":
      return 403;
    case "INPUT_INVALID":
    case "NS_INVALID":
      return 400;
    case "NS_NOT_FOUND":
    case "CONFIG":
      return 409;
    case "LIMIT_EXCEEDED":
      return 413;
    case "BUG":
      return 500;
    case "BUSY":
    case "STORAGE":
      return 503;
    default:
      return 502;
  }
}

/** The repository's own word on it: http.receivepack, http.uploadpack. */
function isTurnedOff({ gate }: Served, service: Service): boolean {
  return gate.repo.config.getBool(service === "git-receive-pack" ? "http.receivepack" : "http.uploadpack") === false;
}

function serviceOf(name: string | null): Service | undefined {
  return name === "git-upload-pack" || name === "git-receive-pack" ? name : undefined;
}

function answerHeaders(service: Service, kind: "advertisement" | "result"): Record<string, string> {
  return { ...NO_CACHE, "Content-Type": `application/x-${service}-${kind}` };
}

function text(status: number, message: string, headers: Record<string, string> = {}): Response {
  return new Response(`${message}\n`, {
    status,
    headers: { ...NO_CACHE, "Content-Type": "text/plain; charset=utf-8", ...headers },
  });
}
