/** The library, by the name programs import it under: on a repository of its own, and through a Stargate. */

import { expect, test } from "bun:test";
import * as path from "node:path";
import { KvError, type KvOperation, openKv } from "git-kv";
import { configureRemote } from "../../src/kv/setup.ts";
import { failureOf } from "../support/failure.ts";
import { git } from "../support/git.ts";
import { noise } from "../support/noise.ts";
import { TestClient, TestStargate } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { complaints, newRepository, workspaceAt } from "../support/workspace.ts";

async function gather<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

test("a store of its own: write, read, list, look back, compare, take back", async () => {
  const dir = newRepository(TEST_FORMAT);
  const kv = openKv({ dir });
  expect(() => kv.state()).toThrow(KvError);
  expect(await kv.init()).toMatchObject({ seq: 1, changed: true });
  expect((await failureOf(kv.init())).code).toBe("CAS_CONFLICT");
  const first = await kv.set("cfg:theme", "dark", { labels: { by: "me" }, message: "a theme" });
  expect(first).toMatchObject({ seq: 2, changed: true });
  expect(first.txn).toMatch(/^[0-9A-Z]{26}$/);
  expect(await kv.set("cfg:theme", "dark", { labels: { by: "me" } })).toMatchObject({ oid: first.oid, changed: false });
  const value = (await kv.get("cfg:theme"))!;
  expect([value.text(), value.ctype, value.rev, value.labels]).toEqual([
    "dark",
    "text/plain; charset=utf-8",
    1,
    { by: "me" },
  ]);
  const operations: KvOperation[] = [
    { op: "set", key: "cfg:theme", value: "light", if: { blob: value.blob } },
    { op: "set", key: "bytes", value: new Uint8Array([0, 255]), ttl: "1h" },
    { op: "set", key: "json", value: '{"a":[1]}', if: { absent: true } },
  ];
  const second = await kv.write(operations);
  expect((await failureOf(kv.write(operations))).code).toBe("CAS_CONFLICT");
  expect((await kv.get("json"))!.json()).toEqual({ a: [1] });
  expect((await kv.get("bytes"))!.bytes).toEqual(Buffer.from([0, 255]));
  expect(() => openKv({ dir, ns: "NO" })).toThrow("not a valid namespace");
  expect(await kv.get("nobody")).toBeUndefined();
  expect((await kv.get("cfg:theme", { at: first.oid }))?.text()).toBe("dark");
  await kv.set("gone", "x", { expires: new Date(1000) });
  expect(await kv.get("gone")).toBeUndefined();
  expect((await kv.get("gone", { allowExpired: true }))?.text()).toBe("x");
  const keys = async (options: Parameters<typeof kv.list>[0]): Promise<string[]> =>
    (await gather(kv.list(options))).map(({ key }) => key);
  expect(await keys({})).toEqual(["bytes", "cfg:theme", "json"]);
  expect(await keys({ prefix: "cfg:" })).toEqual(["cfg:theme"]);
  expect(await keys({ after: "bytes", limit: 1 })).toEqual(["cfg:theme"]);
  expect(await keys({ expired: true })).toEqual(["gone"]);
  expect(await keys({ at: "2" })).toEqual(["cfg:theme"]);
  expect((await kv.diff("2", "3")).map(({ op, key }) => `${op} ${key}`)).toEqual([
    "add bytes",
    "change cfg:theme",
    "add json",
  ]);
  const history = await gather(kv.history("cfg:theme"));
  expect(history.map(({ op, rev, transaction }) => [op, rev, transaction?.oid])).toEqual([
    ["set", 2, second.oid],
    ["set", 1, first.oid],
  ]);
  expect(history[1]!.transaction).toMatchObject({
    subject: "a theme",
    set: 1,
    del: 0,
    signature: { state: "unsigned" },
  });
  expect((await gather(kv.log())).map(({ seq }) => seq)).toEqual([4, 3, 2, 1]);
  expect((await gather(kv.log({ prefix: "cfg:" }))).map(({ seq }) => seq)).toEqual([3, 2]);
  expect((await failureOf(kv.revert(first.txn!))).code).toBe("CAS_CONFLICT");
  await kv.revert(second.txn!);
  expect(await keys({})).toEqual(["cfg:theme"]);
  expect((await kv.get("cfg:theme"))!.text()).toBe("dark");
  await kv.del("cfg:theme");
  expect((await failureOf(kv.del(["cfg:theme"]))).code).toBe("KEY_NOT_FOUND");
  expect(await kv.del("cfg:theme", { ignoreMissing: true })).toMatchObject({ changed: false });
  expect((await gather(kv.watch({ since: 5 }))).map(({ seq, op, key }) => `${seq} ${op} ${key}`)).toEqual([
    "6 del cfg:theme",
  ]);
  kv.close();
  expect(complaints(dir)).toBe("");
});

