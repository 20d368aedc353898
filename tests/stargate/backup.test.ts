/** Backups: beside a daemon that writes, one on top of the other, to a folder and a bucket; and restores, which refuse what is damaged. */

import { afterEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { KvError } from "../../src/errors.ts";
import { type ObjectFormat, SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import { openRepository } from "../../src/gitwire/repo.ts";
import { audit } from "../../src/kv/audit.ts";
import { type BackupReport, makeBackup } from "../../src/stargate/backup/make-backup.ts";
import { openPlace, type Place } from "../../src/stargate/backup/place.ts";
import { type RestoreReport, restoreBackup } from "../../src/stargate/backup/restore-backup.ts";
import { Journal } from "../../src/stargate/journal.ts";
import { stargateDir } from "../../src/stargate/settings.ts";
import { fsck, git } from "../support/git.ts";
import { fromSeed, random } from "../support/random.ts";
import { S3Server } from "../support/s3-server.ts";
import { large, STARGATE_PROGRAM, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { workspaceAt } from "../support/workspace.ts";

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function scene(format: ObjectFormat = SHA1) {
  const stargate = await TestStargate.start({ format });
  ends.push(() => stargate.stop());
  const token = stargate.token();
  const client = new TestClient(stargate.dir, stargate.loginUrl(token));
  return { stargate, client, token };
}

const folder = (): Place => openPlace(tempDir("backup"), "/", {});

async function backUp(
  dir: string,
  place: Place,
  full = false,
  clock = systemClock,
  signal = new AbortController().signal,
): Promise<BackupReport> {
  const repo = openRepository(dir);
  try {
    return await makeBackup({ repo, place, full, clock, signal });
  } finally {
    repo.close();
  }
}

function restore(place: Place, dir: string, at?: string, check = false): Promise<RestoreReport> {
  const signal = new AbortController().signal;
  const around = { program: STARGATE_PROGRAM, env: process.env, clock: systemClock, signal, progress: () => {} };
  return restoreBackup({ place, dir, at, check, ...around });
}

const refsOf = (dir: string): string => git(dir, "for-each-ref", "--format=%(refname) %(objectname)");

const rowsOf = (dir: string) => {
  const journal = new Journal(stargateDir(dir));
  const rows = journal.newest(100_000).map(({ ns, seq, txn, oid, who }) => ({ ns, seq, txn, oid, who }));
  journal.close();
  return rows;
};

async function codeOf(run: Promise<unknown>): Promise<string> {
  try {
    await run;
    return "ok";
  } catch (error) {
    expect(error).toBeInstanceOf(KvError);
    return (error as KvError).code;
  }
}

describe.each([SHA1, SHA256])("$name", (format) => {
  test("one on top of the other; each restores what was there then, and serves", async () => {
    const { stargate, client, token } = await scene(format);
    const place = folder();
    await client.set({ "cfg:a": "1", big: "x".repeat(200_000) });
    const first = await backUp(stargate.dir, place);
    const then = refsOf(stargate.dir);
    expect(first).toMatchObject({ base: null, refs: then.split("\n").length });
    for (let i = 0; i < 20; i++) await client.set({ [`k:${i}`]: String(i) });
    await client.set({ n: "1" }, "staging");
    const second = await backUp(stargate.dir, place);
    expect(second.base).toBe(first.id);
    expect(second.objects).toBeGreaterThan(20);
    const third = await backUp(stargate.dir, place);
    expect(third.objects).toBe(0);
    const whole = await backUp(stargate.dir, place, true);
    expect(whole.base).toBeNull();
    const ids = [first, second, third, whole].map(({ id }) => id);
    expect(ids.toSorted()).toEqual(ids);
    // A clock that was set back makes no older backup.
    const back = await backUp(stargate.dir, place, false, { ...systemClock, now: () => 0 });
    expect(back.id > whole.id).toBe(true);

    const old = path.join(tempDir("restored"), "kv.git");
    expect(await restore(place, old, first.id)).toMatchObject({ id: first.id, transactions: 1 });
    expect(refsOf(old)).toBe(then);
    const dir = path.join(tempDir("restored"), "kv.git");
    const report = await restore(place, dir);
    expect(report).toMatchObject({ transactions: 22, dir });
    expect(refsOf(dir)).toBe(refsOf(stargate.dir));
    const [restored, ...rows] = rowsOf(dir);
    expect(restored).toMatchObject({ ns: "", seq: 0, txn: report.id });
    expect(rows).toEqual(rowsOf(stargate.dir));
    for (const each of [old, dir]) expect(fsck(each)).toBe("");

    // It goes on: with the same tokens, and the next transaction.
    const again = await TestStargate.start({ dir });
    ends.push(() => again.stop());
    const writer = new TestClient(dir, again.loginUrl(token));
    await writer.set({ "after:it": "1" });
    expect(rowsOf(dir)[0]).toMatchObject({ ns: "main", seq: 22 });
  });
});

test("a store with epochs, archives and pieces: restored it verifies to its first transaction, and goes on", async () => {
  const { stargate, client, token } = await scene(TEST_FORMAT);
  const admin = new TestClient(stargate.dir, stargate.loginUrl(stargate.token("admin")));
  const roll = async (label: string): Promise<void> => {
    const seconds = Math.floor(Date.now() / 1000);
    expect(verdict(await admin.push(await admin.planEpoch(label, { seconds })))).toBe("ok");
  };
  const place = folder();
  await client.set({ "cfg:a": "1", gone: "x", big: large(Buffer.from(fromSeed(3).bytes(1_200_000))) });
  await client.set({ gone: undefined });
  await roll("e2");
  await client.set({ "cfg:a": "2" });
  const between = await backUp(stargate.dir, place);
  await roll("e3");
  await client.set({ "cfg:a": "3", gone: "again" });
  expect((await backUp(stargate.dir, place)).base).toBe(between.id);
  for (const [id, transactions] of [
    [between.id, 4],
    [undefined, 6],
  ] as const) {
    const dir = path.join(tempDir("restored"), "kv.git");
    expect(await restore(place, dir, id)).toMatchObject({ transactions });
    expect(fsck(dir)).toBe("");
    const findings: unknown[] = [];
    const options = { all: true, found: (finding: unknown) => findings.push(finding), progress: () => {} };
    const { namespaces } = await audit(workspaceAt(dir), options);
    expect([findings, namespaces]).toEqual([[], [expect.objectContaining({ ns: "main", firstSeq: 1, transactions })]]);
    if (id !== undefined) continue;
    expect(refsOf(dir)).toBe(refsOf(stargate.dir));
    const again = await TestStargate.start({ dir });
    ends.push(() => again.stop());
    await new TestClient(dir, again.loginUrl(token)).set({ "after:it": "1" });
    expect(rowsOf(dir)[0]).toMatchObject({ ns: "main", seq: transactions + 1 });
  }
});

test("one that is interrupted is none, and the next one makes use of what is there", async () => {
  const { stargate, client } = await scene(TEST_FORMAT);
  await client.set({ big: "x".repeat(200_000) });
  const place = folder();
  const controller = new AbortController();
  // In the middle: the objects are there, the rest is not.
  const breaking: Place = Object.create(place, {
    write: {
      value: async (name: string, from: string) => {
        await place.write(name, from);
        controller.abort(new KvError("INTERRUPTED", "interrupted"));
      },
    },
  });
  expect(await codeOf(backUp(stargate.dir, breaking, false, systemClock, controller.signal))).toBe("INTERRUPTED");
  const dir = path.join(tempDir("restored"), "kv.git");
  expect(await codeOf(restore(place, dir))).not.toBe("ok");
  const { bytes } = await backUp(stargate.dir, place);
  expect(await restore(place, dir)).toMatchObject({ transactions: 1 });
  // All of it was written once.
  expect((await backUp(stargate.dir, folder(), true)).bytes).toBeGreaterThan(bytes);
});

test("what backups that were killed left at their place goes when nobody has written to it for a day", async () => {
  const { stargate, client } = await scene();
  await client.set({ a: "1" });
  const place = folder();
  await backUp(stargate.dir, place);
  const left = (name: string): string => path.join(place.name, "files", name);
  for (const name of [".tmp-oldoldol", ".tmp-newnewne"]) fs.writeFileSync(left(name), "half");
  const long = new Date(Date.now() - 25 * 60 * 60_000);
  const before = await place.list("files");
  for (const name of [".tmp-oldoldol", ...before.map((file) => path.basename(file))])
    fs.utimesSync(left(name), long, long);
  await client.set({ a: "2" });
  await backUp(stargate.dir, openPlace(place.name, "/", {}));
  expect([fs.existsSync(left(".tmp-oldoldol")), fs.existsSync(left(".tmp-newnewne"))]).toEqual([false, true]);
  expect(await place.list("files")).toEqual(expect.arrayContaining(before));
});

test("while transactions come from several writers, refs and journal are of one instant", async () => {
  const { stargate, client } = await scene();
  const place = folder();
  let isOver = false;
  const write = async (ns: string): Promise<void> => {
    for (let i = 0; !isOver; i++) await client.set({ [`k:${i % 50}`]: String(i) }, ns);
  };
  const writers = ["a", "b", "c"].map(write);
  const ids: string[] = [];
  for (let i = 0; i < 2; i++) ids.push((await backUp(stargate.dir, place)).id);
  isOver = true;
  await Promise.all(writers);
  for (const id of ids) {
    const dir = path.join(tempDir("restored"), "kv.git");
    // The check of the whole holds the journal against the refs.
    const { transactions } = await restore(place, dir, id);
    expect(rowsOf(dir).filter(({ ns }) => ns !== "").length).toBe(transactions);
  }
});

describe("a damaged backup is refused, and nothing stays", () => {
  test("any byte of any file, a file that is gone, a manifest that is another's", async () => {
    const { stargate, client } = await scene();
    await client.set({ "cfg:a": "1" });
    const dir = tempDir("backup");
    const place = openPlace(dir, "/", {});
    await backUp(stargate.dir, place);
    await client.set({ "cfg:b": "2" });
    const { id } = await backUp(stargate.dir, place);
    const { int } = random("damaged backups");
    const manifest = JSON.parse(fs.readFileSync(path.join(dir, "backups", `${id}.json`), "utf8")) as {
      packs: { sha256: string }[];
      journal: { sha256: string };
      files: Record<string, { sha256: string }>;
    };
    const names = [...manifest.packs, manifest.journal, ...Object.values(manifest.files)].map(({ sha256 }) => sha256);
    expect(names.length).toBeGreaterThanOrEqual(6);
    const to = path.join(tempDir("restored"), "kv.git");
    for (const name of names) {
      const file = path.join(dir, "files", name);
      const whole = fs.readFileSync(file);
      const flipped = Buffer.from(whole);
      flipped[int(whole.length)]! ^= 1 << int(8);
      for (const bytes of [flipped, whole.subarray(0, whole.length - 1), Buffer.concat([whole, whole]), undefined]) {
        if (bytes === undefined) fs.rmSync(file);
        else fs.writeFileSync(file, bytes);
        expect([name, await codeOf(restore(place, to))]).toEqual([name, "CORRUPT"]);
        expect(fs.readdirSync(path.dirname(to))).toEqual([]);
      }
      fs.writeFileSync(file, whole);
    }
    const file = path.join(dir, "backups", `${id}.json`);
    const text = fs.readFileSync(file, "utf8");
    for (const bad of ["", "{}", text.slice(0, 100), text.replace(id, "other"), text.replace("refs/kv/main", "../x")]) {
      fs.writeFileSync(file, bad);
      expect(await codeOf(restore(place, to))).toBe("CORRUPT");
    }
    // A ref that leads elsewhere is found by the check of the whole.
    const moved = JSON.parse(text) as { refs: [string, string][] };
    const [first, second] = moved.refs.filter(([ref]) => ref === "refs/kv/main" || ref === "refs/kv-index/main") as [
      [string, string],
      [string, string],
    ];
    [first[1], second[1]] = [second[1], first[1]];
    fs.writeFileSync(file, JSON.stringify(moved));
    expect(await codeOf(restore(place, to))).toBe("CORRUPT");
    fs.writeFileSync(file, text);
    expect(fs.readdirSync(path.dirname(to))).toEqual([]);
    expect(await restore(place, to, undefined, true)).toMatchObject({ id, dir: null });
    expect(fs.readdirSync(path.dirname(to))).toEqual([]);
    await restore(place, to);
  });

  test("what is not asked rightly", async () => {
    const { stargate, client } = await scene();
    await client.set({ a: "1" });
    const place = folder();
    expect(await codeOf(restore(place, path.join(tempDir("restored"), "x")))).toBe("INPUT_INVALID");
    await backUp(stargate.dir, place);
    expect(await codeOf(restore(place, path.join(tempDir("restored"), "x"), "20200101T000000000Z-00000000"))).toBe(
      "INPUT_INVALID",
    );
    expect(await codeOf(restore(place, stargate.dir))).toBe("INPUT_INVALID");
    const other = await scene(SHA256);
    await other.client.set({ a: "1" });
    expect(await codeOf(backUp(other.stargate.dir, place))).toBe("UNSUPPORTED");
    // Of the same format too: the newest at a place is what a restore takes. One that was restored to an older state is the same.
    const alike = await scene();
    await alike.client.set({ a: "1" });
    expect(await codeOf(backUp(alike.stargate.dir, place))).toBe("INPUT_INVALID");
    const old = path.join(tempDir("restored"), "kv.git");
    await restore(place, old);
    await client.set({ a: "2" });
    await backUp(stargate.dir, place);
    expect(await codeOf(backUp(old, place))).toBe("ok");
    expect(() => openPlace("ftp://x/y", "/", {})).toThrow("no place for backups");
    expect(() => openPlace("s3://bucket/x", "/", {})).toThrow("credentials");
  });

  test("a pack that was damaged since: what builds on it is refused where it can be seen, and a whole one mends it", async () => {
    const { stargate, client } = await scene();
    await client.set({ a: "1", b: "x".repeat(2_000) });
    const place = folder();
    const { id } = await backUp(stargate.dir, place);
    const isPack = (name: string): boolean =>
      fs.readFileSync(path.join(place.name, name)).toString("latin1", 0, 4) === "PACK";
    const file = path.join(place.name, (await place.list("files")).find(isPack)!);
    const good = fs.readFileSync(file);
    const flipped = Buffer.from(good);
    flipped[100]! ^= 1;
    for (const damage of [good.subarray(0, -1), Buffer.alloc(0), flipped]) {
      fs.writeFileSync(file, damage);
      if (damage.length !== good.length) {
        expect(await codeOf(backUp(stargate.dir, place))).toBe("CORRUPT");
        expect((await place.list("backups")).at(-1)).toContain(id);
      }
      expect(await codeOf(restore(place, "", undefined, true))).toBe("CORRUPT");
    }
    // The same objects make the same pack, whose name is taken.
    await backUp(stargate.dir, place, true);
    expect(fs.readFileSync(file).equals(good)).toBe(true);
    for (const each of await place.list("backups")) {
      expect((await restore(place, "", path.basename(each, ".json"), true)).transactions).toBe(1);
    }
  });

  test("packs of earlier backups are read back once a week, those that were not for the longest time first", async () => {
    const { stargate, client } = await scene();
    const place = folder();
    let [now, keys] = [Date.UTC(2027, 0, 1), 0];
    const clock = { ...systemClock, now: () => now };
    const day = 24 * 60 * 60_000;
    const next = async (days: number, full = false): Promise<BackupReport> => {
      now += days * day;
      await client.set({ [`key-${keys++}`]: "x".repeat(2_000) });
      return backUp(stargate.dir, place, full, clock);
    };
    const date = (days: number): string => new Date(Date.UTC(2027, 0, 1 + days)).toISOString();
    expect(await next(0)).toMatchObject({ checked: 0, checkedSince: date(0) });
    expect(await next(1)).toMatchObject({ checked: 0, checkedSince: date(0) });
    expect(await next(6)).toMatchObject({ checked: 1, checkedSince: date(1) });
    expect(await next(1)).toMatchObject({ checked: 1, checkedSince: date(7) });
    const { id } = await next(6);
    const manifest = JSON.parse(fs.readFileSync(path.join(place.name, `backups/${id}.json`), "utf8"));
    const times = manifest.packs.map((pack: { checked: string }) => pack.checked);
    expect(times).toEqual([date(14), date(8), date(14), date(8), date(14)]);
    // A clock that is set back says nothing of the days it showed.
    expect(await next(-13)).toMatchObject({ checked: 5, checkedSince: date(1) });
    now = Date.UTC(2027, 0, 15);
    // One that is another at the same length is found, within a week.
    const file = path.join(place.name, `files/${manifest.packs[0].sha256}`);
    const good = fs.readFileSync(file);
    fs.writeFileSync(file, Buffer.from(good).fill(7, 100, 101));
    const { status } = await next(1).then(
      () => ({ status: "ok" }),
      ({ code, message, hint }: KvError) => ({ status: `${code}: ${message}; ${hint}` }),
    );
    expect(status).toMatch(/^CORRUPT: .* is not what was written there; make a whole one with --full$/);
    expect(await next(0, true)).toMatchObject({ base: null, checked: 0, checkedSince: date(15) });
    // Backups of a version that did not note it are read back, too.
    const last = path.join(place.name, (await place.list("backups")).at(-1)!);
    const { packs, ...rest } = JSON.parse(fs.readFileSync(last, "utf8"));
    const old = packs.map(({ sha256, size }: { sha256: string; size: number }) => ({ sha256, size }));
    fs.writeFileSync(last, `${JSON.stringify({ ...rest, packs: old })}\n`);
    expect((await restore(place, "", undefined, true)).transactions).toBeGreaterThan(5);
    expect(await next(0)).toMatchObject({ checked: 1, checkedSince: date(15) });
    expect((await restore(place, "", undefined, true)).transactions).toBeGreaterThan(5);
  });

  test("a place that does not keep what is written to it", async () => {
    const { stargate, client } = await scene();
    await client.set({ a: "1" });
    const place = folder();
    const lossy: Place = {
      name: "lossy",
      list: (name) => place.list(name),
      size: (name) => place.size(name),
      write: (name, from) => place.write(name, from),
      async *read(name) {
        for await (const chunk of place.read(name)) yield chunk.subarray(1);
      },
    };
    expect(await codeOf(backUp(stargate.dir, lossy))).toBe("CORRUPT");
    expect(await place.list("backups")).toEqual([]);
  });
});

test("a bucket: several backups, read back in pages, restored", async () => {
  const server = new S3Server({ accessKeyId: "me", secret: "geheim", region: "eu-1" });
  ends.push(() => server.stop());
  const { stargate, client } = await scene();
  const env = { S3_ACCESS_KEY_ID: "me", S3_SECRET_ACCESS_KEY: "geheim", S3_ENDPOINT: server.url, S3_REGION: "eu-1" };
  const place = openPlace("s3://bucket/backups/kv/", "/", env);
  const ids: string[] = [];
  for (let i = 0; i < 5; i++) {
    await client.set({ [`k:${i}`]: String(i) });
    ids.push((await backUp(stargate.dir, place)).id);
  }
  expect([...server.objects.keys()].every((key) => key.startsWith("backups/kv/"))).toBe(true);
  expect(server.logins.every((login) => login.startsWith("AWS4-HMAC-SHA256 Credential=me/"))).toBe(true);
  expect(server.logins.join()).not.toContain("geheim");
  for (const other of [{ S3_SECRET_ACCESS_KEY: "other" }, { S3_ACCESS_KEY_ID: "you" }, { S3_REGION: "us-1" }]) {
    const held = server.objects.size;
    const stranger = openPlace("s3://bucket/backups/kv/", "/", { ...env, ...other });
    expect(await codeOf(backUp(stargate.dir, stranger))).toBe("NETWORK");
    expect(server.objects.size).toBe(held);
  }
  const dir = path.join(tempDir("restored"), "kv.git");
  expect(await restore(place, dir)).toMatchObject({ id: ids.at(-1), transactions: 5 });
  expect(refsOf(dir)).toBe(refsOf(stargate.dir));
  const [pack] = [...server.objects].filter(([, bytes]) => bytes.subarray(0, 4).toString() === "PACK");
  server.objects.delete(pack![0]);
  expect(await codeOf(restore(place, path.join(tempDir("restored"), "x")))).toBe("CORRUPT");
  expect(await codeOf(backUp(stargate.dir, place))).toBe("CORRUPT");
  await server.stop();
  expect(await codeOf(backUp(stargate.dir, place))).toBe("NETWORK");
});
