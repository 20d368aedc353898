/** A token that is bound to namespaces writes there and nowhere else. */

import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { stargateDir } from "../../src/stargate/settings.ts";
import { TokenStore } from "../../src/stargate/tokens.ts";
import { policyPush, TestClient, TestStargate, verdict } from "../support/stargate.ts";

test("--ns binds a token to namespaces", async () => {
  const stargate = await TestStargate.start();
  const tokens = new TokenStore(stargateDir(stargate.dir));
  const token = tokens.add("bound", "write", undefined, systemClock, ["main", "other"]);
  const client = new TestClient(stargate.dir, stargate.loginUrl(token));
  await client.set({ a: "1" });
  await client.set({ a: "1" }, "other");
  expect(verdict(await client.push(client.plan({ a: "1" }, "third")))).toBe("FORBIDDEN");
  expect(client.said).toContain("'bound' may write to the namespaces main, other and nothing else");
  const head = client.repo.refs.resolve("HEAD")!;
  const branch = { ref: "refs/heads/topic", oldOid: client.repo.format.zeroOid, newOid: head };
  expect(verdict(await client.push({ commands: [branch] }))).toBe("FORBIDDEN");
  expect(verdict(await client.push(policyPush(client, "version: 1\n")))).toBe("FORBIDDEN");
  expect(tokens.list()).toMatchObject([{ name: "bound", namespaces: ["main", "other"] }]);
  tokens.revoke("bound");
  await expect(client.push(client.plan({ b: "1" }))).rejects.toThrow();
  await stargate.stop();
});
