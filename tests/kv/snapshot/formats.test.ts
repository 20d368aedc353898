/** The formats of others: exact both ways for what they can have, and refused with a line for what they cannot. */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { commit } from "../../../src/kv/commit.ts";
import { keyText, parseKey } from "../../../src/kv/key.ts";
import { isConsulLabel } from "../../../src/kv/snapshot/dumps.ts";
import { exportedKeys } from "../../../src/kv/snapshot/exported.ts";
import { readFolder } from "../../../src/kv/snapshot/folder.ts";
import { type Format, formatOf, readFormat, type WriterOptions, writerOf } from "../../../src/kv/snapshot/formats.ts";
import type { ImportItem } from "../../../src/kv/snapshot/item.ts";
import type { Workspace } from "../../../src/kv/workspace.ts";
import type { ByteReader } from "../../../src/lines.ts";
import { failureOf } from "../../support/failure.ts";
import { type Random, random } from "../../support/random.ts";
import { check, importAll, inputOf, READING } from "../../support/snapshots.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { newRepository, workspaceAt } from "../../support/workspace.ts";

const itemsOf =
  (format: Format, given: Partial<typeof READING> = {}) =>
  (read: ByteReader) =>
    readFormat(format, read, { ...READING, ...given });

async function newStore(values: ReadonlyMap<string, Buffer> = new Map()): Promise<Workspace> {
  const workspace = workspaceAt(newRepository(TEST_FORMAT));
  await commit(workspace, { create: { epoch: "e1" } }, async (use) => {
    const options = { ctype: undefined, expires: undefined, labels: undefined };
    for (const [key, data] of values)
      await use({ op: "set", key: parseKey(key), value: { kind: "bytes", data }, options, condition: undefined });
  });
  return workspace;
}

async function write(workspace: Workspace, format: Format, options: Partial<WriterOptions> = {}): Promise<string> {
  const parts: string[] = [];
  const state = workspace.requireState();
  const given = { strip: "", separator: undefined, ...options };
  const writer = await writerOf(format, state, given, (text) => void parts.push(text));
  writer.begin();
  for await (const some of exportedKeys(workspace, state, { prefix: given.strip, now: undefined }))
    for (const exported of some) await writer.add(exported);
  writer.end();
  return parts.join("");
}

const TEXT = [
  "a",
  "B9",
  " ",
  "  ",
  "#",
  "'",
  '"',
  "\\",
  "\\n",
  "\n",
  "\r\n",
  "\t",
  "$x",
  "`",
  "=",
  ":",
  "-",
  "é",
  "😀",
  "\u2028",
  "\u007f",
  "\u0085",
  "\ufeff",
  "{}",
  "[1]",
  "null",
  "1.10",
  "~",
  "%",
  "&a",
  "*b",
  "!c",
  "? d",
];
const text = (random: Random, most: number): string =>
  Array.from({ length: random.int(most) }, () => random.pick(TEXT)).join("");

/** Random keys and values of the kinds a format can have. */
function values(name: () => string, data: () => Buffer): Map<string, Buffer> {
  const all = new Map<string, Buffer>();
  for (let i = 0; i < 60; i++) all.set(name(), data());
  all.set(name(), Buffer.alloc(0));
  return all;
}

const KEY_PARTS = ["a", "b.c", "/", "é", "😀", " ", '"', "\\", "x".repeat(40), "-", "~", "."];
const anyKey = (random: Random) => (): string => {
  const key = Array.from({ length: 1 + random.int(6) }, () => random.pick(KEY_PARTS)).join("");
  return key.startsWith("/") ? `k${key}` : key;
};

