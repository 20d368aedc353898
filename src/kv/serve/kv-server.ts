/**
 * `git kv serve`: keys over HTTP, for programs on this machine (docs/serve.md). It reads and nothing else; whoever can reach the
 * address can read everything, so that is the loopback or a socket file unless the user says otherwise.
 */

import * as fs from "node:fs";
import { KvError, toKvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { requestUrl } from "../../request-url.ts";
import type { SocketClaim } from "../../socket-claim.ts";
import { parseKey } from "../key.ts";
import type { Workspace } from "../workspace.ts";
import { failure, json } from "./answers.ts";
import type { Follower } from "./follower.ts";
import { isOurHost, namesOf } from "./host-check.ts";
import { answerKey } from "./key-answer.ts";
import { answerList } from "./list-answer.ts";

/** Where to listen. */
export type Listen =
  | { readonly kind: "tcp"; readonly hostname: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/** Seconds in which a client that is answered must take something. */
const IDLE_SECONDS = 60;
/** Bytes of a body, of which nothing is read: who sends a small one is told what is wrong. */
const MOST_BODY = 64 * 1024;
/** Milliseconds that answers under way get at the end. */
const GRACE = 10_000;

const ROOT = "/v1/kv";

export class KvServer {
  readonly #workspace: Workspace;
  readonly #follower: Follower;
  readonly #listen: Listen;
  readonly #claim: SocketClaim | undefined;
  readonly #names: ReadonlySet<string> | undefined;
  readonly #server: Bun.Server<undefined>;
  #active = 0;

  /**
   * Listens; `names`: names of this service besides those of the loopback and its own address. Throws IO where it cannot, LOCKED where
   * somebody listens at the socket file.
   */
  static async start(
    workspace: Workspace,
    follower: Follower,
    listen: Listen,
    names: readonly string[],
  ): Promise<KvServer> {
    const claim = listen.kind === "unix" ? await claimOf(listen.path) : undefined;
    try {
      return new KvServer(workspace, follower, listen, names, claim);
    } catch (error) {
      claim?.release();
      throw error;
    }
  }

  private constructor(
    workspace: Workspace,
    follower: Follower,
    listen: Listen,
    names: readonly string[],
    claim: SocketClaim | undefined,
  ) {
    this.#workspace = workspace;
    this.#follower = follower;
    this.#listen = listen;
    this.#claim = claim;
    // Nobody is led to a socket file by a name.
    this.#names = listen.kind === "tcp" ? namesOf(listen.hostname, names) : undefined;
    const common = {
      maxRequestBodySize: MOST_BODY,
      fetch: (request: Request) => this.#handle(request),
      error: (error: Error) => failure(error),
    };
    try {
      if (listen.kind === "unix") {
        // No limit: nobody but the owner comes this way, a wait may take long, and `timeout` below has no effect here. Left out, it is 10 s;
        // the types know of none.
        const unlimited: object = { idleTimeout: 0 };
        this.#server = Bun.serve({ unix: listen.path, ...common, ...unlimited });
        fs.chmodSync(listen.path, 0o600);
      } else {
        const { hostname, port } = listen;
        this.#server = Bun.serve({ hostname, port, idleTimeout: IDLE_SECONDS, ...common });
      }
    } catch (error) {
      throw new KvError("IO", `cannot listen on ${this.#shown(undefined)}: ${toKvError(error).message}`, {
        cause: error,
      });
    }
  }

  /** `http://127.0.0.1:7480`, or `unix:PATH`. */
  get address(): string {
    return this.#shown(this.#server.port);
  }

  #shown(bound: number | undefined): string {
    const listen = this.#listen;
    if (listen.kind === "unix") return `unix:${listen.path}`;
    const { hostname, port } = listen;
    return `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${bound ?? port}`;
  }

  /** Takes nothing new, wakes who waits, and lets the answers under way end, for a while. */
  async stop(): Promise<void> {
    await this.#follower.stop();
    const stopped = this.#server.stop(false);
    const late = new Promise<void>((resolve) => void setTimeout(resolve, GRACE).unref());
    await Promise.race([stopped, late]);
    await this.#server.stop(true);
    this.#claim?.release();
  }

  async #handle(request: Request): Promise<Response> {
    if (this.#names !== undefined && !isOurHost(request.headers.get("host"), this.#names)) {
      return failure(
        new KvError("FORBIDDEN", `this service is not called ${JSON.stringify(request.headers.get("host"))}`, {
          hint: "git kv serve --allow-host NAME",
        }),
      );
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      const error = { status: 405, code: "METHOD_NOT_ALLOWED", message: "this service reads and nothing else" };
      return json(405, { error }, { Allow: "GET, HEAD" });
    }
    if (this.#active >= LIMITS.servedRequests) {
      return failure(new KvError("BUSY", `${LIMITS.servedRequests} requests are being answered`));
    }
    this.#active++;
    try {
      return await this.#route(request, requestUrl(request));
    } catch (error) {
      const { data } = toKvError(error);
      if (typeof data?.size !== "number") return failure(error);
      const { message } = toKvError(error);
      const unsatisfied = { status: 416, code: "RANGE_NOT_SATISFIABLE", message };
      return json(416, { error: unsatisfied }, { "Content-Range": `bytes */${data.size}` });
    } finally {
      this.#active--;
    }
  }

  async #route(request: Request, { pathname, searchParams: params }: URL): Promise<Response> {
    const isHead = request.method === "HEAD";
    const { headers, signal } = request;
    if (pathname === "/healthz") return this.#health();
    const named = pathname.startsWith(`${ROOT}/`) ? decoded(pathname.slice(ROOT.length + 1)) : params.get("key");
    if (named !== null && pathname.startsWith(ROOT)) {
      // A wait may be longer than silence may be otherwise.
      if (params.has("wait") && this.#listen.kind === "tcp") this.#server.timeout(request, 0);
      const query = { key: parseKey(named), isHead, params, headers, signal };
      return answerKey(this.#workspace, this.#follower, query);
    }
    if (pathname === ROOT) return answerList(this.#workspace, this.#follower.state(), params, headers);
    const error = { status: 404, code: "NO_SUCH_PATH", message: `there is ${ROOT}/KEY, ${ROOT}?prefix=P and /healthz` };
    return json(404, { error });
  }

  /** 200 where requests are answered, whatever the remote does; how old the answers may be is in it. */
  #health(): Response {
    const { ns, ledger } = this.#follower.state();
    const { age, error } = this.#follower.status;
    const status = error === undefined ? "ok" : "stale";
    const seconds = age === undefined ? undefined : Math.round(age / 1000);
    return json(200, { status, ns, commit: ledger.oid, seq: ledger.seq, age: seconds, error });
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new KvError("KEY_INVALID", `'${text.slice(0, 100)}' is not percent-encoded UTF-8`, { cause });
  }
}

async function claimOf(file: string): Promise<SocketClaim> {
  const { SocketClaim } = await import("../../socket-claim.ts");
  return SocketClaim.take(file, "stop it, or give another --listen");
}
