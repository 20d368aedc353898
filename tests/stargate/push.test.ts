/** Pushes to a running Stargate: the good ones are there afterwards, the bad ones are refused by name and leave nothing. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { commitLinks, encodeCommit, parseCommit, parseIdent } from "../../src/gitwire/object/commit.ts";
import { readAs } from "../../src/gitwire/object/object.ts";
import { hashObject, type Oid, SHA256 } from "../../src/gitwire/object/oid.ts";
import { encodeTree, MODE, parseTree, sortEntries } from "../../src/gitwire/object/tree.ts";
import { createDelta } from "../../src/gitwire/pack/delta-search.ts";
import { PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import { POLICY_REF } from "../../src/kv/namespace.ts";
import { contents, copyAll, reader, withLedger } from "../support/forged.ts";
import { fsck, git } from "../support/git.ts";
import { type Planned, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { SIGNATURE_HEADER, TEST_FORMAT } from "../support/test-format.ts";

let stargate: TestStargate;
let client: TestClient;
let token: string;

beforeAll(async () => {
  stargate = await TestStargate.start({ upkeep: false });
  token = stargate.token();
  client = new TestClient(stargate.dir, stargate.loginUrl(token));
  await client.set({ a: "1", b: "2" });
});

afterAll(async () => {
  await stargate.stop();
  expect(fsck(stargate.dir)).toBe("");
});

async function refused(
  planned: Pick<Planned, "commands"> & Partial<Planned>,
  code: string,
  options: readonly string[] = [],
): Promise<void> {
  const before = contents(stargate.dir);
  const result = await client.push(planned, options);
  expect(verdict(result)).toBe(code);
  expect(contents(stargate.dir)).toBe(before);
}

describe("accepted", () => {
  test("a transaction is whole, linear and in the journal", async () => {
    const before = git(stargate.dir, "rev-parse", "refs/kv/main");
    const ledger = await client.set({ c: "3", a: undefined });
    expect(git(stargate.dir, "rev-parse", "refs/kv/main")).toBe(ledger);
    expect(git(stargate.dir, "rev-parse", "refs/kv/main^")).toBe(before);
    expect(git(stargate.dir, "log", "-1", "--format=%(trailers:key=KV-Seq,valueonly)", ledger).trim()).toBe("2");
    expect(git(stargate.dir, "log", "-1", "--format=%(trailers:key=KV-Policy,valueonly)", ledger).trim()).toBe(
      git(stargate.dir, "rev-parse", POLICY_REF),
    );
    expect(stargate.log.some((line) => line.component === "push" && line.oid === ledger)).toBe(true);
  });

  test("the same transaction again is answered ok, at the tip and behind it", async () => {
    const planned = client.plan({ again: "1" });
    expect(verdict(await client.push(planned))).toBe("ok");
    const refs = git(stargate.dir, "for-each-ref");
    expect(verdict(await client.push(planned))).toBe("ok");
    expect(git(stargate.dir, "for-each-ref")).toBe(refs);
    await client.set({ later: "1" });
    expect(verdict(await client.push(planned))).toBe("ok");
  });

  test("a known ledger commit with a kv-index of another transaction is no repetition", async () => {
    const first = client.plan({ mixed: "1" });
    expect(verdict(await client.push(first))).toBe("ok");
    const later = client.plan({ mixed: "2" });
    expect(verdict(await client.push(later))).toBe("ok");
    const mixed = {
      ...first,
      commands: [first.commands[0]!, { ...first.commands[1]!, newOid: later.commands[1]!.newOid }],
    };
    expect(verdict(await client.push(mixed))).toStartWith("CAS_CONFLICT");
  });

  test("namespaces are independent, and the first transaction makes one", async () => {
    await client.set({ x: "1" }, "other");
    expect(git(stargate.dir, "rev-list", "--count", "refs/kv/other")).toBe("1");
  });

  test("values that come back to what they were, the trees they were in lying whole in a pack of git's", async () => {
    const keys = Array.from({ length: 30 }, (_, i) => `back${i}`);
    await client.set(Object.fromEntries(keys.map((key) => [key, "on"])), "back");
    git(stargate.dir, "repack", "-adq");
    for (const value of ["off", "on", undefined, "on"]) await client.set({ back7: value }, "back");
    expect(git(stargate.dir, "rev-list", "--count", "refs/kv/back")).toBe("5");
  });

  test("twenty clients at once: each lands once, the ledger stays a line", async () => {
    const before = Number(git(stargate.dir, "rev-list", "--count", "refs/kv/main"));
    let conflicts = 0;
    const one = async (i: number): Promise<void> => {
      for (;;) {
        const result = verdict(
          await new TestClient(stargate.dir, client.address).push(client.plan({ [`crowd${i}`]: "x" })),
        );
        if (result === "ok") return;
        expect(result).toBe("CAS_CONFLICT");
        conflicts++;
      }
    };
    await Promise.all(Array.from({ length: 20 }, (_, i) => one(i)));
    expect(Number(git(stargate.dir, "rev-list", "--count", "refs/kv/main"))).toBe(before + 20);
    expect(conflicts).toBeGreaterThan(0);
  });
});

describe("refused before the pack is read", () => {
  test("a wrong old oid", async () => {
    const planned = client.plan({ k: "1" });
    const [ledger, index] = planned.commands;
    const { zeroOid } = client.repo.format;
    await refused({ ...planned, commands: [{ ...ledger!, oldOid: zeroOid }, index!] }, "CAS_CONFLICT");
    await refused({ ...planned, commands: [ledger!, { ...index!, oldOid: zeroOid }] }, "CAS_CONFLICT");
    const parent = git(stargate.dir, "rev-parse", "refs/kv/main^");
    await refused({ ...planned, commands: [{ ...ledger!, oldOid: parent }, index!] }, "CAS_CONFLICT");
  });

  test("half a transaction, a deletion, a mix", async () => {
    const planned = client.plan({ k: "1" });
    const [ledger, index] = planned.commands;
    const { zeroOid } = client.repo.format;
    await refused({ ...planned, commands: [ledger!] }, "REF_FORBIDDEN");
    await refused({ ...planned, commands: [index!] }, "REF_FORBIDDEN");
    await refused({ commands: planned.commands.map((c) => ({ ...c, newOid: zeroOid })) }, "REF_FORBIDDEN");
    const branch = { ref: "refs/heads/x", oldOid: zeroOid, newOid: ledger!.newOid };
    await refused({ ...planned, commands: [...planned.commands, branch] }, "REF_FORBIDDEN");
    expect(client.said).toContain("push them apart");
  });

  test("an expectation that does not hold; one that does is let in", async () => {
    const planned = client.plan({ k: "1" });
    const tree = git(stargate.dir, "rev-parse", "refs/kv/main^{tree}");
    const blob = git(stargate.dir, "hash-object", "-w", "--stdin");
    await refused(planned, "CAS_CONFLICT", [`expect-tree=${blob}`]);
    await refused(planned, "CAS_CONFLICT", [`expect-blob=b:${blob}`]);
    await refused(planned, "CAS_CONFLICT", ["expect-blob=b:0"]);
    await refused(planned, "INPUT_INVALID", ["expect-blog=b:0"]);
    const two = hashObject(client.repo.format, "blob", Buffer.from("2"));
    expect(
      verdict(await client.push(planned, [`expect-tree=${tree}`, `expect-blob=b:${two}`, "expect-blob=nokey:0"])),
    ).toBe("ok");
  });

  test("a token that may only read", async () => {
    const reader = new TestClient(stargate.dir, stargate.loginUrl(stargate.token("read")));
    await expect(reader.push(client.plan({ k: "r" }))).rejects.toMatchObject({ code: "FORBIDDEN" });
  });
});

describe("refused on admission", () => {
  const unchanged = (text: string): string => text;

  test("a second parent", async () => {
    const planned = client.plan({ p: "1" });
    const other = git(stargate.dir, "rev-parse", POLICY_REF);
    await refused(
      withLedger(client, planned, (text) => text.replace(/^parent .*$/m, `$&\nparent ${other}`)),
      "NOT_LINEAR",
    );
  });

  test("no parent, or another one", async () => {
    const planned = client.plan({ p: "1" });
    await refused(
      withLedger(client, planned, (text) => text.replace(/^parent .*\n/m, "")),
      "NOT_FAST_FORWARD",
    );
    const grandparent = git(stargate.dir, "rev-parse", "refs/kv/main^");
    await refused(
      withLedger(client, planned, (text) => text.replace(/^parent .*$/m, `parent ${grandparent}`)),
      "NOT_FAST_FORWARD",
    );
  });

  test.each([
    ["the wrong namespace", (t: string) => t.replace("KV-NS: main", "KV-NS: mine"), "ATTESTATION_MISMATCH"],
    ["a trailer twice", (t: string) => t.replace(/^KV-Seq: .*$/m, "$&\n$&"), "ATTESTATION_MISMATCH"],
    ["a trailer missing", (t: string) => t.replace(/^Keys-Del: .*\n/m, ""), "ATTESTATION_MISMATCH"],
    ["no trailers", (t: string) => `${t.slice(0, t.indexOf("\n\nKV-NS"))}\n`, "ATTESTATION_MISSING"],
    ["a wrong seq", (t: string) => t.replace(/^KV-Seq: .*$/m, "KV-Seq: 999"), "ATTESTATION_MISMATCH"],
    ["a wrong base", (t: string) => t.replace(/^Base-Tree: .*$/m, "Base-Tree: -"), "ATTESTATION_MISMATCH"],
    [
      "a wrong kv-index tree",
      (t: string) => t.replace(/^KV-Index-Tree: .*$/m, `KV-Index-Tree: ${"1".repeat(TEST_FORMAT.hexSize)}`),
      "ATTESTATION_MISMATCH",
    ],
    [
      "another KV-Txn than the kv-index",
      (t: string) => t.replace(/^KV-Txn: .*$/m, "KV-Txn: 01JBAXF5Z8J8M7R2TK7GQ4W9YC"),
      "ATTESTATION_MISMATCH",
    ],
    ["another policy", (t: string) => t.replace(/^KV-Policy: .*$/m, "KV-Policy: -"), "POLICY_STALE"],
    ["a wrong count", (t: string) => t.replace(/^Keys-Set: .*$/m, "Keys-Set: 7"), "REPLAY_MISMATCH"],
    ["too many keys by its own word", (t: string) => t.replace(/^Keys-Set: .*$/m, "Keys-Set: 100001"), "TXN_TOO_LARGE"],
    ["a further header", (t: string) => t.replace("\n\n", "\nencoding UTF-8\n\n"), "ATTESTATION_MISMATCH"],
    [
      "a signature that is none",
      (t: string) => t.replace("\n\n", `\n${SIGNATURE_HEADER} garbage\n\n`),
      "BAD_SIGNATURE",
    ],
    ["another epoch", (t: string) => t.replace(/^Epoch: .*$/m, "Epoch: e2"), "ATTESTATION_MISMATCH"],
  ])("%s", async (_what, edit, code) => {
    await refused(withLedger(client, client.plan({ t: "1" }), edit), code);
  });

  test("the unchanged copy of such a commit is fine: the helper does not break it", async () => {
    expect(verdict(await client.push(withLedger(client, client.plan({ t: "1" }), unchanged)))).toBe("ok");
  });

  test("a KV-Txn that is taken", async () => {
    const first = client.plan({ u: "1" });
    expect(verdict(await client.push(first))).toBe("ok");
    await refused(client.plan({ u: "2" }, "main", first.txn), "ATTESTATION_MISMATCH");
    expect(client.said).toContain(first.txn);
  });

  /** A transaction whose ledger tree `edit` has changed, attested as a careful liar would. */
  function forged(
    edit: (
      write: PackBuilder,
      root: { name: string; mode: number; oid: Oid }[],
    ) => { name: string; mode: number; oid: Oid }[],
  ): Planned {
    const planned = client.plan({ f: "1" });
    const { repo } = client;
    const read = reader(client, planned);
    const pack = new PackBuilder(repo.format);
    copyAll(planned, pack);
    const [ledger, index] = planned.commands;
    const rewrite = (oid: Oid, change: (message: string) => string, tree?: Oid): Oid => {
      const commit = parseCommit(repo.format, read(oid));
      const encoded = encodeCommit({
        tree: tree ?? commit.tree,
        parents: commit.parents,
        author: parseIdent(commit.author),
        committer: parseIdent(commit.committer),
        message: change(commit.message),
      });
      return pack.write("commit", encoded);
    };
    const old = commitLinks(repo.format, read(ledger!.newOid)).tree;
    const entries = edit(
      pack,
      parseTree(repo.format, read(old)).map((entry) => ({ ...entry })),
    );
    const tree = pack.write("tree", encodeTree(repo.format, sortEntries(entries)));
    const newLedger = rewrite(ledger!.newOid, (message) => message, tree);
    const newIndex = rewrite(index!.newOid, (message) => message.replace(old, tree));
    return {
      ...planned,
      pack,
      ledger: newLedger,
      commands: [
        { ...ledger!, newOid: newLedger },
        { ...index!, newOid: newIndex },
      ],
    };
  }

  test("a file outside the canonical places", async () => {
    const blob = (pack: PackBuilder): Oid => pack.write("blob", Buffer.from("x"));
    await refused(
      forged((pack, root) => [...root, { name: "extra", mode: MODE.file, oid: blob(pack) }]),
      "KEY_INVALID",
    );
    const deeper = (
      pack: PackBuilder,
      root: { name: string; mode: number; oid: Oid }[],
      name: string,
      mode: number,
    ): typeof root =>
      root.map((entry) => {
        if (entry.name !== "data") return entry;
        const below = parseTree(client.repo.format, readAs(client.repo.objects, dataTree(), "tree"));
        return {
          ...entry,
          oid: pack.write(
            "tree",
            encodeTree(client.repo.format, sortEntries([...below, { name, mode, oid: blob(pack) }])),
          ),
        };
      });
    const dataTree = (): Oid => git(stargate.dir, "rev-parse", "refs/kv/main:data");
    await refused(
      forged((pack, root) => deeper(pack, root, "%zz", MODE.file)),
      "KEY_INVALID",
    );
    await refused(
      forged((pack, root) => deeper(pack, root, "exe", MODE.executable)),
      "KEY_INVALID",
    );
    await refused(
      forged((pack, root) => deeper(pack, root, "nometa", MODE.file)),
      "REPLAY_MISMATCH",
    );
  });

  test("what was refused is no base of what comes next, what was accepted is", async () => {
    const { format, objects, refs } = client.repo;
    const treeAt = (commit: Buffer): Oid => commitLinks(format, commit).tree;
    const before = treeAt(objects.read(refs.resolve("refs/kv-index/main")!)!.data);
    const planned = client.plan({ based: "1" });
    const after = treeAt(reader(client, planned)(planned.commands[1]!.newOid));
    const { kind, data } = planned.objects.get(after)!;
    // Its index tree comes as a delta: the Stargate knows of what it is made.
    const forged = withLedger(client, planned, (text) => text.replace(/^Keys-Set: .*$/m, "Keys-Set: 7"));
    const pack = new PackBuilder(format);
    for (const [oid, object] of forged.objects) if (oid !== after) pack.write(object.kind, object.data);
    pack.writeDelta(kind, data, before, createDelta(objects.read(before)!.data, data)!);
    await refused({ ...forged, pack }, "REPLAY_MISMATCH");

    const based = (txn: Planned): Planned => {
      const entries = parseTree(format, data);
      const more = encodeTree(format, sortEntries([...entries, { ...entries[0]!, name: "zz" }]));
      txn.pack.writeDelta(kind, more, after, createDelta(data, more)!);
      return txn;
    };
    await refused(based(client.plan({ next: "1" })), "unpacker error");
    expect(verdict(await client.push(planned))).toBe("ok");
    expect(verdict(await client.push(based(client.plan({ next: "1" }))))).toBe("ok");
  });

  test("another kv.json", async () => {
    const edit = (pack: PackBuilder, root: { name: string; mode: number; oid: Oid }[]): typeof root =>
      root.map((entry) =>
        entry.name === "kv.json" ? { ...entry, oid: pack.write("blob", Buffer.from("{}")) } : entry,
      );
    await refused(forged(edit), "REPLAY_MISMATCH");
  });

  test("a value over the limit", async () => {
    await refused(client.plan({ big: "x".repeat(1024 * 1024 + 1) }), "VALUE_TOO_LARGE");
  });

  test("objects that are missing", async () => {
    const planned = client.plan({ m: "value of m" });
    const read = reader(client, planned);
    const pack = new PackBuilder(client.repo.format);
    for (const { newOid } of planned.commands) pack.write("commit", read(newOid));
    await refused({ ...planned, pack }, "missing necessary objects");
  });
});

describe("sha256", () => {
  test("works the same", async () => {
    const other = await TestStargate.start({ upkeep: false, format: SHA256 });
    const one = new TestClient(other.dir, other.loginUrl(other.token()));
    await one.set({ a: "1" });
    await one.set({ a: "2", b: "3" });
    expect(git(other.dir, "rev-list", "--count", "refs/kv/main")).toBe("2");
    await other.stop();
    expect(fsck(other.dir)).toBe("");
  });
});
