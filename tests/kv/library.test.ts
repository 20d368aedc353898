/** What the library has besides keys and values: streams, ends by a signal, a remote without a clone, and what administrators need. */

import { afterEach, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { checkPolicy, cloneKv, type Kv, KvError, openKv } from "git-kv";
import { configureRemote } from "../../src/kv/setup.ts";
import { failureOf } from "../support/failure.ts";
import { git, gitInput } from "../support/git.ts";
import { noise } from "../support/noise.ts";
import { TestClient, TestStargate } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { complaints, newRepository, workspaceAt } from "../support/workspace.ts";

const opened: Kv[] = [];

function open(options: Parameters<typeof openKv>[0]): Kv {
  const kv = openKv(options);
  opened.push(kv);
  return kv;
}

afterEach(() => {
  for (const kv of opened.splice(0)) kv.close();
});

async function gather<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

async function store(): Promise<{ readonly dir: string; readonly kv: Kv }> {
  const dir = newRepository(TEST_FORMAT);
  const kv = open({ dir });
  await kv.init();
  return { dir, kv };
}

test("a value comes in parts and goes out in parts, and whoever takes time is waited for", async () => {
  const { dir, kv } = await store();
  // Compressed in the pack, so that each piece is inflated to where one before it was.
  const large = Buffer.from(noise("stream", 4_000_000).toString("hex"));
  let closed = false;
  async function* parts(): AsyncGenerator<Uint8Array> {
    try {
      yield large.subarray(0, 10);
      // Not the end.
      yield new Uint8Array(0);
      for (let at = 10; at < large.length; at += 100_000) yield large.subarray(at, at + 100_000);
    } finally {
      closed = true;
    }
  }
  await kv.write([
    { op: "set", key: "large", value: parts() },
    { op: "set", key: "small", value: "s" },
  ]);
  expect(closed).toBe(true);
  expect(Buffer.concat(await gather(kv.stream("large"))).equals(large)).toBe(true);
  expect(
    Buffer.concat(await gather(kv.stream("large", { range: "5-3000000" }))).equals(large.subarray(5, 3_000_001)),
  ).toBe(true);
  expect((await kv.get("small", { range: "-1" }))?.text()).toBe("s");
  const slow: Buffer[] = [];
  await kv.read("large", async (bytes) => {
    await sleep(1);
    slow.push(Buffer.from(bytes));
  });
  expect(slow.length).toBeGreaterThan(3);
  expect(Buffer.concat(slow).equals(large)).toBe(true);
  expect((await failureOf(gather(kv.stream("nobody")))).code).toBe("KEY_NOT_FOUND");
  expect(complaints(dir)).toBe("");
});

test("a source of a value that fails, or gives text, writes nothing and is closed", async () => {
  const { kv } = await store();
  const { oid } = kv.state();
  let closed = 0;
  async function* failing(what: unknown): AsyncGenerator<Uint8Array> {
    try {
      yield new Uint8Array(2_000_000);
      if (what instanceof Error) throw what;
      yield what as Uint8Array;
    } finally {
      closed++;
    }
  }
  await expect(kv.set("k", failing(new Error("the disk went away")))).rejects.toThrow("the disk went away");
  expect((await failureOf(kv.set("k", failing("text")))).code).toBe("INPUT_INVALID");
  // Refused before it is read, for another key of the transaction.
  const refused = kv.write([
    { op: "del", key: "nobody" },
    { op: "set", key: "k", value: failing("text") },
  ]);
  expect((await failureOf(refused)).code).toBe("INPUT_INVALID");
  expect(closed).toBe(3);
  expect(kv.state().oid).toBe(oid);
});

test("each operation ends by its own signal, and with that one's reason", async () => {
  const { kv } = await store();
  const reason = new Error("enough");
  const ended = new AbortController();
  ended.abort(reason);
  await expect(kv.set("k", "v", { signal: ended.signal })).rejects.toThrow(reason);
  await expect(kv.verify({ signal: ended.signal })).rejects.toThrow(reason);
  const ending = new AbortController();
  const watching = gather(kv.watch({ follow: true, signal: ending.signal }));
  setImmediate(() => ending.abort(reason));
  await expect(watching).rejects.toThrow(reason);
  // The others go on.
  expect(await kv.set("k", "v")).toMatchObject({ changed: true });
});

test("a listing tells what is known of each key, where that is asked for", async () => {
  const { kv } = await store();
  await kv.write([
    { op: "set", key: "a", value: "1" },
    { op: "set", key: "b", value: "22" },
  ]);
  await kv.del("b");
  expect(await gather(kv.list())).toEqual([{ key: "a", expires: undefined, deleted: false }]);
  const [a] = await gather(kv.list({ long: true }));
  expect(a).toMatchObject({ key: "a", rev: 1, meta: { size: 1, type: "inline" }, blob: (await kv.get("a"))!.blob });
  expect(await gather(kv.list({ long: true, deleted: true }))).toMatchObject([{ key: "b", rev: 2, deleted: true }]);
});

test("snapshots, imports, audits, epochs and policies", async () => {
  const { dir, kv } = await store();
  await kv.write([
    { op: "set", key: "a", value: new Uint8Array([0, 255]), labels: { by: "me" } },
    { op: "set", key: "b", value: noise("b", 2_000_000) },
  ]);
  await kv.del("b");
  const text = (await gather(kv.export())).join("");
  const other = await store();
  expect(await other.kv.import([text.slice(0, 100), text.slice(100)])).toMatchObject({
    keys: 1,
    set: 1,
    transactions: 1,
  });
  expect(await other.kv.get("a")).toMatchObject({ bytes: Buffer.from([0, 255]), labels: { by: "me" } });
  expect(await other.kv.import(Buffer.from("x: 1\ny: {z: 2}\n"), { format: "yaml", prefix: "p." })).toMatchObject({
    set: 2,
  });
  expect((await other.kv.get("p.y.z"))?.text()).toBe("2");
  const bad = await failureOf(other.kv.import(['{"key":"a"}\n', "nonsense\n"]));
  expect([bad.code, bad.message]).toEqual(["INPUT_INVALID", expect.stringContaining("2 bad entries")]);
  expect((await failureOf(other.kv.import("", { format: "xml" as "json" }))).code).toBe("INPUT_INVALID");
  const [first] = await gather(kv.log());
  expect(await kv.verify()).toMatchObject({
    findings: [],
    namespaces: [{ ns: "main", tip: first!.oid, transactions: 3 }],
  });
  expect(await kv.compact({ dryRun: true })).toMatchObject({ epoch: "e1", oid: undefined, live: 1, tombstones: 1 });
  expect(await kv.compact()).toMatchObject({ epoch: "e2", oid: kv.state().oid });
  expect(await kv.newEpoch("e3")).toMatchObject({ epoch: "e3", live: 1 });
  expect((await gather(kv.epochs())).map(({ label, current, first, last }) => [label, current, first, last])).toEqual([
    ["e3", true, 5, 5],
    ["e2", false, 4, 4],
    ["e1", false, 1, 3],
  ]);
  expect(await kv.policy()).toBeUndefined();
  expect(await failureOf(kv.applyPolicy("version: ["))).toMatchObject({ code: "INPUT_INVALID" });
  expect(await checkPolicy("version: 1\nnonsense: 2\n")).toMatchObject([{ path: "nonsense", line: 2 }]);
  expect(await checkPolicy("version: 1\n")).toEqual([]);
  const { oid, changed } = await kv.applyPolicy("version: 1\n");
  expect([changed, await kv.policy()]).toEqual([true, { oid, text: "version: 1\n" }]);
  expect(await kv.applyPolicy("version: 1\n")).toEqual({ oid, changed: false });
  for await (const { check, status } of kv.doctor({ offline: true })) if (check === "clone") expect(status).toBe("ok");
  expect(complaints(dir)).toBe("");
});

test("a clone through a Stargate, and the same without one", async () => {
  const stargate = await TestStargate.start({ upkeep: false });
  const url = stargate.loginUrl(stargate.token("write"));
  const env = { ...process.env, XDG_CACHE_HOME: tempDir("cache") };
  try {
    await new TestClient(stargate.dir, url).set({ a: "1", "cfg:b": "2", "cfg:c": "3" });
    const dir = path.join(tempDir("clone"), "c");
    const kv = await cloneKv(url, dir, { setUp: false, env });
    opened.push(kv);
    expect((await kv.get("a"))?.text()).toBe("1");
    const remote = open({ url, env });
    expect((await failureOf(remote.set("a", "2"))).code).toBe("UNSUPPORTED");
    expect(() => remote.state()).toThrow("needs a clone");
    expect((await remote.get("a"))?.text()).toBe("1");
    await new TestClient(stargate.dir, url).set({ a: "2" });
    const tip = git(stargate.dir, "rev-parse", "refs/kv/main");
    const [one, two, keys] = await Promise.all([
      remote.get("a"),
      remote.get("a", { at: "-1" }),
      gather(remote.list({ prefix: "cfg:", long: true })),
    ]);
    expect([one?.text(), two?.text()]).toEqual(["2", "1"]);
    expect(keys.map(({ key, meta }) => [key, meta?.size])).toEqual([
      ["cfg:b", 1],
      ["cfg:c", 1],
    ]);
    expect(await remote.get("nobody")).toBeUndefined();
    expect((await gather(remote.history("a"))).map(({ rev }) => rev)).toEqual([2, 1]);
    expect((await gather(remote.watch({ since: 1 }))).map(({ key, oid }) => [key, oid])).toEqual([["a", tip]]);
  } finally {
    await stargate.stop();
  }
});

/** Files of fetched trees of pieces that this process has open. */
function openTrees(): string[] {
  const files = fs.readdirSync("/proc/self/fd").map((fd) => {
    return fs.existsSync(`/proc/self/fd/${fd}`) ? fs.readlinkSync(`/proc/self/fd/${fd}`) : "";
  });
  return files.filter((file) => file.includes("/chunk-trees/"));
}

test("a large value through a Stargate leaves no file open that close() does not know of", async () => {
  const stargate = await TestStargate.start({ upkeep: false });
  const url = stargate.loginUrl(stargate.token("write"));
  try {
    await new TestClient(stargate.dir, url).set({ a: "1" });
    const clones = ["one", "two"].map((name) => {
      const dir = path.join(tempDir("clone"), name);
      git("/", "clone", "-q", stargate.dir, dir);
      configureRemote(workspaceAt(dir), url);
      return open({ dir });
    });
    for (const [i, kv] of [...clones, ...clones].entries()) {
      await kv.fetch({ from: "stargate" });
      await kv.set(`large${i}`, noise(`leak${i}`, 2_000_000));
      expect(openTrees()).toEqual([]);
      const { oid } = await kv.del(`large${i}`);
      const other = clones[(i + 1) % 2]!;
      await other.fetch({ from: "stargate" });
      await other.compact({ dryRun: true });
      expect(openTrees()).toEqual([]);
      await other.revert(oid!);
      expect(openTrees()).toEqual([]);
    }
  } finally {
    await stargate.stop();
  }
});

test("what was set up since a repository was opened counts for what is written", async () => {
  const stargate = await TestStargate.start({ upkeep: false });
  const url = stargate.loginUrl(stargate.token("write"));
  try {
    const { dir, kv } = await store();
    await kv.set("here", "1");
    git(dir, "remote", "add", "origin", stargate.dir);
    configureRemote(workspaceAt(dir), url);
    // It is not a ledger of that Stargate's.
    expect((await failureOf(kv.set("there", "1"))).code).toBe("NOT_FAST_FORWARD");
  } finally {
    await stargate.stop();
  }
});

test("ids of programs are looked at as those of the command line", async () => {
  const { kv } = await store();
  const codes: string[] = [];
  for (const call of [
    () => kv.set("k", "v", { expectTree: "junk" }),
    () => kv.revert("1", { expectTree: "junk" }),
    () => kv.wait("junk", 1),
    () => kv.verify({ since: "junk" }),
    () => kv.set("k", "v", { if: { blob: "junk" } }),
  ])
    codes.push((await failureOf(call())).code);
  expect(codes).toEqual(Array(5).fill("INPUT_INVALID"));
});

test("errors are told by instanceof whichever copy of the library they come from", async () => {
  const copy = path.join(tempDir("copy"), "errors.ts");
  fs.copyFileSync(path.join(import.meta.dir, "../../src/errors.ts"), copy);
  const other = (await import(copy)) as { KvError: typeof KvError };
  expect(other.KvError).not.toBe(KvError);
  expect(new other.KvError("IO", "x") instanceof KvError).toBe(true);
  expect(new KvError("IO", "x") instanceof other.KvError).toBe(true);
  for (const value of [new Error("x"), null, undefined, "x", {}]) expect(value instanceof KvError).toBe(false);
});

test("the time of a transaction is a valid date whatever its commit claims, and the number is beside it", async () => {
  const { dir, kv } = await store();
  const commit = git(dir, "cat-file", "commit", "refs/kv/main").replace(/^(committer .*>) \d+/m, "$1 99999999999999");
  git(dir, "update-ref", "refs/kv/main", gitInput(dir, `${commit}\n`, "hash-object", "-t", "commit", "-w", "--stdin"));
  const [first] = await gather(kv.log());
  expect([first?.time.toISOString(), first?.seconds]).toEqual(["+275760-09-13T00:00:00.000Z", 99_999_999_999_999]);
  const [epoch] = await gather(kv.epochs());
  expect(epoch?.began).toEqual(first!.time);
});
