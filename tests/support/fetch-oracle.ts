/** The same fetch asked of git's upload-pack and of ours, and what each sends. */

import * as fs from "node:fs";
import type { ObjectFormat, Oid } from "../../src/gitwire/object/oid.ts";
import { bytesSource } from "../../src/gitwire/protocol/byte-stream.ts";
import { capabilities } from "../../src/gitwire/protocol/capabilities.ts";
import { encodeCommandRequest } from "../../src/gitwire/protocol/command-request.ts";
import { type FetchRequest, formatFetchRequest } from "../../src/gitwire/protocol/fetch-request.ts";
import { readFetchResponse } from "../../src/gitwire/protocol/fetch-response.ts";
import { PktReader } from "../../src/gitwire/protocol/pkt-line.ts";
import { demultiplex } from "../../src/gitwire/protocol/sideband.ts";
import type { Repository } from "../../src/gitwire/repo.ts";
import { gitInput, tryGit } from "./git.ts";
import { serveUploadPack } from "./sessions.ts";
import { drain } from "./streams.ts";
import { tempDir } from "./temp.ts";

export interface FetchAnswer {
  readonly shallow: ReadonlySet<Oid>;
  readonly unshallow: ReadonlySet<Oid>;
  readonly wantedRefs: ReadonlyMap<string, Oid>;
  /** The objects of the pack, those that complete it excluded. */
  readonly objects: ReadonlySet<Oid>;
  readonly pack: Buffer;
}

/** A v2 fetch command. */
export function fetchCommand(format: ObjectFormat, request: Partial<FetchRequest>): Buffer {
  return encodeCommandRequest("fetch", capabilities(["object-format", format.name]), formatFetchRequest(request));
}

/** What the real git answers to a v2 fetch of the repository `dir`, where nothing is forbidden. */
export async function askGit(dir: string, format: ObjectFormat, request: Partial<FetchRequest>): Promise<FetchAnswer> {
  const allow = ["allowFilter", "allowAnySHA1InWant", "allowRefInWant"].flatMap((key) => [
    "-c",
    `uploadpack.${key}=true`,
  ]);
  const run = tryGit(dir, [...allow, "upload-pack", "--stateless-rpc", "."], {
    input: fetchCommand(format, request),
    env: { GIT_PROTOCOL: "version=2" },
  });
  return parseAnswer(run.stdout, format);
}

/** What we answer to it. */
export async function askOurs(repo: Repository, request: Partial<FetchRequest>): Promise<FetchAnswer> {
  const { output, error } = await serveUploadPack(repo, fetchCommand(repo.format, request), { version: 2 });
  if (error !== undefined) throw error;
  return parseAnswer(output, repo.format);
}

async function parseAnswer(output: Buffer, format: ObjectFormat): Promise<FetchAnswer> {
  const reader = new PktReader(bytesSource(output));
  const { shallowInfo, wantedRefs } = await readFetchResponse(reader, format);
  const pack = await drain(demultiplex(reader));
  return {
    shallow: new Set(shallowInfo?.shallow),
    unshallow: new Set(shallowInfo?.unshallow),
    wantedRefs,
    objects: objectsOf(pack, format),
    pack,
  };
}

/** Ids of the objects in a pack that is not thin, as git reads it. */
function objectsOf(pack: Buffer, format: ObjectFormat): Set<Oid> {
  if (pack.readUInt32BE(8) === 0) return new Set();
  const dir = tempDir("answer");
  fs.writeFileSync(`${dir}/p.pack`, pack);
  gitInput(dir, "", "index-pack", `--object-format=${format.name}`, "p.pack");
  const lines = tryGit(dir, ["show-index", `--object-format=${format.name}`], {
    input: fs.readFileSync(`${dir}/p.idx`),
  });
  return new Set(
    lines.stdout
      .toString()
      .trim()
      .split("\n")
      .map((line) => line.split(" ")[1]!),
  );
}
