/** The journal, the leader lock and the tokens: what they keep, for whom, and across processes. */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { KvError } from "../../src/errors.ts";
import { Journal, type NewEntry } from "../../src/stargate/journal.ts";
import { LeaderLock } from "../../src/stargate/leader.ts";
import { Mutexes } from "../../src/stargate/mutex.ts";
import { allows, TokenStore } from "../../src/stargate/tokens.ts";
import { tempDir } from "../support/temp.ts";

const OID = "1".repeat(40);

function entry(txn: string, more: Partial<NewEntry> = {}): NewEntry {
  const updates = [{ ref: "refs/kv/main", oldOid: "0".repeat(40), newOid: OID }];
  return {
    kind: "txn",
    ns: "main",
    txn,
    seq: 1,
    oid: OID,
    updates,
    who: "me",
    acceptedAt: 1_000,
    quarantine: undefined,
    ...more,
  };
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof KvError) return error.code;
    throw error;
  }
  return "no error";
}

describe("journal", () => {
  test("keeps entries, and which of them are done, across openings", () => {
    const dir = tempDir("journal");
    const journal = new Journal(dir);
    const first = journal.append(entry("A", { quarantine: "/q" }));
    journal.append(entry("B", { seq: 2 }));
    journal.finish(first);
    expect(journal.find("txn", "main", "A")).toMatchObject({ id: first, done: true, quarantine: "/q", who: "me" });
    journal.close();
    const again = new Journal(dir);
    expect(again.unfinished().map(({ txn }) => txn)).toEqual(["B"]);
    expect(again.find("txn", "main", "B")?.updates).toEqual(entry("B").updates);
    expect(again.newest(5).map(({ txn }) => txn)).toEqual(["B", "A"]);
    again.close();
  });

  test("marks of finished entries reach the disk with the next entry", () => {
    const dir = tempDir("journal");
    const journal = new Journal(dir);
    journal.finish(journal.append(entry("A")));
    const other = new Journal(dir);
    expect(other.unfinished().map(({ txn }) => txn)).toEqual(["A"]);
    journal.append(entry("B", { seq: 2 }));
    expect(other.unfinished().map(({ txn }) => txn)).toEqual(["B"]);
    other.close();
    journal.close();
  });

  test("a transaction is named once in a namespace", () => {
    const journal = new Journal(tempDir("journal"));
    journal.append(entry("A"));
    expect(codeOf(() => journal.append(entry("A")))).toBe("IO");
    journal.append(entry("A", { ns: "other" }));
    journal.append(entry("A", { kind: "policy", ns: "" }));
    expect(journal.unfinished()).toHaveLength(3);
    journal.close();
  });

  test("drops only what is not done", () => {
    const journal = new Journal(tempDir("journal"));
    const a = journal.append(entry("A"));
    const b = journal.append(entry("B", { seq: 2 }));
    journal.finish(a);
    journal.flush();
    journal.drop(a);
    journal.drop(b);
    expect(journal.newest(5).map(({ txn }) => txn)).toEqual(["A"]);
    expect(journal.isAccepted("main", OID)).toBe(true);
    expect(journal.isAccepted("other", OID)).toBe(false);
    journal.close();
  });

  test("knows what the mirror does not have", () => {
    const journal = new Journal(tempDir("journal"));
    journal.append(entry("A", { seq: 1, acceptedAt: 100 }));
    journal.append(entry("B", { seq: 2, acceptedAt: 200 }));
    journal.append(entry("C", { seq: 3, acceptedAt: 300 }));
    expect(journal.backlog("main")).toEqual({ count: 3, oldest: 100 });
    expect(journal.markMirrored("txn", "main", 2, 999)).toEqual([100, 200]);
    expect(journal.backlog("main")).toEqual({ count: 1, oldest: 300 });
    expect(journal.find("txn", "main", "A")?.mirroredAt).toBe(999);
    expect(journal.markMirrored("txn", "main", 2, 1_000)).toEqual([]);
    expect(journal.backlog("other")).toEqual({ count: 0, oldest: undefined });
    const id = journal.append(entry("R", { kind: "ref", ns: "", seq: 0 }));
    expect(journal.pendingRefs().map(({ txn }) => txn)).toEqual(["R"]);
    journal.markOneMirrored(id, 5);
    expect(journal.pendingRefs()).toEqual([]);
    journal.close();
  });

  test("a file that is no journal, or a newer one, is refused", () => {
    const dir = tempDir("journal");
    fs.writeFileSync(path.join(dir, "journal.db"), "this is not a database, whatever it is called".repeat(100));
    expect(codeOf(() => new Journal(dir))).toBe("CORRUPT");
    const newer = tempDir("journal");
    new Journal(newer).close();
    const { Database } = require("bun:sqlite") as typeof import("bun:sqlite");
    const db = new Database(path.join(newer, "journal.db"));
    db.run("PRAGMA user_version = 99");
    db.close();
    expect(codeOf(() => new Journal(newer))).toBe("UNSUPPORTED");
  });
});

