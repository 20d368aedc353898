/**
 * The listener for operators (docs/stargate.md, "The ops listener"):
 *
 *     GET /healthz                 is the repository well?
 *     GET /readyz[?exclude=mirror] should this node be given work?
 *     GET /metrics                 figures for Prometheus
 *     GET /                        the status page, which asks
 *     GET /api/status, /api/keys?repo=&ns=&prefix=&after=, /api/history?repo=&ns=&key=
 *
 * It changes nothing. What a caller may see is told by caller.ts.
 */

import { KvError, toKvError } from "../../errors.ts";
import { parseNamespace } from "../../kv/namespace.ts";
import { readState } from "../../kv/state.ts";
import { requestUrl } from "../../request-url.ts";
import type { Log } from "../log.ts";
import type { LoginThrottle } from "../login-throttle.ts";
import { statusOf } from "../status.ts";
import { browse, revisions } from "./browse.ts";
import { type Caller, callerOf } from "./caller.ts";
import { type Check, checkHealth, checkReady, READY_CHECKS } from "./health.ts";
import { Metrics } from "./metrics.ts";
import { statusPage } from "./page.ts";
import type { Unit } from "./unit.ts";

export interface OpsDoorOptions {
  readonly hostname: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly units: readonly Unit[];
  readonly now: () => number;
  readonly log: Log;
  readonly throttle: LoginThrottle;
  /** What the page says of this process. */
  readonly node: Readonly<Record<string, string | number>>;
}

const HEADERS = {
  "Cache-Control": "no-store",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "X-Frame-Options": "DENY",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
} as const;

/** Milliseconds the outcome of the health checks holds: they write to the disk. */
const HEALTH_FRESH = 1_000;

/** Transactions whose age is looked at: the default of `backlog_limit`. */
const MOST_WAITING = 10_000;

interface Outcome {
  readonly repo: string;
  readonly checks: readonly Check[];
}

export class OpsDoor {
  readonly #options: OpsDoorOptions;
  readonly #server: Bun.Server<undefined>;
  readonly #metrics: Metrics;
  #health: { readonly at: number; readonly outcomes: Promise<readonly Outcome[]> } | undefined;
  #isStopping = false;

