/** The revisions of a key against a plain list of what was done to it, and what is said of their signatures. */

import { describe, expect, test } from "bun:test";
import * as path from "node:path";
import type { Oid } from "../../src/gitwire/object/oid.ts";
import { writePack } from "../../src/gitwire/store/object-writer.ts";
import { type Revision, revisionsOf } from "../../src/kv/history.ts";
import { parseKey } from "../../src/kv/key.ts";
import { LedgerLookup } from "../../src/kv/ledger-lookup.ts";
import { SignatureReporter } from "../../src/kv/signature-report.ts";
import { type NamespaceState, readState, stateAt } from "../../src/kv/state.ts";
import { valuePatch } from "../../src/kv/value-patch.ts";
import { withLedger } from "../support/forged.ts";
import { KvModel } from "../support/kv-model.ts";
import { random } from "../support/random.ts";
import { policyPush, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TestKey } from "../support/test-key.ts";

async function history(model: KvModel, tip: NamespaceState, key: string): Promise<Revision[]> {
  const file = path.join(tempDir("history"), "table");
  const lookup = await LedgerLookup.open({ objects: model.objects, file }, tip.ledger);
  const revisions: Revision[] = [];
  for await (const revision of revisionsOf(model.objects, tip, parseKey(key), lookup)) revisions.push(revision);
  lookup.close();
  return revisions;
}

describe("the revisions of a key", () => {
  test("are what was done to it, whatever else was done, from any state", async () => {
    const seeded = random("history");
    const model = new KvModel();
    const keys = ["a", "b", `long:${"x".repeat(300)}`];
    const done = new Map<string, { rev: number; value: string | undefined; oid: Oid }[]>(keys.map((key) => [key, []]));
    const tips: { state: NamespaceState; counts: number[] }[] = [];
    // Enough keys for the tries to split while the history is made.
    const filler = Array.from({ length: 400 }, (_, i) => model.set(`fill:${i}`, "x"));
    for (let i = 0; i < 120; i++) {
      const operations = filler.splice(0, 4);
      const changed: [string, string | undefined][] = [];
      for (const key of keys) {
        const isLive = done.get(key)!.at(-1)?.value !== undefined;
        if (seeded.int(3) > 0) continue;
        const value = isLive && seeded.int(3) === 0 ? undefined : `value ${i}`;
        operations.push(value === undefined ? model.del(key) : model.set(key, value));
        changed.push([key, value]);
      }
      model.commit(operations);
      for (const [key, value] of changed) {
        const all = done.get(key)!;
        all.push({ rev: all.length + 1, value, oid: model.state!.ledger.oid });
      }
      tips.push({ state: model.state!, counts: keys.map((key) => done.get(key)!.length) });
    }
    for (const { state, counts } of [tips.at(-1)!, tips[60]!, tips[0]!]) {
      for (const [i, key] of keys.entries()) {
        const revisions = await history(model, state, key);
        const expected = done.get(key)!.slice(0, counts[i]).reverse();
        expect(revisions.map(({ rev, made }) => [rev, made?.oid])).toEqual(expected.map(({ rev, oid }) => [rev, oid]));
        for (const [at, { value }] of expected.entries()) {
          expect(revisions[at]!.meta?.size).toBe(value === undefined ? undefined : value.length);
          const before = expected[at + 1]?.value;
          const patch = valuePatch(model.objects, parseKey(key), revisions[at + 1], revisions[at]!);
          const lines = [before === undefined ? [] : [`-${before}`], value === undefined ? [] : [`+${value}`]].flat();
          expect(patch.split("\n").slice(1)).toEqual(lines);
        }
      }
      expect(await history(model, state, "never")).toEqual([]);
    }
  });

  test("cost what the key has, not what the ledger has", async () => {
    const model = new KvModel();
    const file = path.join(tempDir("history"), "table");
    for (let i = 0; i < 300; i++) model.commit([model.set(i % 60 === 0 ? "k" : `other:${i}`, `${i}`)]);
    const tip = model.state!;
    (await LedgerLookup.open({ objects: model.objects, file }, tip.ledger)).close();
    const lookup = await LedgerLookup.open({ objects: model.objects, file }, tip.ledger);
    model.objects.reads.commit = 0;
    let count = 0;
    for await (const _ of revisionsOf(model.objects, tip, parseKey("k"), lookup)) count++;
    expect(count).toBe(5);
    // Of each revision the commit it was built on, and the one that made it.
    expect(model.objects.reads.commit).toBeLessThanOrEqual(2 * count);
    lookup.close();
  });

  test("a value that is no short text is told by its size", () => {
    const model = new KvModel();
    model.commit([model.set("k", "text")]);
    const text = model.state!;
    model.commit([model.set("k", "\0\x01", { ctype: "image/png" })]);
    const side = (state: NamespaceState) => ({ state, meta: metaOf(model, state) });
    expect(valuePatch(model.objects, parseKey("k"), side(text), side(model.state!))).toMatch(
      /^4 B of application\/octet-stream, blake3:[0-9a-f]{16} -> 2 B of image\/png, blake3:[0-9a-f]{16}$/,
    );
    expect(valuePatch(model.objects, parseKey("k"), side(text), side(text))).toBe("");
  });
});

