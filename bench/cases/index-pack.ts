/**
 * Indexing a pack of 100,000 small objects, as a push or a fetch brings one, beside `git index-pack` with one thread: half are
 * whole records of a few hundred bytes, half are deltas of the one before. Ours runs in this process, warm, as in a daemon.
 */

import * as fs from "node:fs";
import { SHA1 } from "../../src/gitwire/object/oid.ts";
import { createDelta } from "../../src/gitwire/pack/delta-search.ts";
import { indexPack } from "../../src/gitwire/pack/index-pack.ts";
import { PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import { median, runProcess } from "../measure.ts";
import { type Row, timesOther } from "../table.ts";
import type { Case } from "./case.ts";

const OBJECTS = 100_000;
/** What a read of a connection brings at once. */
const CHUNK = 64 * 1024;

export const indexing: Case = async ({ scratch, runs }) => {
  const file = scratch.path("small.pack");
  fs.writeFileSync(file, smallObjects());
  const packed = fs.readFileSync(file);
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let run = -1; run < runs.middle; run++) {
    const dir = scratch.path(`indexed-${run}`);
    fs.mkdirSync(dir);
    const started = performance.now();
    const indexed = await indexPack({ read: reader(packed) }, { format: SHA1, dir, bases: undefined });
    const ms = performance.now() - started;
    if (indexed?.objectCount !== OBJECTS) throw new Error(`${indexed?.objectCount} objects were indexed`);
    const git = ["git", "index-pack", "--threads=1", "-o", scratch.path(`git-${run}.idx`), file];
    const gitRun = runProcess(git, { cwd: scratch.root, env: scratch.env });
    if (run >= 0) {
      ours.push(ms);
      theirs.push(gitRun.ms);
    }
    if (gitRun.stdout.toString().trim() !== indexed.checksum) throw new Error("git names another pack");
    fs.rmSync(dir, { recursive: true });
  }
  const row: Row = {
    name: "index a pack of 100,000 small objects",
    unit: "ms",
    ours: median(ours),
    other: { name: "git index-pack, 1 thread", value: median(theirs) },
    target: timesOther(2),
    extra: `${(packed.length / 1e6).toFixed(1)} MB`,
  };
  return [row];
};

function smallObjects(): Buffer {
  const builder = new PackBuilder(SHA1);
  for (let i = 0; i < OBJECTS / 2; i++) {
    const words = Array.from({ length: 24 }, (_, at) => ((i * 2_654_435_761 + at * 40_503) >>> 0).toString(36));
    const before = Buffer.from(`{"v":1,"key":"user:${i}","words":"${words.join(" ")}"}`);
    const after = Buffer.concat([before.subarray(0, -1), Buffer.from(`,"rev":${i}}`)]);
    const base = builder.write("blob", before);
    builder.writeDelta("blob", after, base, createDelta(before, after)!);
  }
  return Buffer.concat([...builder.finish().chunks()]);
}

function reader(bytes: Buffer): () => Promise<Buffer | undefined> {
  let at = 0;
  return async () => {
    if (at >= bytes.length) return undefined;
    const chunk = bytes.subarray(at, at + CHUNK);
    at += chunk.length;
    return chunk;
  };
}
