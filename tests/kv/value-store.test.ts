/** Values on their way into blobs. */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { DEFAULT_CHUNKING } from "../../src/cdc/chunking.ts";
import { KvError } from "../../src/errors.ts";
import type { ValueInput, WriteLine } from "../../src/kv/batch.ts";
import { etagOf } from "../../src/kv/etag.ts";
import { type Manifest, parseManifest } from "../../src/kv/manifest.ts";
import { PieceStore } from "../../src/kv/piece-store.ts";
import type { ValueRules } from "../../src/kv/value-rules.ts";
import { ValueStore } from "../../src/kv/value-store.ts";
import { MemoryObjects } from "../support/memory-objects.ts";
import { fromSeed } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";

const objects = new MemoryObjects();
const RULES: ValueRules = {
  maxInline: 2_000,
  maxTotal: 100_000,
  chunking: { mode: "fixed", size: 1_024 },
  ttlDefault: undefined,
};
const NOW = 1_000;
const { signal } = new AbortController();

function storeWith(rules: Partial<ValueRules> = {}, surelyInline = 100) {
  const pieces = new PieceStore(objects, undefined);
  const store = new ValueStore({
    sink: objects,
    etagOf,
    book: { surelyInline, rules: async () => ({ ...RULES, ...rules }), mayExpire: rules.ttlDefault !== undefined },
    now: NOW,
    pieces: async () => pieces,
    ignoreMissing: true,
    signal,
  });
  return { store, pieces };
}

const { store } = storeWith();
const none = { ctype: undefined, expires: undefined, labels: undefined };

function set(value: ValueInput, options = {}): WriteLine {
  return { op: "set", key: "k", value, options: { ...none, ...options }, condition: undefined };
}

const bytes = (text: string | Buffer): WriteLine => set({ kind: "bytes", data: Buffer.from(text) });

/** As what arrives on a pipe, in portions of `size`. */
function stream(data: string | Buffer, size = 333): WriteLine {
  let rest = Buffer.from(data);
  return set({
    kind: "stream",
    read: async () => {
      const portion = rest.subarray(0, size);
      rest = rest.subarray(size);
      return portion.length === 0 ? undefined : portion;
    },
  });
}

function file(data: string | Buffer): WriteLine {
  const name = path.join(tempDir("value"), "value");
  fs.writeFileSync(name, data);
  return set({ kind: "file", path: name });
}

/** The value a line is stored as. */
async function stored(line: WriteLine, by = store) {
  const operation = await by.operation(line);
  if (operation.kind !== "set") throw new Error("not a set");
  return operation.value;
}

/** What the failure says. */
async function failure(line: WriteLine, by = store): Promise<{ code: string; message: string }> {
  try {
    await by.operation(line);
  } catch (error) {
    if (error instanceof KvError) return error;
    throw error;
  }
  throw new Error("it was taken");
}

const contentOf = (manifest: Manifest): Buffer =>
  Buffer.concat(manifest.chunks.map(({ oid }) => objects.read(oid)!.data));

