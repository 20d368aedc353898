/**
 * A store with the part of Amazon's S3 protocol that a client of one bucket uses: objects, lists in pages, uploads in parts. It lets in
 * nobody whose signature is not good.
 */

import { type S3Login, signatureProblem } from "./s3-signature.ts";

export class S3Server {
  readonly objects = new Map<string, Buffer>();
  /** Authorization headers that came. */
  readonly logins: string[] = [];
  readonly #uploads = new Map<string, Map<number, Buffer>>();
  readonly #server: Bun.Server<undefined>;

  readonly #login: S3Login;

  constructor(login: S3Login) {
    this.#login = login;
    this.#server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: (request) => this.#handle(request) });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.port}`;
  }

  async stop(): Promise<void> {
    await this.#server.stop(true);
  }

  async #handle(request: Request): Promise<Response> {
    const { pathname, searchParams: query } = new URL(request.url);
    this.logins.push(request.headers.get("authorization") ?? "");
    const [, , ...parts] = pathname.split("/");
    const key = decodeURIComponent(parts.join("/"));
    const body = Buffer.from(await request.arrayBuffer());
    const problem = signatureProblem(request, body, this.#login);
    if (problem !== undefined) return xml(`<Error><Code>${problem}</Code></Error>`, 403);
    if (key === "") return this.#list(query);
    if (request.method === "PUT" && query.has("partNumber")) {
      this.#uploads.get(query.get("uploadId")!)!.set(Number(query.get("partNumber")), body);
      return new Response(null, { headers: { ETag: '"part"' } });
    }
    if (request.method === "POST" && query.has("uploads")) {
      const id = String(this.#uploads.size + 1);
      this.#uploads.set(id, new Map());
      return xml(`<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`);
    }
    if (request.method === "POST") {
      const upload = [...this.#uploads.get(query.get("uploadId")!)!].sort(([a], [b]) => a - b);
      this.objects.set(key, Buffer.concat(upload.map(([, part]) => part)));
      return xml("<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>");
    }
    if (request.method === "PUT") {
      this.objects.set(key, body);
      return new Response(null, { headers: { ETag: '"x"' } });
    }
    const found = this.objects.get(key);
    if (found === undefined) return xml("<Error><Code>NoSuchKey</Code></Error>", 404);
    return new Response(request.method === "HEAD" ? null : found, {
      headers: { "Content-Length": String(found.length) },
    });
  }

  /** Two at a time, so that there are pages. */
  #list(query: URLSearchParams): Response {
    const prefix = query.get("prefix") ?? "";
    const from = Number(query.get("continuation-token") ?? 0);
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix)).sort();
    const page = keys.slice(from, from + 2).map((key) => `<Contents><Key>${key}</Key></Contents>`);
    const next = from + 2 < keys.length ? `<NextContinuationToken>${from + 2}</NextContinuationToken>` : "";
    const isTruncated = next !== "";
    return xml(`<ListBucketResult><IsTruncated>${isTruncated}</IsTruncated>${next}${page.join("")}</ListBucketResult>`);
  }
}

function xml(text: string, status = 200): Response {
  return new Response(`<?xml version="1.0" encoding="UTF-8"?>${text}`, {
    status,
    headers: { "Content-Type": "application/xml" },
  });
}
