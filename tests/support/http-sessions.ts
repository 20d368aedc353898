/** Our server sessions behind a small HTTP server (git: gitprotocol-http), for the real git as client. */

import type { Duplex } from "../../src/gitwire/protocol/byte-stream.ts";
import { receivePack } from "../../src/gitwire/protocol/receive-pack.ts";
import type { Service } from "../../src/gitwire/protocol/ref-advertisement.ts";
import { repositoryHost } from "../../src/gitwire/protocol/repository-host.ts";
import { uploadPack } from "../../src/gitwire/protocol/upload-pack.ts";
import { repositoryUploadHost } from "../../src/gitwire/protocol/upload-pack-host.ts";
import { openRepository } from "../../src/gitwire/repo.ts";
import { memorySink } from "./streams.ts";

export interface HttpSessions {
  readonly url: string;
  /** Number of POST requests so far. */
  posts(): number;
  stop(): void;
}

/** Serves the repository `dir`; each request opens it anew. */
export function startHttpSessions(dir: string): HttpSessions {
  let posts = 0;
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    fetch: async (request) => {
      const url = new URL(request.url);
      const service = (url.searchParams.get("service") ?? url.pathname.split("/").at(-1)) as Service;
      const isGet = request.method === "GET";
      if (!isGet) posts++;
      const output = memorySink();
      const input = isGet ? undefined : bodySource(request);
      await serve(dir, service, { input: input ?? { read: async () => undefined }, output }, isGet, request);
      const kind = isGet ? "advertisement" : "result";
      return new Response(output.bytes(), { headers: { "Content-Type": `application/x-${service}-${kind}` } });
    },
  });
  return { url: `http://127.0.0.1:${server.port}/repo.git`, posts: () => posts, stop: () => server.stop(true) };
}

function bodySource(request: Request): Duplex["input"] {
  const body =
    request.headers.get("content-encoding") === "gzip"
      ? request.body?.pipeThrough(new DecompressionStream("gzip"))
      : request.body;
  const reader = body?.getReader();
  return {
    read: async () => {
      const part = await reader?.read();
      return part?.value === undefined ? undefined : Buffer.from(part.value);
    },
  };
}

async function serve(dir: string, service: Service, duplex: Duplex, isGet: boolean, request: Request): Promise<void> {
  const repo = openRepository(dir);
  const version = Number(/version=([012])/.exec(request.headers.get("git-protocol") ?? "")?.[1] ?? 0) as 0 | 1 | 2;
  const common = { stateless: true, advertise: isGet ? "only" : "skip", agent: "git-kv/test" } as const;
  try {
    if (service === "git-upload-pack") {
      await uploadPack(duplex, { ...common, host: repositoryUploadHost(repo), version });
    } else {
      await receivePack(duplex, { ...common, repo, host: repositoryHost(repo), version: version === 1 ? 1 : 0 });
    }
  } catch {
    // The client has been told.
  } finally {
    repo.close();
  }
}
