/** What goes into a pack, held against `git rev-list --objects`. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { createDelta } from "../../../src/gitwire/pack/delta-search.ts";
import { PackBuilder } from "../../../src/gitwire/pack/pack-builder.ts";
import { CommitGraph } from "../../../src/gitwire/protocol/commit-graph.ts";
import { listObjects, type ObjectList } from "../../../src/gitwire/protocol/object-list.ts";
import { newStatistics, packObjects } from "../../../src/gitwire/protocol/pack-objects.ts";
import { isReachable, revisionRange } from "../../../src/gitwire/protocol/revision-range.ts";
import { openRepository, type Repository } from "../../../src/gitwire/repo.ts";
import { writeLoose, writePack } from "../../../src/gitwire/store/object-writer.ts";
import { git, gitInput, tryGit } from "../../support/git.ts";
import { randomHistory } from "../../support/history.ts";
import { type Random, random } from "../../support/random.ts";
import { codeOf } from "../../support/streams.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

// Many processes of git and bun, on machines that may be busy.
setDefaultTimeout(60_000);

function newRepository(format: string = TEST_FORMAT.name): string {
  const dir = tempDir("list");
  git(dir, "init", "-q", "--bare", "-b", "main", `--object-format=${format}`, ".");
  git(dir, "config", "gc.auto", "0");
  return dir;
}

function revList(dir: string, ...args: string[]): Set<string> {
  if (!args.some((arg) => !arg.startsWith("-"))) return new Set();
  const text = git(dir, "rev-list", ...args);
  return new Set(text === "" ? [] : text.split("\n").map((line) => line.split(" ")[0]!));
}

function members(list: ObjectList): Set<string> {
  return new Set(Array.from({ length: list.objects.size }, (_, i) => list.objects.oid(i)));
}

function someCommits(dir: string, rnd: Random, most: number): string[] {
  const all = git(dir, "rev-list", "--all").split("\n");
  return Array.from({ length: rnd.int(most + 1) }, () => rnd.pick(all));
}

async function pack(repo: Repository, list: ObjectList, thin: boolean, ofsDelta: boolean): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const statistics = newStatistics(0);
  for await (const chunk of packObjects(repo.objects, list, { thin, ofsDelta }, statistics))
    chunks.push(Buffer.from(chunk));
  const bytes = Buffer.concat(chunks);
  expect(statistics.bytes).toBe(bytes.length);
  return bytes;
}

test("the commits between wants and haves are git's, whatever the clocks say", async () => {
  const rnd = random("revision range");
  for (let round = 0; round < 4; round++) {
    const dir = newRepository();
    const skew = round % 2 === 0;
    randomHistory(dir, rnd, { skew }).grow(60);
    const repo = openRepository(dir);
    for (let n = 0; n < 16; n++) {
      const [wants, haves] = [someCommits(dir, rnd, 3), someCommits(dir, rnd, 4)];
      const graph = new CommitGraph(repo.objects);
      const range = await revisionRange(
        graph,
        wants.map((oid) => graph.find(oid)),
        haves.map((oid) => graph.find(oid)),
      );
      const found = new Set(range.map((commit) => graph.oid(commit)));
      expect(found.size).toBe(range.length);
      const [wanted, had] = [revList(dir, ...wants), revList(dir, ...haves)];
      for (const oid of found) expect(wanted).toContain(oid);
      // With wrong clocks a few too many may be found (git finds other ones too many), never one too few.
      const tooMany = [...found].filter((oid) => had.has(oid)).length;
      if (!skew) expect(tooMany).toBe(0);
      expect(found.size - tooMany).toBe([...wanted].filter((oid) => !had.has(oid)).length);
      const [a, b] = [
        rnd.pick([...wants, ...haves, git(dir, "rev-parse", "main")]),
        rnd.pick([...wants, git(dir, "rev-parse", "main")]),
      ];
      const isAncestor = tryGit(dir, ["merge-base", "--is-ancestor", a, b]).status === 0;
      expect(await isReachable(graph, graph.find(a), graph.find(b))).toBe(isAncestor);
    }
  }
});

for (const format of [TEST_FORMAT.name]) {
  test(`a list holds all that is missing and little else, and git takes the pack, ${format}`, async () => {
    const rnd = random("object list");
    for (let round = 0; round < 3; round++) {
      const dir = newRepository(format);
      const history = randomHistory(dir, rnd);
      for (let n = 0; n < 4; n++) {
        history.grow(20);
        const repo = openRepository(dir);
        const haves = [...new Set(n === 0 ? [] : someCommits(dir, rnd, 3))];
        const wants = git(dir, "for-each-ref", "--format=%(objectname)").split("\n");
        const list = await listObjects(repo.objects, new CommitGraph(repo.objects), { wants, haves, tags: [] });
        const sent = members(list);
        const all = revList(dir, "--objects", ...wants);
        const theirs = haves.length === 0 ? new Set<string>() : revList(dir, "--objects", ...haves);
        for (const oid of all) if (!theirs.has(oid)) expect(sent).toContain(oid);
        for (const oid of sent) expect(all).toContain(oid);
        // Git itself sends what comes back after it was gone, and so do we; a clone has no such thing.
        if (haves.length === 0) expect(sent.size).toBe(all.size);
        else
          expect(sent.size).toBeLessThanOrEqual(revList(dir, "--objects", ...wants, "--not", ...haves).size * 1.1 + 5);

        const client = newRepository(format);
        if (haves.length > 0) gitInput(client, gitBytes(dir, haves), "unpack-objects", "-q");
        for (const ofsDelta of [true, false]) {
          const bytes = await pack(repo, list, haves.length > 0, ofsDelta);
          const run = tryGit(client, ["index-pack", "--stdin", "--fix-thin", "--strict"], { input: bytes });
          expect([run.status, run.stderr]).toEqual([0, ""]);
        }
        expect(revList(client, "--objects", ...wants)).toEqual(all);
        repo.close();
      }
    }
  });
}

function gitBytes(dir: string, revisions: readonly string[]): Buffer {
  return tryGit(dir, ["pack-objects", "-q", "--revs", "--stdout"], { input: `${revisions.join("\n")}\n` }).stdout;
}

test("a change in a large tree costs what changed", async () => {
  const dir = newRepository();
  const lines = Array.from({ length: 4_000 }, (_, i) =>
    `M 100644 inline ${i % 16}/${i % 256}/k${i}\ndata 3\n${i % 900}\n`.replace(
      /data 3\n(.*)\n/,
      (_m, v: string) => `data ${v.length}\n${v}\n`,
    ),
  );
  const commit = (n: number, body: string): string =>
    `commit refs/heads/main\nmark :${n}\ncommitter C <c@d> ${n} +0000\ndata 1\nx\n${n > 1 ? `from :${n - 1}\n` : ""}${body}\n`;
  gitInput(
    dir,
    commit(1, lines.join("")) + commit(2, "M 100644 inline 3/3/k3\ndata 3\nnew\n"),
    "fast-import",
    "--quiet",
  );
  const repo = openRepository(dir);
  let reads = 0;
  const counting = {
    format: repo.format,
    has: (oid: string) => repo.objects.has(oid),
    read: (oid: string) => {
      reads++;
      return repo.objects.read(oid);
    },
  };
  const request = { wants: [git(dir, "rev-parse", "main")], haves: [git(dir, "rev-parse", "main^")], tags: [] };
  const list = await listObjects(counting, new CommitGraph(counting), request);
  expect(list.objects.size).toBe(5);
  expect(reads).toBeLessThan(12);
  // Old and new trees lie side by side, so the new ones go out as deltas.
  const bytes = await pack(repo, list, true, true);
  const whole = await pack(repo, list, false, true);
  expect(bytes.length).toBeLessThan(whole.length / 2);
});

test("files that only moved between directories are not sent again", async () => {
  const dir = newRepository();
  const files = (names: (i: number) => string): string =>
    Array.from({ length: 300 }, (_, i) => `M 100644 inline ${names(i)}\ndata ${String(i).length}\n${i}\n`).join("");
  const head = (n: number): string => `commit refs/heads/main\nmark :${n}\ncommitter C <c@d> ${n} +0000\ndata 1\nx\n`;
  // One directory with all files is split into ten, as a trie does when it grows; two commits later one file changes.
  const split = `${head(2)}from :1\nD d\n${files((i) => `d/${i % 10}/f${i}`)}\n`;
  gitInput(
    dir,
    `${head(1)}${files((i) => `d/f${i}`)}\n${split}${head(3)}from :2\nM 100644 inline d/3/f3\ndata 1\nx\n`,
    "fast-import",
    "--quiet",
  );
  const repo = openRepository(dir);
  const request = { wants: [git(dir, "rev-parse", "main")], haves: [git(dir, "rev-parse", "main~2")], tags: [] };
  const list = await listObjects(repo.objects, new CommitGraph(repo.objects), request);
  // Two commits; root, d and ten directories; then root, d, d/3 and the file.
  expect(list.objects.size).toBe(2 + 12 + 4);
});

test("a new root commit with a known tree sends no tree again", async () => {
  const dir = newRepository();
  randomHistory(dir, random("epoch")).grow(30);
  const old = git(dir, "rev-parse", "main");
  const root = git(dir, "commit-tree", "-m", "epoch", "main^{tree}");
  const repo = openRepository(dir);
  const list = await listObjects(repo.objects, new CommitGraph(repo.objects), {
    wants: [root],
    haves: [old],
    tags: [],
  });
  expect(members(list)).toEqual(new Set([root]));
});

test("wants of every kind: tags on tags, trees, blobs, and what the other side has", async () => {
  const dir = newRepository();
  const repo = openRepository(dir);
  const blob = gitInput(dir, "hello\n", "hash-object", "-w", "--stdin");
  const tree = gitInput(
    dir,
    `100644 blob ${blob}\tf\n160000 commit ${"1".repeat(TEST_FORMAT.hexSize)}\tsub\n`,
    "mktree",
    "--missing",
  );
  const tagOn = (oid: string, kind: string): string =>
    gitInput(dir, `object ${oid}\ntype ${kind}\ntag t\ntagger T <t@u> 1 +0000\n\nx\n`, "mktag");
  const [inner, commit] = [tagOn(blob, "blob"), git(dir, "commit-tree", "-m", "c", tree)];
  const [outer, onTree, onCommit] = [tagOn(inner, "tag"), tagOn(tree, "tree"), tagOn(commit, "commit")];
  const list = async (wants: string[], haves: string[] = [], tags: { oid: string; peeled: string }[] = []) =>
    members(await listObjects(repo.objects, new CommitGraph(repo.objects), { wants, haves, tags }));
  expect(await list([outer])).toEqual(new Set([outer, inner, blob]));
  expect(await list([onTree])).toEqual(new Set([onTree, tree, blob]));
  expect(await list([blob, tree])).toEqual(new Set([blob, tree]));
  expect(await list([outer], [outer])).toEqual(new Set());
  expect(await list([onCommit], [commit])).toEqual(new Set([onCommit]));
  expect(
    await list(
      [commit],
      [],
      [
        { oid: onCommit, peeled: commit },
        { oid: outer, peeled: blob },
      ],
    ),
  ).toEqual(new Set([commit, tree, blob, onCommit, outer, inner]));
  expect(await list([commit], [onCommit], [{ oid: onCommit, peeled: commit }])).toEqual(new Set());
});

test("two packs that each hold one object as a delta of the other", async () => {
  const dir = newRepository();
  const text = Array.from({ length: 400 }, (_, i) => `line ${i * 7919}\n`).join("");
  const a = gitInput(dir, text, "hash-object", "-w", "--stdin");
  const b = gitInput(dir, `${text}more\n`, "hash-object", "-w", "--stdin");
  const tree = gitInput(dir, `100644 blob ${a}\ta\n100644 blob ${b}\tb\n`, "mktree");
  const commit = git(dir, "commit-tree", "-m", "c", tree);
  const repo = openRepository(dir);
  const [dataA, dataB] = [repo.objects.read(a)!.data, repo.objects.read(b)!.data];
  // The bases complete each pack, but the other pack is newer or was used last for one of them.
  for (const [base, data, from, to] of [
    [a, dataB, dataA, dataB],
    [b, dataA, dataB, dataA],
  ] as const) {
    const builder = new PackBuilder(repo.format, { dir: `${dir}/objects/pack` });
    builder.writeDelta("blob", data, base, createDelta(from, to)!);
    writePack(repo.objects, builder.finish());
  }
  fs.rmSync(`${dir}/objects/${a.slice(0, 2)}`, { recursive: true, force: true });
  fs.rmSync(`${dir}/objects/${b.slice(0, 2)}`, { recursive: true, force: true });
  const fresh = openRepository(dir);
  const list = await listObjects(fresh.objects, new CommitGraph(fresh.objects), {
    wants: [commit, a, b],
    haves: [],
    tags: [],
  });
  const bytes = await pack(fresh, list, false, true);
  const client = newRepository();
  expect(tryGit(client, ["index-pack", "--stdin", "--strict"], { input: bytes }).status).toBe(0);
});

/** Depth of every object of the one pack in `dir`; 0 where it is whole. */
function depths(dir: string): number[] {
  const [name = ""] = fs.readdirSync(`${dir}/objects/pack`).filter((file) => file.endsWith(".idx"));
  const lines = git(dir, "verify-pack", "-v", `objects/pack/${name}`).split("\n");
  return lines.filter((line) => /^[0-9a-f]{40,64} /.test(line)).map((line) => Number(line.split(/ +/)[5] ?? 0));
}

