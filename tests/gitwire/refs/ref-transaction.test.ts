/** Moving refs: conditions, conflicts, reflogs, and that git agrees with what is left. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import type { KvError } from "../../../src/errors.ts";
import { SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import type { RefChange } from "../../../src/gitwire/refs/ref-transaction.ts";
import type { ReflogPolicy } from "../../../src/gitwire/refs/reflog.ts";
import { git, tryGit } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { OTHER_FORMAT, TEST_FORMAT } from "../../support/test-format.ts";
import { complaints, gitValues, leftovers, makeFixture, newRepository, openRefs, values } from "./fixture.ts";

const fixture = makeFixture();
const [C0, C1, C2] = fixture.commits as [string, string, string];
const ZERO = TEST_FORMAT.zeroOid;

async function failure(promise: Promise<unknown>): Promise<KvError> {
  try {
    await promise;
  } catch (error) {
    return error as KvError;
  }
  throw new Error("it did not fail");
}

test("random transactions leave what git for-each-ref and a plain map say", async () => {
  const rng = random("ref-transaction");
  for (const format of [SHA1, SHA256]) {
    const objects = format === TEST_FORMAT ? fixture : makeFixture(format);
    const dir = newRepository(objects);
    const store = openRefs(dir, objects);
    const model: Record<string, string> = {};
    const names = [
      "refs/heads/main",
      "refs/heads/x/y",
      "refs/kv/main",
      "refs/kv-index/main",
      "refs/kv-policy",
      "refs/tags/t",
      "refs/z/é",
    ];
    for (let i = 0; i < 60; i++) {
      if (rng.int(6) === 0) git(dir, "pack-refs", "--all");
      const chosen = rng.shuffle(names).slice(0, 1 + rng.int(4));
      const changes: RefChange[] = chosen.map((name) => {
        const newOid =
          rng.int(4) === 0 ? format.zeroOid : name.startsWith("refs/tags") ? objects.tag : rng.pick(objects.commits);
        const actual = model[name] ?? format.zeroOid;
        return { name, newOid, oldOid: rng.pick([actual, undefined, rng.int(4) === 0 ? objects.commits[5] : actual]) };
      });
      const fits = changes.every(
        ({ name, oldOid }) => oldOid === undefined || oldOid === (model[name] ?? format.zeroOid),
      );
      if (fits) {
        await store.update(changes);
        for (const { name, newOid } of changes) {
          if (newOid === format.zeroOid) delete model[name];
          else model[name] = newOid;
        }
      } else expect((await failure(store.update(changes))).code).toBe("CAS_CONFLICT");
      expect(values(store)).toEqual(model);
      if (i % 4 === 0) expect(gitValues(dir)).toEqual(model);
      expect(leftovers(dir)).toEqual([]);
    }
    expect(complaints(dir)).toBe("");
    const peeled = git(dir, "show-ref", "--dereference").split("\n");
    if (model["refs/tags/t"] !== undefined) expect(peeled).toContain(`${objects.commits[0]} refs/tags/t^{}`);
    store.close();
  }
});

test("a condition that does not hold names the ref, what was expected and what is there; nothing moves", async () => {
  const dir = newRepository(fixture, { loose: { "refs/kv/a": C0 }, packed: { "refs/kv/b": C1 } });
  const store = openRefs(dir, fixture);
  const before = values(store);
  const move = (name: string, oldOid: string | undefined) =>
    failure(
      store.update([
        { name: "refs/kv/other", newOid: C0 },
        { name, oldOid, newOid: C2 },
      ]),
    );
  expect(await move("refs/kv/b", C0)).toMatchObject({
    code: "CAS_CONFLICT",
    data: { ref: "refs/kv/b", expected: C0, actual: C1 },
  });
  expect(await move("refs/kv/a", ZERO)).toMatchObject({ code: "CAS_CONFLICT", data: { expected: ZERO, actual: C0 } });
  const missing = await move("refs/kv/none", C0);
  expect(missing).toMatchObject({ code: "CAS_CONFLICT", data: { ref: "refs/kv/none", expected: C0, actual: ZERO } });
  expect(missing.message).toBe(`ref refs/kv/none is absent, expected at ${C0}`);
  expect(values(store)).toEqual(before);
  expect(leftovers(dir)).toEqual([]);
});

test("abort moves nothing and lets others in", async () => {
  const dir = newRepository(fixture, { loose: { "refs/kv/a": C0, "refs/kv/b": C0 } });
  const store = openRefs(dir, fixture, { lockWait: 0 });
  const first = await store.begin([
    { name: "refs/kv/a", newOid: C1 },
    { name: "refs/kv/b", newOid: C1 },
  ]);
  await first.prepare();
  expect(gitValues(dir)).toEqual({ "refs/kv/a": C0, "refs/kv/b": C0 });
  expect((await failure(store.update([{ name: "refs/kv/b", newOid: C2 }]))).code).toBe("LOCKED");
  expect(tryGit(dir, ["update-ref", "refs/kv/a", C2]).status).not.toBe(0);
  first.abort();
  expect(leftovers(dir)).toEqual([]);
  await store.update([{ name: "refs/kv/b", newOid: C2 }]);
  expect(gitValues(dir)).toEqual({ "refs/kv/a": C0, "refs/kv/b": C2 });
});

test("a lock of stock git is waited for, then told", async () => {
  const dir = newRepository(fixture, { loose: { "refs/kv/a": C0 } });
  const store = openRefs(dir, fixture, { lockWait: 400 });
  const lock = path.join(dir, "refs/kv/a.lock");
  fs.writeFileSync(lock, "");
  setTimeout(() => fs.rmSync(lock), 60);
  await store.update([{ name: "refs/kv/a", newOid: C1 }]);
  expect(store.resolve("refs/kv/a")).toBe(C1);
  fs.writeFileSync(path.join(dir, "packed-refs.lock"), "");
  const error = await failure(
    store.update([
      { name: "refs/kv/a", newOid: C2 },
      { name: "refs/kv/b", newOid: C2 },
    ]),
  );
  expect(error.code).toBe("LOCKED");
  expect(error.message).toContain("packed-refs.lock");
  expect(error.message).toContain("another git process");
  expect(leftovers(dir)).toEqual(["packed-refs.lock"]);
});

test.each([
  [{ loose: { "refs/x/a": C0 } }, ["refs/x/a/b"], "REF_INVALID"],
  [{ packed: { "refs/x/a": C0 } }, ["refs/x/a/b"], "REF_INVALID"],
  [{ loose: { "refs/x/a/b": C0 } }, ["refs/x/a"], "REF_INVALID"],
  [{ packed: { "refs/x/a/b": C0 } }, ["refs/x/a"], "REF_INVALID"],
  [{ packed: { "refs/x/a/b": C0 } }, ["refs/x/a", "refs/x/c"], "REF_INVALID"],
  [{}, ["refs/x/a", "refs/x/a/b"], "REF_INVALID"],
  [{}, ["refs/x/a/b/c", "refs/x/a", "refs/x/a-b"], "REF_INVALID"],
])("a name that is a folder elsewhere is refused: %j + %j", async (start, names, code) => {
  const dir = newRepository(fixture, start);
  const store = openRefs(dir, fixture);
  const before = values(store);
  const error = await failure(store.update(names.map((name) => ({ name, newOid: C1 }))));
  expect(error.code).toBe(code as "REF_INVALID");
  expect(values(store)).toEqual(before);
  expect(leftovers(dir)).toEqual([]);
  expect(
    tryGit(dir, ["update-ref", "--stdin"], { input: names.map((name) => `update ${name} ${C1}\n`).join("") }).status,
  ).not.toBe(0);
});

test("a ref takes the place of an empty folder, and a folder that of a deleted ref", async () => {
  const dir = newRepository(fixture);
  const store = openRefs(dir, fixture);
  fs.mkdirSync(path.join(dir, "refs/x/a/b/c"), { recursive: true });
  await store.update([{ name: "refs/x/a", newOid: C0 }]);
  await store.update([{ name: "refs/x/a", newOid: ZERO }]);
  await store.update([{ name: "refs/x/a/b", newOid: C1 }]);
  await store.update([{ name: "refs/x/a/b", newOid: ZERO }]);
  await store.update([
    { name: "refs/x/a", newOid: C2 },
    { name: "refs/x/b", newOid: C2 },
  ]);
  expect(gitValues(dir)).toEqual({ "refs/x/a": C2, "refs/x/b": C2 });
});

test("a value that is no object, or no commit for a branch, is refused as git refuses it", async () => {
  const dir = newRepository(fixture);
  const store = openRefs(dir, fixture);
  for (const [name, newOid] of [
    ["refs/kv/a", "1".repeat(TEST_FORMAT.hexSize)],
    ["refs/heads/a", fixture.blob],
    ["refs/heads/a", fixture.tag],
  ] as const) {
    expect((await failure(store.update([{ name, newOid }]))).code).toBe("REF_INVALID");
    expect(tryGit(dir, ["update-ref", name, newOid]).status).not.toBe(0);
  }
  await store.update([{ name: "refs/x/blob", newOid: fixture.blob }]);
  expect(gitValues(dir)).toEqual({ "refs/x/blob": fixture.blob });
});

test("bad requests are refused before anything is touched", async () => {
  const dir = newRepository(fixture);
  const store = openRefs(dir, fixture);
  const begin = async (...changes: RefChange[]) => (await failure(store.begin(changes))).message;
  expect(await begin({ name: "refs/../a", newOid: C0 })).toMatch(/not a valid ref name/);
  expect(await begin({ name: "refs/a/b", newOid: "xyz" })).toContain(`no ${TEST_FORMAT.name} object id`);
  expect(await begin({ name: "refs/a/b", newOid: C0, oldOid: OTHER_FORMAT.zeroOid })).toContain(
    `no ${TEST_FORMAT.name} object id`,
  );
  expect(await begin({ name: "refs/a/b", newOid: C0 }, { name: "refs/a/b", newOid: C1 })).toMatch(/twice/);
});

test("HEAD moves its branch; a detached HEAD moves itself", async () => {
  const dir = newRepository(fixture, { loose: { "refs/heads/main": C0 } });
  const store = openRefs(dir, fixture);
  await store.update([{ name: "HEAD", oldOid: C0, newOid: C1 }]);
  expect(gitValues(dir)).toEqual({ "refs/heads/main": C1 });
  expect(
    (
      await failure(
        store.update([
          { name: "HEAD", newOid: C2 },
          { name: "refs/heads/main", newOid: C0 },
        ]),
      )
    ).code,
  ).toBe("REF_INVALID");
  fs.writeFileSync(path.join(dir, "HEAD"), `${C0}\n`);
  await store.update([
    { name: "HEAD", oldOid: C0, newOid: C2 },
    { name: "refs/kv/a", newOid: C2 },
    { name: "refs/kv/b", newOid: C2 },
  ]);
  expect(git(dir, "rev-parse", "HEAD")).toBe(C2);
  expect(gitValues(dir)).toEqual({ "refs/heads/main": C1, "refs/kv/a": C2, "refs/kv/b": C2 });
  expect(leftovers(dir)).toEqual([]);
});

test("reflogs are git's: which refs have one, and what is in it", async () => {
  const identity = () => "N <n@example.com> 1700000000 +0100";
  const make = (mode: ReflogPolicy["mode"]) => {
    const dir = newRepository(fixture, { loose: { "refs/heads/main": C0 } });
    return { dir, store: openRefs(dir, fixture, { reflog: { mode, identity } }) };
  };
  const names = ["refs/heads/main", "refs/heads/x/new", "refs/kv/main", "refs/tags/t", "refs/remotes/o/m"];
  const logs = (dir: string) => names.filter((name) => fs.existsSync(path.join(dir, "logs", name)));
  const move = names.map((name) => ({ name, newOid: C1 }));
  const usual = make("usual");
  await usual.store.update(move, { message: "kv:\n two  lines" });
  expect(logs(usual.dir)).toEqual(["refs/heads/main", "refs/heads/x/new", "refs/remotes/o/m"]);
  expect(fs.readFileSync(path.join(usual.dir, "logs/HEAD"), "utf8")).toBe(`${C0} ${C1} ${identity()}\tkv: two lines\n`);
  expect(git(usual.dir, "reflog", "show", "--format=%gd %gs %H", "x/new")).toBe(`x/new@{0} kv: two lines ${C1}`);
  await usual.store.update([{ name: "refs/heads/x/new", newOid: ZERO }]);
  expect(fs.existsSync(path.join(usual.dir, "logs/refs/heads/x"))).toBe(false);
  const always = make("always");
  await always.store.update(move);
  expect(logs(always.dir)).toEqual(names.filter((name) => !name.startsWith("refs/kv")));
  const never = make("never");
  fs.mkdirSync(path.join(never.dir, "logs/refs/heads"), { recursive: true });
  fs.writeFileSync(path.join(never.dir, "logs/refs/heads/main"), "");
  await never.store.update(move);
  expect(logs(never.dir)).toEqual(["refs/heads/main"]);
});

test("a thousand refs in one transaction", async () => {
  const dir = newRepository(fixture);
  const store = openRefs(dir, fixture);
  const changes = Array.from({ length: 1000 }, (_, i) => ({
    name: `refs/kv-archive/ns@${i}`,
    oldOid: ZERO,
    newOid: C0,
  }));
  await store.update(changes);
  expect(store.list().length).toBe(1000);
  expect(git(dir, "for-each-ref", "--format=x").length).toBe(1999);
  expect(leftovers(dir)).toEqual([]);
});
