/** Reading without a clone from hosts that give less than most, or other than before, and from caches that have lost something. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { stateAtPoint } from "../../src/kv/at.ts";
import { bringPieces } from "../../src/kv/bring-pieces.ts";
import { pruneCaches } from "../../src/kv/cache-folder.ts";
import { readManifest, streamValue } from "../../src/kv/chunked-value.ts";
import { bringKeys } from "../../src/kv/copy-keys.ts";
import { type HistoryOptions, historyOf } from "../../src/kv/history.ts";
import { keyText, parseKey } from "../../src/kv/key.ts";
import { withCopy } from "../../src/kv/open-copy.ts";
import { findKey } from "../../src/kv/read.ts";
import { waitForMirror } from "../../src/kv/wait.ts";
import { watch } from "../../src/kv/watch.ts";
import { Workspace } from "../../src/kv/workspace.ts";
import { git } from "../support/git.ts";
import { startGitDaemon } from "../support/git-daemon.ts";
import { type HttpBackend, startHttpBackend } from "../support/http-backend.ts";
import { Visitor, write } from "../support/no-clone.ts";
import { readValue } from "../support/read.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { newRepository } from "../support/workspace.ts";

const root = tempDir("hosts");
const LARGE = "0123456789abcdef".repeat(160_000);
const ROUNDS = 6;
let backend: HttpBackend;
let origin: string;

/** A store of 300 keys, one of which was set again six times and one of which has a large value; git settings as given. */
function host(name: string, settings: Readonly<Record<string, string>> = {}): string {
  const dir = path.join(root, name);
  fs.cpSync(origin, dir, { recursive: true });
  for (const [key, value] of Object.entries(settings)) git(dir, "config", key, value);
  return `${backend.url}/${name}`;
}

beforeAll(async () => {
  backend = startHttpBackend(root);
  origin = newRepository(TEST_FORMAT);
  await write(
    origin,
    Array.from({ length: 300 }, (_, i) => `key:${i}`),
    true,
  );
  for (let round = 1; round <= ROUNDS; round++) await write(origin, ["key:5"], false, `value ${round}`);
  await write(origin, ["large"], false, LARGE);
});
afterAll(() => backend.stop());

const revisions = (visitor: Visitor, options: Partial<HistoryOptions> = {}): Promise<string[]> =>
  visitor.read(async ({ workspace, state }) => {
    const found: string[] = [];
    for await (const { rev, made } of historyOf(workspace, state, parseKey("key:5"), { epochs: false, ...options }))
      if (found.push(`${rev} ${made?.seq}`) === options.most) break;
    return found;
  });
const ALL = Array.from({ length: ROUNDS + 1 }, (_, i) => `${ROUNDS + 1 - i} ${ROUNDS + 2 - i}`);

const valueAt = (visitor: Visitor, seq: number): Promise<string> =>
  visitor.read(async ({ workspace, copy, state }) => {
    const then = await stateAtPoint(workspace, state, { kind: "seq", seq });
    await bringKeys(copy, then, [parseKey("key:5")]);
    return readValue(copy.repo.objects, then, parseKey("key:5"), { now: 0, allowExpired: true }).data.toString();
  });

const large = (visitor: Visitor): Promise<string> =>
  visitor.read(async ({ workspace, copy, state }) => {
    await bringKeys(copy, state, [parseKey("large")]);
    const { objects } = copy.repo;
    const manifest = readManifest(objects, findKey(objects, state, parseKey("large"), { now: 0, allowExpired: true }));
    const range = { start: 0, end: manifest.size };
    await bringPieces(workspace, manifest, range);
    const chunks: Buffer[] = [];
    await streamValue(objects, manifest, range, (bytes) => void chunks.push(Buffer.from(bytes)));
    return Buffer.concat(chunks).toString();
  });

