/** A token that is bound to namespaces writes there and nowhere else. */

import { expect, spyOn, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { parseSshKeyLine, sshFingerprint } from "../../src/gitwire/object/ssh-key.ts";
import { stargateDir } from "../../src/stargate/settings.ts";
import { scopeNow } from "../../src/stargate/standing.ts";
import { TokenStore } from "../../src/stargate/tokens.ts";
import { policyPush, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TestKey } from "../support/test-key.ts";

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

/** Passes requests on to `stargate`, the end of a pushed pack only when `hold` has ended. */
function holdingProxy(stargate: TestStargate, hold: () => Promise<void>): { port: number; stop: () => void } {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      const { pathname, search } = new URL(request.url);
      const target = `${new URL(stargate.url).origin}${pathname}${search}`;
      const headers = new Headers(request.headers);
      headers.delete("content-length");
      if (request.method !== "POST") return fetch(target, { headers });
      const body = Buffer.from(await request.arrayBuffer());
      const stream = new ReadableStream<Uint8Array>({
        async start(controller) {
          controller.enqueue(body.subarray(0, -30));
          await hold();
          controller.enqueue(body.subarray(-30));
          controller.close();
        },
      });
      return fetch(target, { method: "POST", headers, body: stream });
    },
  });
  return { port: server.port!, stop: () => void server.stop(true) };
}

test("who finds the lock of another one in place of its own writes nothing and leaves that alone", () => {
  const dir = tempDir("tokens");
  const tokens = new TokenStore(dir);
  tokens.add("there", "write", undefined, systemClock);
  const [file, lock] = [path.join(dir, "tokens.json"), path.join(dir, "tokens.json.lock")];
  const before = fs.readFileSync(file, "utf8");
  const waiting = spyOn(fs, "fsyncSync").mockImplementationOnce(() => {
    fs.renameSync(lock, `${lock}.old`);
    fs.writeFileSync(lock, "half");
  });
  expect(() => tokens.revoke("there")).toThrow("was taken over");
  waiting.mockRestore();
  expect([fs.readFileSync(file, "utf8"), fs.readFileSync(lock, "utf8")]).toEqual([before, "half"]);
});

test("a lock that a killed process left keeps nobody from taking a token back for more than a minute", () => {
  const dir = tempDir("tokens");
  const tokens = new TokenStore(dir);
  tokens.add("lost", "write", undefined, systemClock);
  const lock = path.join(dir, "tokens.json.lock");
  fs.writeFileSync(lock, "half");
  expect(() => tokens.revoke("lost")).toThrow("another process changes the tokens");
  expect(fs.readFileSync(lock, "utf8")).toBe("half");
  const minute = new Date(Date.now() - 61_000);
  fs.utimesSync(lock, minute, minute);
  tokens.revoke("lost");
  expect(tokens.list()).toEqual([]);
  expect(fs.readdirSync(dir)).toEqual(["tokens.json"]);
});

test("a token that is revoked while its push is under way lets nothing in", async () => {
  const stargate = await TestStargate.start();
  const tokens = new TokenStore(stargateDir(stargate.dir));
  let meanwhile = (): void => {};
  const proxy = holdingProxy(stargate, async () => {
    // Long enough for the first part to be looked at.
    await Bun.sleep(300);
    meanwhile();
  });
  const client = new TestClient(
    stargate.dir,
    stargate.loginUrl(stargate.token("write")).replace(/:\d+\/kv\.git$/, `:${proxy.port}/kv.git`),
  );
  await client.set({ a: "1" });
  meanwhile = () => tokens.revoke(tokens.list()[0]!.name);
  const planned = client.plan({ a: "2" });
  const result = await client.push(planned);
  expect(verdict(result)).toBe("UNAUTHENTICATED");
  expect(client.said).toContain("was revoked or has expired since this push began");
  expect(client.repo.refs.resolve("refs/kv/main")).not.toBe(planned.ledger);
  proxy.stop();
  await stargate.stop();
});

test("the scope of an SSH key is the one that the policy gives it at the moment", async () => {
  const stargate = await TestStargate.start();
  const key = new TestKey("alice");
  const admin = new TestClient(stargate.dir, stargate.loginUrl(stargate.token("admin")));
  const fingerprint = sshFingerprint(parseSshKeyLine(key.line).blob);
  const who = { name: "alice", scope: "write", door: "ssh", key: fingerprint } as const;
  const put = async (main: string): Promise<void> => {
    const text = `version: 1\nnamespaces: { main: ${main} }\n`;
    expect(verdict(await admin.push(policyPush(admin, text)))).toBe("ok");
  };
  const gate = stargate.daemon.registry.byName("kv.git")!.gate;
  await put(`{ writers: [${JSON.stringify(key.line)}] }`);
  expect(await scopeNow(gate, who)).toBe("write");
  await put(`{ readers: [${JSON.stringify(key.line)}] }`);
  expect(await scopeNow(gate, who)).toBe("read");
  await put("{}");
  await expect(scopeNow(gate, who)).rejects.toThrow("is no longer in the policy");
  await stargate.stop();
});
