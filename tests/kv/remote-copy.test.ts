/** Reading without a clone, from the real git's servers: what is right, how often it asks, and what it does when things break. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { readAs } from "../../src/gitwire/object/object.ts";
import { SHA1 } from "../../src/gitwire/object/oid.ts";
import { momentAt, stateAtPoint } from "../../src/kv/at.ts";
import { pruneCaches } from "../../src/kv/cache-folder.ts";
import { commit } from "../../src/kv/commit.ts";
import { bringKeys } from "../../src/kv/copy-keys.ts";
import { remoteState } from "../../src/kv/copy-state.ts";
import { fetchAccepted } from "../../src/kv/fetch.ts";
import { historyOf } from "../../src/kv/history.ts";
import { keyText, parseKey } from "../../src/kv/key.ts";
import { beginEpoch } from "../../src/kv/new-epoch.ts";
import { configureRemote } from "../../src/kv/setup.ts";
import { waitForMirror } from "../../src/kv/wait.ts";
import { type WatchOptions, watch } from "../../src/kv/watch.ts";
import { failureOf } from "../support/failure.ts";
import { git } from "../support/git.ts";
import { startGitDaemon } from "../support/git-daemon.ts";
import { type HttpBackend, startHttpBackend } from "../support/http-backend.ts";
import { Visitor, write } from "../support/no-clone.ts";
import { readValue } from "../support/read.ts";
import { tempDir } from "../support/temp.ts";
import { OTHER_FORMAT, TEST_FORMAT } from "../support/test-format.ts";
import { newRepository, workspaceAt } from "../support/workspace.ts";

const root = tempDir("hosts");
const KEYS = Array.from({ length: 5_000 }, (_, i) => `user:${String(i).padStart(4, "0")}`);
const LONG = `long:${"x".repeat(300)}`;
const PACE = { first: 20, most: 100, retry: 300, silence: 45_000 };
let backend: HttpBackend;

/** Makes a store with these keys, each with its own name as its value. */
async function store(name: string, keys: readonly string[], format = TEST_FORMAT): Promise<string> {
  const dir = newRepository(format);
  await write(dir, keys, true);
  fs.renameSync(dir, path.join(root, name));
  git(path.join(root, name), "config", "uploadpack.allowFilter", "true");
  return path.join(root, name);
}

beforeAll(async () => {
  backend = startHttpBackend(root, {
    intercept: (request, url) => {
      if (url.pathname.startsWith("/private.git") && request.headers.get("authorization") !== `Basic ${btoa("u:p")}`)
        return new Response("no", { status: 401, headers: { "WWW-Authenticate": 'Basic realm="x"' } });
      if (url.pathname.startsWith("/old.git")) request.headers.delete("git-protocol");
      return undefined;
    },
  });
  await store("big.git", [...KEYS, LONG]);
});
afterAll(() => backend.stop());

const urlOf = (name: string): string => `${backend.url}/${name}`;

