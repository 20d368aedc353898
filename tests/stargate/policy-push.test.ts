/** The policy ref, and what a policy does to transactions. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { writePack } from "../../src/gitwire/store/object-writer.ts";
import { applyPolicy } from "../../src/kv/apply-policy.ts";
import { fetchAccepted } from "../../src/kv/fetch.ts";
import { POLICY_REF } from "../../src/kv/namespace.ts";
import { configureRemote } from "../../src/kv/setup.ts";
import { failureOf } from "../support/failure.ts";
import { withLedger } from "../support/forged.ts";
import { fsck, git, gitInput } from "../support/git.ts";
import { policyPush, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { OTHER_SIGNATURE_HEADER, SIGNATURE_HEADER, TEST_FORMAT } from "../support/test-format.ts";
import { TestKey } from "../support/test-key.ts";
import { newRepository, workspaceAt } from "../support/workspace.ts";

/** A policy with admins and, for "main", writers that must sign. */
function policyOf(admins: readonly TestKey[], writers: readonly TestKey[] = []): string {
  const list = (keys: readonly TestKey[]): string => JSON.stringify(keys.map(({ line }) => line));
  const main = `{ require_signed_commits: true, writers: ${list(writers)} }`;
  return `version: 1\nstargate: { admins: ${list(admins)} }\nnamespaces: { main: ${main} }\n`;
}

let stargate: TestStargate;
let client: TestClient;

beforeAll(async () => {
  stargate = await TestStargate.start();
  client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token()));
  await client.set({ a: "1", b: "2" });
});

afterAll(async () => {
  await stargate.stop();
  expect(fsck(stargate.dir)).toBe("");
});

describe("the policy ref", () => {
  test("takes an admin's next valid policy, and then transactions must name it", async () => {
    const admin = new TestClient(stargate.dir, stargate.loginUrl(stargate.token("admin")));
    const good = "version: 1\nnamespaces: { main: { max_value_inline: 10B } }\n";
    expect(verdict(await client.push(policyPush(admin, good)))).toBe("FORBIDDEN");
    expect(verdict(await admin.push(policyPush(admin, "version: 7\n")))).toBe("POLICY_UNTRUSTED");
    expect(verdict(await admin.push(policyPush(admin, good, [])))).toBe("NOT_FAST_FORWARD");
    const planned = client.plan({ before: "1" });
    const policy = policyPush(admin, good);
    expect(verdict(await admin.push(policy))).toBe("ok");
    expect(verdict(await admin.push(policy))).toBe("ok");
    expect(verdict(await client.push(planned))).toBe("POLICY_STALE");
    expect(verdict(await client.push(client.plan({ now: "12345678901" })))).toBe("VALUE_TOO_LARGE");
    await client.set({ now: "1234567890" });
    expect(stargate.log.filter(({ drift }) => drift !== undefined)).toMatchObject([
      { level: "warn", component: "policy", drift: "differs" },
    ]);
  });

  test("one that takes force while a transaction is checked stops that transaction", async () => {
    let meanwhile = async (): Promise<void> => {};
    const other = await TestStargate.start({
      onStage: (stage) => {
        if (stage === "synced") void meanwhile();
      },
    });
    const one = new TestClient(other.dir, other.loginUrl(other.token()));
    await one.set({ a: "1" });
    const before = git(other.dir, "rev-parse", "refs/kv/main");
    const { commands, pack } = policyPush(one, "version: 1\n");
    writePack(one.repo.objects, pack.finish());
    // After the checks, before the locks.
    meanwhile = async () => fs.writeFileSync(path.join(other.dir, POLICY_REF), `${commands[0]!.newOid}\n`);
    fs.mkdirSync(path.dirname(path.join(other.dir, POLICY_REF)), { recursive: true });
    expect(verdict(await one.push(one.plan({ b: "1" })))).toBe("POLICY_STALE");
    expect(git(other.dir, "rev-parse", "refs/kv/main")).toBe(before);
    meanwhile = async () => {};
    await one.set({ b: "1" });
    await other.stop();
  });

  test("one that requires signatures shuts the door to what is not signed, or signed by nobody", async () => {
    const other = await TestStargate.start();
    const admin = new TestClient(other.dir, other.loginUrl(other.token("admin")));
    const strict = policyOf([new TestKey("a")]);
    expect(verdict(await admin.push(policyPush(admin, strict)))).toBe("ok");
    expect(verdict(await admin.push(admin.plan({ a: "1" })))).toBe("UNSIGNED");
    const signed = admin.plan({ a: "1" });
    const lines = `${SIGNATURE_HEADER} -----BEGIN SSH SIGNATURE-----\n AAAA\n -----END SSH SIGNATURE-----\n`;
    expect(verdict(await admin.push(withLedger(admin, signed, (text) => text.replace("\n\n", `\n${lines}\n`))))).toBe(
      "BAD_SIGNATURE",
    );
    expect(verdict(await admin.push(policyPush(admin, "version: 1\n")))).toBe("POLICY_UNTRUSTED");
    await admin.set({ a: "1" }, "elsewhere");
    await other.stop();
  });
});

