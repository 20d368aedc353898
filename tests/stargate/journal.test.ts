/** The journal, the leader lock and the tokens: what they keep, for whom, and across processes. */

import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { KvError } from "../../src/errors.ts";
import { LIMITS } from "../../src/limits.ts";
import { Journal, type NewEntry, type Rejection } from "../../src/stargate/journal.ts";
import { journalError } from "../../src/stargate/journal-rows.ts";
import { JOURNAL_VERSION } from "../../src/stargate/journal-schema.ts";
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
    door: "http",
    signer: undefined,
    keysSet: 1,
    keysDel: 0,
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

  test("what an accept took is known afterwards, and what has happened already needs no finishing", () => {
    const dir = tempDir("journal");
    const journal = new Journal(dir);
    journal.finish(journal.append(entry("A", { acceptedAt: 10 })), 7);
    journal.finish(journal.append(entry("B", { seq: 2, acceptedAt: 20 })));
    journal.record(entry("C", { kind: "branch", ns: "", acceptedAt: 30 }));
    journal.close();
    const again = new Journal(dir);
    expect(again.unfinished()).toEqual([]);
    expect(again.newest(3).map(({ txn, ms }) => [txn, ms])).toEqual([
      ["C", undefined],
      ["B", undefined],
      ["A", 7],
    ]);
    expect(again.durations(10, 100)).toEqual([
      { acceptedAt: 20, mirroredAt: null, ms: null },
      { acceptedAt: 10, mirroredAt: null, ms: 7 },
    ]);
    expect(again.durations(11, 100)).toHaveLength(1);
    expect(again.durations(0, 2)).toHaveLength(1);
    expect(again.unmirrored("ref")).toEqual([]);
    again.close();
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
    expect(journal.unmirrored("ref").map(({ txn }) => txn)).toEqual(["R"]);
    journal.markOneMirrored(id, 5);
    expect(journal.unmirrored("ref")).toEqual([]);
    journal.close();
  });

  test("a file that is no journal, or a newer one, is refused", () => {
    const dir = tempDir("journal");
    fs.writeFileSync(path.join(dir, "journal.db"), "this is not a database, whatever it is called".repeat(100));
    expect(codeOf(() => new Journal(dir))).toBe("CORRUPT");
    expect(() => new Journal(dir)).toThrow(path.join(dir, "journal.db"));
    const runbook = fs.readFileSync(path.join(import.meta.dir, "../../docs/runbook.md"), "utf8");
    const { hint } = journalError(Object.assign(new Error(), { name: "SQLiteError", code: "SQLITE_NOTADB" }), dir);
    expect(runbook).toContain(`### ${/'(.*)'/.exec(hint!)?.[1]}\n`);
    const newer = tempDir("journal");
    new Journal(newer).close();
    const db = new Database(path.join(newer, "journal.db"));
    db.run("PRAGMA user_version = 99");
    db.close();
    expect(codeOf(() => new Journal(newer))).toBe("UNSUPPORTED");
  });
});

describe("versions of the journal", () => {
  /** The tables as version 1 had them, with a row of its day. */
  const VERSION_1 = `
    CREATE TABLE entry (
      id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, ns TEXT NOT NULL, txn TEXT NOT NULL, seq INTEGER NOT NULL,
      oid TEXT NOT NULL, updates TEXT NOT NULL, who TEXT NOT NULL, accepted_at INTEGER NOT NULL, quarantine TEXT,
      done INTEGER NOT NULL DEFAULT 0, mirrored_at INTEGER, UNIQUE (kind, ns, txn));
    CREATE INDEX entry_open ON entry (id) WHERE done = 0;
    CREATE INDEX entry_oid ON entry (oid);
    CREATE INDEX entry_unmirrored ON entry (kind, ns, seq) WHERE mirrored_at IS NULL;
    INSERT INTO entry (kind, ns, txn, seq, oid, updates, who, accepted_at) VALUES ('txn', 'main', 'OLD', 1, '${OID}', '[]', 'me', 5);
    PRAGMA user_version = 1;`;

  test("an old one is brought up to date, and its rows are kept", () => {
    const dir = tempDir("journal");
    const db = new Database(path.join(dir, "journal.db"));
    db.run(VERSION_1);
    db.close();
    const journal = new Journal(dir);
    expect(journal.find("txn", "main", "OLD")).toMatchObject({ who: "me", acceptedAt: 5, keysSet: 0, keysDel: 0 });
    expect(journal.find("txn", "main", "OLD")?.door).toBeUndefined();
    journal.append(entry("NEW", { seq: 2, door: "ssh", signer: "SHA256:x", keysSet: 3, keysDel: 4 }));
    journal.close();
    const again = new Journal(dir);
    expect(again.unfinished().map(({ txn }) => txn)).toEqual(["OLD", "NEW"]);
    expect(again.find("txn", "main", "NEW")).toMatchObject({ door: "ssh", signer: "SHA256:x", keysSet: 3, keysDel: 4 });
    again.close();
    const after = new Database(path.join(dir, "journal.db"));
    expect(after.query("PRAGMA user_version").get()).toEqual({ user_version: JOURNAL_VERSION });
    after.close();
  });
});

describe("refused pushes", () => {
  const refusal = (at: number, more: Partial<Rejection> = {}): Rejection => ({
    at,
    ns: "main",
    code: "CAS_CONFLICT",
    message: "the tip moved",
    who: "me",
    door: "http",
    ...more,
  });

  test("are kept across openings, newest first, without a word too many", () => {
    const dir = tempDir("journal");
    const journal = new Journal(dir);
    journal.reject(refusal(1));
    journal.reject(refusal(2, { ns: "other", door: undefined, message: "x".repeat(10_000) }));
    journal.append(entry("A"));
    journal.close();
    const again = new Journal(dir);
    expect(again.rejections({ limit: 9 }).map(({ at }) => at)).toEqual([2, 1]);
    expect(again.rejections({ limit: 9 })[0]?.message).toHaveLength(LIMITS.journalMessage);
    expect(again.rejections({ limit: 9, ns: "main" })).toEqual([refusal(1)]);
    expect(again.rejections({ limit: 9, since: 2 }).map(({ ns }) => ns)).toEqual(["other"]);
    expect(again.rejections({ limit: 1 })).toHaveLength(1);
    again.close();
  });

  test("only the newest are kept", () => {
    const dir = tempDir("journal");
    const journal = new Journal(dir);
    const extra = 10;
    for (let at = 1; at <= LIMITS.journalRejections + extra; at++) journal.reject(refusal(at));
    const kept = journal.rejections({ limit: 1_000_000 });
    expect(kept).toHaveLength(LIMITS.journalRejections);
    expect(kept.at(-1)?.at).toBe(extra + 1);
    journal.close();
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
    const digest = new Bun.CryptoHasher("sha256").update(token).digest("hex");
    expect(server.identify(token, 1_999_999)).toEqual({ name: "ci", scope: "read", token: digest });
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
