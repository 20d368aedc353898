/** The policy ref, and what a policy does to transactions. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { POLICY_REF } from "../../src/kv/namespace.ts";
import { withLedger } from "../support/forged.ts";
import { fsck, git } from "../support/git.ts";
import { policyPush, TestClient, TestStargate, verdict } from "../support/stargate.ts";

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
    one.repo.objects.writePack(pack.finish());
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
    const strict =
      "version: 1\nstargate: { admins: [ssh-ed25519 AAAA a] }\nnamespaces: { main: { require_signed_commits: true } }\n";
    expect(verdict(await admin.push(policyPush(admin, strict)))).toBe("ok");
    expect(verdict(await admin.push(admin.plan({ a: "1" })))).toBe("UNSIGNED");
    const signed = admin.plan({ a: "1" });
    const lines = "gpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n -----END SSH SIGNATURE-----\n";
    expect(verdict(await admin.push(withLedger(admin, signed, (text) => text.replace("\n\n", `\n${lines}\n`))))).toBe(
      "BAD_SIGNATURE",
    );
    expect(verdict(await admin.push(policyPush(admin, "version: 1\n")))).toBe("POLICY_UNTRUSTED");
    await admin.set({ a: "1" }, "elsewhere");
    await other.stop();
  });
});