describe("admins", () => {
  const [alice, bob, carol] = [new TestKey("alice"), new TestKey("bob"), new TestKey("carol")];
  let gateway: TestStargate;
  let admin: TestClient;

  beforeAll(async () => {
    gateway = await TestStargate.start();
    admin = new TestClient(gateway.dir, gateway.loginUrl(gateway.token("admin")));
    // The first one with admins may be anybody's: it is the root of trust.
    expect(verdict(await admin.push(policyPush(admin, policyOf([alice], [bob]))))).toBe("ok");
  });
  afterAll(() => gateway.stop());

  const push = async (text: string, key?: TestKey, parents?: string[]): Promise<string> => {
    const sign = (commit: string): string => (key === undefined ? commit : key.signCommit(commit));
    return verdict(await admin.push(policyPush(admin, text, parents, sign)));
  };
  const tip = (): string => git(gateway.dir, "rev-parse", POLICY_REF);

  test("nobody else changes the policy: unsigned, a writer, a stranger who lists himself", async () => {
    const before = tip();
    expect(await push(policyOf([bob]))).toBe("POLICY_UNTRUSTED");
    expect(await push(policyOf([bob]), bob)).toBe("POLICY_UNTRUSTED");
    expect(await push(policyOf([alice, carol]), carol)).toBe("POLICY_UNTRUSTED");
    expect(admin.said).toContain("git kv policy apply");
    expect(tip()).toBe(before);
  });

  test("a signature must be of this commit, and alone", async () => {
    const other = (commit: string): string => alice.signCommit(commit).replace("\n\npolicy", "\n\nanother");
    expect(verdict(await admin.push(policyPush(admin, policyOf([alice]), undefined, other)))).toBe("POLICY_UNTRUSTED");
    const doubled = (commit: string): string => alice.signCommit(alice.signCommit(commit), OTHER_SIGNATURE_HEADER);
    expect(verdict(await admin.push(policyPush(admin, policyOf([alice]), undefined, doubled)))).toBe(
      "POLICY_UNTRUSTED",
    );
  });

  test("a policy that would not work is refused with every problem, whoever signs it", async () => {
    const broken = policyOf([alice]).replace("namespaces:", "nmespaces:");
    expect(await push(broken, alice)).toBe("POLICY_UNTRUSTED");
    expect(admin.said).toContain("did you mean 'namespaces'?");
    expect(await push(policyOf([]), alice)).toBe("POLICY_UNTRUSTED");
    expect(admin.said).toContain("needs stargate.admins");
  });

  test("an admin hands over in one push of two links, each judged by the one before it", async () => {
    const first = policyPush(admin, policyOf([bob], [bob]), undefined, (commit) => alice.signCommit(commit));
    const chain = (key: TestKey) =>
      policyPush(admin, policyOf([carol], [bob]), [first.ledger], (commit) => key.signCommit(commit), first.pack);
    // Alice is no admin any more after her own link.
    expect(verdict(await admin.push(chain(alice)))).toBe("POLICY_UNTRUSTED");
    const again = policyPush(admin, policyOf([bob], [bob]), undefined, (commit) => alice.signCommit(commit));
    const good = policyPush(admin, policyOf([carol], [bob]), [again.ledger], (c) => bob.signCommit(c), again.pack);
    expect(verdict(await admin.push(good))).toBe("ok");
    expect(await push(policyOf([alice]), alice)).toBe("POLICY_UNTRUSTED");
    expect(await push(policyOf([carol], [bob, alice]), carol)).toBe("ok");
  });

  test("an admin's time counts when the push is received", async () => {
    const terms = (more: string): string => policyOf([carol]).replace(JSON.stringify(carol.line), more);
    const line = JSON.stringify(alice.line);
    const next = terms(`{ key: ${line}, until: 2020-01-01 }, ${JSON.stringify(carol.line)}`);
    expect(await push(next, carol)).toBe("ok");
    expect(await push(policyOf([alice]), alice)).toBe("POLICY_UNTRUSTED");
    expect(admin.said).toContain("no admin at this time");
    expect(await push(terms(`{ key: ${line}, from: 2020-01-01 }`), carol)).toBe("ok");
    // And the time that the link claims, which is all that an audit has.
    const early = (commit: string): string => alice.signCommit(commit.replaceAll(/> \d+ /g, "> 1500000000 "));
    expect(verdict(await admin.push(policyPush(admin, policyOf([alice], [bob]), undefined, early)))).toBe(
      "POLICY_UNTRUSTED",
    );
    expect(admin.said).toContain("no admin at this time, and the commit says it is from 2017-07-14");
    expect(await push(policyOf([alice], [bob]), alice)).toBe("ok");
  });

  test("a writer who is taken out writes no more, and what he wrote stays", async () => {
    const old = bob.signed(admin, admin.plan({ old: "1" }));
    expect(verdict(await admin.push(old))).toBe("ok");
    expect(await push(policyOf([alice], []), alice)).toBe("ok");
    expect(verdict(await admin.push(bob.signed(admin, admin.plan({ next: "1" }))))).toBe("SIGNER_NOT_ALLOWED");
    expect(git(gateway.dir, "rev-parse", "refs/kv/main")).toBe(old.ledger);
  });

  test("an admin is not made to sign on top of an old policy, or of another chain", async () => {
    const clone = workspaceAt(newRepository(TEST_FORMAT));
    configureRemote(clone, gateway.loginUrl(gateway.token("admin")));
    await fetchAccepted(clone);
    const now = tip();
    const root = git(gateway.dir, "rev-list", "--max-parents=0", POLICY_REF);
    const other = gitInput(gateway.dir, `${git(gateway.dir, "cat-file", "commit", root)} again\n`, ...HASH_COMMIT);
    for (const shown of [`${now}^`, other]) {
      git(gateway.dir, "update-ref", POLICY_REF, shown);
      const apply = applyPolicy(clone, { text: policyOf([alice]), name: "policy.yaml", message: undefined });
      expect(await failureOf(apply)).toMatchObject({
        code: "NOT_FAST_FORWARD",
        message: expect.stringContaining(`does not follow the one this clone knows (${now})`),
      });
    }
    git(gateway.dir, "update-ref", POLICY_REF, now);
    clone.repo.close();
  });
});

const HASH_COMMIT = ["hash-object", "-t", "commit", "-w", "--stdin"];