describe("from a host that serves partial clones", () => {
  test("keys are found with one request a level, however many", async () => {
    const one = new Visitor(urlOf("big.git"));
    expect(await one.get(KEYS[7]!)).toEqual([`value of ${KEYS[7]}`]);
    // The tip in two ways at once, the commit with its upper trees, the leaves, the two blobs.
    expect(one.requests).toBe(5);
    // What is here is not asked for again: the tip, two leaves, two blobs.
    expect(await one.get(KEYS[8]!)).toEqual([`value of ${KEYS[8]}`]);
    expect(one.requests).toBe(3);
    expect(await one.get(KEYS[8]!)).toEqual([`value of ${KEYS[8]}`]);
    expect(one.requests).toBe(1);
    const many = new Visitor(urlOf("big.git"));
    expect(await many.get(...KEYS.slice(0, 400))).toEqual(KEYS.slice(0, 400).map((key) => `value of ${key}`));
    expect(many.requests).toBe(5);
    expect((await failureOf(many.get("nope"))).code).toBe("KEY_NOT_FOUND");
    expect(await many.get(LONG)).toEqual([`value of ${LONG}`]);
    expect(many.warnings).toEqual([]);
  });

  test("one that takes refs by their names is asked one time less", async () => {
    const dir = await store("named.git", KEYS);
    git(dir, "config", "uploadpack.allowRefInWant", "true");
    const visitor = new Visitor(urlOf("named.git"));
    expect(await visitor.get(KEYS[7]!)).toEqual([`value of ${KEYS[7]}`]);
    // The tip in two ways at once, one of them with its upper trees; the leaves, the two blobs. Where the first guess at the format was wrong, more
    // is known by the time of the copy that is read.
    expect(visitor.requests).toBe(TEST_FORMAT === SHA1 ? 4 : 3);
    expect(await visitor.get(KEYS[8]!)).toEqual([`value of ${KEYS[8]}`]);
    expect(visitor.requests).toBe(3);
    await write(dir, [KEYS[7]!], false, "new");
    expect(await visitor.get(KEYS[7]!)).toEqual(["new"]);
    expect(visitor.requests).toBe(3);
  });

  test("a listing is the same as in a clone, whole, in parts and after changes", async () => {
    const dir = await store("listed.git", [...KEYS, LONG]);
    const visitor = new Visitor(urlOf("listed.git"));
    const all = [LONG, ...KEYS].sort();
    expect(await visitor.list({ prefix: "user:12" })).toEqual(KEYS.slice(1200, 1300));
    const before = visitor.requests;
    expect(before).toBeLessThanOrEqual(7);
    expect(await visitor.list()).toEqual(all);
    expect(visitor.requests).toBeLessThanOrEqual(5);
    expect(await visitor.list()).toEqual(all);
    expect(visitor.requests).toBe(1);
    expect(await visitor.list({ after: "user:4989" })).toEqual(KEYS.slice(4990));
    expect(await visitor.list({ prefix: "user:3", after: "user:3997" })).toEqual(KEYS.slice(3998, 4000));
    await write(dir, ["user:0007a", "zz"]);
    expect(await visitor.list()).toEqual([...all, "user:0007a", "zz"].sort());
    const fresh = new Visitor(urlOf("listed.git"));
    expect(await fresh.list({}, 3)).toEqual([LONG, "user:0000", "user:0001"]);
    expect(await fresh.list({ prefix: "user:" }, 1_500)).toEqual([...KEYS, "user:0007a"].sort().slice(0, 1_500));
    expect(await fresh.list({ prefix: "none" })).toEqual([]);
  });

  test("one that takes only the usual filters is read too", async () => {
    const dir = await store("strict.git", KEYS);
    git(dir, "config", "uploadpackfilter.tree.maxDepth", "0");
    git(dir, "config", "uploadpackfilter.combine.allow", "false");
    const visitor = new Visitor(urlOf("strict.git"));
    expect(await visitor.get("user:0042", "user:4242")).toEqual(["value of user:0042", "value of user:4242"]);
    expect(await visitor.get("user:0043")).toEqual(["value of user:0043"]);
    expect(await visitor.list({ prefix: "user:000" })).toEqual(KEYS.slice(0, 10));
    expect(visitor.warnings).toEqual([]);
  });

  test("one that wants a password gets it as with git, and the cache does not keep it", async () => {
    await store("private.git", ["k"]);
    const refused = await failureOf(new Visitor(urlOf("private.git")).get("k"));
    expect(refused.code).toBe("UNAUTHENTICATED");
    const named = new Visitor(urlOf("private.git").replace("http://", "http://u:p@"));
    expect(await named.get("k")).toEqual(["value of k"]);
    const files = fs.readdirSync(named.cache, { recursive: true, withFileTypes: true }).filter((file) => file.isFile());
    for (const file of files) {
      expect(fs.readFileSync(path.join(file.parentPath, file.name), "latin1")).not.toContain("u:p@");
    }
    const home = tempDir("home");
    fs.writeFileSync(path.join(home, ".netrc"), "machine 127.0.0.1 login u password p\n");
    expect(await new Visitor(urlOf("private.git"), { HOME: home }).get("k")).toEqual(["value of k"]);
    const ask = path.join(home, "ask");
    fs.writeFileSync(ask, '#!/bin/sh\necho >> "$0.log"\ncase "$1" in User*) echo u;; *) echo p;; esac\n', {
      mode: 0o755,
    });
    expect(await new Visitor(urlOf("private.git"), { GIT_ASKPASS: ask }).get("k")).toEqual(["value of k"]);
    // Asked once for each, though two requests were refused.
    expect(fs.readFileSync(`${ask}.log`, "utf8").length).toBe(2);
  });

  test(`a ${OTHER_FORMAT.name} repository is recognised`, async () => {
    await store("other.git", ["k"], OTHER_FORMAT);
    const visitor = new Visitor(urlOf("other.git"));
    expect(await visitor.get("k")).toEqual(["value of k"]);
    // It is read again from the beginning, and a password is not asked for again.
    await store("private.git.other", ["k"], OTHER_FORMAT);
    const ask = path.join(tempDir("home"), "ask");
    fs.writeFileSync(ask, '#!/bin/sh\necho >> "$0.log"\ncase "$1" in User*) echo u;; *) echo p;; esac\n', {
      mode: 0o755,
    });
    const asked = new Visitor(urlOf("private.git.other"), { GIT_ASKPASS: ask });
    expect(await asked.get("k")).toEqual(["value of k"]);
    expect(fs.readFileSync(`${ask}.log`, "utf8").length).toBe(2);
    expect(await visitor.get("k")).toEqual(["value of k"]);
    expect(visitor.requests).toBe(1);
  });
});