const changes = (visitor: Visitor, since: number): Promise<string[]> =>
  visitor.read(async ({ workspace }) => {
    const told: string[] = [];
    for await (const { state, changes: some } of watch(workspace, { prefix: "", since, follow: false }))
      for (const { key, rev } of some) told.push(`${state.ledger.seq} ${keyText(key)} ${rev}`);
    return told;
  });

/** Waits for the transaction `back` before the newest in a store called `name`, as the first thing that is asked for. */
const waited = async (visitor: Visitor, name: string, back: number): Promise<void> => {
  const oid = git(path.join(root, name), "rev-parse", `refs/kv/main~${back}`);
  await withCopy(visitor.url, visitor.around, (copy) =>
    waitForMirror(new Workspace(copy.repo, undefined, visitor.around, copy), oid, 60_000),
  );
};

describe.each([
  ["serves no partial clones", {}],
  ["refuses every filter that it offers", { "uploadpack.allowFilter": "true", "uploadpackfilter.allow": "false" }],
  [
    "takes trees and no limits of blobs",
    {
      "uploadpack.allowFilter": "true",
      "uploadpackfilter.allow": "false",
      "uploadpackfilter.tree.allow": "true",
      "uploadpackfilter.blob:none.allow": "true",
    },
  ],
])("a host that %s", (name, settings) => {
  test("gives values, large ones too, revisions, states and changes", async () => {
    const url = host(`${name.replaceAll(" ", "-")}.git`, settings);
    const visitor = new Visitor(url);
    expect(await visitor.get("key:5", "key:7")).toEqual([`value ${ROUNDS}`, "value of key:7"]);
    expect((await visitor.list()).length).toBe(301);
    expect(await large(visitor)).toBe(LARGE);
    expect(await valueAt(visitor, 4)).toBe("value 2");
    expect(await revisions(visitor)).toEqual(ALL);
    // And each of them as the first thing that is asked for.
    expect(await large(new Visitor(url))).toBe(LARGE);
    expect(await valueAt(new Visitor(url), 4)).toBe("value 2");
    expect(await revisions(new Visitor(url))).toEqual(ALL);
    expect(await changes(new Visitor(url), 5)).toEqual(["6 key:5 5", "7 key:5 6", "8 key:5 7", "9 large 1"]);
    for (const back of [0, 3]) await waited(new Visitor(url), path.basename(url), back);
  });
});

test("a host of v0, which gives only what its refs point at, gives them as well", async () => {
  host("of-v0.git");
  // An ssh of the simple variant tells the other side no version, as one does whose sshd takes no GIT_PROTOCOL.
  const ssh = path.join(tempDir("ssh"), "ssh");
  fs.writeFileSync(ssh, '#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n', { mode: 0o755 });
  const env = { GIT_SSH_COMMAND: ssh, GIT_SSH_VARIANT: "simple" };
  const visitor = new Visitor(`ssh://host${path.resolve(root)}/of-v0.git`, env);
  expect(await large(visitor)).toBe(LARGE);
  expect(visitor.warnings.at(-1)).toContain("so all of its large values is fetched");
  expect(await valueAt(visitor, 4)).toBe("value 2");
  expect(await revisions(visitor)).toEqual(ALL);
  const { length } = visitor.warnings;
  expect(await large(visitor)).toBe(LARGE);
  expect(visitor.warnings).toHaveLength(length);
  // No program there says how a mirror stands.
  await waited(new Visitor(visitor.url, env), "of-v0.git", 3);
});