describe("a value", () => {
  test("becomes a blob, whether it comes as bytes, from a file or as a stream", async () => {
    for (const data of ["", "text", Buffer.from([0, 255]), "x".repeat(100), "x".repeat(101), "x".repeat(2_000)]) {
      const buffer = Buffer.from(data);
      for (const line of [bytes(data), file(data), stream(data)]) {
        const { oid, ...value } = await stored(line);
        expect(objects.read(oid)).toEqual({ kind: "blob", data: buffer });
        expect(value).toMatchObject({ type: "inline", size: buffer.length, etag: etagOf(buffer) });
      }
    }
  });

  test("is recognised unless its type is given", async () => {
    expect(await stored(bytes("{}"))).toMatchObject({ ctype: "application/json" });
    const named = set({ kind: "bytes", data: Buffer.from("{}") }, { ctype: "a/b", expires: 5, labels: { a: "b" } });
    expect(store.operation(named)).toMatchObject({ value: { ctype: "a/b" }, expires: 5, labels: { a: "b" } });
  });

  test("one byte over the limit goes into pieces, the same ones however it comes", async () => {
    const data = Buffer.from("text of many words, ".repeat(200)).subarray(0, 2_001);
    const values = [
      await stored(bytes(data)),
      await stored(file(data)),
      await stored(stream(data)),
      await stored(stream(data, 1)),
    ];
    for (const value of values) expect(value).toEqual(values[0]!);
    const [value] = values;
    expect(value).toMatchObject({
      type: "chunked",
      size: 2_001,
      etag: etagOf(data),
      ctype: "text/plain; charset=utf-8",
    });
    const manifest = parseManifest(objects.format, objects.read(value!.oid)!.data);
    expect(manifest).toMatchObject({ key: "k", size: 2_001, etag: etagOf(data), chunking: RULES.chunking });
    expect(manifest.chunks.map(({ size }) => size)).toEqual([1_024, 977]);
    expect(contentOf(manifest).equals(data)).toBe(true);
  });

  test("longer than what is looked at for text streams through, and is bytes", async () => {
    const { store, pieces } = storeWith({ maxTotal: undefined, chunking: DEFAULT_CHUNKING });
    const data = fromSeed(7).bytes(3 * 1024 * 1024);
    const values = [
      await stored(file(data), store),
      await stored(stream(data, 70_000), store),
      await stored(bytes(data), store),
    ];
    for (const value of values) expect(value).toEqual(values[0]!);
    expect(values[0]).toMatchObject({ type: "chunked", ctype: "application/octet-stream", etag: etagOf(data) });
    const manifest = parseManifest(objects.format, objects.read(values[0]!.oid)!.data);
    expect(contentOf(manifest).equals(data)).toBe(true);
    expect(pieces.bytes).toEqual({ new: data.length, reused: 2 * data.length });
    expect(pieces.pieces.length).toBe(manifest.chunks.length);
  });

  test("with pieces that are the same stores each once", async () => {
    const { store, pieces } = storeWith();
    const value = await stored(bytes("x".repeat(10 * 1_024)), store);
    expect(pieces.bytes).toEqual({ new: 1_024, reused: 9 * 1_024 });
    expect(parseManifest(objects.format, objects.read(value.oid)!.data).chunks.length).toBe(10);
  });

  test("over the largest size is refused, by its size or as soon as it shows", async () => {
    const { store } = storeWith({ maxTotal: 5_000 });
    let portions = 0;
    const portion = async (): Promise<Buffer> => {
      portions++;
      return Buffer.alloc(1_000);
    };
    const endless: WriteLine = set({ kind: "stream", read: portion });
    for (const line of [bytes("x".repeat(5_001)), file("x".repeat(5_001)), stream("x".repeat(5_001)), endless]) {
      expect(await failure(line, store)).toMatchObject({
        code: "VALUE_TOO_LARGE",
        message: expect.stringMatching(/has \d+ bytes or more, at most 5000 are allowed \(max_value_total\)/),
      });
    }
    expect(portions).toBeLessThan(2_000);
    expect(await stored(bytes("x".repeat(5_000)), store)).toMatchObject({ type: "chunked", size: 5_000 });
  });

  test("that would need a larger manifest than there may be is refused while it comes, or by its size", async () => {
    const { store, pieces } = storeWith({ maxTotal: undefined });
    const tooMany = { code: "LIMIT_EXCEEDED", message: expect.stringContaining("has over 30174 pieces, more than") };
    const sparse = file("");
    if (sparse.op !== "set" || sparse.value.kind !== "file") throw new Error("not a file");
    fs.truncateSync(sparse.value.path, 30_174 * 1_024 + 1);
    expect(await failure(sparse, store)).toMatchObject(tooMany);
    expect(pieces.bytes).toEqual({ new: 0, reused: 0 });
    const portion = Buffer.alloc(256 * 1_024);
    const endless = set({ kind: "stream", read: async () => portion });
    expect(await failure(endless, store)).toMatchObject(tooMany);
    // One more than a manifest has room for beside the rest of it.
    fs.truncateSync(sparse.value.path, 30_174 * 1_024);
    expect(await failure(sparse, store)).toMatchObject({
      code: "LIMIT_EXCEEDED",
      message: expect.stringContaining("has 30174 pieces: its manifest is over"),
    });
  });
});