describe("from a host that gives no single objects", () => {
  test("all of the newest state is fetched, and said; the next time what has changed", async () => {
    const dir = await store("plain.git", KEYS.slice(0, 700));
    git(dir, "config", "uploadpack.allowFilter", "false");
    const visitor = new Visitor(urlOf("plain.git"));
    expect(await visitor.get("user:0001")).toEqual(["value of user:0001"]);
    expect(visitor.warnings).toEqual([
      `${urlOf("plain.git")} cannot leave objects out of what it sends, so all of the newest state is fetched`,
    ]);
    expect(await visitor.list()).toEqual(KEYS.slice(0, 700));
    expect(visitor.requests).toBe(1);
    await write(dir, ["more"]);
    expect(await visitor.get("more", "user:0002")).toEqual(["value of more", "value of user:0002"]);
    expect(visitor.warnings).toHaveLength(2);
  });

  test("so it is with one that knows protocol v0 only", async () => {
    await store("old.git", ["a", "b"]);
    const visitor = new Visitor(urlOf("old.git"));
    expect(await visitor.get("a", "b")).toEqual(["value of a", "value of b"]);
    expect(await visitor.list()).toEqual(["a", "b"]);
    expect(visitor.warnings).toHaveLength(1);
  });
});

test("the revisions of a key, and the store as it was", async () => {
  const dir = await store("history.git", KEYS.slice(0, 600));
  for (const round of [1, 2, 3]) {
    await write(dir, ["user:0005", `other${round}`], false, `value ${round}`);
  }
  const visitor = new Visitor(urlOf("history.git"));
  const revisions = (): Promise<string[]> =>
    visitor.read(async ({ workspace, state }) => {
      const found: string[] = [];
      for await (const { rev, made } of historyOf(workspace, state, parseKey("user:0005"), { epochs: false })) {
        found.push(`${rev} ${made?.seq}`);
      }
      return found;
    });
  expect(await revisions()).toEqual(["4 5", "3 4", "2 3", "1 2"]);
  await write(dir, ["user:0005"], false, "value 4");
  expect(await revisions()).toEqual(["5 6", "4 5", "3 4", "2 3", "1 2"]);
  const then = await visitor.read(async ({ workspace, copy, state }) => {
    const before = await stateAtPoint(workspace, state, { kind: "seq", seq: 3 });
    await bringKeys(copy, before, [parseKey("user:0005")]);
    return readValue(copy.repo.objects, before, parseKey("user:0005"), { now: 0, allowExpired: true }).data.toString();
  });
  expect(then).toBe("value 1");
});