describe("leader lock", () => {
  test("one holder at a time; the second learns who it is", () => {
    const dir = tempDir("leader");
    const lock = LeaderLock.acquire(dir, "serve", 0);
    try {
      LeaderLock.acquire(dir, "serve", 0);
      expect.unreachable();
    } catch (error) {
      expect((error as KvError).code).toBe("LOCKED");
      expect((error as KvError).message).toContain(`process ${process.pid}`);
      expect((error as KvError).message).toContain("since 1970-01-01T00:00:00.000Z");
    }
    lock.release();
    LeaderLock.acquire(dir, "serve", 0).release();
  });

  test("the kernel lets go of it when the process is killed", async () => {
    const dir = tempDir("leader");
    const script = `const { LeaderLock } = await import(${JSON.stringify(path.resolve("src/stargate/leader.ts"))});
      // Held by a variable: a lock nobody refers to is collected, and let go of.
      globalThis.lock = LeaderLock.acquire(${JSON.stringify(dir)}, "serve", Date.now());
      console.log("held"); setInterval(() => {}, 1000);`;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "ignore" });
    try {
      let said = "";
      for await (const chunk of child.stdout) {
        said += Buffer.from(chunk).toString();
        if (said.includes("held")) break;
      }
      expect(said).toBe("held\n");
      expect(codeOf(() => LeaderLock.acquire(dir, "serve", 0))).toBe("LOCKED");
    } finally {
      child.kill("SIGKILL");
      await child.exited;
    }
    LeaderLock.acquire(dir, "serve", 0).release();
  });
});

describe("tokens", () => {
  const clock = { ...systemClock, now: () => 1_000_000 };

  test("only their hashes are kept, readable by the owner alone", () => {
    const dir = tempDir("tokens");
    const token = new TokenStore(dir).add("ci", "write", undefined, clock);
    const file = path.join(dir, "tokens.json");
    expect(token).toMatch(/^gkv_[A-Za-z0-9_-]{43}$/);
    expect(fs.readFileSync(file, "utf8")).not.toContain(token.slice(4));
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
  });

  test("are known until they expire or are revoked, by other processes' stores too", () => {
    const dir = tempDir("tokens");
    const [admin, server] = [new TokenStore(dir), new TokenStore(dir)];
    expect(server.identify("anything", 0)).toBeUndefined();
    const token = admin.add("ci", "read", 2_000, clock);
    expect(server.identify(token, 1_999_999)).toEqual({ name: "ci", scope: "read" });
    expect(server.identify(token, 2_000_000)).toBeUndefined();
    expect(server.identify(`${token}x`, 0)).toBeUndefined();
    expect(server.identify("", 0)).toBeUndefined();
    admin.revoke("ci");
    expect(server.identify(token, 0)).toBeUndefined();
  });

  test("names are unique and sensible", () => {
    const store = new TokenStore(tempDir("tokens"));
    store.add("a", "admin", undefined, clock);
    expect(codeOf(() => store.add("a", "read", undefined, clock))).toBe("INPUT_INVALID");
    for (const bad of ["", "a b", "-x", "x\n", "é", "x".repeat(65)]) {
      expect(codeOf(() => store.add(bad, "read", undefined, clock))).toBe("INPUT_INVALID");
    }
    expect(codeOf(() => store.revoke("b"))).toBe("INPUT_INVALID");
    expect(store.list().map(({ name, scope }) => `${name} ${scope}`)).toEqual(["a admin"]);
  });

  test("a damaged file lets nobody in", () => {
    const dir = tempDir("tokens");
    const store = new TokenStore(dir);
    for (const text of [
      "",
      "{",
      "[]",
      '{"v":1,"tokens":[{"name":"x","scope":"root","sha256":""}]}',
      '{"v":2,"tokens":[]}',
    ]) {
      fs.writeFileSync(path.join(dir, "tokens.json"), text);
      expect(codeOf(() => store.identify("x", 0))).toBe("CORRUPT");
    }
  });

  test("scopes include the ones below", () => {
    expect(allows("admin", "read")).toBe(true);
    expect(allows("write", "write")).toBe(true);
    expect(allows("read", "write")).toBe(false);
    expect(allows("write", "admin")).toBe(false);
  });
});

describe("mutexes", () => {
  test("what has one name takes turns, errors included; other names do not wait", async () => {
    const mutexes = new Mutexes();
    const order: string[] = [];
    const gate = Promise.withResolvers<void>();
    const first = mutexes.run("a", async () => {
      await gate.promise;
      order.push("a1");
      throw new Error("first");
    });
    const second = mutexes.run("a", async () => order.push("a2"));
    await mutexes.run("b", async () => order.push("b"));
    gate.resolve();
    await expect(first).rejects.toThrow("first");
    await second;
    expect(order).toEqual(["b", "a1", "a2"]);
  });
});
