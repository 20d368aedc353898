/** Large values in local mode: stored in pieces with the refs, read back, shared, replaced, taken away. */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../src/errors.ts";
import type { ObjectSource } from "../../src/gitwire/object/object.ts";
import { SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import type { WriteLine } from "../../src/kv/batch.ts";
import { missingPieces, piecesOf, readManifest, streamValue } from "../../src/kv/chunked-value.ts";
import { type CommitOutcome, commit } from "../../src/kv/commit.ts";
import { etagOf } from "../../src/kv/etag.ts";
import { parseKey } from "../../src/kv/key.ts";
import type { Manifest } from "../../src/kv/manifest.ts";
import { chunkRef } from "../../src/kv/namespace.ts";
import { findKey } from "../../src/kv/read.ts";
import type { Workspace } from "../../src/kv/workspace.ts";
import { failureOf } from "../support/failure.ts";
import { git, gitInput } from "../support/git.ts";
import { noise } from "../support/noise.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { complaints, newRepository, workspaceAt } from "../support/workspace.ts";

const MiB = 1024 * 1024;

async function apply(workspace: Workspace, ...lines: WriteLine[]): Promise<CommitOutcome> {
  return commit(workspace, {}, async (use) => {
    for (const line of lines) await use(line);
  });
}

function set(key: string, data: Buffer, condition?: Extract<WriteLine, { op: "set" }>["condition"]): WriteLine {
  const options = { ctype: undefined, expires: undefined, labels: undefined };
  return { op: "set", key: parseKey(key), value: { kind: "bytes", data }, options, condition };
}

const del = (key: string): WriteLine => ({ op: "del", key: parseKey(key), condition: undefined });

async function fresh(format = TEST_FORMAT): Promise<{ dir: string; workspace: Workspace }> {
  const dir = newRepository(format);
  const workspace = workspaceAt(dir);
  await commit(workspace, { create: { epoch: "e1" } }, () => {});
  return { dir, workspace };
}

function manifestOf(workspace: Workspace, key: string): Manifest {
  const { objects } = workspace.repo;
  return readManifest(
    objects,
    findKey(objects, workspace.requireState(), parseKey(key), { now: 0, allowExpired: false }),
  );
}

async function read(workspace: Workspace, key: string, start = 0, end?: number): Promise<Buffer> {
  const manifest = manifestOf(workspace, key);
  const parts: Buffer[] = [];
  const range = { start, end: end ?? manifest.size };
  await streamValue(workspace.repo.objects, manifest, range, (bytes) => void parts.push(Buffer.from(bytes)));
  return Buffer.concat(parts);
}

const refs = (dir: string): string[] => git(dir, "for-each-ref", "--format=%(refname)").split("\n");
const chunkFiles = (dir: string): string[] =>
  git(dir, "ls-tree", "-r", "--name-only", chunkRef("main", "e1"))
    .split("\n")
    .map((name) => path.basename(name));

describe.each([SHA1, SHA256])("in a $name repository", (format) => {
  test("a large value is pieces in the chunk tree, which git finds sound and can put together", async () => {
    const { dir, workspace } = await fresh(format);
    const data = noise("large", 3 * MiB);
    const outcome = await apply(workspace, set("big", data), set("small", Buffer.from("x")));
    expect(outcome).toMatchObject({ kind: "committed", seq: 2, bytes: { new: data.length, reused: 0 } });
    expect(refs(dir)).toEqual(["refs/kv-chunks/main@e1", "refs/kv-index/main", "refs/kv/main"]);
    expect(complaints(dir)).toBe("");
    const manifest = JSON.parse(git(dir, "cat-file", "blob", "refs/kv/main:data/big.manifest.json")) as Manifest;
    expect(manifest).toEqual(JSON.parse(JSON.stringify({ v: 1, ...manifestOf(workspace, "big") })));
    expect(manifest).toMatchObject({ key: "big", size: data.length, etag: etagOf(data) });
    const parts = manifest.chunks.map(({ oid }) => Bun.spawnSync(["git", "-C", dir, "cat-file", "blob", oid]).stdout);
    expect(Buffer.concat(parts).equals(data)).toBe(true);
    expect(chunkFiles(dir).sort()).toEqual(manifest.chunks.map(({ sha256 }) => sha256).sort());
    expect((await read(workspace, "big")).equals(data)).toBe(true);
    expect(workspace.requireState().ledger.chunksTree).toBe(git(dir, "rev-parse", "refs/kv-chunks/main@e1^{tree}"));
  });
});

describe("a large value", () => {
  test("of two keys is stored once, and stored again changes nothing", async () => {
    const { dir, workspace } = await fresh();
    const data = noise("shared", 2 * MiB);
    await apply(workspace, set("a", data));
    const tip = git(dir, "rev-parse", "refs/kv-chunks/main@e1");
    const size = (): number => Number(/size-pack: (\d+)/.exec(git(dir, "count-objects", "-v"))![1]);
    const before = size();
    const second = await apply(workspace, set("b", data));
    expect(second).toMatchObject({ kind: "committed", bytes: { new: 0, reused: data.length } });
    expect(workspace.requireState().ledger.chunksTree).toBeUndefined();
    expect(git(dir, "rev-parse", "refs/kv-chunks/main@e1")).toBe(tip);
    expect(size() - before).toBeLessThan(20);
    expect(await apply(workspace, set("a", data))).toMatchObject({ kind: "unchanged" });
    expect((await read(workspace, "b")).equals(data)).toBe(true);
    expect(complaints(dir)).toBe("");
  });

  test("that changes a little keeps most of its pieces", async () => {
    const { workspace } = await fresh();
    const data = noise("edited", 8 * MiB);
    await apply(workspace, set("k", data));
    const edited = Buffer.concat([data.subarray(0, 3 * MiB), Buffer.from("inserted"), data.subarray(3 * MiB)]);
    const { bytes } = await apply(workspace, set("k", edited));
    expect(bytes!.new).toBeLessThan(2.5 * MiB);
    expect(bytes!.new + bytes!.reused).toBe(edited.length);
    expect((await read(workspace, "k")).equals(edited)).toBe(true);
  });

  test("goes inline and back, is deleted and set again, and its history stays readable", async () => {
    const { dir, workspace } = await fresh();
    const large = noise("to and fro", 2 * MiB);
    const limit = noise("limit", MiB);
    const steps: (Buffer | undefined)[] = [
      Buffer.from("small"),
      large,
      limit,
      noise("more", MiB + 1),
      undefined,
      large,
      Buffer.alloc(0),
    ];
    for (const [i, value] of steps.entries()) {
      await apply(workspace, value === undefined ? del("k") : set("k", value));
      const names = git(dir, "ls-tree", "-r", "--name-only", "refs/kv/main").split("\n");
      const isLarge = value !== undefined && value.length > MiB;
      expect([i, names]).toEqual([
        i,
        value === undefined ? ["kv.json"] : [isLarge ? "data/k.manifest.json" : "data/k", "kv.json", "meta/k.meta"],
      ]);
      if (isLarge) expect((await read(workspace, "k")).equals(value)).toBe(true);
    }
    const listed = git(dir, "ls-tree", "-r", "--name-only", "refs/kv-index/main").split("\n");
    expect(listed).toEqual(["k.ref"]);
    // Setting what was there before makes no new pieces.
    expect(git(dir, "rev-list", "--count", "refs/kv-chunks/main@e1")).toBe("2");
    expect(complaints(dir)).toBe("");
  });

  test("is held to the same conditions as a small one", async () => {
    const { workspace } = await fresh();
    const [one, two] = [noise("one", 2 * MiB), noise("two", 2 * MiB)];
    await apply(workspace, set("k", one, { kind: "absent" }));
    expect((await failureOf(apply(workspace, set("k", two, { kind: "absent" })))).code).toBe("CAS_CONFLICT");
    const { oid } = findKey(workspace.repo.objects, workspace.requireState(), "k", { now: 0, allowExpired: false });
    expect(
      (await failureOf(apply(workspace, set("k", two, { kind: "blob", oid: "1".repeat(TEST_FORMAT.hexSize) })))).code,
    ).toBe("CAS_CONFLICT");
    expect(await apply(workspace, set("k", two, { kind: "blob", oid }))).toMatchObject({ kind: "committed" });
    expect((await read(workspace, "k")).equals(two)).toBe(true);
  });

  test("is written by several writers at once without one losing another's pieces", async () => {
    const { dir } = await fresh();
    const values = Array.from({ length: 4 }, (_, i) => noise(`writer ${i}`, 2 * MiB));
    await Promise.all(values.map((data, i) => apply(workspaceAt(dir), set(`k${i}`, data))));
    for (const [i, data] of values.entries()) expect((await read(workspaceAt(dir), `k${i}`)).equals(data)).toBe(true);
    expect(git(dir, "rev-list", "--count", "refs/kv-chunks/main@e1")).toBe("4");
    expect(complaints(dir)).toBe("");
  });

  test("that is refused leaves no object and no file behind", async () => {
    const { dir, workspace } = await fresh();
    const before = [git(dir, "count-objects", "-v"), fs.readdirSync(path.join(dir, "objects/pack")).sort()];
    const stopped = new AbortController();
    const interrupted = workspaceAt(dir, { signal: stopped.signal });
    const portion = (): Buffer => {
      stopped.abort(new Error("enough"));
      return noise("part", MiB);
    };
    const line = { ...set("k", Buffer.alloc(0)), value: { kind: "stream", read: portion } } as WriteLine;
    await expect(apply(interrupted, line)).rejects.toThrow("enough");
    expect((await failureOf(apply(workspace, set("k", noise("gone", 40 * MiB)), del("missing")))).code).toBe(
      "KEY_NOT_FOUND",
    );
    expect([git(dir, "count-objects", "-v"), fs.readdirSync(path.join(dir, "objects/pack")).sort()]).toEqual(before);
    expect(refs(dir)).toEqual(["refs/kv-index/main", "refs/kv/main"]);
  });
});

describe("the policy decides", () => {
  async function withPolicy(text: string): Promise<{ dir: string; workspace: Workspace }> {
    const { dir } = await fresh();
    const blob = gitInput(dir, text, "hash-object", "-w", "--stdin");
    const tree = gitInput(dir, `100644 blob ${blob}\tpolicy.yaml\n`, "mktree");
    git(dir, "update-ref", "refs/kv-policy/current", git(dir, "commit-tree", tree, "-m", "policy"));
    return { dir, workspace: workspaceAt(dir) };
  }

  test("what is inline, how the rest is cut, and how large it may be", async () => {
    const { workspace } = await withPolicy(
      "version: 1\nnamespaces:\n  main: { max_value_inline: 2KiB, max_value_total: 10MiB, chunking: { mode: fixed, size: 1KiB } }\n",
    );
    const data = noise("fixed", 10_000 * 1024);
    await apply(workspace, set("inline", data.subarray(0, 2048)), set("pieces", data.subarray(0, 2049)));
    expect(manifestOf(workspace, "pieces").chunks.map(({ size }) => size)).toEqual([1024, 1024, 1]);
    const found = findKey(workspace.repo.objects, workspace.requireState(), "inline", { now: 0, allowExpired: false });
    expect(found.meta.type).toBe("inline");
    // Ten thousand pieces in one value.
    await apply(workspace, set("many", data));
    const manifest = manifestOf(workspace, "many");
    expect(manifest.chunks).toHaveLength(10_000);
    expect((await read(workspace, "many")).equals(data)).toBe(true);
    const tooLarge = await failureOf(apply(workspace, set("many", noise("over", 10 * MiB + 1))));
    expect(tooLarge).toMatchObject({ code: "VALUE_TOO_LARGE", exit: 3 });
  });
});

describe("reading", () => {
  test("a range takes the pieces it needs and no others", async () => {
    const { workspace } = await fresh();
    const data = noise("ranges", 4 * MiB);
    await apply(workspace, set("k", data));
    const manifest = manifestOf(workspace, "k");
    const [first, second] = manifest.chunks;
    const edge = first!.size;
    for (const [start, end] of [
      [0, 1],
      [edge - 1, edge + 1],
      [edge, edge + second!.size],
      [data.length - 1, data.length],
    ] as const) {
      expect((await read(workspace, "k", start, end)).equals(data.subarray(start, end))).toBe(true);
    }
    expect(piecesOf(manifest, { start: edge, end: edge + second!.size }).map(({ piece }) => piece)).toEqual([second!]);
  });

  test("hands on nothing of a piece that is missing or damaged, and all before it", async () => {
    const { workspace } = await fresh();
    const data = noise("damage", 4 * MiB);
    await apply(workspace, set("k", data));
    const { objects } = workspace.repo;
    const manifest = manifestOf(workspace, "k");
    const [first, second] = manifest.chunks;
    const flipped = Buffer.from(objects.read(second!.oid)!.data);
    flipped[1000]! ^= 1;
    const longer = Buffer.concat([objects.read(second!.oid)!.data, Buffer.alloc(1)]);
    for (const [instead, word] of [
      [undefined, "missing"],
      [flipped, "damaged"],
      [longer, "damaged"],
      [new KvError("CORRUPT", "x.pack, entry at 5: it is cut short"), `of "k": x.pack, entry at 5`],
    ] as const) {
      const bent: ObjectSource = {
        format: objects.format,
        has: (oid) => objects.has(oid),
        read: (oid) => {
          if (oid !== second!.oid) return objects.read(oid);
          if (instead instanceof KvError) throw instead;
          return instead && { kind: "blob", data: instead };
        },
      };
      const parts: Buffer[] = [];
      const whole = { start: 0, end: manifest.size };
      const failure = await failureOf(
        streamValue(bent, manifest, whole, (bytes) => void parts.push(Buffer.from(bytes))),
      );
      expect([failure.code, failure.exit]).toEqual(["CORRUPT", 5]);
      expect(failure.message).toContain(word);
      expect(failure.message).toContain(second!.sha256.slice(0, 12));
      expect(Buffer.concat(parts).equals(data.subarray(0, first!.size))).toBe(true);
      const part = { start: 0, end: first!.size };
      await streamValue(bent, manifest, part, (bytes) =>
        expect(bytes.equals(data.subarray(0, first!.size))).toBe(true),
      );
    }
  });

  test("takes the sound one of two copies of a piece", async () => {
    const { workspace } = await fresh();
    const data = noise("copies", 3 * MiB);
    await apply(workspace, set("k", data));
    const { objects } = workspace.repo;
    const manifest = manifestOf(workspace, "k");
    const bent: ObjectSource = {
      format: objects.format,
      has: (oid) => objects.has(oid),
      read: (oid) => objects.read(oid),
      readInto: (_, into) => ({ kind: "blob", data: into.subarray(0, manifest.chunks[0]!.size).fill(0) }),
    };
    const parts: Buffer[] = [];
    const whole = { start: 0, end: manifest.size };
    await streamValue(bent, manifest, whole, (bytes) => void parts.push(Buffer.from(bytes)));
    expect(Buffer.concat(parts).equals(data)).toBe(true);
  });

  test("compares the whole with the etag", async () => {
    const { workspace } = await fresh();
    await apply(workspace, set("k", noise("etag", 2 * MiB)));
    const wrong = { ...manifestOf(workspace, "k"), etag: `blake3:${"0".repeat(64)}` };
    const failure = await failureOf(
      streamValue(workspace.repo.objects, wrong, { start: 0, end: wrong.size }, () => {}),
    );
    expect(failure).toMatchObject({ code: "CORRUPT", exit: 5, message: expect.stringContaining("etag") });
  });

  test("knows which pieces are missing here, each once", async () => {
    const { workspace } = await fresh();
    const block = noise("block", MiB);
    await apply(workspace, set("k", Buffer.concat([block, block, block])));
    const manifest = manifestOf(workspace, "k");
    const whole = { start: 0, end: manifest.size };
    expect(missingPieces(workspace.repo.objects, manifest, whole)).toEqual([]);
    const other = await fresh();
    const all = [...new Set(manifest.chunks.map(({ oid }) => oid))];
    expect(missingPieces(other.workspace.repo.objects, manifest, whole)).toEqual(all);
    expect(all.length).toBeLessThan(manifest.chunks.length);
    expect(missingPieces(other.workspace.repo.objects, manifest, { start: 5, end: 6 })).toEqual([all[0]!]);
  });
});