test("closed epochs: their revisions, deleted keys and states, each archive brought once", async () => {
  const dir = await store("epochs.git", KEYS.slice(0, 300));
  const remove = async (key: string): Promise<void> => {
    const workspace = workspaceAt(dir);
    await commit(workspace, { message: undefined }, (use) =>
      use({ op: "del", key: parseKey(key), condition: undefined }),
    );
    workspace.repo.close();
  };
  const roll = async (label: string): Promise<void> => {
    const workspace = workspaceAt(dir);
    await beginEpoch(workspace, { label, message: undefined });
    workspace.repo.close();
  };
  await write(dir, ["user:0005"], false, "two");
  await remove("user:0006");
  await roll("e2");
  await write(dir, ["user:0005", "user:0006"], false, "three");
  await roll("e3");
  await write(dir, ["user:0005"], false, "four");
  const visitor = new Visitor(urlOf("epochs.git"));
  const revisions = (key: string, epochs: boolean): Promise<string[]> =>
    visitor.read(async ({ workspace, state }) => {
      const found: string[] = [];
      for await (const { rev, meta, made } of historyOf(workspace, state, parseKey(key), { epochs })) {
        found.push(`${meta === undefined ? "del" : "set"} ${rev} ${made?.epoch} ${made?.seq}`);
      }
      return found;
    });
  const valueAt = (key: string, at: string): Promise<string> =>
    visitor.read(async ({ workspace, copy, state }) => {
      const { state: then } = await momentAt(workspace, state, at);
      await bringKeys(copy, then, [parseKey(key)]);
      return readValue(copy.repo.objects, then, parseKey(key), { now: 0, allowExpired: true }).data.toString();
    });
  // A number of a closed epoch finds its archive by itself.
  expect(await valueAt("user:0005", "3")).toBe("two");
  expect(await revisions("user:0005", false)).toHaveLength(2);
  const all = ["set 4 e3 8", "set 3 e2 6", "set 2 e1 3", "set 1 e1 2"];
  expect(await revisions("user:0005", true)).toEqual(all);
  expect(await revisions("user:0006", true)).toEqual(["set 1 e2 6", "del 2 e1 4", "set 1 e1 2"]);
  expect(await revisions("user:0006", true)).toHaveLength(3);
  expect(visitor.requests).toBe(1);
  const closed = git(dir, "rev-parse", "refs/kv-archive/main@e1");
  for (const at of [closed, closed.slice(0, 12), "4", "-4"]) {
    const fresh = new Visitor(urlOf("epochs.git"));
    const seq = await fresh.read(
      async ({ workspace, state }) => (await momentAt(workspace, state, at)).state.ledger.seq,
    );
    expect([at, seq]).toEqual([at, 4]);
  }
  expect((await failureOf(valueAt("user:0005", "12345678"))).code).toBe("INPUT_INVALID");
  git(dir, "update-ref", "-d", "refs/kv-archive/main@e1");
  git(dir, "update-ref", "-d", "refs/kv-index-archive/main@e1");
  git(dir, "-c", "gc.reflogExpire=now", "gc", "-q", "--prune=now");
  const late = new Visitor(urlOf("epochs.git"));
  const gone = await failureOf(late.read(async ({ workspace, state }) => momentAt(workspace, state, "3")));
  expect([gone.code, gone.message]).toEqual([
    "IO",
    expect.stringContaining("archive of the epoch 'e1' of 'main' is not"),
  ]);
});

