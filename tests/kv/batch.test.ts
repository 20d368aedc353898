/** Batch files: every form of a line, and every bad line reported at once (docs/formats/batch.md). */

import { describe, expect, test } from "bun:test";
import { KvError } from "../../src/errors.ts";
import { SHA256 } from "../../src/gitwire/object/oid.ts";
import { type BatchContext, type BatchLine, BatchReader } from "../../src/kv/batch.ts";
import { LIMITS } from "../../src/limits.ts";
import { OTHER_FORMAT, TEST_FORMAT } from "../support/test-format.ts";

const NOW = 1_767_322_800;
const OID = "1".repeat(TEST_FORMAT.hexSize);

const context: BatchContext = {
  format: TEST_FORMAT,
  now: NOW,
  file: (path) => {
    if (path === "missing") throw new KvError("IO", "cannot read missing");
    return `/base/${path}`;
  },
};

function read(lines: readonly string[], use?: (line: BatchLine) => void, format = TEST_FORMAT): BatchLine[] {
  const good: BatchLine[] = [];
  const reader = new BatchReader({ ...context, format }, use ?? ((line) => good.push(line)));
  for (const line of lines) reader.add(line);
  reader.finish();
  return good;
}

function errorOf(lines: readonly string[], use?: (line: BatchLine) => void): KvError {
  try {
    read(lines, use);
  } catch (error) {
    if (error instanceof KvError) return error;
    throw error;
  }
  throw new Error("the batch was taken");
}

const set = (fields: object): string => JSON.stringify({ op: "set", key: "k", value: "v", ...fields });
const none = { ctype: undefined, expires: undefined, labels: undefined };
const bytes = (text: string | Buffer): object => ({ kind: "bytes", data: Buffer.from(text) });

describe("good lines", () => {
  test("values: text, JSON, base64, files", () => {
    const values: [object, object][] = [
      [{ value: "text é" }, bytes("text é")],
      [{ value: "" }, bytes("")],
      [{ value: { b: 1, a: [true, null] } }, bytes('{"b":1,"a":[true,null]}')],
      [{ value: [] }, bytes("[]")],
      [{ value: 1.5 }, bytes("1.5")],
      [{ value: false }, bytes("false")],
      [{ value: null }, bytes("null")],
      [{ value: undefined, value_b64: "AP8=" }, bytes(Buffer.from([0, 255]))],
      [{ value: undefined, value_b64: "AP8" }, bytes(Buffer.from([0, 255]))],
      [{ value: undefined, value_b64: "" }, bytes("")],
      [{ value: undefined, value_b64: "+/+/" }, bytes(Buffer.from("+/+/", "base64"))],
      [
        { value: undefined, file: "a/b" },
        { kind: "file", path: "/base/a/b" },
      ],
    ];
    for (const [fields, value] of values) {
      expect(read([set(fields)])).toEqual([
        { op: "set", key: "k", value, options: none, condition: undefined } as BatchLine,
      ]);
    }
  });

  test("numbers that a double cannot hold stay as they are written", () => {
    const written: [string, string][] = [
      ["12345678901234567890", "12345678901234567890"],
      ["[9007199254740993, -9223372036854775808]", "[9007199254740993,-9223372036854775808]"],
      ['{"a": 1e400, "b": [1e-400]}', '{"a":1e400,"b":[1e-400]}'],
      ["0.1000000000000000055511", "0.1000000000000000055511"],
      ["[0.10000000000000000000, 1000000000000000000000]", "[0.1,1e+21]"],
      [`1${"0".repeat(1_000_000)}1`, `1${"0".repeat(1_000_000)}1`],
      ["[1.0, 1e2, 0.10, 5e-324, 100000000000000000000]", "[1,100,0.1,5e-324,100000000000000000000]"],
    ];
    for (const [value, stored] of written) {
      const [line] = read([`{"op":"set","key":"k","value":${value}}`]);
      expect(line).toMatchObject({ value: bytes(stored) });
    }
  });

  test("a byte order mark at the beginning, and nowhere else", () => {
    expect(read([`\ufeff${set({})}`])).toHaveLength(1);
    expect(errorOf([set({ key: "a" }), `\ufeff${set({})}`]).message).toContain("line 2: not valid JSON");
  });

  test("options and conditions", () => {
    const optionsOf = (fields: object): unknown => (read([set(fields)])[0] as { options: object }).options;
    expect(optionsOf({ ctype: "text/plain; charset=utf-8" })).toEqual({ ...none, ctype: "text/plain; charset=utf-8" });
    expect(optionsOf({ ttl: "2h" })).toEqual({ ...none, expires: NOW + 7200 });
    expect(optionsOf({ ttl: "1500ms" })).toEqual({ ...none, expires: NOW + 2 });
    expect(optionsOf({ expires: NOW + 5 })).toEqual({ ...none, expires: NOW + 5 });
    expect(optionsOf({ expires: 0 })).toEqual({ ...none, expires: 0 });
    expect(optionsOf({ expires: `@${NOW}` })).toEqual({ ...none, expires: NOW });
    expect(optionsOf({ expires: "2026-01-02T03:00:00Z" })).toEqual({ ...none, expires: NOW });
    expect(optionsOf({ expires: "2026-01-02T04:00:00+01:00" })).toEqual({ ...none, expires: NOW });
    expect(optionsOf({ expires: "9999-12-31T23:59:59Z" })).toEqual({ ...none, expires: LIMITS.latestTime });
    expect(optionsOf({ labels: { a: "b", "": undefined } })).toEqual({ ...none, labels: { a: "b" } });
    const conditions: [object, object][] = [
      [{ absent: true }, { kind: "absent" }],
      [{ blob: OID }, { kind: "blob", oid: OID }],
      [{ rev: 0 }, { kind: "rev", rev: 0 }],
      [{ rev: 7 }, { kind: "rev", rev: 7 }],
    ];
    for (const [given, condition] of conditions) {
      expect(read([set({ if: given })])).toMatchObject([{ op: "set", condition }]);
      expect(read([JSON.stringify({ op: "del", key: "k", if: given })])).toEqual([
        { op: "del", key: "k", condition } as BatchLine,
      ]);
      expect(read([JSON.stringify({ op: "check", key: "k", if: given })])).toEqual([
        { op: "check", key: "k", condition } as BatchLine,
      ]);
    }
    expect(read(['{"op":"del","key":"k"}'])).toEqual([{ op: "del", key: "k", condition: undefined }]);
    expect(read([set({ if: { blob: "2".repeat(64) } })], undefined, SHA256)).toHaveLength(1);
  });

  test("blank lines are skipped and counted, a carriage return is blank", () => {
    expect(read(["", "  ", `${set({})}\r`, "\r", '\t{"op":"del","key":"b"} '])).toHaveLength(2);
    expect(errorOf(["", "x"]).data).toEqual({ lines: [{ line: 2, message: "not valid JSON" }] });
    expect(read([])).toEqual([]);
  });
});