test("what a compiler would not have let through is a typed error too", async () => {
  const dir = newRepository(TEST_FORMAT);
  const kv = openKv({ dir });
  const { oid } = await kv.init();
  const any = (value: unknown): never => value as never;
  const said: string[] = [];
  for (const call of [
    () => kv.set("k", any(5)),
    () => kv.set("k", any(null)),
    () => kv.set("k", any({ a: 1 })),
    () => kv.set("k", "\ud800"),
    () => kv.set("\ud800", "x"),
    () => kv.set(any(undefined), "x"),
    () => kv.get(any(7)),
    () => kv.set("k", "x", { expires: new Date("soon") }),
    () => kv.set("k", "x", { if: any({}) }),
    () => kv.write([any({ op: "put", key: "k", value: "x" })]),
    () => kv.write(any(5)),
    () => kv.write([any(null)]),
    () => kv.set("k", "x", { expires: any("2030-01-01") }),
    () => kv.set("k", "x", { ttl: any(5) }),
    () => kv.set("k", "x", { labels: any(5) }),
    () => kv.set("k", "x", { message: any(5) }),
    () => kv.list({ limit: -1 }).next(),
    () => kv.list({ limit: any("all") }).next(),
    () => kv.list({ prefix: any(5) }).next(),
    () => kv.import(any(5)),
  ]) {
    const { code, message } = await failureOf(call());
    said.push(`${code} ${message}`);
  }
  expect(said).toEqual([
    'INPUT_INVALID the value of "k" is neither a string nor bytes',
    'INPUT_INVALID the value of "k" is neither a string nor bytes',
    'INPUT_INVALID the value of "k" is neither a string nor bytes',
    'INPUT_INVALID the value of "k" is not valid Unicode',
    expect.stringMatching(/^KEY_INVALID /),
    "KEY_INVALID the key is not a string",
    "KEY_INVALID the key is not a string",
    "INPUT_INVALID expires is no valid date",
    expect.stringMatching(/^INPUT_INVALID 'undefined' is not an object id/),
    "INPUT_INVALID 'put' is neither set, del nor check",
    "INPUT_INVALID the operations are not an array",
    "INPUT_INVALID an operation is not an object",
    "INPUT_INVALID expires is no valid date",
    "INPUT_INVALID ttl is not a string",
    "INPUT_INVALID labels are not an object",
    "INPUT_INVALID the message is not a string",
    "INPUT_INVALID limit is not a whole number",
    "INPUT_INVALID limit is not a whole number",
    "INPUT_INVALID the prefix is not a string",
    "INPUT_INVALID the source is neither text, bytes nor something that gives them",
  ]);
  expect(kv.state().oid).toBe(oid);
  // Any view of bytes is bytes.
  await kv.set("k", any(new Uint16Array([0x6968])));
  expect((await kv.get("k"))?.text()).toBe("hi");
  kv.close();
});

test("bad input is a typed error, and nothing is written", async () => {
  const dir = newRepository(TEST_FORMAT);
  const kv = openKv({ dir });
  await kv.init();
  const codes: string[] = [];
  for (const write of [
    () => kv.set("", "x"),
    () => kv.set("k", "x", { ctype: "not a type" }),
    () => kv.set("k", "x", { ttl: "soon" }),
    () => kv.set("k", "x", { if: { blob: "123" } }),
    () => kv.set("k", "x", { if: { rev: -1 } }),
    () =>
      kv.write([
        { op: "set", key: "k", value: "1" },
        { op: "del", key: "k" },
      ]),
    () => kv.set("k", "x", { expectTree: "0".repeat(TEST_FORMAT.hexSize) }),
  ]) {
    codes.push((await failureOf(write())).code);
  }
  expect(codes).toEqual([
    ...[
      "KEY_INVALID",
      "INPUT_INVALID",
      "INPUT_INVALID",
      "INPUT_INVALID",
      "INPUT_INVALID",
      "KEY_INVALID",
      "CAS_CONFLICT",
    ],
  ]);
  expect(kv.state().seq).toBe(1);
  expect(() => openKv({ dir: tempDir("nothing") })).toThrow("does not appear to be a git repository");
  kv.close();
});

test("through a Stargate, a large value streamed", async () => {
  const stargate = await TestStargate.start({ upkeep: false });
  const token = stargate.token("write");
  await new TestClient(stargate.dir, stargate.loginUrl(token)).set({ k: "v" });
  const dir = path.join(tempDir("clone"), "c");
  git("/", "init", "-q", `--object-format=${TEST_FORMAT.name}`, dir);
  git(dir, "remote", "add", "origin", stargate.dir);
  configureRemote(workspaceAt(dir), stargate.loginUrl(token));
  const kv = openKv({ dir });
  try {
    await kv.fetch();
    expect((await kv.get("k"))!.text()).toBe("v");
    const large = noise("library", 3 * 1024 * 1024);
    const { oid } = await kv.set("big", large);
    expect(git(stargate.dir, "rev-parse", "refs/kv/main")).toBe(oid);
    const parts: Buffer[] = [];
    expect(await kv.read("big", (bytes) => void parts.push(Buffer.from(bytes)))).toBe(true);
    expect(Buffer.concat(parts).equals(large)).toBe(true);
    expect(await kv.read("nobody", () => {})).toBe(false);
  } finally {
    kv.close();
    await stargate.stop();
  }
});