describe("both ways", () => {
  const cases: [Format, (random: Random) => Map<string, Buffer>, Partial<WriterOptions>?][] = [
    ["etcd", (random) => values(anyKey(random), () => random.bytes(random.int(50)))],
    ["consul", (random) => values(anyKey(random), () => random.bytes(random.int(50)))],
    ["json", (random) => values(anyKey(random), () => Buffer.from(text(random, 12)))],
    ["yaml", (random) => values(anyKey(random), () => Buffer.from(text(random, 12)))],
    ["json", (random) => values(nested(random), () => Buffer.from(text(random, 6))), { separator: "." }],
    ["yaml", (random) => values(nested(random), () => Buffer.from(text(random, 6))), { separator: "." }],
    ["dotenv", (random) => values(variable(random), () => Buffer.from(text(random, 12)))],
  ];
  test.each(cases.map(([format, make, options]) => ({ format, make, options })))("$format", async (given) => {
    const { format, make, options } = given;
    const chance = random(`${format}${options === undefined ? "" : " nested"}`);
    const all = make(chance);
    if (format !== "dotenv" && options === undefined) all.set("k".repeat(1_024), Buffer.from("the longest key"));
    const source = await newStore(all);
    const written = await write(source, format, options);
    const target = await newStore();
    await importAll(target, written, itemsOf(format), { gzip: chance.int(2) === 0, most: 1 + chance.int(100) });
    expect(target.requireState().data).toBe(source.requireState().data);
    expect((await write(target, format, options)).replace(/"revision":\d+/, "")).toBe(
      written.replace(/"revision":\d+/, ""),
    );
  });

  /** Names of three levels; a map and a value never share one. */
  function nested(random: Random): () => string {
    const part = (): string => random.pick(["a", "a-b", "é", "", "😀 x", '"', "long".repeat(10)]);
    return () => `${part()}.${part()}.${part()}`;
  }

  function variable(random: Random): () => string {
    return () => `${random.pick(["A", "_b", "LONG_NAME"])}${random.pick(["", "_1", ".x", "-y"])}${random.int(1_000)}`;
  }

  test("the labels that consul's flags become go out as flags again", async () => {
    const dump =
      '[\n\t{\n\t\t"key": "a/b",\n\t\t"flags": 42,\n\t\t"value": "aGk="\n\t},\n\t{"key":"dir/","flags":0,"value":""}\n]\n';
    const target = await newStore();
    expect(await importAll(target, dump, itemsOf("consul", { prefix: "c/" }))).toMatchObject({ set: 2 });
    const written = JSON.parse(await write(target, "consul", { strip: "c/" }));
    expect(written).toEqual([
      { key: "a/b", flags: 42, value: "aGk=" },
      { key: "dir/", flags: 0, value: "" },
    ]);
  });
});

async function read(format: Format, input: string | Buffer): Promise<Record<string, string>> {
  const opened = await inputOf(input, 7);
  const found: ImportItem[] = [];
  for await (const some of itemsOf(format)(opened.read())) found.push(...some);
  opened.close();
  return Object.fromEntries(
    found.map((item) => {
      if (item.kind === "bad") return [item.place, `bad: ${item.message}`];
      return [keyText(item.key), item.value.kind === "bytes" ? item.value.data.toString() : ""];
    }),
  );
}

test("what people write by hand", async () => {
  const env = `# settings
export A=plain # comment
B = "two
lines \\"x\\" \\\\n $HOME"
C='it is # no comment \\n'
D=
E="" # nothing
F=a#b
G=\`two 'kinds'
of "quotes" \\n\` # comment
`;
  expect(await read("dotenv", env)).toEqual({
    A: "plain",
    B: 'two\nlines "x" \\n $HOME',
    C: "it is # no comment \\n",
    D: "",
    E: "",
    F: "a#b",
    G: "two 'kinds'\nof \"quotes\" \\n",
  });
  expect(await read("dotenv", 'A="x" y\nnonsense\r\n1B=x\nC=ok\r\n')).toEqual({
    "line 1": "bad: something follows the closing quote",
    "line 2": "bad: not NAME=VALUE",
    "line 3": "bad: not NAME=VALUE",
    C: "ok",
  });
  const json =
    '{"db":{"host":"x","port":5432,"tls":true,"none":null,"list":[1, "a",{"b":2}],"empty":{}},"v":1.10,"e.f":"\\u00e9"}';
  expect(await read("json", json)).toEqual({
    "db.host": "x",
    "db.port": "5432",
    "db.tls": "true",
    "db.none": "null",
    "db.list": '[1,"a",{"b":2}]',
    "db.empty": "{}",
    v: "1.10",
    "e.f": "é",
  });
  const yaml =
    "db:\n  host: x # comment\n  port: 5432\n  version: 1.10\n  on: yes\n  none: ~\n  list: [1, a]\ntext: |\n  two\n  lines\n";
  expect(await read("yaml", yaml)).toEqual({
    "db.host": "x",
    "db.port": "5432",
    "db.version": "1.10",
    "db.on": "yes",
    "db.none": "~",
    "db.list": '[1,"a"]',
    text: "two\nlines\n",
  });
  const etcd =
    '{"header":{"cluster_id":1},"kvs":[{"key":"YQ==","version":1,"value":"Yg=="},{"key":"Yw==","lease":5}],"more":false,"count":2}';
  expect(await read("etcd", etcd)).toEqual({ a: "b", c: "" });
});

