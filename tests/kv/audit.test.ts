/** `git kv verify` on real repositories: policies, signatures, the root of trust, what the mirror shows, and the command itself. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import type { Oid } from "../../src/gitwire/object/oid.ts";
import { writePack } from "../../src/gitwire/store/object-writer.ts";
import { type AuditReport, audit } from "../../src/kv/audit.ts";
import { POLICY_REF } from "../../src/kv/namespace.ts";
import { configureRemote } from "../../src/kv/setup.ts";
import type { Finding } from "../../src/kv/verify.ts";
import { withLedger } from "../support/forged.ts";
import { git, gitInput } from "../support/git.ts";
import { gitAsync } from "../support/git-async.ts";
import { noise } from "../support/noise.ts";
import { large, type Planned, policyPush, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { TestKey } from "../support/test-key.ts";
import { workspaceAt } from "../support/workspace.ts";

const MiB = 1024 * 1024;
const [alice, bot, mallory, admin] = ["alice", "bot", "mallory", "admin"].map((name) => new TestKey(name)) as [
  TestKey,
  TestKey,
  TestKey,
  TestKey,
];

function policyText(writers: readonly TestKey[], admins: readonly TestKey[] = [admin]): string {
  const list = (keys: readonly TestKey[]): string => `[${keys.map(({ line }) => JSON.stringify(line)).join(", ")}]`;
  return `version: 1\nstargate: { admins: ${list(admins)} }\nnamespaces: { main: { require_signed_commits: true, writers: ${list(writers)} } }\n`;
}

async function verify(
  dir: string,
  options: { since?: Oid; all?: boolean; ns?: string } = {},
): Promise<{ report: AuditReport; findings: Finding[]; said: string[] }> {
  const findings: Finding[] = [];
  const workspace = workspaceAt(dir, options.ns === undefined ? {} : { ns: options.ns });
  const report = await audit(workspace, {
    since: options.since,
    all: options.all ?? false,
    found: (finding) => findings.push(finding),
    progress: () => {},
  });
  workspace.repo.close();
  return { report, findings, said: findings.map(({ ns, seq, code }) => `${ns ?? "policy"} ${seq ?? "-"} ${code}`) };
}

/** Stores a transaction or a policy and moves its refs, as somebody can who has the disk. */
function force(client: TestClient, planned: Pick<Planned, "commands" | "pack">): void {
  writePack(client.repo.objects, planned.pack.finish());
  for (const { ref, newOid } of planned.commands) git(client.repo.gitDir, "update-ref", ref, newOid);
}

