/** What a gate tells those who watch it. */

import { afterEach, expect, test } from "bun:test";
import type { GateEvent } from "../../src/stargate/events.ts";
import { git } from "../support/git.ts";
import { policyPush, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";

let stargate: TestStargate | undefined;
afterEach(() => stargate?.stop());

async function until<T>(find: () => T | undefined): Promise<T> {
  for (const end = Date.now() + 10_000; ; await Bun.sleep(5)) {
    const found = find();
    if (found !== undefined) return found;
    if (Date.now() > end) throw new Error("it did not happen");
  }
}

test("an accepted transaction, its way to the mirror, and refused pushes", async () => {
  const mirror = tempDir("mirror");
  git(mirror, "init", "-q", "--bare");
  stargate = await TestStargate.start({ mirror });
  const { gate } = stargate.daemon.registry.all()[0]!;
  const events: GateEvent[] = [];
  const end = gate.events.listen((event) => void events.push(event));
  const client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token("write", "ci")));

  const planned = client.plan({ "cfg:a": "1", "cfg:b": "2" });
  expect(verdict(await client.push(planned))).toBe("ok");
  const accepted = events.find((event) => event.kind === "accepted");
  expect(accepted).toMatchObject({ ns: "main", seq: 1, oid: planned.ledger, who: "ci", keysSet: 2, keysDel: 0 });
  expect(accepted?.kind === "accepted" && accepted.ms >= 0 && accepted.ms < 60_000).toBe(true);
  const mirrored = await until(() => events.find((event) => event.kind === "mirrored"));
  expect(mirrored).toMatchObject({ ns: "main", lags: [expect.any(Number)] });
  expect(events.filter((event) => event.kind === "mirror try").map(({ result }) => result)).toContain("ok");

  const stale = client.plan({ "cfg:c": "3" });
  await client.set({ "cfg:d": "4" });
  expect(verdict(await client.push(stale))).toBe("CAS_CONFLICT");
  // The mirror may have something to say in between.
  expect(events.findLast(({ kind }) => kind === "rejected")).toMatchObject({
    kind: "rejected",
    ns: "main",
    code: "CAS_CONFLICT",
    who: "ci",
  });
  expect(verdict(await client.push(policyPush(client, "version: 1\n")))).toBe("FORBIDDEN");
  expect(events.findLast(({ kind }) => kind === "rejected")).toMatchObject({
    kind: "rejected",
    ns: "",
    code: "FORBIDDEN",
  });

  end();
  const { length } = events;
  await client.set({ "cfg:e": "5" });
  expect(events.length).toBe(length);
});

test("a mirror that cannot be reached", async () => {
  stargate = await TestStargate.start({ mirror: `${tempDir("mirror")}/gone.git` });
  const { gate } = stargate.daemon.registry.all()[0]!;
  const events: GateEvent[] = [];
  gate.events.listen((event) => void events.push(event));
  const client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token()));
  await client.set({ a: "1" });
  const tried = await until(() => events.find((event) => event.kind === "mirror try"));
  expect(tried).toMatchObject({ result: expect.stringMatching(/^(failed|refused)$/) });
});