test("numbers in lists are as they are written", async () => {
  const numbers = "[12345678901234567890, 1.10, -0, 1e400, [0.1]]";
  const said = { a: numbers.replaceAll(" ", "") };
  expect(await read("json", `{"a":${numbers}}`)).toEqual(said);
  expect(await read("yaml", `a: ${numbers}`)).toEqual(said);
  const yaml = "a: [{b: 007, 1.0: ~}, 0x1F, no, !!str 5, '6']";
  expect(await read("yaml", yaml)).toEqual({ a: '[{"b":7,"1.0":null},31,"no","5","6"]' });
});

test("a dump of etcd or Consul is not taken for settings", async () => {
  const etcd = '{"header":{"cluster_id":1,"revision":2},"kvs":[{"key":"YQ==","value":"Yg=="}],"count":1}';
  const { message, hint } = await failureOf(check(etcd, itemsOf("json", { isGuess: true })));
  expect(message).toStartWith("this is what 'etcdctl get -w json' prints");
  expect(hint).toContain("--format etcd");
  expect(Object.keys(await read("json", etcd))).toEqual(["header.cluster_id", "header.revision", "kvs", "count"]);
  const settings = '{"header":{"id":1},"kvs":[1]}';
  expect((await check(settings, itemsOf("json", { isGuess: true }))).keys).toBe(2);
  const consul = '[\n  {"flags": 0, "key": "a", "value": "YQ=="}\n]';
  expect((await failureOf(check(consul, itemsOf("json")))).hint).toContain("--format consul");
  expect((await failureOf(check("[1]", itemsOf("json")))).hint).toBeUndefined();
});

test("the format by the name of a file, and a hint where it is another", async () => {
  const names: [string, Format][] = [
    ["app.env", "dotenv"],
    [".env", "dotenv"],
    ["/srv/app/.env.local", "dotenv"],
    [".env.production.gz", "dotenv"],
    [".env.json", "json"],
    [".env.d/all", "jsonl"],
    ["my.env.local", "jsonl"],
    ["A.YML.GZ", "yaml"],
    ["-", "jsonl"],
  ];
  for (const [name, format] of names) expect([name, formatOf(undefined, name)]).toEqual([name, format]);
  expect((await failureOf(check('{"key":"a"}\n{"key":"b"}', itemsOf("json")))).hint).toContain("--format jsonl");
  const hintOf = async (input: string, isGuess: boolean): Promise<string | undefined> =>
    (await failureOf(check(input, itemsOf("jsonl", { isGuess })))).hint;
  expect(await hintOf("[\n]", true)).toBe("nothing was written; --format names another format than JSON lines");
  expect(await hintOf("A=1\nB=2\n", false)).toBe("nothing was written");
  expect(await hintOf('{"key":""}\nB=2\n', true)).toBe("nothing was written");
});