describe("a ledger through three policies", () => {
  let stargate: TestStargate;
  let client: TestClient;
  let dir: string;
  let root: Oid;

  beforeAll(async () => {
    stargate = await TestStargate.start({ upkeep: false });
    ({ dir } = stargate);
    root = git(dir, "rev-parse", POLICY_REF);
    client = new TestClient(dir, stargate.loginUrl(stargate.token("admin")));
    await client.set({ a: "unsigned, which the first policy allows" });
    expect(verdict(await client.push(policyPush(client, policyText([alice, bot]))))).toBe("ok");
    expect(verdict(await client.push(alice.signed(client, client.plan({ a: "1" }))))).toBe("ok");
    expect(verdict(await client.push(bot.signed(client, client.plan({ b: "2" }))))).toBe("ok");
    // The bot goes; what it wrote stays good.
    const next = policyPush(client, policyText([alice]), undefined, (commit) => admin.signCommit(commit));
    expect(verdict(await client.push(next))).toBe("ok");
    expect(verdict(await client.push(bot.signed(client, client.plan({ b: "3" }))))).toBe("SIGNER_NOT_ALLOWED");
    expect(verdict(await client.push(alice.signed(client, client.plan({ a: undefined }))))).toBe("ok");
    await stargate.stop();
  });

  /** Runs `act` on a copy and verifies that. */
  async function after(
    act: (client: TestClient, copy: string) => void,
    options: { all?: boolean; ns?: string } = {},
  ): Promise<string[]> {
    const copy = path.join(path.dirname(dir), `copy-${Math.random().toString(36).slice(2)}.git`);
    Bun.spawnSync(["cp", "-r", dir, copy]);
    git(copy, "config", "kv.policyRoot", root);
    act(new TestClient(copy, copy), copy);
    return (await verify(copy, options)).said;
  }

  test("it is good, whoever may write now; the root is pinned at the first use", async () => {
    const first = await verify(dir);
    expect(first.said).toEqual([]);
    expect(first.report.pin).toEqual({ kind: "pinned now", root });
    expect(first.report.policy).toEqual({ root, tip: git(dir, "rev-parse", POLICY_REF), commits: 3 });
    expect(first.report.namespaces[0]).toMatchObject({ transactions: 4, signed: 3, keysSet: 3, keysDel: 1 });
    expect([...first.report.namespaces[0]!.signers.values()].sort()).toEqual([1, 2]);
    expect(git(dir, "config", "kv.policyRoot")).toBe(root);
    expect((await verify(dir)).report.pin.kind).toBe("as pinned");
    expect((await verify(dir, { all: true })).said).toEqual([]);
  });

  test("beside a trusted tip another kv-index is found, which a listing would be read from", async () => {
    const copy = path.join(path.dirname(dir), "trusted.git");
    Bun.spawnSync(["cp", "-r", dir, copy]);
    const tip = git(copy, "rev-parse", "refs/kv/main");
    expect((await verify(copy, { since: tip })).said).toEqual([]);
    git(copy, "update-ref", "refs/kv-index/main", "refs/kv-index/main~1");
    expect((await verify(copy, { since: tip })).said).toEqual(["main - ATTESTATION_MISMATCH"]);
  });

  test("what got in past the door is found: unsigned, by a stranger, by one who may no longer", async () => {
    expect(await after((one) => force(one, one.plan({ x: "1" })))).toEqual(["main 5 UNSIGNED"]);
    expect(await after((one) => force(one, mallory.signed(one, one.plan({ x: "1" }))))).toEqual([
      "main 5 SIGNER_NOT_ALLOWED",
    ]);
    expect(await after((one) => force(one, bot.signed(one, one.plan({ x: "1" }))))).toEqual([
      "main 5 SIGNER_NOT_ALLOWED",
    ]);
    expect(await after((one) => force(one, alice.signed(one, one.plan({ x: "1" }))))).toEqual([]);
  });

  test("a transaction under a policy of before, under none, or under one of its own", async () => {
    const under = (policy: string, key: TestKey) => (one: TestClient, copy: string) => {
      const now = git(copy, "rev-parse", POLICY_REF);
      const made = one.plan({ x: "1" });
      force(
        one,
        withLedger(one, made, (text) => key.signCommit(text.replace(`KV-Policy: ${now}`, `KV-Policy: ${policy}`))),
      );
    };
    const second = git(dir, "rev-parse", `${POLICY_REF}^`);
    expect(await after(under(second, bot))).toEqual(["main 5 POLICY_STALE"]);
    expect(await after(under(root, mallory))).toEqual(["main 5 POLICY_STALE"]);
    expect(await after(under("-", mallory))).toEqual(["main 5 POLICY_STALE"]);
    expect(await after(under("1".repeat(TEST_FORMAT.hexSize), mallory))).toEqual(["main 5 POLICY_UNTRUSTED"]);
  });

  test("another root, no policy any more, a policy chain that was rolled back", async () => {
    const { findings } = await (async () => {
      const copy = path.join(path.dirname(dir), "rooted.git");
      Bun.spawnSync(["cp", "-r", dir, copy]);
      git(copy, "config", "kv.policyRoot", "1".repeat(TEST_FORMAT.hexSize));
      return verify(copy);
    })();
    expect(findings.map(({ code }) => code)).toEqual(["POLICY_UNTRUSTED"]);
    expect(findings[0]!.message).toStartWith("THE ROOT OF TRUST HAS CHANGED");
    expect(await after((_one, copy) => git(copy, "update-ref", "-d", POLICY_REF))).toContain(
      "policy - POLICY_UNTRUSTED",
    );
    const back = await after((_one, copy) => git(copy, "update-ref", POLICY_REF, `${POLICY_REF}^`));
    expect(back).toEqual(["main 4 POLICY_UNTRUSTED"]);
  });

  test("a mirror whose ledger is another one, or cannot be read", async () => {
    const tracking = (oid: string) => (_one: TestClient, copy: string) => {
      git(copy, "update-ref", "refs/kv-remotes/origin/kv/main", oid);
    };
    expect(await after(tracking("refs/kv/main^"))).toEqual([]);
    expect(await after(tracking(POLICY_REF))).toEqual(["main - ATTESTATION_MISSING"]);
    const forked = await after((one, copy) => {
      const tip = git(copy, "rev-parse", "refs/kv/main");
      const fork = alice.signed(one, one.plan({ fork: "1" }));
      force(one, alice.signed(one, one.plan({ other: "1" })));
      writePack(one.repo.objects, fork.pack.finish());
      git(copy, "update-ref", "refs/kv-remotes/origin/kv/main", fork.ledger);
      expect(tip).not.toBe(fork.ledger);
    });
    expect(forked).toEqual(["main - NOT_FAST_FORWARD"]);
  });

  test("a mirror whose kv-index is not its ledger's", async () => {
    const tracking = (ledger: string, index: string) => (_one: TestClient, copy: string) => {
      git(copy, "update-ref", "refs/kv-remotes/origin/kv/main", ledger);
      git(copy, "update-ref", "refs/kv-remotes/origin/kv-index/main", index);
    };
    expect(await after(tracking("refs/kv/main", "refs/kv-index/main"))).toEqual([]);
    expect(await after(tracking("refs/kv/main^", "refs/kv-index/main^"))).toEqual([]);
    expect(await after(tracking("refs/kv/main", "refs/kv-index/main^"))).toEqual(["main - ATTESTATION_MISMATCH"]);
    expect(await after(tracking("refs/kv/main", "refs/kv/main"))).toEqual(["main - ATTESTATION_MISMATCH"]);
  });

  test("a ledger that stands under the name of another namespace, however well it is signed", async () => {
    const under = (root: string) => (_one: TestClient, copy: string) => {
      for (const group of ["kv", "kv-index"]) git(copy, "update-ref", `${root}${group}/other`, `refs/${group}/main`);
    };
    for (const root of ["refs/", "refs/kv-remotes/origin/"]) {
      expect(await after(under(root), { all: true })).toEqual(["other - ATTESTATION_MISMATCH"]);
      expect(await after(under(root), { ns: "other" })).toEqual(["other - ATTESTATION_MISMATCH"]);
    }
  });

  test("a tip that is no ledger commit is a finding, and the rest is looked at", async () => {
    const broken = await after((_one, copy) => {
      const text = git(copy, "cat-file", "commit", "refs/kv/main").replace("\ncommitter ", "\ncommited ");
      const tip = gitInput(copy, `${text}\n`, "hash-object", "-t", "commit", "-w", "--stdin", "--literally");
      git(copy, "update-ref", "refs/kv/main", tip);
    });
    expect(broken).toEqual(["main - BAD_OBJECT"]);
  });

  test("links of the policy: each signed by an admin of the one before", async () => {
    const link = (one: TestClient, text: string, key?: TestKey): void => {
      force(
        one,
        policyPush(one, text, undefined, (commit) => key?.signCommit(commit) ?? commit),
      );
    };
    const start = (one: TestClient): void => link(one, policyText([alice]), admin);
    const second = (key?: TestKey) => (one: TestClient) => {
      start(one);
      link(one, policyText([mallory], [mallory]), key);
    };
    expect(await after(start)).toEqual([]);
    expect(await after(second(admin))).toEqual([]);
    expect(await after(second(alice))).toEqual(["policy - POLICY_UNTRUSTED"]);
    expect(await after(second(mallory))).toEqual(["policy - POLICY_UNTRUSTED"]);
    expect(await after(second())).toEqual(["policy - POLICY_UNTRUSTED"]);
    expect(await after((one) => link(one, "version: 9\n", admin))).toEqual(["policy - POLICY_UNTRUSTED"]);
  });

  test("the command: summary and findings, for people and in JSON, exit 8 on any", async () => {
    const run = (where: string, ...args: string[]) =>
      Bun.spawnSync([process.execPath, path.join(import.meta.dir, "../../bin/git-kv.ts"), "verify", ...args], {
        cwd: where,
      });
    const good = run(dir);
    expect([good.exitCode, good.stdout.toString()]).toEqual([
      0,
      expect.stringMatching(
        /^main: 4 transactions to #4 [0-9a-f]{40,64}, 3 set, 1 del, 3 signed by 2 keys\npolicy: 3 commits from the root .*\nno findings\n$/,
      ),
    ]);
    const json = JSON.parse(run(dir, "--json", "--all").stdout.toString());
    expect(json.summary).toMatchObject({
      findings: 0,
      namespaces: [{ ns: "main", transactions: 4 }],
      policy: { trust: "as pinned" },
    });
    const tip = git(dir, "rev-parse", "refs/kv/main");
    expect(run(dir, "--since", tip).stdout.toString()).toStartWith("main: 0 transactions");
    expect(run(dir, "--since", tip, "--all").exitCode).toBe(64);
    expect(run(dir, "--since", "abc").exitCode).toBe(4);
    expect(run(dir, "--ns", "other").exitCode).toBe(6);
    const bad = path.join(path.dirname(dir), "bad.git");
    Bun.spawnSync(["cp", "-r", dir, bad]);
    const client = new TestClient(bad, bad);
    force(client, client.plan({ x: "1" }));
    const found = run(bad);
    expect(found.exitCode).toBe(8);
    expect(found.stdout.toString()).toMatch(
      /^UNSIGNED\tmain #5\t[0-9a-f]{40,64}\tthe policy requires.*\nmain: 5 [\s\S]*\n1 finding\n$/,
    );
    const lines = run(bad, "--json")
      .stdout.toString()
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines[0].finding).toMatchObject({ ns: "main", seq: 5, code: "UNSIGNED" });
    expect(lines[1].summary.findings).toBe(1);
    expect(lines).toHaveLength(2);
  });

  afterAll(() => client.repo.close());
});