test("the versions of a tree become deltas of each other, in chains that are not too long", async () => {
  const dir = newRepository();
  const all = Array.from({ length: 200 }, (_, i) => `M 100644 inline d/k${i}\ndata ${String(i).length}\n${i}\n`).join(
    "",
  );
  let stream = "";
  for (let n = 1; n <= 130; n++) {
    const change = n === 1 ? all : `from :${n - 1}\nM 100644 inline d/k${n}\ndata 4\nnew\n\n`;
    stream += `commit refs/heads/main\nmark :${n}\ncommitter C <c@d> ${n} +0000\ndata 1\nx\n${change}\n`;
  }
  gitInput(dir, stream, "fast-import", "--quiet");
  // All of it loose, so that nothing is a delta yet.
  const packs = `${tempDir("packs")}/pack`;
  fs.renameSync(`${dir}/objects/pack`, packs);
  fs.mkdirSync(`${dir}/objects/pack`);
  for (const file of fs.readdirSync(packs).filter((name) => name.endsWith(".pack"))) {
    gitInput(dir, fs.readFileSync(`${packs}/${file}`), "unpack-objects", "-q");
  }
  const repo = openRepository(dir);
  const request = { wants: [git(dir, "rev-parse", "main")], haves: [], tags: [] };
  const list = await listObjects(repo.objects, new CommitGraph(repo.objects), request);
  const bytes = await pack(repo, list, false, true);
  const client = newRepository();
  expect(tryGit(client, ["index-pack", "--stdin", "--strict"], { input: bytes }).status).toBe(0);
  const found = depths(client);
  expect(found.length).toBe(list.objects.size);
  expect(Math.max(...found)).toBe(50);
  expect(found.filter((depth) => depth === 0).length).toBeLessThan(130 * 2 + 200 + 131 + 4);
  expect(bytes.length).toBeLessThan(90_000);
});

