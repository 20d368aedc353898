/**
 * A stock `git receive-pack` behind a real sshd and git-shell, on a Stargate's repository: the hooks let in what the Stargate lets
 * in, refuse what it refuses, with its codes, and the journal knows of everything; with a daemon and without one.
 */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { installHooks } from "../../src/stargate/hooks.ts";
import { initialize } from "../../src/stargate/initialize.ts";
import { Journal } from "../../src/stargate/journal.ts";
import { stargateDir } from "../../src/stargate/settings.ts";
import { executable } from "../support/executable.ts";
import { contents, withLedger } from "../support/forged.ts";
import { fsck, git } from "../support/git.ts";
import { gitAsync, tryGitAsync } from "../support/git-async.ts";
import { noise } from "../support/noise.ts";
import { type Sshd, startSshd } from "../support/sshd.ts";
import { large, type Planned, policyPush, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { TestKey } from "../support/test-key.ts";

setDefaultTimeout(60_000);

/** The compiled program: a push runs it three times. */
const PROGRAM = [executable("git-kv-stargate")];

const admin = new TestKey("admin");
let sshd: Sshd;
/** An ssh that logs nobody in, and runs git-shell as sshd would: a login takes a second and more. */
let quick: string;

beforeAll(async () => {
  sshd = await startSshd({ forcedCommand: 'exec git-shell -c "$SSH_ORIGINAL_COMMAND"' });
  quick = path.join(tempDir("ssh"), "ssh");
  fs.writeFileSync(quick, '#!/bin/sh\nfor last; do :; done\nexec git-shell -c "$last"\n', { mode: 0o755 });
});
afterAll(() => sshd.stop());

const clientOf = (dir: string, command = quick): TestClient =>
  new TestClient(dir, `ssh://${sshd.user}@127.0.0.1:${sshd.port}${dir}`, { GIT_SSH_COMMAND: command });

/** What is there once git has gone: it answers first and clears up its quarantine then. */
async function settled(dir: string): Promise<string> {
  for (const end = Date.now() + 10_000; Date.now() < end; await Bun.sleep(5)) {
    const now = contents(dir);
    if (!now.includes("\ntmp_objdir")) return now;
  }
  return contents(dir);
}

describe.each(["with a daemon", "without a daemon"])("a stock receive-pack %s", (how) => {
  let stargate: TestStargate;
  let dir: string;
  let client: TestClient;

  beforeAll(async () => {
    stargate = await TestStargate.start({ upkeep: false });
    ({ dir } = stargate);
    const office = new TestClient(dir, stargate.loginUrl(stargate.token("admin")));
    const policy = `version: 1\nstargate: { admins: ["${admin.line}"] }\nnamespaces: { main: {} }\n`;
    const inForce = policyPush(office, policy, undefined, (commit) => admin.signCommit(commit));
    expect(verdict(await office.push(inForce))).toBe("ok");
    installHooks(dir, PROGRAM);
    if (how === "without a daemon") await stargate.stop();
    client = clientOf(dir);
  });
  afterAll(async () => {
    if (how === "with a daemon") await stargate.stop();
    expect(fsck(dir)).toBe("");
  });

  async function refused(planned: Pick<Planned, "commands"> & Partial<Planned>, code: string, options: string[] = []) {
    const before = await settled(dir);
    expect(verdict(await client.push(planned, options))).toBe("pre-receive hook declined");
    expect(client.said).toContain(`\n${code}: `);
    expect(await settled(dir)).toBe(before);
  }

  test("a transaction is let in, moved in one step and in the journal", async () => {
    const first = await clientOf(dir, sshd.command).set({ a: "1" });
    const second = await client.set({ a: "2", b: "3" });
    expect(git(dir, "rev-parse", "refs/kv/main", "refs/kv/main^")).toBe(`${second}\n${first}`);
    expect(git(dir, "rev-list", "--count", "refs/kv-index/main")).toBe("2");
    if (how === "without a daemon") {
      const journal = new Journal(stargateDir(dir));
      expect(journal.newest(2).map(({ oid, done }) => [oid, done])).toEqual([
        [second, true],
        [first, true],
      ]);
      journal.close();
    } else {
      expect(stargate.log.some((line) => line.component === "push" && line.oid === second)).toBe(true);
      // The same daemon goes on from there for everybody else.
      const other = new TestClient(dir, stargate.loginUrl(stargate.token()));
      await other.set({ c: "over http" });
    }
  });

  test("a large value moves its three refs in one step, and pieces that lie are refused", async () => {
    const planned = client.plan({ huge: large(noise("stock", 1_500_000)) });
    expect(verdict(await client.push(planned))).toBe("ok");
    const refs = ["refs/kv/main", "refs/kv-index/main", "refs/kv-chunks/main@e1"];
    expect(git(dir, "rev-parse", ...refs).split("\n")).toEqual(planned.commands.map(({ newOid }) => newOid));
    expect(client.said).not.toContain("without the Stargate's consent");
    expect(verdict(await client.push(planned))).toBe("ok");
    const lie = client.plan({ huge: (sink, key) => ({ ...large(noise("lie", 1_500_000))(sink, key), pieces: [] }) });
    await refused(lie, "CHUNK_MISMATCH");
    const strange = client.plan({ huge: large(noise("other", 1_500_000)) });
    await refused({ ...strange, commands: strange.commands.slice(0, 2) }, "ATTESTATION_MISMATCH");
  });

  test("the same transaction again is ok, another one with its KV-Txn is not", async () => {
    const planned = client.plan({ again: "1" });
    expect(verdict(await client.push(planned))).toBe("ok");
    expect(verdict(await client.push(planned))).toBe("ok");
    await refused(client.plan({ again: "2" }, "main", planned.txn), "ATTESTATION_MISMATCH");
  });

  test("what the Stargate refuses is refused with its code, and leaves nothing", async () => {
    const tip = git(dir, "rev-parse", "refs/kv/main");
    const { zeroOid } = client.repo.format;
    await refused({ commands: [{ ref: "refs/kv/main", oldOid: tip, newOid: zeroOid }] }, "REF_FORBIDDEN");
    await refused({ commands: [{ ref: "refs/kv/other", oldOid: zeroOid, newOid: tip }] }, "REF_FORBIDDEN");
    await refused({ commands: [{ ref: "refs/KV/x", oldOid: zeroOid, newOid: tip }] }, "REF_FORBIDDEN");
    const replaced = (from: RegExp, to: string): Planned =>
      withLedger(client, client.plan({ x: "1" }), (text) => text.replace(from, to));
    await refused(replaced(/KV-Seq: \d+/, "KV-Seq: 99"), "ATTESTATION_MISMATCH");
    await refused(replaced(/Keys-Set: 1/, "Keys-Set: 2"), "REPLAY_MISMATCH");
    await refused(client.plan({ big: "x".repeat(1024 * 1024 + 1) }), "VALUE_TOO_LARGE");
    await refused(client.plan({ x: "1" }), "CAS_CONFLICT", [`expect-tree=${"1".repeat(TEST_FORMAT.hexSize)}`]);
    const stale = client.plan({ x: "stale" });
    await client.set({ x: "meanwhile" });
    const before = await settled(dir);
    expect(verdict(await client.push(stale))).not.toBe("ok");
    expect(await settled(dir)).toBe(before);
  });

  test("branches come in as ever", async () => {
    const work = path.join(tempDir("w"), "w");
    const env = { GIT_SSH_COMMAND: quick };
    expect((await tryGitAsync("/", ["clone", "-q", client.address, work], { env })).status).toBe(0);
    await gitAsync(work, "commit", "-q", "--allow-empty", "-m", "more");
    const push = await tryGitAsync(work, ["push", "-q", "origin", "HEAD:refs/heads/topic"], { env });
    expect([push.status, push.stderr]).toEqual([0, ""]);
    expect(git(dir, "rev-parse", "refs/heads/topic")).toBe(git(work, "rev-parse", "HEAD"));
    // kv refs and branches are two authorities.
    const both = client.plan({ y: "1" });
    const command = { ref: "refs/heads/both", oldOid: client.repo.format.zeroOid, newOid: both.ledger };
    await refused({ ...both, commands: [...both.commands, command] }, "REF_FORBIDDEN");
  });

  test("an epoch begins with an admin's signature", async () => {
    const seconds = Math.floor(Date.now() / 1000);
    const before = git(dir, "rev-parse", "refs/kv/main", "refs/kv-index/main");
    const honest = await client.planEpoch("e2", { seconds });
    await refused(honest, "UNSIGNED");
    const signed = admin.signed(client, await client.planEpoch("e2", { seconds }));
    expect([verdict(await client.push(signed)), client.said]).toEqual(["ok", expect.any(String)]);
    const refs = ["refs/kv-archive/main@e1", "refs/kv-index-archive/main@e1"];
    expect(git(dir, "rev-parse", ...refs)).toBe(before);
    expect(git(dir, "rev-parse", "refs/kv/main", "refs/kv-epoch/main")).toBe(`${signed.ledger}\n${signed.ledger}`);
    expect(git(dir, "rev-list", "--count", "refs/kv/main")).toBe("1");
    const journal = new Journal(stargateDir(dir));
    expect(journal.newest(1)[0]).toMatchObject({ kind: "txn", ns: "main", oid: signed.ledger, keysSet: 0 });
    journal.close();
    // The next one builds on it.
    await client.set({ "after:it": "1" });
    expect(git(dir, "rev-parse", "refs/kv/main^")).toBe(signed.ledger);
  });

  test("many pushes at a time, through git and through the Stargate: each is there or was refused", async () => {
    const clients = [clientOf(dir), clientOf(dir), clientOf(dir)];
    const pushes = clients.map((one, i) => {
      const planned = one.plan({ [`race${i}`]: "1" });
      return one.push(planned).then((result) => [planned.ledger, verdict(result)] as const);
    });
    const outcomes = await Promise.all(pushes);
    const accepted = outcomes.filter(([, said]) => said === "ok");
    expect(accepted).toHaveLength(1);
    expect(git(dir, "rev-parse", "refs/kv/main")).toBe(accepted[0]![0]);
  });
});

describe("where the hooks cannot do their work", () => {
  async function fresh(): Promise<string> {
    const dir = path.join(tempDir("hooks"), "kv.git");
    await initialize({
      dir,
      mirrorUrl: undefined,
      pushUrl: undefined,
      adminKey: undefined,
      ns: "main",
      format: TEST_FORMAT,
      program: PROGRAM,
      env: process.env,
      clock: systemClock,
    });
    return dir;
  }
  test("a git that does not run proc-receive is stopped at every kv ref by the update hook", async () => {
    const dir = await fresh();
    git(dir, "config", "--unset", "receive.procReceiveRefs");
    const client = clientOf(dir);
    const planned = client.plan({ a: "1" });
    const result = await client.push(planned);
    expect(verdict(result)).toContain("hook declined");
    expect(client.said).toContain("is moved by the Stargate, not by git");
    expect(git(dir, "for-each-ref", "refs/kv", "refs/kv-index")).toBe("");
  });

  test("where init has taken the place of a folder of hooks elsewhere, git runs the Stargate's", async () => {
    const dir = await fresh();
    const elsewhere = tempDir("elsewhere");
    git(dir, "config", "core.hooksPath", elsewhere);
    const options = { mirrorUrl: undefined, pushUrl: undefined, adminKey: undefined, ns: "main", format: undefined };
    const again = { ...options, dir, program: PROGRAM, env: process.env, clock: systemClock };
    await expect(initialize(again)).rejects.toThrow("core.hooksPath");
    await initialize({ ...again, replaceHooks: true });
    const oid = await clientOf(dir).set({ a: "1" });
    const journal = new Journal(stargateDir(dir));
    expect(journal.newest(1).map((row) => row.oid)).toEqual([oid]);
    journal.close();
  });

  test("a repository whose program has gone takes no push", async () => {
    const dir = await fresh();
    installHooks(dir, ["/no/such/program"]);
    expect(verdict(await clientOf(dir).push(clientOf(dir).plan({ a: "1" })))).toBe("pre-receive hook declined");
    expect(git(dir, "for-each-ref", "refs/kv")).toBe("");
  });

  test("a daemon that leads and cannot be asked: refused, and said", async () => {
    const stargate = await TestStargate.start();
    installHooks(stargate.dir, PROGRAM);
    const client = clientOf(stargate.dir);
    const planned = client.plan({ a: "1" });
    fs.rmSync(path.join(stargateDir(stargate.dir), "socket"));
    expect(verdict(await client.push(planned))).toBe("pre-receive hook declined");
    expect(client.said).toContain(`\nNOT_LEADER: process ${process.pid} on `);
    await stargate.stop();
  });
});
