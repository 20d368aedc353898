/** What a ledger and a kv-index commit may say: anything a person or git would read otherwise than we do is refused. */

import { describe, expect, test } from "bun:test";
import { KvError } from "../../src/errors.ts";
import { encodeCommit } from "../../src/gitwire/object/commit.ts";
import { type ObjectFormat, SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import {
  formatChunkTrailers,
  formatIndexTrailers,
  formatLedgerTrailers,
  type LedgerTrailers,
  parseChunkCommit,
  parseIndexCommit,
  parseLedgerCommit,
} from "../../src/kv/attestation.ts";
import { git, gitInput } from "../support/git.ts";
import { KvModel } from "../support/kv-model.ts";
import { random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

const WHO = { name: "Test", email: "test@example.com", seconds: 1_767_322_800, offset: 60 };
const TXN = "01JBAXF5Z8J8M7R2TK7GQ4W9YC";
const oid = (format: ObjectFormat, digit: string): string => digit.repeat(format.hexSize);

function trailers(format: ObjectFormat): LedgerTrailers {
  return {
    ns: "main",
    txn: TXN,
    seq: 7,
    baseTree: oid(format, "b"),
    indexTree: oid(format, "c"),
    chunksTree: undefined,
    policy: oid(format, "d"),
    epoch: "e1",
    keysSet: 2,
    keysDel: 1,
  };
}

function commit(format: ObjectFormat, message: string, parents = [oid(format, "a")]): Buffer {
  return encodeCommit({ tree: oid(format, "e"), parents, author: WHO, committer: WHO, message });
}

function ledger(format: ObjectFormat, text = "set a"): string {
  return commit(format, `${text}\n\n${formatLedgerTrailers(trailers(format))}`).toString();
}

function index(format: ObjectFormat, text = "kv-index: set a"): string {
  const block = formatIndexTrailers({ ns: "main", txn: TXN, seq: 7, ledgerTree: oid(format, "f") });
  return commit(format, `${text}\n\n${block}`).toString();
}

function chunk(format: ObjectFormat, text = "kv-chunks: set a"): string {
  return commit(format, `${text}\n\n${formatChunkTrailers({ ns: "main", txn: TXN, epoch: "e1" })}`).toString();
}

/** Code of the error reading ends with; "ok" where there is none. */
function judge(
  read: (format: ObjectFormat, oid: string, data: Buffer) => unknown,
  format: ObjectFormat,
  text: string,
): string {
  try {
    read(format, oid(format, "9"), Buffer.from(text));
    return "ok";
  } catch (error) {
    if (error instanceof KvError) return error.code;
    throw error;
  }
}

describe.each([SHA1, SHA256])("commits in a $name repository", (format) => {
  const judgeLedger = (text: string): string => judge(parseLedgerCommit, format, text);
  const judgeIndex = (text: string): string => judge(parseIndexCommit, format, text);
  const good = ledger(format);
  const goodIndex = index(format);
  const lines = formatLedgerTrailers(trailers(format)).trimEnd().split("\n");
  const with_ = (block: readonly string[], text = "set a"): string =>
    commit(format, `${text}\n\n${block.join("\n")}\n`).toString();

  test("what is written is read back", () => {
    expect(parseLedgerCommit(format, oid(format, "9"), Buffer.from(good))).toMatchObject({
      ...trailers(format),
      oid: oid(format, "9"),
      tree: oid(format, "e"),
      parent: oid(format, "a"),
    });
    expect(parseIndexCommit(format, oid(format, "9"), Buffer.from(goodIndex))).toMatchObject({
      ns: "main",
      txn: TXN,
      seq: 7,
      ledgerTree: oid(format, "f"),
      tree: oid(format, "e"),
      parent: oid(format, "a"),
    });
    const later = { ...trailers(format), parentEpoch: { label: "e1", ledger: oid(format, "1") } };
    const root = commit(format, `epoch e2\n\n${formatLedgerTrailers(later)}`, []);
    expect(parseLedgerCommit(format, oid(format, "9"), root)).toMatchObject({ ...later, parent: undefined });
  });

  test("a chunk commit says which namespace, transaction and epoch its pieces are of, and no more", () => {
    const text = chunk(format);
    const block = text.slice(text.lastIndexOf("\n\n") + 2);
    expect(block).toBe(`KV-NS: main\nKV-Txn: ${TXN}\nEpoch: e1\n`);
    const [own, tree, parent] = ["9", "e", "a"].map((digit) => oid(format, digit)) as [string, string, string];
    expect(parseChunkCommit(format, own, Buffer.from(text))).toEqual({
      oid: own,
      tree,
      parent,
      ns: "main",
      txn: TXN,
      epoch: "e1",
    });
    const judgeChunk = (changed: string): string => judge(parseChunkCommit, format, changed);
    expect(judgeChunk(chunk(format, "kv-chunks: set kv-x: a key may be called so"))).toBe("ok");
    expect(judgeChunk(chunk(format, "set a\n\nEpoch: e2"))).toBe("ATTESTATION_MISMATCH");
    for (const line of block.trimEnd().split("\n")) {
      expect(judgeChunk(text.replace(`${line}\n`, ""))).toBe("ATTESTATION_MISMATCH");
      expect(judgeChunk(text.replace(line, `${line}\n${line}`))).toBe("ATTESTATION_MISMATCH");
    }
    expect(judgeChunk(text.replace("Epoch: e1", "Epoch: e1\nKV-Seq: 1"))).toBe("ATTESTATION_MISMATCH");
    expect(judgeChunk(text.replace(/^parent .*\n/m, (line) => line + line))).toBe("NOT_LINEAR");
    const signature = format === TEST_FORMAT ? "gpgsig" : "gpgsig-sha256";
    expect(judgeChunk(text.replace("\n\n", `\n${signature} x\n\n`))).toBe("ATTESTATION_MISMATCH");
    expect(judgeChunk(`${text.slice(0, text.indexOf("\n\n"))}\n\nset a\n`)).toBe("ATTESTATION_MISSING");
  });

  test("the block is word for word the one the format shows, and git reads the same", () => {
    expect(lines.map((line) => line.split(":")[0])).toEqual([
      "KV-NS",
      "KV-Txn",
      "KV-Seq",
      "Base-Tree",
      "KV-Index-Tree",
      "KV-Chunks-Tree",
      "KV-Policy",
      "Epoch",
      "Keys-Set",
      "Keys-Del",
    ]);
    expect(lines[5]).toBe("KV-Chunks-Tree: -");
    const dir = tempDir("trailers");
    for (const text of [good, goodIndex]) {
      const message = text.slice(text.indexOf("\n\n") + 2);
      const seen = gitInput(dir, message, "interpret-trailers", "--parse");
      expect(`${seen}\n`).toBe(message.slice(message.lastIndexOf("\n\n") + 2));
    }
  });

  test("a trailer left out, doubled, moved, of other case or malformed", () => {
    for (const [i, line] of lines.entries()) {
      const [key, value] = line.split(": ") as [string, string];
      const changed = (...now: string[]): string => judgeLedger(with_(lines.toSpliced(i, 1, ...now)));
      expect([key, changed()]).toEqual([key, "ATTESTATION_MISMATCH"]);
      expect([key, changed(line, line)]).toEqual([key, "ATTESTATION_MISMATCH"]);
      expect([key, changed(`${key.toUpperCase()}X: ${value}`)]).toEqual([key, "ATTESTATION_MISMATCH"]);
      expect([key, changed(`${key.toLowerCase()}: ${value}`)]).toEqual([key, "ATTESTATION_MISMATCH"]);
      const next = (i + 1) % lines.length;
      const swapped = lines.toSpliced(i, 1, lines[next]!).toSpliced(next, 1, line);
      expect([key, judgeLedger(with_(swapped))]).toEqual([key, "ATTESTATION_MISMATCH"]);
      for (const bad of [`${key}:${value}`, `${key}:  ${value}`, `${line} `, `${line}\r`, ` ${line}`, `${key}:`]) {
        expect([bad, changed(bad)]).toEqual([bad, "ATTESTATION_MISSING"]);
      }
      expect([key, changed(line, " folded on")]).toEqual([key, "ATTESTATION_MISSING"]);
      expect([key, changed(line, "KV-Extra: 1")]).toEqual([key, "ATTESTATION_MISMATCH"]);
      expect([key, changed(line, "Signed-off-by: a")]).toEqual([key, "ATTESTATION_MISMATCH"]);
    }
  });

  test("malformed values", () => {
    const bad: [string, string[]][] = [
      ["KV-Txn", ["-", TXN.toLowerCase(), `${TXN}0`, "81JBAXF5Z8J8M7R2TK7GQ4W9YC", "01JBAXF5Z8J8M7R2TK7GQ4W9YI"]],
      ["KV-Seq", ["-1", "01", "1.5", "0x1", "1e3", "9".repeat(16), "-"]],
      ["Base-Tree", ["--", "abc", oid(format, "B"), "b".repeat(format.hexSize + 1), "b".repeat(format.hexSize - 1)]],
      ["KV-Index-Tree", ["-", oid(format, "g")]],
      ["KV-Chunks-Tree", ["none"]],
      ["KV-Policy", ["0"]],
      ["Keys-Set", ["+1", "two"]],
      ["Keys-Del", ["1 "]],
    ];
    for (const [key, values] of bad) {
      const at = lines.findIndex((line) => line.startsWith(`${key}:`));
      for (const value of values) {
        const code = judgeLedger(with_(lines.toSpliced(at, 1, `${key}: ${value}`)));
        expect([key, value, code]).toEqual([
          key,
          value,
          value.endsWith(" ") ? "ATTESTATION_MISSING" : "ATTESTATION_MISMATCH",
        ]);
      }
    }
    for (const value of [
      "e1",
      `e1  ${oid(format, "1")}`,
      `e1 ${oid(format, "1")} x`,
      "e1 abc",
      `${oid(format, "1")}`,
    ]) {
      expect([value, judgeLedger(with_([...lines, `Parent-Epoch: ${value}`]))]).toEqual([
        value,
        "ATTESTATION_MISMATCH",
      ]);
    }
  });

  test("lines in the text that look like trailers", () => {
    for (const line of [
      "KV-NS: other",
      "kv-txn: x",
      "  KV-Seq : 1",
      "KV-2: x",
      "epoch: e9",
      "Base-Tree: -",
      "KEYS-SET: 1",
      "Parent-Epoch: x",
      "\tKeys-Del\t:",
    ]) {
      expect([line, judgeLedger(ledger(format, line))]).toEqual([line, "ATTESTATION_MISMATCH"]);
      for (const text of [`set a\n\n${line}\n\nmore`, `set a\n\nmore\n${line}`, `set a\rx\r${line}`]) {
        expect([text, judgeLedger(ledger(format, text))]).toEqual([text, "ATTESTATION_MISMATCH"]);
        expect([text, judgeIndex(index(format, `kv-index: ${text}`))]).toEqual([text, "ATTESTATION_MISMATCH"]);
      }
    }
    const harmless = [
      "set KV-NS: x",
      "set a\n\nAn epoch: none",
      "set a\n\nSee-also: b\nFoo: c",
      "set \u2028KV-NS: x",
      "set é\u2029epoch: 1",
      "KV-Index tree",
    ];
    for (const text of harmless) expect([text, judgeLedger(ledger(format, text))]).toEqual([text, "ok"]);
  });

  test("a message without a subject, without a last newline, with a NUL", () => {
    const message = good.slice(good.indexOf("\n\n") + 2);
    const head = good.slice(0, good.indexOf("\n\n") + 2);
    const block = message.slice(message.indexOf("\n\n") + 2);
    for (const [text, code] of [
      [block, "ATTESTATION_MISSING"],
      [`\n\n${block}`, "ATTESTATION_MISMATCH"],
      [`\n${message}`, "ATTESTATION_MISMATCH"],
      [message.slice(0, -1), "ATTESTATION_MISSING"],
      [`${message}\n`, "ATTESTATION_MISSING"],
      [`${message}\ntext\n`, "ATTESTATION_MISSING"],
      [`set a\n\nx\0\n\n${block}`, "ATTESTATION_MISMATCH"],
      ["set a\n\nFoo: bar\n", "ATTESTATION_MISSING"],
      ["set a\n", "ATTESTATION_MISSING"],
      ["", "ATTESTATION_MISSING"],
    ] as const) {
      expect([text, judgeLedger(head + text)]).toEqual([text, code]);
    }
  });

  test("the subject of the kv-index is no trailer, whatever it says", () => {
    for (const text of ["kv-index: mset: 1 set, 2 del", "kv-index: set a: b", "kv-index: x\n\nbody", "anything"]) {
      expect([text, judgeIndex(index(format, text))]).toEqual([text, "ok"]);
    }
    expect(judgeIndex(index(format, "kv-index: kv-index: x"))).toBe("ATTESTATION_MISMATCH");
    expect(judgeIndex(good)).toBe("ATTESTATION_MISMATCH");
    expect(judgeLedger(goodIndex)).toBe("ATTESTATION_MISMATCH");
  });

  test("headers: exactly those, one signature on the ledger at most", () => {
    const name = format.name === "sha1" ? "gpgsig" : "gpgsig-sha256";
    const other = format.name === "sha1" ? "gpgsig-sha256" : "gpgsig";
    const signature = `${name} -----BEGIN SSH SIGNATURE-----\n abc\n -----END SSH SIGNATURE-----\n`;
    const after = (text: string, headers: string): string => text.replace("\n\n", `\n${headers}\n`);
    expect(judgeLedger(after(good, signature))).toBe("ok");
    expect(judgeLedger(after(good, signature + signature))).toBe("ATTESTATION_MISMATCH");
    expect(judgeLedger(after(good, signature.replace(name, other)))).toBe("ATTESTATION_MISMATCH");
    expect(judgeLedger(after(good, signature + signature.replace(name, other)))).toBe("ATTESTATION_MISMATCH");
    expect(judgeIndex(after(goodIndex, signature))).toBe("ATTESTATION_MISMATCH");
    expect(judgeLedger(good.replace("\ncommitter Test", "\ncommitter Te\0st"))).toBe("ATTESTATION_MISMATCH");
    for (const extra of [
      "encoding ISO-8859-1\n",
      // A further line of the committer, to git.
      " folded\n",
      " gpgsig x\n",
      "mergetag x\n",
      "GPGSIG x\n",
      "x\n",
      `parent ${oid(format, "3")}\n`,
      "author A <a> 1 +0000\n",
    ]) {
      expect([extra, judgeLedger(after(good, extra))]).toEqual([extra, "ATTESTATION_MISMATCH"]);
      expect([extra, judgeLedger(after(good, extra + signature))]).toEqual([extra, "ATTESTATION_MISMATCH"]);
      if (extra.startsWith(" ")) continue;
      expect([extra, judgeLedger(after(good, signature + extra))]).toEqual([extra, "ATTESTATION_MISMATCH"]);
    }
    const two = commit(format, good.slice(good.indexOf("\n\n") + 2), [oid(format, "a"), oid(format, "b")]).toString();
    expect(judgeLedger(two)).toBe("NOT_LINEAR");
    expect(judgeIndex(two)).toBe("NOT_LINEAR");
  });

  test("cut anywhere or flipped anywhere: a typed error, or a commit that says what its bytes say", () => {
    const data = Buffer.from(good);
    for (let end = 0; end < data.length; end++)
      expect(judgeLedger(data.subarray(0, end).toString("latin1"))).not.toBe("ok");
    const rng = random("flip");
    for (let i = 0; i < 2000; i++) {
      const flipped = Buffer.from(data);
      const at = rng.int(flipped.length);
      flipped[at]! ^= 1 << rng.int(8);
      try {
        const read = parseLedgerCommit(format, oid(format, "9"), flipped);
        expect(flipped.toString()).toEndWith(`\n\n${formatLedgerTrailers(read)}`);
      } catch (error) {
        expect(error).toBeInstanceOf(KvError);
        expect((error as KvError).code).not.toBe("BUG");
      }
    }
  });

  test("what the planner writes is accepted, whatever keys are called", () => {
    const model = new KvModel(format);
    model.commit([]);
    const keys = [
      "a",
      "KV-NS: x",
      "a\u2028KV-NS: main",
      "\u2029epoch: e2",
      " ",
      "é",
      ":",
      "kv-index: x",
      "x".repeat(1024),
    ];
    for (const key of keys) {
      const plan = model.commit([model.set(key, "v")]);
      if (plan.kind !== "planned") throw new Error("nothing changed");
      const [ledgerMove, indexMove] = plan.moves;
      const read = parseLedgerCommit(format, plan.ledger, model.objects.read(ledgerMove!.newOid)!.data);
      const readIndex = parseIndexCommit(format, indexMove!.newOid, model.objects.read(indexMove!.newOid)!.data);
      expect(readIndex.ledgerTree).toBe(read.tree);
      expect(readIndex.tree).toBe(read.indexTree);
    }
  });
});

test("git finds the trailers of our commits where we do", () => {
  const dir = tempDir("log");
  git(dir, "init", "-q", "--bare", ".");
  const tree = gitInput(dir, "", "mktree");
  const message = `set a\n\na body\n\n${formatLedgerTrailers({ ...trailers(TEST_FORMAT), indexTree: tree })}`;
  const data = encodeCommit({ tree, parents: [], author: WHO, committer: WHO, message });
  const id = gitInput(dir, data, "hash-object", "-t", "commit", "-w", "--stdin");
  expect(git(dir, "log", "-1", "--format=%(trailers:key=KV-Txn,valueonly)", id).trim()).toBe(TXN);
  expect(git(dir, "log", "-1", "--format=%s", id)).toBe("set a");
});