test("deltas that are chained from pack to pack are taken over, and cut where the chain gets too long", async () => {
  const dir = newRepository();
  const noise = random("chain").bytes(2_000).toString("hex");
  const version = (n: number): Buffer => Buffer.from(`${noise}\nversion ${n}\n`);
  const repo = openRepository(dir);
  let last = writeLoose(repo.objects, "blob", version(0));
  const oids = [last];
  for (let n = 1; n <= 120; n++) {
    const builder = new PackBuilder(repo.format, { dir: `${dir}/objects/pack` });
    last = builder.writeDelta("blob", version(n), last, createDelta(version(n - 1), version(n))!);
    writePack(repo.objects, builder.finish(), { fsync: false });
    oids.push(last);
  }
  const request = { wants: oids.reverse(), haves: [], tags: [] };
  const list = await listObjects(repo.objects, new CommitGraph(repo.objects), request);
  const client = newRepository();
  const bytes = await pack(repo, list, false, true);
  expect(tryGit(client, ["index-pack", "--stdin", "--strict"], { input: bytes }).status).toBe(0);
  expect(depths(client).length).toBe(121);
  expect(Math.max(...depths(client))).toBeLessThanOrEqual(50);
});

/** The pack of `wants`, and its longest chunk. */
async function packOf(
  repo: Repository,
  wants: string[],
): Promise<{ bytes: Buffer; longest: number; reused: number[] }> {
  const list = await listObjects(repo.objects, new CommitGraph(repo.objects), { wants, haves: [], tags: [] });
  const statistics = newStatistics(0);
  const chunks: Buffer[] = [];
  for await (const chunk of packObjects(repo.objects, list, { thin: false, ofsDelta: true }, statistics)) {
    chunks.push(Buffer.from(chunk));
  }
  const longest = Math.max(...chunks.map((chunk) => chunk.length));
  return { bytes: Buffer.concat(chunks), longest, reused: [statistics.reused, statistics.reusedDeltas] };
}

