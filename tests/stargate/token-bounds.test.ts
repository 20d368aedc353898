/** A token that is bound to namespaces writes there and nowhere else. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { stargateDir } from "../../src/stargate/settings.ts";
import { TokenStore } from "../../src/stargate/tokens.ts";
import { policyPush, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";

test.skipIf(process.geteuid?.() !== 0)(
  "tokens that root changes stay readable for the account whose repository it is",
  () => {
    const dir = path.join(tempDir("tokens"), "stargate");
    fs.mkdirSync(dir);
    fs.chownSync(dir, 65_534, 65_534);
    const store = new TokenStore(dir);
    store.add("ci", "write", undefined, systemClock);
    store.add("me", "write", undefined, systemClock);
    store.revoke("ci");
    const { uid, gid, mode } = fs.statSync(path.join(dir, "tokens.json"));
    expect([uid, gid, mode & 0o777]).toEqual([65_534, 65_534, 0o600]);
  },
);

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
