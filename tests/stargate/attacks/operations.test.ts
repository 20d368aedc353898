/**
 * The codes of docs/stargate.md's table that have to do with size, damage and storage, through both doors; those of refs, content,
 * pieces and signatures are in the files beside this one.
 */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../../src/errors.ts";
import type { PackBuilder } from "../../../src/gitwire/pack/pack-builder.ts";
import { Arena, type Attempt } from "../../support/arena.ts";
import { contents, withLedger } from "../../support/forged.ts";
import { tryGitAsync } from "../../support/git-async.ts";
import { type Planned, policyPush, verdict } from "../../support/stargate.ts";

setDefaultTimeout(60_000);

let arena: Arena;
beforeAll(async () => {
  arena = await Arena.start();
});
afterAll(() => arena.stop({ isServing: false }));

/** The push with its pack changed on the way. */
function damaged(planned: Planned, damage: (pack: Buffer) => void): Attempt {
  const finish = (): ReturnType<PackBuilder["finish"]> => {
    const made = planned.pack.finish();
    const data = Buffer.concat([...made.chunks()]);
    damage(data);
    return { ...made, chunks: () => [data] };
  };
  return { ...planned, pack: { finish } as PackBuilder };
}

/** A pack that cannot be unpacked is said to be so in the words of git's report, the code first. */
async function notUnpacked(attempt: Attempt, said: RegExp): Promise<void> {
  const before = contents(arena.stargate.dir);
  for (const client of [arena.http, arena.ssh]) {
    const result = await client.push(attempt);
    expect([result.unpack, verdict(result)]).toEqual([expect.stringMatching(said), "unpacker error"]);
    expect(contents(arena.stargate.dir)).toBe(before);
  }
}

test("TXN_TOO_LARGE: more keys than the policy lets a transaction change, and a count that is a lie", async () => {
  const limited = arena.policy(", max_keys_per_txn: 2");
  const push = policyPush(arena.office, limited, undefined, (commit) => arena.admin.signCommit(commit));
  expect(verdict(await arena.office.push(push))).toBe("ok");
  const said = await arena.refused(arena.sign({ "cfg:1": "1", "cfg:2": "2", "cfg:3": "3" }), "TXN_TOO_LARGE");
  expect(said).toContain("changes 3 keys, at most 2 are allowed");
  expect(said).toContain("hint: split it into several transactions");
  const few = (text: string): string => text.replace("Keys-Set: 3", "Keys-Set: 2");
  const planned = arena.http.plan({ "cfg:1": "1", "cfg:2": "2", "cfg:3": "3" });
  await arena.refused(
    withLedger(arena.http, planned, (text) => arena.alice.signCommit(few(text))),
    "TXN_TOO_LARGE",
  );
});

test("BAD_PACK and LIMIT_EXCEEDED: a pack that is damaged, cut, or says that it is larger than packs may be", async () => {
  const planned = arena.sign({ "cfg:pack": "1" });
  const last = (pack: Buffer): void => void pack.writeUInt8(pack.at(-1)! ^ 1, pack.length - 1);
  await notUnpacked(damaged(planned, last), /^BAD_PACK: /);
  await notUnpacked(
    damaged(planned, (pack) => pack.fill("PICK", 0, 4)),
    /^BAD_PACK: this is not a pack/,
  );
  const counted = (count: number) => (pack: Buffer) => void pack.writeUInt32BE(count, 8);
  await notUnpacked(damaged(planned, counted(1)), /^BAD_PACK: /);
  await notUnpacked(damaged(planned, counted(0xffff_ffff)), /^LIMIT_EXCEEDED: .*4294967295 objects, the limit/);
});

test("BUSY: somebody else holds a ref for longer than a push waits", async () => {
  const [ours, other] = [arena.sign({ "cfg:busy": "1" }), arena.ssh.plan({ a: "1" }, "other")];
  const locks = ["main", "other"].map((ns) => path.join(arena.stargate.dir, "refs", "kv", `${ns}.lock`));
  fs.mkdirSync(path.dirname(locks[0]!), { recursive: true });
  for (const lock of locks) fs.writeFileSync(lock, "");
  const before = contents(arena.stargate.dir);
  // Two namespaces, so that neither waits for the other.
  const results = await Promise.all([arena.http.push(ours), arena.ssh.push(other)]);
  expect(results.map(verdict)).toEqual(["BUSY", "BUSY"]);
  expect([arena.http.said, arena.ssh.said]).toEqual(
    Array(2).fill(expect.stringContaining("hint: try again in a moment")),
  );
  expect(contents(arena.stargate.dir)).toBe(before);
  for (const lock of locks) fs.rmSync(lock);
  expect(verdict(await arena.ssh.push(ours))).toBe("ok");
});

test("STORAGE: the disk failed, and nothing is written until the Stargate starts anew", async () => {
  const served = arena.stargate.daemon.registry.byName("kv.git")!;
  served.gate.fail(new KvError("STORAGE", "EIO: i/o error, fsync"));
  const said = await arena.refused(arena.sign({ "cfg:storage": "1" }), "STORAGE");
  expect(said).toContain("the Stargate stopped writing: EIO");
  expect(said).toContain("hint: restart it once the disk is in order");
  // What was accepted is still to be read.
  for (const { address, env } of [arena.http, arena.ssh]) {
    const listed = await tryGitAsync(arena.stargate.dir, ["ls-remote", address, "refs/kv/main"], { env });
    expect([listed.stderr.toString(), listed.stdout.toString()]).toEqual(["", `${arena.tip}\trefs/kv/main\n`]);
  }
});
