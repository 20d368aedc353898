/** Reading a key: what is there, what is not, and what does not fit together. */

import { expect, test } from "bun:test";
import { KvError } from "../../src/errors.ts";
import { parseKey } from "../../src/kv/key.ts";
import { type Files, filesOf, forge, treeOf } from "../support/forge.ts";
import { KvModel } from "../support/kv-model.ts";
import { readValue } from "../support/read.ts";

const model = new KvModel();
model.commit([model.set("k", "value", { expires: 2000, labels: { a: "b" } }), model.set("empty", "")]);
const { objects } = model;

function read(key: string, change: (files: Files) => void = () => {}, now = 1000): { code: string } | object {
  const files = filesOf(objects, model.state!.ledger.tree);
  change(files);
  const { indexTree } = model.state!.ledger;
  const state = forge(objects, undefined, { tree: treeOf(objects, files), indexTree });
  try {
    const { data, meta } = readValue(objects, state, parseKey(key), { now, allowExpired: false });
    return { value: data.toString(), rev: meta.rev };
  } catch (error) {
    if (error instanceof KvError) return { code: error.code };
    throw error;
  }
}

const blob = (text: string): { mode: number; oid: string } => ({
  mode: 0o100644,
  oid: objects.write("blob", Buffer.from(text)),
});

test("what is there, and what is not", () => {
  expect(read("k")).toEqual({ value: "value", rev: 1 });
  expect(read("empty")).toEqual({ value: "", rev: 1 });
  expect(read("missing")).toEqual({ code: "KEY_NOT_FOUND" });
  expect(read("k", undefined, 2000)).toEqual({ code: "KEY_EXPIRED" });
  const bare = (files: Files): void => {
    for (const path of files.keys()) if (path !== "kv.json") files.delete(path);
  };
  expect(read("k", bare)).toEqual({ code: "KEY_NOT_FOUND" });
});

test("one tree a level and two blobs are read", () => {
  objects.reads = { blob: 0, tree: 0, commit: 0, tag: 0 };
  readValue(objects, model.state!, "k", { now: 0, allowExpired: false });
  expect(objects.reads).toEqual({ blob: 2, tree: 2, commit: 0, tag: 0 });
});

test("a value that does not fit its metadata is CORRUPT, never returned", () => {
  expect(read("k", (files) => files.set("data/k", blob("longer than that")))).toEqual({ code: "CORRUPT" });
  expect(read("k", (files) => files.delete("data/k"))).toEqual({ code: "CORRUPT" });
  expect(read("k", (files) => files.set("meta/k.meta", blob("{}")))).toEqual({ code: "CORRUPT" });
  expect(read("k", (files) => files.delete("meta/k.meta"))).toEqual({ code: "KEY_NOT_FOUND" });
  const chunked = (files: Files): void => {
    files.delete("data/k");
    files.set("data/k.manifest.json", blob("{}"));
  };
  expect(read("k", chunked)).toEqual({ code: "CORRUPT" });
});

test("a value that is not the one its id names is CORRUPT, never returned", () => {
  const oid = blob("value").oid;
  const lying = { format: objects.format, has: () => true, read: (asked: string) => objects.read(asked) };
  const bent = {
    ...lying,
    read: (asked: string) =>
      asked === oid ? { kind: "blob" as const, data: Buffer.from("vague") } : lying.read(asked),
  };
  expect(() => readValue(bent, model.state!, "k", { now: 0, allowExpired: false })).toThrow(
    "is not the one its id names",
  );
});