describe("bad lines", () => {
  test("each says what is wrong", () => {
    const cases: [string, RegExp][] = [
      ["{", /not valid JSON/],
      ["\ufeff{}", /not valid JSON/],
      ["[]", /not a JSON object/],
      ["null", /not a JSON object/],
      ['"set"', /not a JSON object/],
      ["{}", /"op" is missing/],
      ['{"op":"put","key":"k"}', /"op" is "put"/],
      ['{"op":["set"],"key":"k"}', /"op" is \["set"\]/],
      ['{"op":"constructor","key":"k"}', /"op" is "constructor"/],
      ['{"op":"del"}', /"key" is missing/],
      ['{"op":"del","key":1}', /"key" is not a string/],
      ['{"op":"del","key":""}', /the key is empty/],
      ['{"op":"del","key":"a\\nb"}', /control character/],
      ['{"op":"del","key":"\\ud800"}', /not valid Unicode/],
      ['{"op":"set","key":"k","value":"\\ud800"}', /"value" is not valid Unicode/],
      ['{"op":"del","key":"k","value":"v"}', /"del" has no field "value"/],
      ['{"op":"del","key":"k","__proto__":1}', /"del" has no field "__proto__"/],
      ['{"op":"check","key":"k"}', /"check" needs an "if"/],
      ['{"op":"check","key":"k","ttl":"1s"}', /"check" has no field "ttl"/],
      [set({ tll: "1s" }), /"set" has no field "tll"/],
      ['{"op":"set","key":"k"}', /exactly one of/],
      [set({ file: "x" }), /exactly one of/],
      [set({ value: undefined, value_b64: "a", file: "x" }), /exactly one of/],
      [set({ value: undefined, value_b64: 5 }), /"value_b64" is not a string/],
      [set({ value: undefined, value_b64: "a" }), /not base64/],
      [set({ value: undefined, value_b64: "A-__" }), /not base64/],
      [set({ value: undefined, value_b64: "AA A" }), /not base64/],
      [set({ value: undefined, value_b64: "QR==" }), /not base64/],
      [set({ value: undefined, file: 5 }), /"file" is not a string/],
      [set({ value: undefined, file: "missing" }), /cannot read missing/],
      [set({ ctype: 1 }), /"ctype" is not a string/],
      [set({ ctype: "text" }), /not a media type/],
      [set({ ttl: 5 }), /"ttl" is not a string/],
      [set({ ttl: "5" }), /not a duration/],
      [set({ ttl: "1d", expires: 5 }), /both ttl and expires/],
      [set({ ttl: "99999999999d" }), /not between 1970 and 9999/],
      [set({ expires: "tomorrow" }), /not a time/],
      [set({ expires: "2h" }), /is a duration/],
      [set({ expires: -1 }), /not a time/],
      [set({ expires: 1.5 }), /not a time/],
      [set({ expires: LIMITS.latestTime + 1 }), /not between 1970 and 9999/],
      [set({ expires: 1e21 }), /not a time/],
      [set({ expires: true }), /"expires" is not a string/],
      [set({ labels: "a" }), /"labels"/],
      [set({ labels: ["a"] }), /"labels"/],
      [set({ labels: { a: 1 } }), /"labels"/],
      [set({ labels: { "": "x" } }), /"labels"/],
      [set({ labels: null }), /"labels"/],
      ['{"op":"set","key":"k","value":"v","labels":{"a":"\\ud800"}}', /^"labels" is not valid Unicode$/],
      ['{"op":"set","key":"k","value":"v","labels":{"\\udc00":"b"}}', /^"labels" is not valid Unicode$/],
      [set({ if: null }), /"if" is one of/],
      [set({ if: {} }), /"if" is one of/],
      [set({ if: [] }), /"if" is one of/],
      [set({ if: { absent: false } }), /"if" is one of/],
      [set({ if: { absent: true, rev: 1 } }), /"if" is one of/],
      [set({ if: { rev: -1 } }), /"if" is one of/],
      [set({ if: { rev: "1" } }), /"if" is one of/],
      [set({ if: { blob: "0" } }), /"if" is one of/],
      [set({ if: { blob: OID.toUpperCase().replace("1", "A") } }), /"if" is one of/],
      [set({ if: { blob: "2".repeat(OTHER_FORMAT.hexSize) } }), /"if" is one of/],
      ["x".repeat(LIMITS.batchLine + 1), /longer than/],
      ['{"op":"set","key":"k","key":"l","value":"v"}', /^"key" is there twice$/],
      ['{"op":"del","key":"k","if":{"rev":1},"\\u0069f":{"rev":2}}', /^"if" is there twice$/],
      ['{"op":"set","key":"k","value":{"a:":[{"\\"b":1,"\\"b":2}]}}', /^"\\"b" is there twice$/],
      [`{"op":"set","key":"k","value":${"[".repeat(500_000)}${"]".repeat(500_000)}}`, /^nests deeper than 1000$/],
    ];
    for (const [line, message] of cases) {
      const error = errorOf([set({ key: "good" }), line]);
      expect(error.code).toBe("INPUT_INVALID");
      expect(error.exit).toBe(4);
      const { lines } = error.data as { lines: { line: number; message: string }[] };
      expect([line.slice(0, 80), lines.length, lines[0]!.line]).toEqual([line.slice(0, 80), 1, 2]);
      expect(lines[0]!.message).toMatch(message);
    }
  });

  test("all are named with their numbers, whatever is between", () => {
    const error = errorOf([set({ key: "a" }), "{", "", set({ key: "b" }), set({ key: "a" }), '{"op":"x"}']);
    expect(error.message).toBe(
      [
        "the batch has 3 bad lines",
        "line 2: not valid JSON",
        "line 5: the key is on line 1 already",
        'line 6: "op" is "x", not "set", "del" or "check"',
      ].join("\n"),
    );
    expect(error.hint).toBe("nothing was written");
    expect(errorOf(["{"]).message).toBe("the batch has 1 bad line\nline 1: not valid JSON");
  });

  test("a hundred bad lines: twenty in the message, all in the data", () => {
    const error = errorOf(Array.from({ length: 100 }, () => "{"));
    expect(error.message.split("\n")).toHaveLength(22);
    expect(error.message).toEndWith("and 80 more bad lines");
    expect((error.data as { lines: unknown[] }).lines).toHaveLength(100);
  });

  test("a key twice, whatever is done to it and however it is written", () => {
    expect(errorOf([set({}), '{"op":"del","key":"k"}']).message).toContain("line 2: the key is on line 1 already");
    expect(errorOf([set({}), set({}).replace('"k"', '"\\u006b"')]).message).toContain("line 1 already");
    expect(read([set({ key: "é" }), set({ key: "e\u0301" })])).toHaveLength(2);
  });

  test("what use finds wrong with a line counts as well; other errors pass through", () => {
    const refuse = (): void => {
      throw new KvError("VALUE_TOO_LARGE", "too large");
    };
    expect(errorOf([set({})], refuse).data).toEqual({ lines: [{ line: 1, message: "too large" }] });
    const broken = (): void => {
      throw new TypeError("a bug");
    };
    expect(() => read([set({})], broken)).toThrow(TypeError);
  });
});
