/** Snapshots as JSON lines: exact both ways, and hostile ones are refused whole. */

import { describe, expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { commit } from "../../../src/kv/commit.ts";
import { etagOf } from "../../../src/kv/etag.ts";
import { parseKey } from "../../../src/kv/key.ts";
import { readJsonLines } from "../../../src/kv/snapshot/json-lines.ts";
import { jsonLinesWriter } from "../../../src/kv/snapshot/json-lines-writer.ts";
import { LineCursor } from "../../../src/kv/snapshot/line-cursor.ts";
import type { Workspace } from "../../../src/kv/workspace.ts";
import { LIMITS } from "../../../src/limits.ts";
import type { ByteReader } from "../../../src/lines.ts";
import { failureOf } from "../../support/failure.ts";
import { fromSeed, type Random, random } from "../../support/random.ts";
import { check, exportText, importAll, READING } from "../../support/snapshots.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { countingClock, newRepository, workspaceAt } from "../../support/workspace.ts";

const itemsOf = (read: ByteReader) => readJsonLines(new LineCursor(read, LIMITS.batchLine), READING);

async function newStore(at?: number): Promise<Workspace> {
  const workspace = workspaceAt(newRepository(TEST_FORMAT), { clock: countingClock(at) });
  await commit(workspace, { create: { epoch: "e1" } }, () => {});
  return workspace;
}

interface Given {
  readonly key: string;
  readonly data: Buffer;
  readonly ctype: string | undefined;
  readonly expires: number | undefined;
  readonly labels: Record<string, string> | undefined;
}

async function setAll(workspace: Workspace, all: readonly Given[]): Promise<void> {
  await commit(workspace, {}, async (use) => {
    for (const { key, data, ctype, expires, labels } of all) {
      const options = { ctype, expires, labels };
      await use({ op: "set", key: parseKey(key), value: { kind: "bytes", data }, options, condition: undefined });
    }
  });
}

const WORDS = [
  "a",
  "user:",
  "😀",
  "é",
  " ",
  '"',
  "\\",
  "/",
  ".",
  "..",
  "%41",
  "~",
  "@",
  "‮",
  "\u{10ffff}",
  "-",
  "k".repeat(300),
];

function randomKey(random: Random): string {
  const key = Array.from({ length: 1 + random.int(5) }, () => random.pick(WORDS)).join("");
  return Buffer.byteLength(key) <= 1_024 ? key : key.slice(0, 200);
}

function randomValues(random: Random, count: number): Given[] {
  const values = new Map<string, Given>();
  const add = (key: string, data: Buffer): void => {
    const labels = random.int(4) === 0 ? { team: "blue", "": undefined, "1": "x" } : undefined;
    values.set(key, {
      key,
      data,
      ctype: random.int(3) === 0 ? "text/x-test; a=1" : undefined,
      expires: random.int(3) === 0 ? 2_000_000_000 + random.int(1_000) : undefined,
      labels: labels && { team: labels.team, "1": labels["1"] },
    });
  };
  for (let i = 0; i < count; i++) add(randomKey(random), random.bytes(random.int(60)));
  add("every byte", Buffer.from(Array.from({ length: 256 }, (_, i) => i)));
  add("empty", Buffer.alloc(0));
  add("text", Buffer.from("línea\r\n\u0000\u2028😀 \\u0041"));
  add("json", Buffer.from('{"a":[1,2.50,"x"],"a":1}'));
  add("x".repeat(1_024), Buffer.from("longest key"));
  add(`${"😀".repeat(255)}abcd`, Buffer.from("longest key of emoji"));
  add("inline in parts", random.bytes(700_000));
  add("in pieces", random.bytes(1_700_000));
  return [...values.values()];
}

describe("both ways", () => {
  test("every value, key and metadata comes back exactly, in any portions and transactions", async () => {
    const chance = random("snapshot");
    const given = randomValues(chance, 150);
    const source = await newStore();
    await setAll(source, given);
    const text = await exportText(source, jsonLinesWriter);
    const most = 1 + chance.int(given.length + 5);
    const target = await newStore();
    const outcome = await importAll(target, text, itemsOf, {
      most,
      gzip: chance.int(2) === 0,
      spooled: chance.int(2) === 0,
    });
    expect(outcome).toMatchObject({ set: given.length, unchanged: 0, transactions: Math.ceil(given.length / most) });
    // The same data trees, and the same snapshot but for what tells the two ledgers apart.
    expect(target.requireState().data).toBe(source.requireState().data);
    const again = await exportText(target, jsonLinesWriter);
    const body = (snapshot: string): string => snapshot.slice(snapshot.indexOf("\n"));
    expect(body(again)).toBe(body(text));
    for (const line of body(text)
      .split("\n")
      .filter((each) => each !== "")) {
      const { key, value, value_b64, etag } = JSON.parse(line);
      const wanted = given.find((one) => one.key === key);
      if (wanted === undefined || (value ?? value_b64) === undefined) continue;
      const data = value === undefined ? Buffer.from(value_b64, "base64") : Buffer.from(value);
      expect(data.equals(wanted.data)).toBe(true);
      expect(etag).toBe(etagOf(wanted.data));
    }
    // Importing it again writes nothing.
    const { seq } = target.requireState().ledger;
    expect(await importAll(target, text, itemsOf, { most })).toMatchObject({ set: 0, transactions: 0 });
    expect(target.requireState().ledger.seq).toBe(seq);
  }, 60_000);

  test("an import that was broken off goes on where it was", async () => {
    const source = await newStore();
    const chance = fromSeed(7);
    await setAll(
      source,
      randomValues(chance, 40).filter(({ data }) => data.length < 1_000),
    );
    const text = await exportText(source, jsonLinesWriter);
    const abort = new AbortController();
    const dir = newRepository(TEST_FORMAT);
    const target = workspaceAt(dir, { signal: abort.signal });
    await commit(target, { create: { epoch: "e1" } }, () => {});
    let left = 3;
    const breaking = (read: ByteReader) =>
      readJsonLines(
        new LineCursor(() => {
          if (--left === 0) abort.abort(new Error("interrupted"));
          return read();
        }, LIMITS.batchLine),
        READING,
      );
    expect(
      (await importAll(target, text, breaking, { most: 5 }).catch((error: Error) => error)) as Error,
    ).toBeInstanceOf(Error);
    const whole = workspaceAt(dir);
    await importAll(whole, text, itemsOf, { most: 7 });
    expect(whole.requireState().data).toBe(source.requireState().data);
  });

  test("keys that are there are overwritten, or left alone", async () => {
    const workspace = await newStore();
    const given = (key: string, text: string, expires?: number): Given => ({
      key,
      data: Buffer.from(text),
      ctype: undefined,
      expires,
      labels: undefined,
    });
    await setAll(workspace, [given("there", "old"), given("expired", "old", 5), given("other", "old")]);
    const text = ["there", "expired", "new"].map((key) => JSON.stringify({ key, value: "v" })).join("\n");
    expect(await importAll(workspace, text, itemsOf, { keep: true })).toMatchObject({ set: 2, unchanged: 1 });
    const values = async (): Promise<Record<string, string>> =>
      Object.fromEntries(
        (await exportText(workspace, jsonLinesWriter)).split("\n").flatMap((line) => {
          const { key, value } = JSON.parse(line || "{}");
          return key === undefined ? [] : [[key, value]];
        }),
      );
    expect(await values()).toEqual({ there: "old", expired: "v", new: "v", other: "old" });
    expect(await importAll(workspace, text, itemsOf)).toMatchObject({ set: 1, unchanged: 2 });
    expect(await values()).toEqual({ there: "v", expired: "v", new: "v", other: "old" });
  });
});

describe("refused whole", () => {
  const refusal = async (text: Buffer | string): Promise<[string, string]> => {
    const { code, message } = await failureOf(check(text, itemsOf));
    return [code, message];
  };
  const entry = (key: string, rest: object = { value: "v" }): string => JSON.stringify({ key, ...rest });

  test("bad entries are all named, the first twenty with their lines", async () => {
    const [code, message] = await refusal(
      [
        entry("good"),
        "",
        "[1]",
        "nonsense",
        entry(""),
        entry("k".repeat(1_025)),
        entry("a\u0001b"),
        '{"key":"half \\ud800 pair","value":"v"}',
        '{"key":"value","value":"half \\ud800 pair"}',
        entry("both", { value: "a", value_b64: "YQ==" }),
        entry("none", {}),
        entry("base64", { value_b64: "!" }),
        entry("field", { value: "v", vlaue: "w" }),
        entry("good", { value: "again" }),
        entry("etag", { value: "v", etag: etagOf(Buffer.from("w")) }),
        entry("size", { value: "v", size: 2 }),
        entry("ctype", { value: "v", ctype: "nothing" }),
        entry("expires", { value: "v", expires: "soon" }),
        entry("labels", { value: "v", labels: { a: 1 } }),
        entry("number", { value: 5 }),
        '{"value":"v"}',
        "[".repeat(200_000),
        "null",
      ].join("\n"),
    );
    expect(code).toBe("INPUT_INVALID");
    const lines = message.split("\n");
    expect(lines[0]).toBe("the input has 21 bad entries");
    expect(lines.slice(1, 4)).toEqual([
      "line 3: not a JSON object",
      "line 4: not valid JSON",
      "line 5: the key is empty",
    ]);
    expect(lines.slice(1, -1).map((line) => Number(/^line (\d+): /.exec(line)![1]))).toEqual(
      Array.from({ length: 20 }, (_, i) => i + 3),
    );
    expect(lines.at(-1)).toBe("and 1 more");
  });

  test("a name twice; the parts of a bad entry are passed over", async () => {
    const part = '{"part":1,"value_b64":"YQ=="}';
    const { message } = await failureOf(
      check(
        [
          '{"key":"a","value":"1","value":"2"}',
          '{"key":"b","value":"1","labels":{"a":"b","a":"c"}}',
          '{"key":"","parts":1}',
          part,
          part,
          entry("c", { value: "v", etag: "x" }),
          part,
        ].join("\n"),
        itemsOf,
      ),
    );
    expect(message.split("\n")).toEqual([
      "the input has 5 bad entries",
      'line 1: "value" is there twice',
      'line 2: "a" is there twice',
      "line 3: the key is empty",
      'line 6: "etag" is not blake3:<hex>',
      'line 7: there is no field "part"',
    ]);
  });

  test("what ends the reading: cut off, out of order, not UTF-8, a line without an end", async () => {
    const workspace = await newStore();
    await setAll(workspace, randomValues(fromSeed(3), 5));
    const text = await exportText(workspace, jsonLinesWriter);
    const lines = text.split("\n");
    const cases: [string | Buffer, RegExp][] = [
      [lines.slice(0, -2).join("\n"), /is the last, and not the end of the snapshot: it is cut off$/],
      [text.slice(0, text.length - 20), /not valid JSON|cut off/],
      [
        lines.filter((line) => !line.startsWith('{"key":"empty"')).join("\n"),
        /the snapshot has \d+ keys, its end names \d+$/,
      ],
      [`${text}${lines[1]}\n`, /comes after the end of the snapshot$/],
      [`${lines[1]}\n${lines[0]}`, /line 2: the header of a snapshot is its first line$/],
      [text.replace('"snapshot":1', '"snapshot":2'), /line 1: a snapshot of version 1 is wanted$/],
      [text.replace('"part":2,', '"part":3,'), /^line \d+ is not part 2 of 2$|^line \d+ is not part 2 of 4$/],
      [lines.filter((line) => !line.startsWith('{"part":2')).join("\n"), /is not part 2 of/],
      [
        '{"key":"a","parts":2}\n{"part":1,"value_b64":""}\n{"part":2,"value_b64":"YQ=="}',
        /^line 2: part 1 of 2 is empty$/,
      ],
      [Buffer.concat([Buffer.from(`${lines[1]}\n`), Buffer.from([0x22, 0xff, 0x0a])]), /^line 2 is not UTF-8$/],
      [`${entry("a")}\n{"key":"b","value":"${"x".repeat(9 * 1024 * 1024)}`, /^line 2 is longer than 8388608 bytes$/],
    ];
    for (const [input, said] of cases) {
      const [code, message] = await refusal(input);
      expect([code, message]).toEqual(["INPUT_INVALID", expect.stringMatching(said)]);
    }
  });

  test("gzip that is cut off or damaged; one that stands for far more than it is", async () => {
    const packed = gzipSync(Array.from({ length: 5_000 }, (_, i) => entry(`k${i}`)).join("\n"));
    expect(await check(packed, itemsOf)).toMatchObject({ keys: 5_000 });
    for (const end of [12, packed.length >> 1, packed.length - 1]) {
      expect(await refusal(packed.subarray(0, end))).toEqual(["INPUT_INVALID", expect.stringContaining("gzip")]);
    }
    const damaged = Buffer.from(packed);
    damaged[packed.length >> 1]! ^= 0x55;
    expect((await refusal(damaged))[0]).toBe("INPUT_INVALID");
    // 64 MiB of one line in 64 KiB: given up after eight.
    const before = process.memoryUsage().rss;
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024, 0x20));
    expect(await refusal(bomb)).toEqual(["INPUT_INVALID", "line 1 is longer than 8388608 bytes"]);
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024);
  });

  test("nothing is written where something is bad", async () => {
    const workspace = await newStore();
    const failure = await failureOf(importAll(workspace, `${entry("a")}\n${entry("b")}\nbad`, itemsOf, { most: 1 }));
    expect([failure.code, failure.hint]).toEqual(["INPUT_INVALID", "nothing was written"]);
    expect(workspace.requireState().ledger.seq).toBe(1);
  });
});
