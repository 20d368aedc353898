/** Whole packs taken over: which ones, that git reads what comes of it, and what is said of a damaged one. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import type { Oid } from "../../../src/gitwire/object/oid.ts";
import { CommitGraph } from "../../../src/gitwire/protocol/commit-graph.ts";
import { listObjects } from "../../../src/gitwire/protocol/object-list.ts";
import { newStatistics, packObjects } from "../../../src/gitwire/protocol/pack-objects.ts";
import { openRepository } from "../../../src/gitwire/repo.ts";
import { fsck, git, gitInput } from "../../support/git.ts";
import { newServer } from "../../support/served.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

// Many processes of git, on machines that may be busy.
setDefaultTimeout(60_000);

/** `count` commits on `branch`, each with a file that grows, so that a repack finds deltas. */
function grow(dir: string, branch: string, count: number, from = 0): void {
  const lines: string[] = [];
  for (let i = from; i < from + count; i++) {
    const text = Array.from({ length: 30 + i }, (_, line) => `line ${line} of ${branch}\n`).join("");
    const parent = i === from && from > 0 ? `from refs/heads/${branch}^0\n` : "";
    lines.push(
      `commit refs/heads/${branch}\ncommitter C <c@d> ${1_700_000_000 + i} +0000\ndata 1\n${i % 10}\n${parent}`,
    );
    lines.push(`M 100644 inline d/f${i % 7}\ndata ${text.length}\n${text}\n`);
  }
  gitInput(dir, lines.join(""), "fast-import", "--quiet", "--date-format=raw");
}

/** The pack that a clone of `wants` gets, and how many of its objects were taken over with their packs. */
async function packOf(dir: string, options: { wants?: Oid[]; haves?: Oid[]; ofsDelta?: boolean } = {}) {
  const repo = openRepository(dir);
  const { wants = repo.refs.snapshot().map(({ oid }) => oid), haves = [], ofsDelta = true } = options;
  const graph = new CommitGraph(repo.objects);
  const list = await listObjects(repo.objects, graph, { wants, haves, tags: [], filter: undefined });
  const statistics = newStatistics(list.objects.size);
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of packObjects(repo.objects, list, { thin: false, ofsDelta }, statistics))
      chunks.push(Buffer.from(chunk));
  } finally {
    repo.close();
  }
  const pack = Buffer.concat(chunks);
  expect(statistics.bytes).toBe(pack.length);
  return { pack, objects: list.objects.size, packReused: statistics.packReused };
}

/** git indexes the pack strictly into a new repository; returns how many objects it has, the refs set. */
function received(dir: string, pack: Buffer, format: string): number {
  const copy = newServer(format);
  gitInput(copy, pack, "index-pack", "--strict", "--stdin");
  for (const line of git(dir, "for-each-ref", "--format=%(refname) %(objectname)").split("\n")) {
    const [name, oid] = line.split(" ");
    git(copy, "update-ref", name!, oid!);
  }
  expect(fsck(copy)).toBe("");
  return Number(/in-pack: (\d+)/.exec(git(copy, "count-objects", "-v"))![1]);
}

test.each(["sha1", "sha256"])("a store of one pack and what came later, %s", async (format) => {
  const dir = newServer(format);
  grow(dir, "main", 200);
  git(dir, "repack", "-q", "-a", "-d", "--depth=20", "--window=10");
  const packed = Number(/in-pack: (\d+)/.exec(git(dir, "count-objects", "-v"))![1]);
  expect(await packOf(dir)).toMatchObject({ objects: packed, packReused: packed });
  // Loose objects, and a second pack with some objects of the first: it cannot be taken over as well.
  grow(dir, "main", 100, 200);
  git(dir, "repack", "-q", "-d");
  gitInput(
    dir,
    git(dir, "rev-list", "--objects", "main~150").replace(/ .*/gm, ""),
    "pack-objects",
    "-q",
    "objects/pack/pack",
  );
  git(dir, "commit-tree", "-m", "loose", "main^{tree}");
  const all = await packOf(dir);
  expect(all.packReused).toBeGreaterThanOrEqual(packed);
  expect(received(dir, all.pack, format)).toBe(all.objects);
});

