/** A KV-Txn names one transaction for ever, also where the journal is younger than the ledger. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { stargateDir } from "../../src/stargate/settings.ts";
import { git } from "../support/git.ts";
import { TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";

setDefaultTimeout(60_000);

const login = (stargate: TestStargate, scope: "write" | "admin" = "write"): TestClient =>
  new TestClient(stargate.dir, stargate.loginUrl(stargate.token(scope)));

/** A ledger of two epochs; returns it, stopped, and the KV-Txns of its transactions. */
async function ledger(mirror?: string): Promise<{ dir: string; txns: readonly string[] }> {
  const stargate = await TestStargate.start({ upkeep: false, ...(mirror !== undefined && { mirror }) });
  const client = login(stargate, "admin");
  const plans = [client.plan({ a: "1" })];
  expect(verdict(await client.push(plans[0]!))).toBe("ok");
  const epoch = await client.planEpoch("e2", { seconds: Math.floor(Date.now() / 1000) });
  expect(verdict(await client.push(epoch))).toBe("ok");
  plans.push(client.plan({ b: "2" }));
  expect(verdict(await client.push(plans[1]!))).toBe("ok");
  const isAway = (): boolean => !git(mirror!, "for-each-ref", "refs/kv/main").startsWith(plans[1]!.ledger);
  while (mirror !== undefined && isAway()) await Bun.sleep(20);
  await stargate.stop();
  return { dir: stargate.dir, txns: [plans[0]!, epoch, plans[1]!].map(({ txn }) => txn) };
}

/** Each KV-Txn is refused for another transaction, and a new one is taken. Stops the Stargate. */
async function knows(stargate: TestStargate, txns: readonly string[]): Promise<string> {
  const client = login(stargate);
  const before = git(stargate.dir, "rev-parse", "refs/kv/main");
  for (const txn of txns) {
    expect(verdict(await client.push(client.plan({ again: txn }, "main", txn)))).toBe("ATTESTATION_MISMATCH");
    expect(client.said).toContain(`KV-Txn ${txn} is already in the ledger`);
  }
  expect(git(stargate.dir, "rev-parse", "refs/kv/main")).toBe(before);
  const fresh = client.plan({ new: `${txns.length}` });
  expect(verdict(await client.push(fresh))).toBe("ok");
  await stargate.stop();
  return fresh.txn;
}

test("the journal is lost: the ledger's transactions are known, those of closed epochs too, at each start", async () => {
  const { dir, txns } = await ledger();
  for (const file of fs.readdirSync(stargateDir(dir))) {
    if (file.startsWith("journal.db")) fs.rmSync(path.join(stargateDir(dir), file));
  }
  const fourth = await knows(await TestStargate.start({ dir }), txns);
  await knows(await TestStargate.start({ dir }), [...txns, fourth]);
});

test("taken over from a mirror", async () => {
  const mirror = path.join(tempDir("mirror"), "mirror.git");
  const { dir, txns } = await ledger(newMirror(mirror));
  fs.rmSync(dir, { recursive: true });
  await knows(await TestStargate.start({ mirror }), txns);
});

function newMirror(dir: string): string {
  git("/", "init", "-q", "--bare", "-b", "main", dir);
  return dir;
}
