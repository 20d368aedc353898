/** Local mode in real repositories: git finds nothing wrong with what is written, and packs change nothing. */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { utf8ToByteString } from "../../src/bytes.ts";
import { KvError } from "../../src/errors.ts";
import { SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import type { BatchLine, SetOptions } from "../../src/kv/batch.ts";
import { checkAttestation } from "../../src/kv/check-attestation.ts";
import { commit } from "../../src/kv/commit.ts";
import { etagOf } from "../../src/kv/etag.ts";
import { listIndex } from "../../src/kv/index-list.ts";
import { keyText, parseKey } from "../../src/kv/key.ts";
import { replayTransaction } from "../../src/kv/replay.ts";
import { type NamespaceState, stateAt } from "../../src/kv/state.ts";
import type { Workspace } from "../../src/kv/workspace.ts";
import { failureOf } from "../support/failure.ts";
import { git, gitBytes } from "../support/git.ts";
import { KvModel } from "../support/kv-model.ts";
import { fromSeed, random } from "../support/random.ts";
import { readValue } from "../support/read.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { complaints, countingClock, newRepository, workspaceAt } from "../support/workspace.ts";

const NONE: SetOptions = { ctype: undefined, expires: undefined, labels: undefined };

function set(key: string, value: string | Buffer, options: Partial<SetOptions> = {}): BatchLine {
  const data = Buffer.from(value);
  return {
    op: "set",
    key: parseKey(key),
    value: { kind: "bytes", data },
    options: { ...NONE, ...options },
    condition: undefined,
  };
}

const del = (key: string): BatchLine => ({ op: "del", key: parseKey(key), condition: undefined });

function apply(workspace: Workspace, lines: readonly BatchLine[], message?: string): ReturnType<typeof commit> {
  return commit(workspace, { message, bytes: 1000 }, async (use) => {
    for (const line of lines) await use(line);
  });
}

const value = (workspace: Workspace, key: string): Buffer =>
  readValue(workspace.repo.objects, workspace.requireState(), parseKey(key), { now: 0, allowExpired: true }).data;

describe.each([SHA1, SHA256])("in a $name repository", (format) => {
  test("what the user sees with git", async () => {
    const dir = newRepository(format);
    const workspace = workspaceAt(dir);
    await commit(workspace, { create: { epoch: "e1" } }, () => {});
    await apply(workspace, [set("user:é", '{"a":1}')]);
    await apply(workspace, [set("bytes", Buffer.from([0, 255])), del("user:é")], "why\n\nbecause");
    expect(complaints(dir)).toBe("");
    expect(git(dir, "log", "--format=%s", "refs/kv/main").split("\n")).toEqual(["why", "set user:é", "init main"]);
    expect(git(dir, "log", "--format=%s", "refs/kv-index/main").split("\n")).toEqual([
      "kv-index: why",
      "kv-index: set user:é",
      "kv-index: init main",
    ]);
    expect(git(dir, "log", "--format=%(trailers:key=KV-Seq,valueonly,separator=)", "refs/kv/main").split("\n")).toEqual(
      ["3", "2", "1"],
    );
    expect(git(dir, "log", "-1", "--format=%an <%ae> %cn %at", "refs/kv/main")).toBe(
      "Test Author <author@example.com> Test Committer 1767322800",
    );
    expect(gitBytes(dir, "show", "refs/kv/main:data/bytes")).toEqual(Buffer.from([0, 255]));
    expect(git(dir, "show", "refs/kv/main~1:data/user%3A%C3%A9")).toBe('{"a":1}');
    expect(JSON.parse(git(dir, "show", "refs/kv/main~1:meta/user%3A%C3%A9.meta"))).toMatchObject({
      key: "user:é",
      ctype: "application/json",
      rev: 1,
    });
    expect(git(dir, "show", "refs/kv/main:kv.json")).toBe(`{"v":1,"ns":"main","object_format":"${format.name}"}`);
    expect(git(dir, "ls-tree", "-r", "--name-only", "refs/kv/main").split("\n")).toEqual([
      "data/bytes",
      "kv.json",
      "meta/bytes.meta",
    ]);
    expect(git(dir, "ls-tree", "-r", "--name-only", "refs/kv-index/main").split("\n")).toEqual([
      "bytes.ref",
      "user%3A%C3%A9.del",
    ]);
    expect(git(dir, "diff", "--stat", "refs/kv/main~1", "refs/kv/main")).toContain("data/");
  });

  test("a random history through packs: the trees of the model, attested, replayed, sound", async () => {
    const rng = random("packs");
    const dir = newRepository(format);
    const clock = countingClock();
    const workspace = workspaceAt(dir, { clock });
    const model = new KvModel(format);
    const pool = Array.from(
      { length: 900 },
      (_, i) => `${rng.pick(["user:", "", "é/", `${"p".repeat(70)}/`, "l".repeat(220)])}${i}`,
    );
    const live = new Map<string, { value: string; options: Partial<SetOptions> }>();
    const states: (NamespaceState | undefined)[] = [undefined];
    await commit(workspace, { create: { epoch: "e1" } }, () => {});
    states.push(workspace.requireState());
    for (let round = 0; round < 24; round++) {
      const picked = rng.shuffle(pool).slice(0, rng.pick([1, 1, 2, 30, 300]));
      const lines: BatchLine[] = [];
      const operations = picked.map((key) => {
        if (live.has(key) && rng.int(3) === 0) {
          live.delete(key);
          lines.push(del(key));
          return model.del(key);
        }
        // Same value with other labels, another time to expire at, or just anew.
        const before = live.get(key);
        const text = before !== undefined && rng.int(2) === 0 ? before.value : `v${rng.int(5)}`;
        const options = {
          ...(rng.int(3) === 0 && { expires: 1_767_322_700 + rng.int(200) }),
          ...(rng.int(3) === 0 && { labels: { b: String(rng.int(2)), a: "é" } }),
          ctype: "text/plain",
        };
        live.set(key, { value: text, options });
        lines.push(set(key, text, options));
        return model.set(key, text, options);
      });
      model.commit(operations);
      clock.at += 1000;
      if ((await apply(workspace, rng.shuffle(lines))).kind === "committed") states.push(workspace.requireState());
      if (round === 8) git(dir, "gc", "-q", "--prune=now");
      if (round === 16) git(dir, "repack", "-q", "-d", "--write-midx");
    }
    const final = workspace.requireState();
    // The model's base ids are others, so data/ and the shape of the rest are compared.
    expect(final.data).toBe(model.state!.data);
    const paths = (ref: string): string[] => git(dir, "ls-tree", "-r", "--name-only", ref).split("\n").sort();
    expect(paths("refs/kv/main")).toEqual([...model.files(model.state!.ledger.tree).keys()].sort());
    expect(paths("refs/kv-index/main")).toEqual([...model.files(model.state!.ledger.indexTree).keys()].sort());
    for (const [key, { value: text, options }] of live) {
      const read = readValue(workspace.repo.objects, final, parseKey(key), { now: 0, allowExpired: false });
      expect(read.data.toString()).toBe(text);
      expect({ expires: read.meta.expires, labels: read.meta.labels }).toEqual({
        expires: options.expires as number | undefined,
        labels: options.labels,
      });
    }
    const listed = [...listIndex(workspace.repo.objects, final.ledger.indexTree)].filter(
      ({ state }) => state.kind === "live",
    );
    expect(listed.map(({ key }) => keyText(key))).toEqual(
      [...live.keys()].sort((a, b) => (utf8ToByteString(a) < utf8ToByteString(b) ? -1 : 1)),
    );
    const fresh = workspaceAt(dir).repo.objects;
    for (let i = 1; i < states.length; i++) {
      const [base, next] = [states[i - 1], states[i]!];
      const claim = { ns: "main", base, ledger: next.ledger.oid, index: next.index!, policy: undefined };
      expect(checkAttestation(fresh, claim).ledger.seq).toBe(i);
      const reread = stateAt(fresh, next.ledger.oid, next.index);
      const changes = replayTransaction(fresh, base, reread, etagOf, { maxKeys: 1000, maxInline: 1000 });
      expect(changes).toHaveLength(next.ledger.keysSet + next.ledger.keysDel);
    }
    expect(complaints(dir)).toBe("");
  }, 30_000);

  test("a clone by git has everything", async () => {
    const dir = newRepository(format);
    const workspace = workspaceAt(dir);
    await commit(workspace, { create: { epoch: "e1" } }, () => {});
    await apply(
      workspace,
      Array.from({ length: 300 }, (_, i) => set(`k${i}`, `v${i}`)),
    );
    const clone = path.join(tempDir("clone"), "clone.git");
    git(dir, "clone", "-q", "--mirror", dir, clone);
    expect(complaints(clone)).toBe("");
    expect(value(workspaceAt(clone), "k17").toString()).toBe("v17");
  });
});

describe("refused whole", () => {
  test("a deletion of nothing, a large value beside it: no object, no commit", async () => {
    const dir = newRepository(TEST_FORMAT);
    const workspace = workspaceAt(dir);
    await commit(workspace, { create: { epoch: "e1" } }, () => {});
    const objects = (): string => git(dir, "count-objects", "-v");
    const before = objects();
    const large = set("c", fromSeed(3).bytes(1024 * 1024 + 1));
    for (const lines of [
      [set("a", "1"), del("b")],
      [large, del("b")],
    ])
      expect((await failureOf(apply(workspace, lines))).code).toBe("KEY_NOT_FOUND");
    expect([objects(), workspace.requireState().ledger.seq]).toEqual([before, 1]);
    expect(await apply(workspace, [set("b", Buffer.alloc(1024 * 1024))])).toMatchObject({ kind: "committed" });
    expect(fs.readdirSync(path.join(dir, "objects/pack")).filter((name) => name.startsWith("tmp"))).toEqual([]);
  });

  test("a repository damaged anywhere gives the right value or a typed error, never another value", async () => {
    const dir = newRepository(TEST_FORMAT);
    const workspace = workspaceAt(dir);
    await commit(workspace, { create: { epoch: "e1" } }, () => {});
    const text = "a value of some length, to be found again";
    await apply(workspace, [set("k", text)]);
    const folder = path.join(dir, "objects/pack");
    let errors = 0;
    for (const name of fs.readdirSync(folder).filter((each) => each.endsWith(".pack"))) {
      const file = path.join(folder, name);
      const good = fs.readFileSync(file);
      fs.chmodSync(file, 0o644);
      for (let at = 12; at < good.length - 20; at += 7) {
        const bad = Buffer.from(good);
        bad[at]! ^= 0x55;
        fs.writeFileSync(file, bad);
        try {
          expect(value(workspaceAt(dir), "k").toString()).toBe(text);
        } catch (error) {
          if (!(error instanceof KvError)) throw error;
          expect(["CORRUPT", "BAD_OBJECT", "BAD_PACK"]).toContain(error.code);
          errors++;
        }
      }
      fs.writeFileSync(file, good);
    }
    expect(errors).toBeGreaterThan(20);
    expect(value(workspaceAt(dir), "k").toString()).toBe(text);
  });
});