test("a byte order mark is not part of the first name", async () => {
  expect(await read("json", '\ufeff{"a":1}')).toEqual({ a: "1" });
  expect(await read("yaml", "\ufeffa: 1")).toEqual({ a: "1" });
  expect(await read("dotenv", "\ufeffA=\ufeff1")).toEqual({ A: "\ufeff1" });
  expect(await read("jsonl", '\ufeff{"key":"a","value":"1"}\n')).toEqual({ a: "1" });
});

test("hostile input is refused with a line", async () => {
  const cases: [Format, string | Buffer, RegExp][] = [
    ["json", '{"a":1,\n"a":2}', /^line 2: "a" is there twice$/],
    ["json", `{"a":${'{"a":'.repeat(100_000)}`, /^line 1: nests deeper than 200$/],
    ["json", `{"a":${"[".repeat(100_000)}`, /^line 1: nests deeper than 200$/],
    ["json", '{"a":1}\n{"b":2}', /^line 2: something follows the document$/],
    ["json", '{"a":01}', /^line 1: no ',' or '}' where one belongs$/],
    ["json", '{\n"a":"\t"}', /^line 2: a string is not closed/],
    ["json", '{"a":"\\ud800"}', /^line 1: a string is not valid Unicode$/],
    ["json", '{"a":1,\n}', /^line 2: no name where one belongs$/],
    ["json", "[1]", /^line 1: the document is not a map of keys$/],
    ["json", '{"a":{"b":1},"a.b":2}', /line 1: the key "a.b" is there already$/],
    ["json", Buffer.from([0x7b, 0x0a, 0xff]), /^line 2 is not UTF-8$/],
    ["json", '{"":1}', /line 1: the key is empty$/],
    ["yaml", "a: 1\na: 2\n", /^line 2: a key is there twice/],
    ["yaml", "a: &x 1\nb: *x\n", /^line 2: aliases/],
    ["yaml", "a: [\n", /^line \d: /],
    ["yaml", "a: 1\n---\nb: 2\n", /^line 2: another document begins here: a file has one$/],
    ["yaml", `a: ${"[".repeat(20_000)}`, /nests too deeply|line \d+: /],
    ["yaml", "? {a: 1}\n: b\n", /a key of a map is no scalar$/],
    ["yaml", "- a\n", /^line 1: the document is not a map of keys$/],
    ["dotenv", 'OK=1\nA="never closed\nB=1\n', /^line 2: the quote is not closed$/],
    ["etcd", "[]", /^line 1: the document is not an object$/],
    ["etcd", "{}", /^line 1: there is no member "kvs"$/],
    ["etcd", '{"kvs":[{"key":"YQ==","value":"Yg=="}', /^line 1: the document is cut off$/],
    ["etcd", '{"kvs":[{"key":"YQ=="}],"kvs":[]}', /^line 1: "kvs" is not one array$/],
    [
      "etcd",
      '{"kvs":[{"key":"/w==","value":""},\n{"key":"!"},{"value":"YQ=="},5,{"key":"YQAK"}]}',
      /^the input has 5 bad entries\nline 1, entry 1: the key is not UTF-8\nline 2, entry 2: "key" is not base64\nline 2, entry 3: "key" is not a string\nline 2, entry 4: not a JSON object\nline 2, entry 5: the key "a\\u0000\\n" has a control character$/,
    ],
    ["consul", '[{"key":"a","value":"YQ=="},]', /not valid JSON/],
    ["consul", '[{"key":"a","key":"b"}]', /entry 1: "key" is there twice$/],
    ["consul", '[{"key":"a","flags":18446744073709551616}]', /entry 1: "flags" is not a number of 64 bits$/],
    ["consul", '[{"key":"a","namespace":1}]', /entry 1: "labels" is not a map/],
    ["yaml", "a: 1\nb: [.nan]\n", /^line 2: JSON, which a list becomes, has no number .nan$/],
    ["yaml", "a: [1, {b: -.inf}]\n", /has no number -.inf$/],
    ["yaml", "a: [0xFFFFFFFFFFFFFFFF]\n", /has no number 0xFFFFFFFFFFFFFFFF$/],
    ["yaml", "a: [{? [b] : c}]\n", /a key of a map is no scalar$/],
    ["yaml", "a: 1\nb: !!binary aGk=\n", /^line 2: Unresolved tag: /],
    ["yaml", "%YAML 1.1\n---\nb: [!!binary aGk=]\n", /^line 3: Unresolved tag: /],
    ["yaml", "%YAML 1.1\n---\nb: !!set {a, b}\n", /^line 3: Unresolved tag: /],
    ["consul", '[{"key":"a"}]x', /^line 1: x is not expected$/],
    ["consul", '[{"key":"a"} {"key":"b"}]', /^line 1: { is not expected$/],
    ["consul", '[{"key":"a"},{"key":"a","flags":-1},{"key":"b","flags":-1}]', /entry 2: "flags" is not a number/],
    ["consul", `[{"key":"${"x".repeat(25 * 1024 * 1024)}`, /^line 1: an entry is longer than 25165824 bytes$/],
  ];
  for (const [format, input, said] of cases) {
    const { code, message } = await failureOf(check(input, itemsOf(format)));
    expect([format, code, message]).toEqual([format, "INPUT_INVALID", expect.stringMatching(said)]);
  }
});

test("what a format cannot have is an error that names the key", async () => {
  const cases: [Format, string, Buffer, RegExp, Partial<WriterOptions>?][] = [
    ["json", "bin", Buffer.from([0xff]), /^"bin" cannot be in the document: its value is not text$/],
    ["yaml", "bin", Buffer.from([0xff]), /its value is not text$/],
    [
      "json",
      "a.b",
      Buffer.from("v"),
      /^"a.b" cannot be in the document: "a" is a key and not a map$/,
      { separator: "." },
    ],
    ["dotenv", "a:b", Buffer.from("v"), /^"a:b" cannot be a variable: 'a:b' is no name of one$/],
    ["dotenv", "nul", Buffer.from("a\0b"), /its value is not text$/],
    ["consul", "/a", Buffer.from("v"), /^consul has no key "\/a"/],
  ];
  for (const [format, key, data, said, options] of cases) {
    const workspace = await newStore(
      new Map([
        ["a", Buffer.from("v")],
        [key, data],
      ]),
    );
    const { code, message } = await failureOf(write(workspace, format, options));
    expect([format, code, message]).toEqual([format, "INPUT_INVALID", expect.stringMatching(said)]);
  }
});

test("nested: a key is in the way only of maps of its own name", async () => {
  const keys = ["a", "a-x", "a-x.y", "a::", "a:::b", "b.", "b.c", "b.c.d-e", "b.c.d.e"];
  const refused = async (names: readonly string[], separator: string): Promise<string> =>
    (
      await failureOf(
        newStore(new Map(names.map((name) => [name, Buffer.from("v")]))).then((store) =>
          write(store, "json", { separator }),
        ),
      )
    ).message;
  expect(await refused(keys, ".")).toBe('"a-x.y" cannot be in the document: "a-x" is a key and not a map');
  expect(await refused(keys.slice(3), ".")).toBe('"b.c.d-e" cannot be in the document: "b.c" is a key and not a map');
  expect(await refused(["a", "a-x", "a.b"], ".")).toContain('"a" is a key');
  expect(await refused(["b", "b.", "b.c"], ".")).toContain('"b" is a key');
  expect(await refused(["a:", "a::b", "a::b::c"], "::")).toContain('"a::b" is a key');
  const store = await newStore(new Map(["a:", "a:::b", "a::c"].map((name) => [name, Buffer.from("v")])));
  expect(JSON.parse(await write(store, "json", { separator: "::" }))).toEqual({ "a:": "v", a: { ":b": "v", c: "v" } });
  const deep = "d.".repeat(199);
  expect(await refused([`${deep}d.d`], ".")).toContain("it would nest deeper than 200");
  const deepest = await newStore(new Map([[`${deep}d`, Buffer.from("v")]]));
  for (const format of ["json", "yaml"] as const)
    expect((await check(await write(deepest, format, { separator: "." }), itemsOf(format))).keys).toBe(1);
});

test("a folder: files in byte order, links and odd names refused", async () => {
  const root = tempDir("folder");
  fs.mkdirSync(path.join(root, "a", "é"), { recursive: true });
  fs.writeFileSync(path.join(root, "a", "é", "deep"), Buffer.from([0xff, 0]));
  fs.writeFileSync(path.join(root, "a.txt"), "text");
  fs.writeFileSync(path.join(root, "empty"), "");
  fs.mkdirSync(path.join(root, ".git"));
  fs.writeFileSync(path.join(root, ".git", "config"), "");
  const items = async (): Promise<ImportItem[]> => {
    const found: ImportItem[] = [];
    for await (const some of readFolder(root, { ...READING, prefix: "f:" })) found.push(...some);
    return found;
  };
  const keys = (await items()).map((item) => (item.kind === "bad" ? item : keyText(item.key)));
  expect(keys).toEqual(["f:a/é/deep", "f:a.txt", "f:empty"]);
  fs.symlinkSync("/etc/passwd", path.join(root, "link"));
  fs.writeFileSync(Buffer.concat([Buffer.from(`${root}/odd`), Buffer.from([0xff])]), "");
  fs.writeFileSync(path.join(root, "line\nbreak"), "");
  for await (const [item] of readFolder(path.join(root, "none"), READING))
    expect(item).toEqual({ kind: "bad", place: ".", message: expect.stringMatching(/^cannot be read: ENOENT/) });
  const bad = (await items()).filter((item) => item.kind === "bad");
  expect(bad).toEqual([
    { kind: "bad", place: '"line\\nbreak"', message: 'the key "f:line\\nbreak" has a control character' },
    { kind: "bad", place: "link", message: "is a symbolic link" },
    { kind: "bad", place: "odd\xff", message: "the name is not UTF-8" },
  ]);
});

test("etcd: dumps of nothing, and what a dump lacks is said", async () => {
  const saidOf = async (dump: string): Promise<unknown[]> => {
    const said: string[] = [];
    const { keys } = await check(dump, itemsOf("etcd", { warn: (text) => void said.push(text) }));
    return [keys, ...said];
  };
  const header = '"header":{"cluster_id":1}';
  expect(await saidOf(`{${header}}`)).toEqual([0]);
  expect(await saidOf(`{${header},"kvs":[{"key":"YQ==","value":"Yg=="}],"count":1}`)).toEqual([1]);
  const limited = "the dump has 1 of 3 keys, as one made with --limit or --count-only";
  expect(await saidOf(`{${header},"kvs":[{"key":"YQ==","value":"Yg=="}],"more":true,"count":3}`)).toEqual([1, limited]);
  expect(await saidOf(`{${header},"count":2}`)).toEqual([0, limited.replace("1 of 3", "0 of 2")]);
  const bare = "no key of the dump has a value, as in one made with --keys-only";
  expect(await saidOf(`{${header},"kvs":[{"key":"YQ=="}],"count":1}`)).toEqual([1, bare]);
});

test("consul: flags of 64 bits, namespaces and partitions go in and out as they were", async () => {
  const dump = `[
	{"key":"a","flags":18446744073709551615,"value":"djE="},
	{"key":"b","flags":9007199254740993,"value":"","namespace":"team","partition":"p1"},
	{"key":"d/","flags":0,"value":""}
]
`;
  const workspace = await newStore();
  await importAll(workspace, dump, itemsOf("consul"));
  expect(await write(workspace, "consul")).toBe(dump);
  // Labels of others that would not come back.
  const kept = [isConsulLabel("consul-flags", "7"), isConsulLabel("consul-partition", "p")];
  const lost = [isConsulLabel("consul-flags", "0"), isConsulLabel("consul-namespace", ""), isConsulLabel("a", "b")];
  expect([...kept, ...lost]).toEqual([true, true, false, false, false]);
  const labelled = await newStore();
  await importAll(
    labelled,
    '{"key":"a","value":"v","labels":{"consul-namespace":"","consul-flags":"none"}}',
    itemsOf("jsonl"),
  );
  expect(await write(labelled, "consul")).toBe('[\n\t{"key":"a","flags":0,"value":"dg=="}\n]\n');
});

test("a map of 50,000 names takes no more time for each than a small one", async () => {
  const lines = Array.from({ length: 50_000 }, (_, i) => `key${i}: value\n`);
  for (const format of ["yaml", "json"] as const) {
    const text =
      format === "yaml" ? lines.join("") : JSON.stringify(Object.fromEntries(lines.map((line) => [line, ""])));
    expect((await check(text.replaceAll("\\n", ""), itemsOf(format))).keys).toBe(50_000);
  }
  expect((await failureOf(check(`${lines.join("")}"key5": x\n`, itemsOf("yaml")))).message).toStartWith(
    "line 50001: a key is there twice",
  );
});

test("variables of many spaces, quotes and lines take no more time than others", async () => {
  const spaces = " ".repeat(1_000_000);
  const lines = 'a "quoted" line of it\n'.repeat(100_000);
  expect((await read("dotenv", `A=x${spaces}y${spaces}#z\nB=#\nC=a#b\t#`)) as object).toEqual({
    A: `x${spaces}y`,
    B: "",
    C: "a#b",
  });
  const store = await newStore(new Map([["A", Buffer.from(`it's ${lines}`)]]));
  const target = await newStore();
  await importAll(target, await write(store, "dotenv"), itemsOf("dotenv"));
  expect(target.requireState().data).toBe(store.requireState().data);
  expect(await read("dotenv", 'A="x\\\ny"\nB="\\\\"\nC="\\""')).toEqual({ A: "x\\\ny", B: "\\", C: '"' });
});

test("the largest value of a dump and of a variable", async () => {
  const large = await newStore(new Map([["A", Buffer.alloc(16 * 1024 * 1024, "\xff", "latin1")]]));
  for (const format of ["etcd", "consul"] as const) {
    const target = await newStore();
    await importAll(target, await write(large, format), itemsOf(format));
    expect(target.requireState().data).toBe(large.requireState().data);
  }
  const most = 8 * 1024 * 1024 - 5;
  const variable = await newStore(new Map([["A", Buffer.alloc(most, " ")]]));
  expect((await check(await write(variable, "dotenv"), itemsOf("dotenv"))).bytes).toBe(most);
  const longer = await newStore(new Map([["A", Buffer.alloc(most + 1, " ")]]));
  expect((await failureOf(write(longer, "dotenv"))).message).toBe(
    '"A" cannot be a variable: its value is longer than 8388608 bytes',
  );
});

test("variables are read by a shell and by Node.js as they were", async () => {
  const values = ["two words", 'a$b "c" \\d\\n', "back`tick $(id) #", "two\nlines\n", "it's", "", "é 😀", " x "];
  const all = values.map((value, i) => [`V${i}`, value] as const);
  const workspace = await newStore(new Map(all.map(([name, value]) => [name, Buffer.from(value)])));
  const file = path.join(tempDir("variables"), ".env");
  fs.writeFileSync(file, await write(workspace, "dotenv"));
  const show =
    "process.stdout.write(JSON.stringify(Object.entries(process.env).filter(([name]) => /^V\\d$/.test(name)).sort()))";
  const node = [Bun.which("node") ?? "node", "-e", show];
  const ways = [
    ["sh", "-c", '. "$0" && exec "$@"', file, ...node],
    [node[0]!, `--env-file=${file}`, ...node.slice(1)],
  ];
  for (const way of ways) {
    const args = way[0] === "sh" ? ["sh", "-ac", ...way.slice(2)] : way;
    expect([way[0], Bun.spawnSync(args, { env: {} }).stdout.toString()]).toEqual([way[0]!, JSON.stringify(all)]);
  }
});
