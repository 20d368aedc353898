/**
 * One HTTP request, sent and answered, nothing decided: no redirect followed, no password asked.
 *
 * `fetch` because it is fast to start: a compiled program that makes one POST to a server on this machine takes 6.5 ms from
 * start to end with it, 15 ms with node:http and 6.1 ms with a hand-written HTTP over a socket.
 */

import { asBuffer } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import type { ByteSource } from "../protocol/byte-stream.ts";
import type { RequestBody } from "../protocol/transport.ts";
import { proxyRefusal } from "./http-error.ts";
import type { HttpSettings } from "./http-settings.ts";
import { type LowSpeed, SpeedGuard } from "./low-speed.ts";
import { systemCertificates, type TlsSettings } from "./tls-settings.ts";
import type { Tunnel } from "./tunnel.ts";

export interface HttpRequest {
  readonly method: "GET" | "POST";
  readonly url: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body?: RequestBody;
  readonly signal?: AbortSignal | undefined;
  /** Where a route of ours begins: the request takes it, and no proxy. */
  readonly tunnel?: Tunnel | undefined;
  /** Called when the last of the body was taken, and with false where it turns out that nothing can have arrived. */
  readonly onSent?: (sent: boolean) => void;
}

/** Sends the request. Rejects with NETWORK where no answer comes; `shownUrl` names the server then. */
export async function sendRequest(request: HttpRequest, settings: HttpSettings, shownUrl: string): Promise<Response> {
  // Its fetch would pass the proxy by without a word.
  if (process.versions.bun === undefined && (settings.proxy !== undefined || request.tunnel !== undefined)) {
    throw new KvError("UNSUPPORTED", `a proxy is set for ${shownUrl}, which Node.js does not take`, {
      hint: "run the program with Bun, or call the git-kv executable",
    });
  }
  try {
    return await attempt(request, settings, settings.tls, shownUrl);
  } catch (cause) {
    const error = request.tunnel?.failure ?? cause;
    const code = errorCode(error);
    if (NOT_SENT.test(code)) request.onSent?.(false);
    const wider = UNKNOWN_ISSUER.test(code) && settings.tls ? systemCertificates(settings.tls) : undefined;
    if (wider === undefined) throw networkError(error, shownUrl, settings);
    return await attempt(request, settings, wider, shownUrl).catch((again: unknown) => {
      if (NOT_SENT.test(errorCode(again))) request.onSent?.(false);
      throw networkError(again, shownUrl, settings);
    });
  }
}

function attempt(
  request: HttpRequest,
  settings: HttpSettings,
  tls: TlsSettings | undefined,
  shownUrl: string,
): Promise<Response> {
  const { lowSpeed } = settings;
  if (lowSpeed === undefined) return start(request, settings, tls, request.signal);
  const abort = new AbortController();
  const guard = new SpeedGuard(lowSpeed, shownUrl, () => abort.abort());
  const signal = request.signal === undefined ? abort.signal : AbortSignal.any([abort.signal, request.signal]);
  return guard.during(start(request, settings, tls, signal, guard));
}

function start(
  request: HttpRequest,
  settings: HttpSettings,
  tls: TlsSettings | undefined,
  signal: AbortSignal | undefined,
  guard?: SpeedGuard,
): Promise<Response> {
  const headers = [...request.headers, ...settings.headers] as [string, string][];
  const body = request.body === undefined ? undefined : requestBody(request, request.body, guard);
  if (request.body !== undefined) headers.push(["Content-Length", String(request.body.byteLength)]);
  const init: BunFetchRequestInit & { timeout: false; duplex: "half" } = {
    method: request.method,
    headers,
    redirect: "manual",
    // No answer within five minutes is not an error: hooks may take their time.
    timeout: false,
    // Node.js sends no stream without it.
    duplex: "half",
    ...(body === undefined ? {} : { body }),
    ...(request.tunnel === undefined ? {} : { unix: request.tunnel.path }),
    ...(settings.proxy === undefined || request.tunnel !== undefined ? {} : { proxy: settings.proxy }),
    ...(tls === undefined ? {} : { tls: { ...tls } }),
    ...(signal === undefined ? {} : { signal }),
  };
  return withoutProxyVariables(() => fetch(request.url, init));
}

/** Up to this many bytes are put together before they are sent (git's default of http.postBuffer). */
const ONE_PIECE = 1024 * 1024;

