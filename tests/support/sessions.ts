/** Server sessions run in memory on bytes a client would send. */

import type { Oid } from "../../src/gitwire/object/oid.ts";
import { bytesSource, type Duplex } from "../../src/gitwire/protocol/byte-stream.ts";
import { capabilities } from "../../src/gitwire/protocol/capabilities.ts";
import { PktReader } from "../../src/gitwire/protocol/pkt-line.ts";
import { encodePushRequest, type PushCommand } from "../../src/gitwire/protocol/receive-commands.ts";
import { type ReceivePackOptions, receivePack } from "../../src/gitwire/protocol/receive-pack.ts";
import { type PushReport, readReport } from "../../src/gitwire/protocol/report-status.ts";
import { repositoryHost } from "../../src/gitwire/protocol/repository-host.ts";
import { demultiplex } from "../../src/gitwire/protocol/sideband.ts";
import { uploadPack } from "../../src/gitwire/protocol/upload-pack.ts";
import { repositoryUploadHost } from "../../src/gitwire/protocol/upload-pack-host.ts";
import type { Repository } from "../../src/gitwire/repo.ts";
import { memorySink } from "./streams.ts";

export interface Served {
  readonly output: Buffer;
  /** What the session rejected with. */
  readonly error: unknown;
}

async function serve(input: Buffer, run: (duplex: Duplex) => Promise<void>): Promise<Served> {
  const output = memorySink();
  let error: unknown;
  try {
    // In pieces, so that a session never sees all of its input at once.
    const pieces: Buffer[] = [];
    for (let at = 0; at < input.length; at += 1_000) pieces.push(input.subarray(at, at + 1_000));
    await run({ input: bytesSource(...pieces), output });
  } catch (thrown) {
    error = thrown;
  }
  return { output: output.bytes(), error };
}

/** A receive-pack session on `input`, without advertisement unless asked for. */
export function serveReceivePack(
  repo: Repository,
  input: Buffer,
  options: Partial<ReceivePackOptions> = {},
): Promise<Served> {
  return serve(input, (duplex) =>
    receivePack(duplex, {
      repo,
      host: repositoryHost(repo),
      stateless: true,
      advertise: "skip",
      version: 0,
      agent: "git-kv/test",
      ...options,
    }),
  );
}

/** An upload-pack session on `input`, without advertisement unless asked for. */
export function serveUploadPack(
  repo: Repository,
  input: Buffer,
  options: Partial<Parameters<typeof uploadPack>[1]> = {},
): Promise<Served> {
  const host = repositoryUploadHost(repo);
  const common = { host, stateless: true, advertise: "skip", version: 0, agent: "git-kv/test" } as const;
  return serve(input, (duplex) => uploadPack(duplex, { ...common, ...options }));
}

export interface Answered {
  readonly report: PushReport;
  readonly progress: string;
}

/** Pushes `commands` and `pack` with sidebands, and reads the answer. */
export async function push(
  repo: Repository,
  commands: readonly PushCommand[],
  pack: Buffer,
  options: Partial<ReceivePackOptions> & { atomic?: boolean; pushOptions?: string[]; shallow?: readonly Oid[] } = {},
): Promise<Answered> {
  const list = capabilities(
    ["report-status-v2"],
    ["side-band-64k"],
    ["object-format", repo.format.name],
    ["agent", "test/1"],
    ...(options.atomic === true ? ([["atomic"]] as const) : []),
    ...(options.pushOptions === undefined ? [] : ([["push-options"]] as const)),
  );
  const request = encodePushRequest({
    commands,
    capabilities: list,
    pushOptions: options.pushOptions ?? [],
    shallow: options.shallow ?? [],
  });
  const { output, error } = await serveReceivePack(repo, Buffer.concat([request, pack]), options);
  if (error !== undefined) throw error;
  const progress: Buffer[] = [];
  const reader = new PktReader(bytesSource(output));
  const data = demultiplex(reader, { onProgress: (bytes) => progress.push(bytes) });
  return { report: await readReport(new PktReader(data)), progress: Buffer.concat(progress).toString() };
}