test("large values: read whole where their pieces must be, counted in a clone; a damaged piece is named with its key", async () => {
  const stargate = await TestStargate.start({ upkeep: false });
  const { dir } = stargate;
  const client = new TestClient(dir, stargate.loginUrl(stargate.token()));
  await client.set({ a: "1", big: large(noise("audit", 1_500_000)) });
  await client.set({ big: large(noise("audit again", 1_500_000)) });
  await client.set({ a: "2" });
  const counts = { transactions: 3, chunked: 2 };
  const here = await verify(dir);
  expect(here.said).toEqual([]);
  expect(here.report.namespaces).toMatchObject([{ ...counts, chunkedUnread: 0 }]);
  expect((await verify(dir, { all: true })).said).toEqual([]);

  const clone = tempDir("audit-clone");
  git(clone, "init", "-q", `--object-format=${client.repo.format.name}`);
  git(clone, "remote", "add", "origin", stargate.loginUrl(stargate.token()));
  configureRemote(workspaceAt(clone), stargate.loginUrl(stargate.token()));
  await gitAsync(clone, "fetch", "-q", "origin");
  const there = await verify(clone);
  expect(there.said).toEqual([]);
  expect(there.report.namespaces).toMatchObject([{ ...counts, chunkedUnread: 2 }]);
  // Whoever fetches the chunk ref checks everything there too.
  await gitAsync(clone, "fetch", "-q", "origin", "refs/kv-chunks/main@e1:refs/kv-chunks/main@e1");
  expect((await verify(clone)).report.namespaces).toMatchObject([{ ...counts, chunkedUnread: 0 }]);
  await stargate.stop();

  const packs = fs.readdirSync(path.join(dir, "objects/pack")).filter((name) => name.endsWith(".pack"));
  const file = path.join(
    dir,
    "objects/pack",
    packs.find((name) => fs.statSync(path.join(dir, "objects/pack", name)).size > MiB)!,
  );
  const bytes = fs.readFileSync(file);
  bytes[700_000]! ^= 1;
  fs.chmodSync(file, 0o644);
  fs.writeFileSync(file, bytes);
  const damaged = await verify(dir);
  expect(damaged.findings).toHaveLength(1);
  expect(damaged.findings[0]).toMatchObject({ ns: "main", code: "CORRUPT" });
  expect(damaged.findings[0]!.message).toMatch(/^piece \d+ \([0-9a-f]{64}\) of the value of "big": /);
});