/** A small body in one piece, which takes one write; a large one chunk by chunk as the connection takes it. */
function requestBody(
  request: HttpRequest,
  body: RequestBody,
  guard: SpeedGuard | undefined,
): NonNullable<RequestInit["body"]> {
  if (body.byteLength <= ONE_PIECE) {
    const bytes = Buffer.concat([...body.chunks()]);
    request.onSent?.(true);
    guard?.count(bytes.length);
    return bytes;
  }
  const chunks = body.chunks()[Symbol.iterator]();
  return new ReadableStream<Uint8Array>(
    {
      pull: (controller) => {
        const { done, value } = chunks.next();
        if (!done) {
          guard?.count(value.length);
          return controller.enqueue(value);
        }
        request.onSent?.(true);
        controller.close();
      },
      cancel: () => {
        chunks.return?.();
      },
    },
    { highWaterMark: 1 },
  );
}

const PROXY_VARIABLES = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"];

/** fetch reads these from the environment, by other rules than git's, in the moment it is called. */
function withoutProxyVariables<T>(call: () => T): T {
  const saved: [string, string][] = [];
  for (const name of PROXY_VARIABLES) {
    const value = process.env[name];
    if (value === undefined) continue;
    saved.push([name, value]);
    delete process.env[name];
  }
  try {
    return call();
  } finally {
    for (const [name, value] of saved) process.env[name] = value;
  }
}

/** The body of an answer as a source; breaking connections, and those slower than `lowSpeed` allows, become NETWORK. */
export function responseSource(
  response: Response,
  shownUrl: string,
  lowSpeed: LowSpeed | undefined,
): ByteSource & { cancel(): Promise<void> } {
  const reader = response.body?.getReader();
  const guard = lowSpeed && new SpeedGuard(lowSpeed, shownUrl, () => void reader?.cancel().catch(() => {}));
  return {
    read: async () => {
      try {
        while (reader !== undefined) {
          const next = reader.read();
          const { done, value } = await (guard === undefined ? next : guard.during(next));
          if (done) return undefined;
          guard?.count(value.length);
          if (value.length > 0) return asBuffer(value);
        }
        return undefined;
      } catch (cause) {
        if (cause instanceof KvError) throw cause;
        throw new KvError("NETWORK", `the connection to ${shownUrl} broke`, { cause });
      }
    },
    cancel: async () => {
      await reader?.cancel().catch(() => {});
    },
  };
}

/** What went wrong; Node.js tells it in the cause of an error that says no more than that there is one. */
function errorCode(error: unknown): string {
  const { code, name, cause } = error as { code?: unknown; name?: unknown; cause?: unknown };
  if (typeof code === "string") return code;
  return cause instanceof Error ? errorCode(cause) : String(name);
}

/** Failures that come before a byte of the request is sent. */
const NOT_SENT =
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|EPROTO|ERR_TLS_.*|.*CERT.*|UNABLE_TO_.*|UnsupportedProxyProtocol|ProxyTunnel.*|ERR_PROXY_TUNNEL)$/;
const UNKNOWN_ISSUER =
  /^(UNABLE_TO_GET_ISSUER_CERT|UNABLE_TO_GET_ISSUER_CERT_LOCALLY|UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN)$/;
/** The proxy answered a CONNECT with something else than yes. */
const TUNNEL = "ERR_PROXY_TUNNEL";
const CERTIFICATE = /CERT|UNABLE_TO_|ERR_TLS/;

function networkError(error: unknown, shownUrl: string, settings: HttpSettings): KvError {
  if (error instanceof KvError) return error;
  const code = errorCode(error);
  const { status } = error as { status?: unknown };
  if (code === TUNNEL && status === 407) return proxyRefusal(shownUrl, { status });
  const [what, hint] = code === TUNNEL ? [`it opens no tunnel (HTTP ${Number(status)})`] : explain(code);
  const through = settings.proxy === undefined ? "" : " through the proxy";
  const data = { code };
  return new KvError("NETWORK", `cannot reach ${shownUrl}${through}: ${what}`, {
    cause: error,
    data,
    ...(hint === undefined ? {} : { hint }),
  });
}

function explain(code: string): [what: string, hint?: string] {
  if (code === "ECONNREFUSED") return ["connection refused", "check that the server runs and the port is right"];
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") return ["the host name is not known"];
  if (code === "EPROTO") return ["the TLS handshake failed", "check that the server speaks https on this port"];
  if (CERTIFICATE.test(code)) {
    const hint = "name the certificate authority's file in http.sslCAInfo";
    return [`its certificate is not trusted (${code.toLowerCase().replaceAll("_", " ")})`, hint];
  }
  if (code === "ECONNRESET" || code === "ConnectionClosed") return ["the connection was closed"];
  if (code === "AbortError" || code === "TimeoutError") return ["broken off"];
  return [code];
}