function overwrite(file: string, at: number): void {
  fs.chmodSync(file, 0o644);
  const fd = fs.openSync(file, fs.constants.O_RDWR);
  fs.writeSync(fd, Buffer.from("damage"), 0, 6, at);
  fs.closeSync(fd);
}

test("large objects are sent in pieces, packed or loose, delta or whole; damage is found at their end", async () => {
  const dir = newRepository();
  const noise = random("large").bytes(5 * 1024 * 1024);
  const changed = Buffer.concat([noise.subarray(0, 3_000_000), random("other").bytes(2_000_000)]);
  const oids = [noise, changed, Buffer.from("small\n")].map((data) =>
    gitInput(dir, data, "hash-object", "-w", "--stdin"),
  );
  const taken = async (reused: number[]): Promise<void> => {
    const repo = openRepository(dir);
    const pack = await packOf(repo, oids);
    repo.close();
    expect([pack.reused, pack.longest < 400_000]).toEqual([reused, true]);
    const client = newRepository();
    expect(tryGit(client, ["index-pack", "--stdin", "--strict"], { input: pack.bytes }).status).toBe(0);
    for (const oid of oids) expect(git(client, "cat-file", "-t", oid)).toBe("blob");
  };
  const broken = async (file: string, at: number): Promise<void> => {
    overwrite(file, at);
    const repo = openRepository(dir);
    expect(await codeOf(() => packOf(repo, oids))).toBe("CORRUPT");
    repo.close();
  };
  await taken([0, 0]);
  gitInput(dir, `${oids.join("\n")}\n`, "pack-objects", "-q", "objects/pack/pack");
  git(dir, "prune-packed");
  await taken([3, 1]);
  const [file = ""] = fs.readdirSync(`${dir}/objects/pack`).filter((name) => name.endsWith(".pack"));
  await broken(`${dir}/objects/pack/${file}`, 2_000_000);
  fs.rmSync(`${dir}/objects/pack`, { recursive: true });
  for (const data of [noise, changed, "small\n"]) gitInput(dir, data, "hash-object", "-w", "--stdin");
  await broken(`${dir}/objects/${oids[0]!.slice(0, 2)}/${oids[0]!.slice(2)}`, 3_000_000);
});