describe("the revisions of a key come together", () => {
  for (const [how, keys] of [
    ["where transactions are called after it", ["key:5"]],
    ["where it changes with others, time after time", ["key:5", "key:6"]],
  ] as const) {
    test(how, async () => {
      const url = host(`together-${keys.length}.git`, { "uploadpack.allowFilter": "true" });
      const dir = path.join(root, `together-${keys.length}.git`);
      for (let round = 1; round <= 30; round++) {
        await write(dir, keys, false, `again ${round}`);
        if (round === 15) for (let i = 0; i < 10; i++) await write(dir, [`other:${i}`]);
      }
      const clone = new Visitor(dir);
      const all = await revisions(clone);
      expect(all).toHaveLength(31 + ROUNDS);
      for (const options of [{}, { values: true }]) {
        const visitor = new Visitor(url);
        expect(await revisions(visitor, options)).toEqual(all);
        expect(visitor.requests).toBeLessThan(22);
      }
      const few = new Visitor(url);
      expect(await revisions(few, { most: 4 })).toEqual(all.slice(0, 4));
    });
  }
});

test("a git daemon without filters gives them as well", async () => {
  host("daemon.git");
  const daemon = await startGitDaemon(root);
  try {
    const visitor = new Visitor(`git://127.0.0.1:${daemon.port}/daemon.git`);
    expect(await large(visitor)).toBe(LARGE);
    expect(await revisions(visitor)).toEqual(ALL);
    expect(visitor.warnings.join("\n")).toContain("so all of its history is fetched");
  } finally {
    daemon.stop();
  }
});

test("a host that begins to serve partial clones is asked for single objects from then on", async () => {
  const url = host("changed.git");
  const visitor = new Visitor(url);
  await visitor.get("key:1");
  expect(visitor.warnings).toHaveLength(1);
  git(path.join(root, "changed.git"), "config", "uploadpack.allowFilter", "true");
  await write(path.join(root, "changed.git"), ["key:1"], false, "another");
  expect(await visitor.get("key:1")).toEqual(["another"]);
  expect(visitor.warnings).toHaveLength(1);
});

test("changes are told from any transaction on: a tree and the one that names it are asked for together", async () => {
  const url = host("selective.git", { "uploadpack.allowFilter": "true" });
  const all = await changes(new Visitor(url), 2);
  expect(all).toHaveLength(ROUNDS + 1);
  for (let since = 3; since <= ROUNDS + 2; since++)
    expect(await changes(new Visitor(url), since)).toEqual(all.slice(since - 2));
});

test("who watches on and on keeps few packs", async () => {
  const url = host("followed.git", { "uploadpack.allowFilter": "true" });
  const dir = path.join(root, "followed.git");
  const pace = { first: 1, most: 1, retry: 300, silence: 45_000 };
  const [told, packs] = await new Visitor(url).read(async ({ workspace, copy }) => {
    let count = 0;
    await write(dir, ["key:5"], false, "first");
    for await (const { changes } of watch(workspace, { prefix: "", since: ROUNDS + 3, follow: true, pace })) {
      count += changes.length;
      if (count === 15) break;
      await write(dir, ["key:5"], false, `more ${count}`);
    }
    return [count, fs.readdirSync(copy.repo.objects.packDir).filter((name) => name.endsWith(".pack")).length];
  });
  expect(told).toBe(15);
  expect(packs).toBeLessThan(30);
});

test("who watches a host that is away is told so once, and once that it is back", async () => {
  host("away.git", { "uploadpack.allowFilter": "true" });
  const dir = path.join(root, "away.git");
  let refused = -1;
  const refuse = (): Response => {
    refused++;
    return new Response("closed\n", { status: 503 });
  };
  const away = startHttpBackend(root, {
    intercept: () => (refused >= 0 && refused < 8 ? refuse() : undefined),
  });
  const visitor = new Visitor(`${away.url}/away.git`);
  const pace = { first: 1, most: 8, retry: 300, silence: 45_000 };
  const told = await visitor.read(async ({ workspace }) => {
    for await (const { state } of watch(workspace, { prefix: "", since: ROUNDS + 2, follow: true, pace })) {
      if (refused >= 0) return state.ledger.seq;
      refused = 0;
      await write(dir, ["key:5"], false, "while it is away");
    }
    return undefined;
  });
  away.stop();
  expect([told, refused]).toEqual([ROUNDS + 4, 8]);
  expect(visitor.warnings).toEqual([
    expect.stringContaining("cannot be reached, and is tried again: "),
    `${visitor.url} can be reached again`,
  ]);
});