function metaOf(model: KvModel, state: NamespaceState): Revision["meta"] {
  const [record] = [...model.files(state.meta).values()];
  return JSON.parse(model.objects.read(record!)!.data.toString());
}

describe("signatures of a ledger", () => {
  test("are judged by the policy of their day", async () => {
    const [alice, bot, mallory, admin] = ["alice", "bot@example.com", "mallory", "admin"].map(
      (name) => new TestKey(name),
    ) as [TestKey, TestKey, TestKey, TestKey];
    const policy = (writers: readonly TestKey[]): string =>
      `version: 1\nstargate: { admins: ["${admin.line}"] }\nnamespaces: { main: { writers: [${writers.map(({ line }) => `"${line}"`).join(", ")}] } }\n`;
    const stargate = await TestStargate.start({ upkeep: false });
    const client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token("admin")));
    try {
      await client.set({ a: "unsigned" });
      expect(verdict(await client.push(mallory.signed(client, client.plan({ a: "before there is a list" }))))).toBe(
        "ok",
      );
      expect(verdict(await client.push(policyPush(client, policy([alice, bot]))))).toBe("ok");
      expect(verdict(await client.push(bot.signed(client, client.plan({ a: "2" }))))).toBe("ok");
      const next = policyPush(client, policy([alice]), undefined, (commit) => admin.signCommit(commit));
      expect(verdict(await client.push(next))).toBe("ok");
      expect(verdict(await client.push(alice.signed(client, client.plan({ a: "3" }))))).toBe("ok");
      const { objects, refs } = client.repo;
      const reporter = new SignatureReporter(client.repo);
      const tip = readState(objects, refs, "main")!;
      const reports: unknown[] = [];
      for (let at: Oid | undefined = tip.ledger.oid; at !== undefined; ) {
        const { ledger } = stateAt(objects, at);
        const { state, name, signer } = await reporter.of(ledger);
        reports.push([state, name, signer?.startsWith("SHA256:")]);
        at = ledger.parent;
      }
      expect(reports).toEqual([
        ["good", "alice", true],
        ["good", "bot@example.com", true],
        ["good", undefined, true],
        ["unsigned", undefined, undefined],
      ]);
      // What somebody with the disk put there: by a key that may not write any more, and with a signature of other bytes.
      const strange = bot.signed(client, client.plan({ a: "4" }));
      writePack(objects, strange.pack.finish());
      const forged = stateAt(objects, strange.ledger).ledger;
      expect(await reporter.of(forged)).toMatchObject({
        state: "stranger",
        problem: expect.stringContaining("no writer"),
      });
      const altered = withLedger(client, alice.signed(client, client.plan({ a: "4" })), (text) =>
        text.replace("set a", "set b"),
      );
      writePack(objects, altered.pack.finish());
      expect(await reporter.of(stateAt(objects, altered.ledger).ledger)).toMatchObject({
        state: "bad",
        problem: expect.any(String),
      });
    } finally {
      await stargate.stop();
    }
  });
});
