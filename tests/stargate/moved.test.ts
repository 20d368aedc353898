/** A repository that is moved, taken away or replaced under its daemon. */

import { afterEach, expect, test } from "bun:test";
import * as fs from "node:fs";
import { KvError } from "../../src/errors.ts";
import { git } from "../support/git.ts";
import { TestClient, TestStargate, verdict } from "../support/stargate.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function scene() {
  const stargate = await TestStargate.start({ adminListen: "127.0.0.1:0" });
  ends.push(() => stargate.stop());
  const token = stargate.token();
  const client = new TestClient(stargate.dir, stargate.loginUrl(token));
  await client.set({ a: "1" });
  const ask = async (): Promise<[number, string]> => {
    const headers = { Authorization: `Bearer ${token}` };
    const answer = await fetch(`${stargate.url}/info/refs?service=git-receive-pack`, { headers });
    return [answer.status, answer.status === 200 ? "" : await answer.text()];
  };
  return { stargate, client, ask };
}

test("while it is away nobody is told that a token is wrong, nor made to wait for it; what is accepted is what was before", async () => {
  const { stargate, client, ask } = await scene();
  const planned = client.plan({ b: "1" });
  expect((await ask())[0]).toBe(200);
  fs.renameSync(stargate.dir, `${stargate.dir}.away`);
  for (let i = 0; i < 20; i++) expect(await ask()).toEqual([500, "internal error: STORAGE\n"]);
  expect(await stargate.logged(({ component }) => component === "http")).toMatchObject({
    message: `${stargate.dir}/stargate is gone, and the tokens with it`,
  });
  fs.renameSync(`${stargate.dir}.away`, stargate.dir);
  expect((await ask())[0]).toBe(200);
  expect(verdict(await client.push(planned))).toBe("ok");
});

test("another one in its place takes no pushes of this daemon, which ends", async () => {
  const { stargate, client } = await scene();
  const filter = (file: string): boolean => !file.endsWith("/socket");
  fs.cpSync(stargate.dir, `${stargate.dir}.copy`, { recursive: true, filter });
  const planned = client.plan({ b: "1" });
  const before = git(stargate.dir, "for-each-ref");
  fs.renameSync(stargate.dir, `${stargate.dir}.away`);
  fs.renameSync(`${stargate.dir}.copy`, stargate.dir);
  expect(verdict(await client.push(planned))).toBe("STORAGE");
  expect(client.said).toContain("is not what this process took the lead of");
  expect([git(stargate.dir, "for-each-ref"), git(`${stargate.dir}.away`, "for-each-ref")]).toEqual([before, before]);
  const [served] = stargate.daemon.registry.all();
  expect(served!.gate.failure).toBeInstanceOf(KvError);
  // Somebody else may lead what is there now.
  const other = await TestStargate.start({ dir: stargate.dir });
  ends.push(() => other.stop());
  expect(verdict(await new TestClient(stargate.dir, other.loginUrl(other.token())).push(planned))).toBe("ok");
});

test("the probes say so too", async () => {
  const { stargate } = await scene();
  fs.renameSync(stargate.dir, `${stargate.dir}.away`);
  expect((await fetch(`${stargate.opsUrl}/readyz`)).status).toBe(503);
  expect((await fetch(`${stargate.opsUrl}/healthz`)).status).toBe(500);
  fs.renameSync(`${stargate.dir}.away`, stargate.dir);
});
