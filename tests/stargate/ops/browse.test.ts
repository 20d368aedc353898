/** A level of the key space at a time, and the revisions of a key, against what was written. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readState } from "../../../src/kv/state.ts";
import { type BrowseRow, browse, revisions } from "../../../src/stargate/ops/browse.ts";
import { TestClient, TestStargate } from "../../support/stargate.ts";

let stargate: TestStargate;
let client: TestClient;

beforeAll(async () => {
  stargate = await TestStargate.start();
  client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token()));
});
afterAll(() => stargate.stop());

const state = () => readState(client.repo.objects, client.repo.refs, "main")!;

/** All pages of a level. */
function level(prefix: string): BrowseRow[] {
  const rows: BrowseRow[] = [];
  for (let after: string | undefined = ""; after !== undefined; ) {
    const page = browse(client.repo.objects, state(), prefix, after);
    rows.push(...page.rows);
    after = page.after;
  }
  return rows;
}

const names = (rows: readonly BrowseRow[]): string[] =>
  rows.map((row) => (row.kind === "prefix" ? `${row.prefix}…` : row.key));

describe("a level of keys", () => {
  test("gathers what has a further ':' or '/', in byte order, over many pages", async () => {
    const values: Record<string, string> = {};
    for (let i = 0; i < 700; i++) values[`user:${String(i).padStart(4, "0")}`] = "1";
    for (const key of [
      "user:x:deep",
      "user:x:deeper",
      "cfg:a",
      "a/b/c",
      "plain",
      "日本:語",
      "é:1",
      "ends:",
      "gone:1",
    ]) {
      values[key] = "1";
    }
    await client.set(values);
    await client.set({ "gone:1": undefined });
    expect(names(level(""))).toEqual(["a/…", "cfg:…", "ends:", "plain", "user:…", "é:…", "日本:…"]);
    const users = names(level("user:"));
    expect(users.length).toBe(701);
    expect(users.slice(698)).toEqual(["user:0698", "user:0699", "user:x:…"]);
    expect(names(level("user:x:"))).toEqual(["user:x:deep", "user:x:deeper"]);
    expect(names(level("日本:"))).toEqual(["日本:語"]);
    expect(names(level("a/"))).toEqual(["a/b/…"]);
    expect(level("nowhere:")).toEqual([]);
  });
});

describe("revisions", () => {
  test("newest first, with deletions and what other keys did between", async () => {
    const first = await client.set({ "h:k": "1" });
    await client.set({ "h:other": "x" });
    const second = await client.set({ "h:k": "22" });
    const third = await client.set({ "h:k": undefined });
    await client.set({ "h:other": "y" });
    const fourth = await client.set({ "h:k": "4444" });
    await client.set({ "h:other": "z" });
    const found = await revisions(client.repo, state(), "h:k");
    expect(found.map(({ rev, kind, oid, size }) => [rev, kind, oid, size])).toEqual([
      [4, "set", fourth, 4],
      [3, "deleted", third, undefined],
      [2, "set", second, 2],
      [1, "set", first, 1],
    ]);
    expect(found[0]).toMatchObject({ author: "Test <test@example.com>", at: 1_767_322_800, subject: "set h:k" });
    expect(found.map(({ seq }) => seq! - found[3]!.seq!)).toEqual([5, 3, 2, 0]);
    expect(await revisions(client.repo, state(), "never:set")).toEqual([]);
    expect(revisions(client.repo, state(), "")).rejects.toThrow("the key is empty");
  });
});