describe("a file", () => {
  test("that changes while it is read is not stored, whatever its size", async () => {
    const name = path.join(tempDir("changing"), "value");
    for (const [size, change] of [
      [2_000, () => fs.appendFileSync(name, "x")],
      [500_000, () => fs.appendFileSync(name, "x")],
      [500_000, () => fs.truncateSync(name, 10)],
      [500_000, () => fs.writeFileSync(name, Buffer.alloc(500_000, 1))],
    ] as const) {
      fs.writeFileSync(name, Buffer.alloc(size));
      const { store } = storeWith({ maxTotal: undefined });
      const rules = async () => {
        change();
        return { ...RULES, maxTotal: undefined };
      };
      const changing = new ValueStore({
        sink: objects,
        etagOf,
        book: { surelyInline: 100, rules, mayExpire: false },
        now: NOW,
        pieces: async () => new PieceStore(objects, undefined),
        ignoreMissing: false,
        signal,
      });
      const line = set({ kind: "file", path: name });
      expect(await failure(line, changing)).toMatchObject({ code: "IO", message: `${name} changed while it was read` });
      expect(await stored(line, store)).toMatchObject({ size: fs.statSync(name).size });
    }
  });

  test("may be a pipe, which is read to its end", async () => {
    const name = path.join(tempDir("fifo"), "pipe");
    expect(Bun.spawnSync(["mkfifo", name]).exitCode).toBe(0);
    const data = fromSeed(11).bytes(300_000);
    const { store } = storeWith({ maxTotal: undefined });
    const writer = Bun.spawn(["sh", "-c", `cat > '${name}'`], { stdin: data });
    const value = await stored(set({ kind: "file", path: name }), store);
    expect(await writer.exited).toBe(0);
    expect(value).toMatchObject({ type: "chunked", size: 300_000, etag: etagOf(data) });
  });

  test("a pipe that nobody writes to can be given up", async () => {
    const name = path.join(tempDir("fifo"), "pipe");
    expect(Bun.spawnSync(["mkfifo", name]).exitCode).toBe(0);
    const abort = new AbortController();
    const waiting = new ValueStore({
      sink: objects,
      etagOf,
      book: { surelyInline: 100, rules: async () => RULES, mayExpire: false },
      now: NOW,
      pieces: async () => new PieceStore(objects, undefined),
      ignoreMissing: false,
      signal: abort.signal,
    });
    const work = failure(set({ kind: "file", path: name }), waiting);
    abort.abort(new KvError("INTERRUPTED", "interrupted"));
    expect(await work).toMatchObject({ code: "INTERRUPTED" });
    // The background thread that waits for a writer is let go.
    fs.closeSync(fs.openSync(name, "r+"));
  });
});

test("deletions and checks pass through", () => {
  const condition = { kind: "absent" } as const;
  expect(store.operation({ op: "del", key: "k", condition: undefined })).toEqual({
    kind: "del",
    key: "k",
    ignoreMissing: true,
    condition: undefined,
  });
  expect(store.operation({ op: "check", key: "k", condition })).toEqual({ kind: "check", key: "k", condition });
});

test("a set that says nothing of its time lives as long as the policy says by default", async () => {
  const { store } = storeWith({ ttlDefault: 60 });
  const expires = async (line: WriteLine): Promise<number | undefined> => {
    const operation = await store.operation(line);
    return operation.kind === "set" ? operation.expires : Number.NaN;
  };
  const data = { kind: "bytes", data: Buffer.from("v") } as const;
  expect(await expires(set(data))).toBe(NOW + 60);
  expect(await expires(set(data, { expires: 2_000 }))).toBe(2_000);
  expect(await expires(set(data, { expires: "never" }))).toBeUndefined();
  expect(await expires(set({ kind: "bytes", data: Buffer.alloc(5_000) }))).toBe(NOW + 60);
  const [operation] = [storeWith().store.operation(set(data))];
  expect(operation).toMatchObject({ expires: undefined });
});