test("a store of so many objects that their places in its pack are kept", async () => {
  const dir = newServer();
  const files = Array.from(
    { length: 70_000 },
    (_, i) => `M 100644 inline ${i % 300}/${i}\ndata ${String(i).length}\n${i}\n`,
  );
  const head = (n: number): string => `commit refs/heads/main\ncommitter C <c@d> ${n} +0000\ndata 1\nx\n`;
  gitInput(dir, `${head(1)}${files.join("")}\n`, "fast-import", "--quiet");
  git(dir, "repack", "-q", "-a", "-d");
  grow(dir, "other", 3);
  const all = await packOf(dir);
  expect(all.packReused).toBe(70_302);
  expect(all.objects).toBe(70_302 + 12);
  expect(received(dir, all.pack, TEST_FORMAT.name)).toBe(all.objects);
  // A delta of an object in the pack that was taken over.
  gitInput(dir, `${head(2)}from refs/heads/main^0\nM 100644 inline 5/5\ndata 1\ny\n`, "fast-import", "--quiet");
  const more = await packOf(dir);
  expect([more.objects, more.packReused]).toEqual([all.objects + 4, 70_302]);
  expect(received(dir, more.pack, TEST_FORMAT.name)).toBe(more.objects);
  // One object of the pack is not sent: it is not taken over.
  const part = await packOf(dir, { haves: [git(dir, "rev-parse", "main:7/7")] });
  expect([part.objects, part.packReused]).toEqual([more.objects - 1, 0]);
});

test("not where the receiver has some of it, where objects are unreachable, or where it reads no ofs-delta", async () => {
  const dir = newServer();
  grow(dir, "main", 200);
  git(dir, "repack", "-q", "-a", "-d");
  const part = await packOf(dir, { wants: [git(dir, "rev-parse", "main~100")] });
  expect(part.packReused).toBe(0);
  const more = await packOf(dir, { haves: [git(dir, "rev-parse", "main~100")] });
  expect(more.packReused).toBe(0);
  const old = await packOf(dir, { ofsDelta: false });
  expect(old.packReused).toBe(0);
  expect(received(dir, old.pack, TEST_FORMAT.name)).toBe(old.objects);
  // Small packs are not looked at.
  const small = newServer();
  grow(small, "main", 20);
  expect((await packOf(small)).packReused).toBe(0);
});

test("a pack that rotted on the disk is not handed on as if it were whole", async () => {
  const dir = newServer();
  grow(dir, "main", 200);
  git(dir, "repack", "-q", "-a", "-d");
  const folder = path.join(dir, "objects/pack");
  const file = path.join(folder, fs.readdirSync(folder).find((name) => name.endsWith(".pack"))!);
  const bytes = fs.readFileSync(file);
  // In the middle of somebody's zlib stream; the objects the listing reads are commits and trees near the front.
  bytes[bytes.length - 60]! ^= 1;
  fs.chmodSync(file, 0o644);
  fs.writeFileSync(file, bytes);
  await expect(packOf(dir)).rejects.toMatchObject({ code: "CORRUPT" });
});

test("a pack that goes away is no reason to fail", async () => {
  const dir = newServer();
  grow(dir, "main", 200);
  git(dir, "repack", "-q", "-a", "-d");
  const repo = openRepository(dir);
  const graph = new CommitGraph(repo.objects);
  const wants = [git(dir, "rev-parse", "main")];
  const list = await listObjects(repo.objects, graph, { wants, haves: [], tags: [], filter: undefined });
  // Other packs with the same objects take its place.
  const folder = path.join(dir, "objects/pack");
  const before = fs.readdirSync(folder);
  git(dir, "repack", "-q", "-a", "-d", "-f", "--depth=3");
  expect(fs.readdirSync(folder)).not.toEqual(before);
  const chunks: Buffer[] = [];
  const options = { thin: false, ofsDelta: true };
  for await (const chunk of packObjects(repo.objects, list, options, newStatistics(0))) chunks.push(Buffer.from(chunk));
  repo.close();
  expect(received(dir, Buffer.concat(chunks), TEST_FORMAT.name)).toBe(list.objects.size);
});
