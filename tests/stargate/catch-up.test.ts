/** After a restore: what the mirror has beyond the backup is taken over, verified, and nothing else of it. */

import { afterEach, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { KvError } from "../../src/errors.ts";
import { openRepository } from "../../src/gitwire/repo.ts";
import { newUlid } from "../../src/kv/ulid.ts";
import { makeBackup } from "../../src/stargate/backup/make-backup.ts";
import { openPlace } from "../../src/stargate/backup/place.ts";
import { restoreBackup } from "../../src/stargate/backup/restore-backup.ts";
import { fsck as checkStargate } from "../../src/stargate/fsck/fsck.ts";
import { type InitOptions, type InitReport, initialize } from "../../src/stargate/initialize.ts";
import { fsck, git } from "../support/git.ts";
import { fromSeed } from "../support/random.ts";
import { large, policyPush, STARGATE_PROGRAM, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const around = { env: process.env, clock: systemClock, signal: new AbortController().signal, progress: () => {} };

/** A Stargate with a mirror and a backup from before `later` was done. */
async function scene(later: (clients: { client: TestClient; admin: TestClient }) => Promise<void>) {
  const mirror = tempDir("mirror");
  git(mirror, "init", "-q", "--bare", `--object-format=${TEST_FORMAT.name}`);
  const stargate = await TestStargate.start({ mirror });
  const token = stargate.token();
  const client = new TestClient(stargate.dir, stargate.loginUrl(token));
  const admin = new TestClient(stargate.dir, stargate.loginUrl(stargate.token("admin")));
  await client.set({ "cfg:a": "1", gone: "x" });
  await client.set({ b: "1" }, "staging");
  const place = openPlace(tempDir("backup"), "/", {});
  const repo = openRepository(stargate.dir);
  await makeBackup({ repo, place, full: false, ...around });
  repo.close();
  await later({ client, admin });
  const refs = kvRefs(stargate.dir);
  for (const end = Date.now() + 20_000; kvRefs(mirror) !== refs; await Bun.sleep(20))
    if (Date.now() > end) throw new Error(`the mirror has ${kvRefs(mirror)}`);
  await stargate.stop();
  const dir = path.join(tempDir("restored"), "kv.git");
  await restoreBackup({ place, dir, at: undefined, check: false, program: STARGATE_PROGRAM, ...around });
  return { mirror, dir, token, refs };
}

/** The kv refs but the watermarks, which only the mirror has. */
function kvRefs(dir: string): string {
  const lines = git(dir, "for-each-ref", "--format=%(refname) %(objectname)").split("\n");
  return lines.filter((line) => line.startsWith("refs/kv") && !line.startsWith("refs/kv-mirror/")).join("\n");
}

function init(dir: string, catchUp: boolean, more: Pick<InitOptions, "signal" | "progress"> = {}): Promise<InitReport> {
  const options = { mirrorUrl: undefined, pushUrl: undefined, adminKey: undefined, ns: "main", format: undefined };
  const { env } = process;
  return initialize({ ...options, dir, catchUp, program: STARGATE_PROGRAM, env, clock: systemClock, ...more });
}

async function faults(dir: string): Promise<string[]> {
  const repo = openRepository(dir);
  const found: string[] = [];
  await checkStargate(repo, { ...around, report: ({ code, message }) => void found.push(`${code} ${message}`) });
  repo.close();
  return found;
}

test("transactions, pieces, a policy and an epoch since the backup are back, and the Stargate goes on from there", async () => {
  let last = "";
  const { mirror, dir, token, refs } = await scene(async ({ client, admin }) => {
    await client.set({ "cfg:a": "2", big: large(Buffer.from(fromSeed(5).bytes(1_200_000))) });
    await client.set({ gone: undefined });
    const policy = "version: 1\nnamespaces: { main: { max_keys_per_txn: 10 } }\n";
    expect(verdict(await admin.push(policyPush(admin, policy)))).toBe("ok");
    const epoch = await admin.planEpoch("e2", { seconds: Math.floor(Date.now() / 1000) });
    expect(verdict(await admin.push(epoch))).toBe("ok");
    last = newUlid(systemClock);
    const planned = client.plan({ "cfg:a": "3" }, "main", last);
    expect(verdict(await client.push(planned))).toBe("ok");
  });
  const before = kvRefs(dir);
  // A mirror that was copied from another one has no watermark.
  git(mirror, "update-ref", "-d", "refs/kv-mirror/main");
  expect(await init(dir, false)).toMatchObject({ caughtUp: [], mirrorHasMore: true });
  expect(kvRefs(dir)).toBe(before);
  expect(await init(dir, true)).toMatchObject({ caughtUp: [{ ns: "main", from: 2, to: 5 }], mirrorHasMore: false });
  expect(kvRefs(dir)).toBe(refs);
  expect(await init(dir, true)).toMatchObject({ caughtUp: [], mirrorHasMore: false });
  expect([fsck(dir), await faults(dir)]).toEqual(["", []]);

  const again = await TestStargate.start({ dir });
  ends.push(() => again.stop());
  const writer = new TestClient(dir, again.loginUrl(token));
  // Who did not hear the answer asks again, whatever was restored meanwhile.
  expect(verdict(await writer.push(writer.plan({ other: "1" }, "main", last)))).toContain("ATTESTATION_MISMATCH");
  const oid = await writer.set({ after: "1" });
  for (const end = Date.now() + 20_000; git(mirror, "rev-parse", "refs/kv-mirror/main") !== oid; await Bun.sleep(20))
    if (Date.now() > end) throw new Error("the mirror does not follow");
  expect(await faults(dir)).toEqual([]);
});

test("what does not verify is refused whole, and what has diverged is left alone", async () => {
  const { mirror, dir, token } = await scene(async ({ client }) => {
    await client.set({ "cfg:a": "2" });
    await client.set({ "cfg:a": "3" });
    await client.set({ b: "2" }, "staging");
  });
  const before = kvRefs(dir);
  // A commit that is no transaction, on top of what the Stargate has pushed.
  const [tip, tree] = git(mirror, "rev-parse", "refs/kv/main", "refs/kv/main^{tree}").split("\n");
  const who = ["-c", "user.name=x", "-c", "user.email=x@x"];
  const forged = git(mirror, ...who, "commit-tree", tree!, "-p", tip!, "-m", "set cfg:a");
  git(mirror, "update-ref", "refs/kv/main", forged);
  const error = await init(dir, true).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(KvError);
  expect((error as KvError).code).toBe("CORRUPT");
  expect(kvRefs(dir)).toBe(before);

  git(mirror, "update-ref", "refs/kv/main", tip!);
  const again = await TestStargate.start({ dir });
  const fork = await again.daemon.registry
    .all()[0]!
    .mirror!.sync({ mode: "fork", ns: "main" }, { name: "ops", scope: "admin", door: "stdio" });
  expect(fork.refs.find(({ ref }) => ref === "refs/kv/main")).toMatchObject({ standing: "ahead", action: "forked" });
  await new TestClient(dir, again.loginUrl(token)).set({ fork: "1" });
  await again.stop();
  const main = (refs: string): string[] => refs.split("\n").filter((line) => line.includes("/main"));
  const forked = main(kvRefs(dir));
  expect(await init(dir, true)).toMatchObject({ caughtUp: [{ ns: "staging", from: 2, to: 2 }], mirrorHasMore: true });
  expect(main(kvRefs(dir))).toEqual(forked);
  expect(await faults(dir)).toEqual([]);
});

/** What a catch-up that was broken off leaves behind in the folders it works in. */
function leftovers(dir: string): string[] {
  const names = [...fs.readdirSync(path.join(dir, "stargate")), ...fs.readdirSync(path.join(dir, "objects"))];
  return names.filter((name) => name.startsWith("look-") || name.startsWith(".tmp-kv-incoming-"));
}

test("interrupted it says so, has taken all or nothing, and is done by the next", async () => {
  const { dir, refs } = await scene(async ({ client }) => {
    await client.set({ "cfg:a": "2", big: large(Buffer.from(fromSeed(6).bytes(1_200_000))) });
    for (let i = 0; i < 40; i++) await client.set({ [`k${i}`]: "1" });
  });
  const before = kvRefs(dir);
  // At once, in the audit, and with the last line, which is told when all is taken over.
  for (const at of [undefined, "verifying main", ""]) {
    const copy = copyOf(dir);
    const stop = new AbortController();
    const reason = new KvError("INTERRUPTED", "interrupted");
    let isVerified = false;
    const progress = (text: string): void => {
      isVerified ||= text.startsWith("verifying");
      // A line that is taken away before that is the one of the fetch.
      if (at !== undefined && isVerified && (at === "" ? text === "" : text.startsWith(at))) stop.abort(reason);
    };
    if (at === undefined) stop.abort(reason);
    await expect(init(copy, true, { signal: stop.signal, progress })).rejects.toBe(reason);
    expect([at, kvRefs(copy)]).toEqual([at, at === "" ? refs : before]);
    expect(leftovers(copy)).toEqual([]);
    await init(copy, true);
    expect([kvRefs(copy), await faults(copy)]).toEqual([refs, []]);
  }
}, 60_000);

function copyOf(dir: string): string {
  const copy = path.join(tempDir("copy"), "kv.git");
  fs.cpSync(dir, copy, { recursive: true });
  return copy;
}