test("who watches misses nothing and hears nothing twice, whichever request a host is away for", async () => {
  host("now-and-then.git", { "uploadpack.allowFilter": "true" });
  const dir = path.join(root, "now-and-then.git");
  let [request, away] = [0, Number.POSITIVE_INFINITY];
  const now = startHttpBackend(root, {
    intercept: () => (++request === away ? new Response("closed\n", { status: 503 }) : undefined),
  });
  const visitor = new Visitor(`${now.url}/now-and-then.git`);
  const pace = { first: 1, most: 2, retry: 300, silence: 45_000 };
  const MOST = 14;
  const told = await visitor.read(async ({ workspace }) => {
    const seqs: number[] = [];
    for await (const { state } of watch(workspace, { prefix: "", since: ROUNDS + 2, follow: true, pace })) {
      seqs.push(state.ledger.seq);
      if (seqs.length > MOST) break;
      // The first request after this, at the next round the second, and so on.
      [request, away] = [0, seqs.length];
      await write(dir, [`key:${seqs.length * 7}`, `key:${seqs.length * 11}`], false, "now and then");
    }
    return seqs;
  });
  now.stop();
  expect(told).toEqual(Array.from({ length: MOST + 1 }, (_, i) => ROUNDS + 3 + i));
  expect(visitor.warnings.filter((text) => text.includes("is tried again")).length).toBeGreaterThan(3);
});

describe("a cache that has lost something", () => {
  const folderOf = ({ cache }: Visitor): string => {
    const [name] = fs.readdirSync(path.join(cache, "git-kv"));
    return path.join(cache, "git-kv", name!, TEST_FORMAT.name);
  };

  test("tells all revisions when packs have gone to keep it in bounds", async () => {
    const visitor = new Visitor(host("bounds.git", { "uploadpack.allowFilter": "true" }));
    expect(await revisions(visitor)).toEqual(ALL);
    const folder = folderOf(visitor);
    const packs = path.join(folder, "objects", "pack");
    for (const name of fs.readdirSync(packs)) fs.utimesSync(path.join(packs, name), 1_000, 1_000);
    pruneCaches({ dir: path.dirname(folder), isTemporary: false }, TEST_FORMAT, Date.now(), 1);
    await visitor.get("key:1");
    expect(await revisions(visitor)).toEqual(ALL);
    expect(visitor.warnings).toEqual([]);
  });

  for (const settings of [{ "uploadpack.allowFilter": "true" }, { "uploadpack.allowFilter": "false" }]) {
    const [filter] = Object.values(settings);
    test(`is filled again whatever of it is damaged (filters: ${filter})`, async () => {
      const url = host(`damaged-${filter}.git`, settings);
      const whole = new Visitor(url);
      await revisions(whole);
      const files = fs
        .readdirSync(folderOf(whole), { recursive: true, withFileTypes: true })
        .filter((each) => each.isFile() && !each.name.endsWith(".sample"))
        .map((each) => path.join(each.parentPath, each.name));
      expect(files.some((file) => file.includes(`${path.sep}kv-commits${path.sep}`))).toBe(true);
      for (const file of files) {
        for (const damage of [() => Buffer.alloc(0), (bytes: Buffer) => bytes.subarray(0, bytes.length / 2)]) {
          const visitor = new Visitor(url);
          fs.cpSync(whole.cache, visitor.cache, { recursive: true });
          const copy = file.replace(whole.cache, visitor.cache);
          fs.chmodSync(copy, 0o600);
          fs.writeFileSync(copy, damage(fs.readFileSync(copy)));
          expect([copy, await revisions(visitor)]).toEqual([copy, ALL]);
          expect([copy, await revisions(visitor)]).toEqual([copy, ALL]);
        }
      }
    });
  }
});