describe("the cache", () => {
  const packDir = (cache: string): string => {
    const [id] = fs.readdirSync(path.join(cache, "git-kv"));
    return path.join(cache, "git-kv", id!, TEST_FORMAT.name, "objects", "pack");
  };

  test("is filled again where it is damaged, whatever is damaged", async () => {
    for (const suffix of [".pack", ".idx", ".json"]) {
      const visitor = new Visitor(urlOf("big.git"));
      await visitor.get(...KEYS.slice(0, 20));
      const dir = suffix === ".json" ? path.join(packDir(visitor.cache), "../../..") : packDir(visitor.cache);
      for (const name of fs.readdirSync(dir).filter((each) => each.endsWith(suffix))) {
        const file = path.join(dir, name);
        const bytes = fs.readFileSync(file);
        for (let at = 20; at < bytes.length; at += 7) bytes[at]! ^= 0x41;
        fs.chmodSync(file, 0o644);
        fs.writeFileSync(file, bytes);
      }
      expect(await visitor.get(KEYS[3]!, KEYS[4_000]!)).toEqual([`value of ${KEYS[3]}`, `value of ${KEYS[4_000]}`]);
      if (suffix !== ".json") expect(visitor.warnings.join()).toContain("was damaged and is filled again");
    }
  });

  test("may be used by many at a time, and be removed meanwhile", async () => {
    const visitor = new Visitor(urlOf("big.git"));
    const readers = Array.from({ length: 6 }, (_, i) => {
      const other = new Visitor(visitor.url, { XDG_CACHE_HOME: visitor.cache });
      return other.get(...KEYS.slice(i * 40, i * 40 + 60));
    });
    for (const [i, values] of (await Promise.all(readers)).entries()) {
      expect(values).toEqual(KEYS.slice(i * 40, i * 40 + 60).map((key) => `value of ${key}`));
    }
    const seen = await visitor.read(async ({ copy, state }) => {
      fs.rmSync(packDir(visitor.cache), { recursive: true });
      fs.mkdirSync(packDir(visitor.cache));
      copy.repo.close();
      return copy.through(() => readAs(copy.repo.objects, state.meta!, "tree").length > 0);
    });
    expect(seen).toBe(true);
  });

  test("is kept in bounds: the oldest packs go, and folders that nobody used", async () => {
    const visitor = new Visitor(urlOf("big.git"));
    await visitor.get(KEYS[1]!);
    const dir = packDir(visitor.cache);
    const folder = path.join(dir, "../../..");
    const other = path.join(visitor.cache, "git-kv", "0123456789abcdef0123456789abcdef");
    fs.mkdirSync(other);
    const packs = fs.readdirSync(dir).filter((name) => name.endsWith(".pack"));
    expect(packs.length).toBeGreaterThan(2);
    for (const [i, name] of packs.entries()) fs.utimesSync(path.join(dir, name), 1_000 + i, 1_000 + i);
    const newest = packs.at(-1)!;
    pruneCaches({ dir: folder, isTemporary: false }, TEST_FORMAT, Date.now(), fs.statSync(path.join(dir, newest)).size);
    expect(fs.readdirSync(dir).sort()).toEqual([newest.replace(".pack", ".idx"), newest]);
    expect(fs.existsSync(other)).toBe(true);
    pruneCaches({ dir: folder, isTemporary: false }, TEST_FORMAT, Date.now() + 40 * 86_400_000);
    expect(fs.existsSync(other)).toBe(false);
    expect(await visitor.get(KEYS[1]!)).toEqual([`value of ${KEYS[1]}`]);
  });

  test("is a folder for one command where none can be written", async () => {
    const temporary = tempDir("tmp");
    const file = path.join(temporary, "file");
    fs.writeFileSync(file, "");
    const visitor = new Visitor(urlOf("big.git"), { XDG_CACHE_HOME: file, TMPDIR: path.join(temporary, "t") });
    expect(await visitor.get(KEYS[1]!)).toEqual([`value of ${KEYS[1]}`]);
    expect(fs.readdirSync(path.join(temporary, "t"))).toEqual([]);
  });
});