  /** Listens. Throws IO where the address cannot be had. */
  constructor(options: OpsDoorOptions) {
    this.#options = options;
    const { hostname, port, units, now } = options;
    this.#metrics = new Metrics(units, now);
    try {
      this.#server = Bun.serve({
        hostname,
        port,
        idleTimeout: 30,
        maxRequestBodySize: 0,
        fetch: (request) => this.#handle(request),
        // The runtime's own answer to what is thrown shows the source.
        error: (error) => this.#failed(toKvError(error), ""),
      });
    } catch (error) {
      throw new KvError("IO", `cannot listen on ${hostname}:${port}: ${toKvError(error).message}`, { cause: error });
    }
  }

  /** `http://127.0.0.1:9418` */
  get url(): string {
    const { hostname } = this.#options;
    return `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${this.#server.port}`;
  }

  /** Says from now on that the node is not ready: it is being stopped. */
  drain(): void {
    this.#isStopping = true;
  }

  async close(): Promise<void> {
    await this.#server.stop(true);
  }

  async #handle(request: Request): Promise<Response> {
    const url = requestUrl(request);
    if (request.method !== "GET" && request.method !== "HEAD") {
      return text(405, "use GET", { Allow: "GET, HEAD" });
    }
    try {
      return await this.#route(url, this.#callerOf(request));
    } catch (thrown) {
      return this.#failed(toKvError(thrown), url.pathname);
    }
  }

  #callerOf(request: Request): Caller {
    const { units, throttle, now } = this.#options;
    const address = this.#server.requestIP(request)?.address;
    return callerOf(request, { address, served: units.map(({ served }) => served), throttle, now: now() });
  }

  async #route(url: URL, caller: Caller): Promise<Response> {
    switch (url.pathname) {
      case "/healthz":
        return this.#healthz(caller);
      case "/readyz":
        return this.#readyz(url.searchParams, caller);
    }
    // A probe is answered as one without a token, whatever somebody else does at its address.
    if (caller.wait > 0) return tooManyWrong(caller.wait);
    const units = this.#options.units.filter(({ served }) => caller.may("admin", served));
    if (units.length === 0) return askForToken();
    switch (url.pathname) {
      case "/metrics":
        // They tell of every repository.
        if (units.length < this.#options.units.length) return askForToken();
        return new Response(await this.#metrics.text(), {
          headers: { ...HEADERS, "Content-Type": this.#metrics.contentType },
        });
      case "/":
        return page();
      case "/api/status":
        return json(200, await this.#status(units));
      case "/api/keys":
      case "/api/history":
        return json(200, await this.#look(url, units));
      default:
        return text(404, "there is nothing here; try /");
    }
  }

  async #healthz(caller: Caller): Promise<Response> {
    const outcomes = await this.#checkHealth();
    const ok = outcomes.every(({ checks }) => checks.every((check) => check.ok));
    const status = ok ? "ok" : "failed";
    return json(ok ? 200 : 500, { status, ...this.#details(outcomes, caller) });
  }

  async #readyz(query: URLSearchParams, caller: Caller): Promise<Response> {
    const excluded = query.getAll("exclude").flatMap((names) => names.split(","));
    const unknown = excluded.find((name) => !READY_CHECKS.some((check) => isMeant(check, name)));
    if (unknown !== undefined) {
      return text(400, `there is no check '${unknown.slice(0, 64)}' to exclude: ${READY_CHECKS.join(", ")}`);
    }
    const outcomes = await this.#checkReady((name) => excluded.some((each) => isMeant(name, each)));
    const isReady = !this.#isStopping && outcomes.every(({ checks }) => checks.every((check) => check.ok));
    const status = this.#isStopping ? "stopping" : isReady ? "ready" : "not ready";
    // Whoever only wants to know whether it is ready need not read why it is.
    const details = !isReady || query.has("verbose") ? this.#details(outcomes, caller) : {};
    return json(isReady ? 200 : 503, { status, ...details });
  }

  #details(outcomes: readonly Outcome[], caller: Caller): { readonly repositories?: readonly Outcome[] } {
    const byName = new Map(this.#options.units.map(({ served }) => [served.name, served]));
    const shown = outcomes.filter(({ repo }) => caller.may("read", byName.get(repo)!));
    return shown.length === 0 ? {} : { repositories: shown };
  }

  #checkHealth(): Promise<readonly Outcome[]> {
    const now = this.#options.now();
    if (this.#health === undefined || Math.abs(now - this.#health.at) >= HEALTH_FRESH) {
      const { units } = this.#options;
      const outcomes = units.map(async ({ served }) => ({ repo: served.name, checks: await checkHealth(served.gate) }));
      this.#health = { at: now, outcomes: Promise.all(outcomes) };
    }
    return this.#health.outcomes;
  }

  async #checkReady(isExcluded: (name: Check["name"]) => boolean): Promise<Outcome[]> {
    return Promise.all(
      this.#options.units.map(async ({ served, probe }) => {
        // What is not asked about is not waited for.
        const asked = isExcluded("mirror") ? undefined : probe;
        const checks = await checkReady(served.gate, asked);
        return { repo: served.name, checks: checks.filter(({ name }) => !isExcluded(name)) };
      }),
    );
  }

  async #status(units: readonly Unit[]): Promise<object> {
    const now = this.#options.now();
    const [health, ready] = await Promise.all([this.#checkHealth(), this.#checkReady(() => false)]);
    const checksOf = (outcomes: readonly Outcome[], repo: string) =>
      outcomes.find((outcome) => outcome.repo === repo)?.checks ?? [];
    return {
      now,
      node: this.#options.node,
      stopping: this.#isStopping,
      repositories: units.map(({ served, monitor }) => ({
        ...statusOf(served, now),
        health: checksOf(health, served.name),
        ready: checksOf(ready, served.name),
        ...monitor.report(now, served.mirror === undefined ? [] : served.gate.journal.waiting(MOST_WAITING)),
      })),
    };
  }

  async #look({ pathname, searchParams: query }: URL, units: readonly Unit[]): Promise<object> {
    const name = query.get("repo");
    const unit = units.find(({ served }) => served.name === name);
    if (unit === undefined) throw new KvError("INPUT_INVALID", "no such repository");
    const { repo } = unit.served.gate;
    const ns = parseNamespace(query.get("ns") ?? "");
    const state = readState(repo.objects, repo.refs, ns);
    if (state === undefined) throw new KvError("NS_NOT_FOUND", `there is no namespace '${ns}'`);
    if (pathname === "/api/history") {
      return { seq: state.ledger.seq, revisions: await revisions(repo, state, query.get("key") ?? "") };
    }
    const found = browse(repo.objects, state, query.get("prefix") ?? "", query.get("after") ?? "");
    return { seq: state.ledger.seq, ...found };
  }

  #failed(error: KvError, path: string): Response {
    const { code, message } = error;
    if (["INPUT_INVALID", "NS_INVALID", "KEY_INVALID"].includes(code)) return json(400, { error: { code, message } });
    if (code === "NS_NOT_FOUND") return json(404, { error: { code, message } });
    this.#options.log("error", "ops", { code, message, path, stack: error.stack });
    return json(500, { error: { code, message } });
  }
}

/** Whether `name` means `check`: `mirror` stands for all that has to do with it. */
function isMeant(check: Check["name"], name: string): boolean {
  return check === name || (name === "mirror" && check.startsWith("mirror-"));
}

function page(): Response {
  const { html, policy } = statusPage();
  return new Response(html, {
    headers: { ...HEADERS, "Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy },
  });
}

function askForToken(): Response {
  return text(401, "a token of scope admin is needed: give it as the password", {
    "WWW-Authenticate": 'Basic realm="git-kv-stargate", charset="UTF-8"',
  });
}

function tooManyWrong(wait: number): Response {
  const seconds = String(Math.ceil(wait / 1_000));
  return text(429, `too many wrong tokens: try again in ${seconds} s`, { "Retry-After": seconds });
}

function json(status: number, body: object): Response {
  return Response.json(body, { status, headers: HEADERS });
}

function text(status: number, message: string, headers: Record<string, string> = {}): Response {
  return new Response(`${message}\n`, {
    status,
    headers: { ...HEADERS, "Content-Type": "text/plain; charset=utf-8", ...headers },
  });
}
