/** Real `git http-backend` behind a small HTTP server, for tests. */

import * as path from "node:path";

export interface SeenRequest {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly headers: Headers;
}

export interface HttpBackend {
  readonly port: number;
  /** `http://127.0.0.1:<port>` or https. */
  readonly url: string;
  /** Every request so far, in order. */
  readonly requests: SeenRequest[];
  stop(): void;
}

export interface HttpBackendOptions {
  /** `user:password` that must be given by Basic authentication. */
  readonly login?: string;
  /** Answers instead of git where it returns a response. */
  readonly intercept?: (request: Request, url: URL) => Response | undefined | Promise<Response | undefined>;
  /** Ends each connection after its answer. */
  readonly closes?: boolean;
  readonly tls?: {
    readonly cert: string;
    readonly key: string;
    /** Authority of the certificates that clients must have. */
    readonly clientCa?: string;
  };
  /** Runs git; the words before `git`, a tracer's say. */
  readonly under?: () => readonly string[];
  /** Is told what each run of git cost it, with all the programs it started. */
  readonly onEnd?: (cpuMs: number) => void;
}

/** Serves the repositories under `root` for reading and writing. */
export function startHttpBackend(root: string, options: HttpBackendOptions = {}): HttpBackend {
  const requests: SeenRequest[] = [];
  const stopped = new AbortController();
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
    ...(options.tls !== undefined && { tls: tlsOf(options.tls) }),
    fetch: async (request) => {
      const url = new URL(request.url);
      requests.push({ method: request.method, target: url.pathname + url.search, headers: request.headers });
      const other = await options.intercept?.(request, url);
      if (other !== undefined) return other;
      const authorization = `Basic ${Buffer.from(options.login ?? "").toString("base64")}`;
      if (options.login !== undefined && request.headers.get("authorization") !== authorization) {
        return new Response("who are you?\n", {
          status: 401,
          headers: { "WWW-Authenticate": 'Basic realm="test"', "Content-Type": "text/plain" },
        });
      }
      const response = await backend(root, request, url, options, stopped.signal);
      if (options.closes === true) response.headers.set("Connection", "close");
      return response;
    },
  });
  const port = server.port!;
  return {
    port,
    url: `${options.tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    requests,
    stop: () => {
      stopped.abort();
      void server.stop(true);
    },
  };
}

function tlsOf({ clientCa, ...own }: NonNullable<HttpBackendOptions["tls"]>) {
  return clientCa === undefined ? own : { ...own, ca: clientCa, requestCert: true, rejectUnauthorized: true };
}

/** Runs git http-backend as a CGI program (RFC 3875). */
async function backend(
  root: string,
  request: Request,
  url: URL,
  options: HttpBackendOptions,
  stopped: AbortSignal,
): Promise<Response> {
  const env: Record<string, string | undefined> = {
    ...process.env,
    GIT_PROJECT_ROOT: path.resolve(root),
    GIT_HTTP_EXPORT_ALL: "1",
    REMOTE_USER: "tester",
    REQUEST_METHOD: request.method,
    SERVER_PROTOCOL: "HTTP/1.1",
    PATH_INFO: decodeURIComponent(url.pathname),
    QUERY_STRING: url.search.slice(1),
    CONTENT_TYPE: request.headers.get("content-type") ?? "",
    CONTENT_LENGTH: request.headers.get("content-length") ?? "",
    HTTP_CONTENT_ENCODING: request.headers.get("content-encoding") ?? "",
    GIT_PROTOCOL: request.headers.get("git-protocol") ?? "",
  };
  const stdin = request.method === "POST" && request.body !== null ? request.body : "ignore";
  const command = [...(options.under?.() ?? []), "git", "http-backend"];
  // git http-backend whose body ends early reads on for ever, at all a core can give (2.39), so whoever hangs up ends it.
  const signal = AbortSignal.any([request.signal, stopped]);
  const child = Bun.spawn(command, { stdin, stdout: "pipe", stderr: "ignore", env, signal });
  const output = Buffer.from(await new Response(child.stdout).arrayBuffer());
  if (options.onEnd !== undefined) {
    await child.exited;
    options.onEnd(Number(child.resourceUsage()?.cpuTime.total ?? 0n) / 1000);
  }
  const end = output.indexOf("\r\n\r\n");
  const headers = new Headers();
  let status = 200;
  for (const line of output.toString("latin1", 0, Math.max(end, 0)).split("\r\n")) {
    const colon = line.indexOf(":");
    if (/^status:/i.test(line)) status = Number.parseInt(line.slice(colon + 1), 10);
    else if (colon > 0) headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return new Response(output.subarray(end + 4), { status, headers });
}