describe("what happens there", () => {
  const tell = (visitor: Visitor, options: Partial<WatchOptions>): Promise<string[]> =>
    visitor.read(async ({ workspace }) => {
      const told: string[] = [];
      const all = { prefix: "", since: undefined, follow: false, pace: PACE, ...options };
      for await (const { state, changes } of watch(workspace, all)) {
        for (const { key, rev } of changes) told.push(`${state.ledger.seq} ${keyText(key)} ${rev}`);
        if (options.follow === true && told.length >= 3) break;
      }
      return told;
    });

  test("is told from the beginning, from a transaction on, and as it comes", async () => {
    const dir = await store("watched.git", KEYS.slice(0, 600));
    const visitor = new Visitor(urlOf("watched.git"));
    expect(await tell(visitor, {})).toEqual([]);
    await write(dir, ["a"]);
    const [, , second] = git(dir, "log", "--format=%H", "--reverse", "refs/kv/main").split("\n");
    expect(await tell(visitor, { since: 2 })).toEqual(["3 a 1"]);
    expect(await tell(visitor, { since: second! })).toEqual([]);
    expect((await tell(visitor, { since: 0 })).length).toBe(601);
    const { requests } = visitor;
    expect(requests).toBeLessThan(8);
    expect((await failureOf(tell(visitor, { since: "0".repeat(TEST_FORMAT.hexSize) }))).code).toBe("INPUT_INVALID");
    const following = tell(visitor, { follow: true, since: 3 });
    for (const key of ["b", "c", "d"]) await write(dir, [key]);
    expect(await following).toEqual(["4 b 1", "5 c 1", "6 d 1"]);
  });

  test("is seen by who stays for long, over connections on which stock git tells its refs once", async () => {
    const dir = await store("stays.git", KEYS.slice(0, 10));
    // As a push to stock git leaves them; what is in packed-refs is looked at anew.
    const asLooseRefs = (): void => {
      for (const ref of ["refs/kv/main", "refs/kv-index/main"]) {
        const oid = git(dir, "rev-parse", ref);
        fs.mkdirSync(path.dirname(path.join(dir, ref)), { recursive: true });
        fs.writeFileSync(path.join(dir, ref), `${oid}\n`);
      }
    };
    asLooseRefs();
    const daemon = await startGitDaemon(root);
    try {
      for (const url of [`git://127.0.0.1:${daemon.port}/stays.git`, dir]) {
        await new Visitor(url).read(async ({ workspace, copy, state }) => {
          for (let more = 1; more <= 3; more++) {
            await write(dir, ["a"], false, `${url} ${more}`);
            asLooseRefs();
            const { ledger } = await remoteState(workspace, copy);
            expect([url, ledger.seq]).toEqual([url, state.ledger.seq + more]);
          }
        });
      }
    } finally {
      daemon.stop();
    }
  });

  test("is waited for by the watermark", async () => {
    const dir = await store("mirror.git", KEYS.slice(0, 300));
    const first = git(dir, "rev-parse", "refs/kv/main");
    await write(dir, ["a"]);
    const second = git(dir, "rev-parse", "refs/kv/main");
    const wait = (oid: string, ms: number): Promise<void> =>
      new Visitor(urlOf("mirror.git")).read(({ workspace }) => waitForMirror(workspace, oid, ms));
    // A host that nobody mirrors to has no watermark: it shows what it has.
    await wait(second, 60_000);
    git(dir, "update-ref", "refs/kv-mirror/main", first);
    await wait(first, 60_000);
    expect((await failureOf(wait(second, 0))).code).toBe("MIRROR_TIMEOUT");
    const waiting = wait(second, 60_000);
    await write(dir, ["b"]);
    git(dir, "update-ref", "refs/kv-mirror/main", "refs/kv/main");
    await waiting;
  });
});

test("a ledger that goes back is noticed", async () => {
  const dir = await store("back.git", ["a"]);
  const visitor = new Visitor(urlOf("back.git"));
  const old = git(dir, "rev-parse", "refs/kv/main");
  await write(dir, ["b"]);
  expect(await visitor.get("b")).toEqual(["value of b"]);
  git(dir, "update-ref", "refs/kv/main", old);
  expect(await visitor.get("a")).toEqual(["value of a"]);
  expect(visitor.warnings).toEqual([`the ledger of 'main' at ${visitor.url} is at #2 and was at #3 before`]);
});

test("the ledger of another namespace in the place of the one that is asked for is refused", async () => {
  const dir = await store("moved.git", ["a"]);
  await write(dir, ["b"], true, undefined, "open");
  for (const group of ["kv", "kv-index"]) git(dir, "update-ref", `refs/${group}/main`, `refs/${group}/open`);
  expect((await failureOf(new Visitor(urlOf("moved.git")).get("b"))).code).toBe("ATTESTATION_MISMATCH");
  const clone = workspaceAt(newRepository(TEST_FORMAT));
  configureRemote(clone, urlOf("moved.git"));
  expect((await failureOf(fetchAccepted(clone))).code).toBe("ATTESTATION_MISMATCH");
  expect(clone.repo.refs.resolve("refs/kv/main")).toBeUndefined();
  clone.repo.close();
});

test("a namespace that is not there, and a host that is none", async () => {
  git(root, "init", "-q", "--bare", `--object-format=${TEST_FORMAT.name}`, "empty.git");
  git(path.join(root, "empty.git"), "config", "uploadpack.allowFilter", "true");
  expect((await failureOf(new Visitor(urlOf("empty.git")).get("k"))).code).toBe("NS_NOT_FOUND");
  expect((await failureOf(new Visitor(urlOf("none.git")).get("k"))).code).toBe("NOT_A_REPOSITORY");
  expect((await failureOf(new Visitor("http://127.0.0.1:1/x.git").get("k"))).code).toBe("NETWORK");
  expect((await failureOf(new Visitor("ftp://127.0.0.1/x.git").get("k"))).code).toBe("UNSUPPORTED");
});
