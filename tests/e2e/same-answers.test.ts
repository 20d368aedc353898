/**
 * The command line and the library stand on the same functions (docs/design/166): here they are asked the same of one store, and told
 * to do the same to two.
 */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError, type KvOperation, openKv } from "../../src/kv/open-kv.ts";
import type { Metadata } from "../../src/kv/record.ts";
import { git } from "../support/git.ts";
import { kv, kvOk } from "../support/scene.ts";
import { newKey } from "../support/signing.ts";
import { tempDir } from "../support/temp.ts";

const LARGE = Buffer.alloc(1_500_000, "0123456789abcdef!");

/** The operations of a transaction, and the arguments that say the same. */
type Step = readonly [operations: readonly KvOperation[], args: readonly string[]];

const STEPS: readonly Step[] = [
  [[{ op: "set", key: "cfg:theme", value: "dark" }], ["set", "cfg:theme", "dark"]],
  [
    [{ op: "set", key: "cfg:theme", value: '{"a":1}', labels: { team: "core" } }],
    ["set", "cfg:theme", '{"a":1}', "--label", "team=core"],
  ],
  [
    [{ op: "set", key: "é 😀", value: "x", ctype: "image/png", expires: new Date("2020-01-02") }],
    ["set", "é 😀", "x", "--ctype", "image/png", "--expires", "2020-01-02"],
  ],
  [[{ op: "set", key: "large", value: LARGE }], ["set", "large", "--file", "large"]],
  [[{ op: "set", key: "bytes", value: new Uint8Array([255, 0, 10]) }], ["set", "bytes", "--file", "bytes"]],
  [
    [
      { op: "set", key: "a", value: "1", if: { absent: true } },
      { op: "del", key: "bytes", if: { rev: 1 } },
      { op: "check", key: "cfg:theme", if: { rev: 2 } },
    ],
    ["mset", "--file", "batch"],
  ],
  [[{ op: "set", key: "gone", value: "for a while" }], ["set", "gone", "for a while"]],
  [
    [
      { op: "del", key: "gone" },
      { op: "del", key: "a" },
    ],
    ["del", "gone", "a"],
  ],
];

const BATCH = [
  { op: "set", key: "a", value: "1", if: { absent: true } },
  { op: "del", key: "bytes", if: { rev: 1 } },
  { op: "check", key: "cfg:theme", if: { rev: 2 } },
];

function store(): string {
  const dir = tempDir("same");
  kvOk(dir, "init");
  fs.writeFileSync(path.join(dir, "large"), LARGE);
  fs.writeFileSync(path.join(dir, "bytes"), Buffer.from([255, 0, 10]));
  fs.writeFileSync(path.join(dir, "batch"), BATCH.map((line) => `${JSON.stringify(line)}\n`).join(""));
  const key = newKey();
  git(dir, "config", "gpg.format", "ssh");
  git(dir, "config", "user.signingKey", key.file);
  git(dir, "config", "kv.sign", "true");
  return dir;
}

/** The keys with all that is known of them; the trees are others in each store, since records name commits. */
function contentOf(dir: string): unknown {
  return kvOk(dir, "list", "--long", "--allow-expired", "--json")
    .split("\n")
    .map((line) => JSON.parse(line) as object);
}

/** What is looked at one by one in an answer. */
interface Told {
  readonly oid: string;
  readonly txn: string;
  readonly seq: number;
  readonly epoch: string;
  readonly time: string;
  readonly key: string;
  readonly unchanged?: true;
}

const json = (dir: string, ...args: string[]): Told[] =>
  kvOk(dir, ...args, "--json")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));

/** As JSON has it: without what is undefined, times as text. */
const plain = (value: unknown): object => JSON.parse(JSON.stringify(value));
const inSeconds = (date: Date): string => date.toISOString().replace(".000Z", "Z");

test("the same operations make the same store", async () => {
  const [cli, library] = [store(), store()];
  const opened = openKv({ dir: library });
  for (const [operations, args] of STEPS) {
    const said = json(cli, ...args)[0]!;
    const written = await opened.write(operations);
    expect([args, written.changed, written.seq]).toEqual([args, true, said.seq]);
    expect(contentOf(library)).toEqual(contentOf(cli));
  }
  // What is there already makes no transaction, and what must not be there no change.
  const [operations, args] = STEPS[0]!;
  kvOk(cli, ...args);
  expect((await opened.write(operations)).changed).toBe(true);
  expect([(await opened.write(operations)).changed, json(cli, ...args)[0]!.unchanged]).toEqual([false, true]);
  for (const dir of [cli, library]) expect(kv(dir, "verify").status).toBe(0);
  expect(json(cli, "revert", "9")[0]!.seq).toBe((await opened.revert("9")).seq);
  expect(contentOf(library)).toEqual(contentOf(cli));
  opened.close();
}, 60_000);

test("one store gives the same answers", async () => {
  const dir = store();
  for (const [, args] of STEPS) kvOk(dir, ...args);
  const opened = openKv({ dir });
  const newest = opened.state();
  const log = json(dir, "log");
  expect([newest.oid, newest.seq, newest.txn, newest.epoch]).toEqual([
    log[0]!.oid,
    log[0]!.seq,
    log[0]!.txn,
    log[0]!.epoch,
  ]);
  expect(newest.tree).toBe(git(dir, "rev-parse", "refs/kv/main^{tree}"));

  const known = ["cfg:theme", "é 😀", "large", "bytes", "a", "gone", "never", "bad\nkey"];
  for (const at of [undefined, "-1", "3", log.at(-2)!.oid, log[2]!.txn, log[1]!.time]) {
    const then = at === undefined ? [] : ["--at", at];
    for (const allowExpired of [false, true]) {
      const flags = [...then, ...(allowExpired ? ["--allow-expired"] : [])];
      for (const key of known) {
        const told = kv(dir, "get", "--json", ...flags, "--", key);
        const value = await opened.get(key, { ...(at !== undefined && { at }), allowExpired }).catch((error) => error);
        const what = [key, flags];
        if (value instanceof KvError) {
          const { error } = JSON.parse(told.stdout || told.stderr) as { error: { code: string; message: string } };
          expect([...what, error.code, error.message]).toEqual([...what, value.code, value.message]);
        } else if (value === undefined) {
          expect([...what, [6, 7].includes(told.status!)]).toEqual([...what, true]);
        } else {
          const { bytes, ctype, etag, rev, expires, labels, blob } = value;
          const found = JSON.parse(told.stdout);
          const data =
            found.value_b64 === undefined ? Buffer.from(found.value) : Buffer.from(found.value_b64, "base64");
          expect([...what, data.equals(bytes)]).toEqual([...what, true]);
          expect([ctype, etag, rev, blob]).toEqual([found.ctype, found.etag, found.rev, found.oid]);
          expect([expires && expires.getTime() / 1000, labels]).toEqual([found.expires, found.labels ?? {}]);
        }
      }
      for (const more of [
        {},
        { prefix: "cfg:" },
        { after: "cfg:theme", limit: 1 },
        { deleted: true },
        { expired: true },
      ]) {
        const listed: string[] = [];
        for await (const { key } of opened.list({ ...(at !== undefined && { at }), allowExpired, ...more }))
          listed.push(key);
        const args = Object.entries(more).flatMap(([name, value]) =>
          value === true ? [`--${name}`] : [`--${name}`, String(value)],
        );
        expect([args, flags, listed]).toEqual([
          args,
          flags,
          json(dir, "list", ...flags, ...args).map(({ key }) => key),
        ]);
      }
    }
  }

  for (const key of known.slice(0, 7)) {
    const revisions: object[] = [];
    for await (const { op, rev, transaction, meta } of opened.history(key)) {
      const { set: _, del: __, time, seconds, ...made } = transaction!;
      expect(time.getTime()).toBe(seconds * 1000);
      const { type, size, etag, ctype, expires, labels } = meta ?? {};
      revisions.push(
        plain({ op, rev, ...made, time: inSeconds(time), value: meta && { type, size, etag, ctype, expires, labels } }),
      );
    }
    const told = kv(dir, "history", key, "--json").stdout;
    const lines = told.split("\n").filter((line) => line !== "" && !line.startsWith('{"error"'));
    const expected = lines.map((line) => {
      const { key: _, value, ...record } = JSON.parse(line);
      const { oid: __, rev: ___, pieces: ____, ...facts } = value ?? {};
      return plain({ ...record, value: value && facts });
    });
    expect([key, revisions]).toEqual([key, expected]);
  }

  for (const prefix of [undefined, "cfg:", "zz"]) {
    const transactions: object[] = [];
    for await (const { time, seconds: _, ...rest } of opened.log({ ...(prefix !== undefined && { prefix }) })) {
      transactions.push(plain({ ...rest, time: inSeconds(time) }));
    }
    expect(transactions).toEqual(json(dir, "log", ...(prefix === undefined ? [] : ["--prefix", prefix])));
    for (const range of [["1"], ["2", "-1"], ["-1", "3"], ["5", "5"]] as const) {
      const changes = await opened.diff(range[0], range[1], { ...(prefix !== undefined && { prefix }) });
      const facts = (meta: Metadata | undefined): object | undefined => {
        if (meta === undefined) return undefined;
        const { type, size, etag, ctype, rev, expires, labels } = meta;
        return { type, size, etag, ctype, rev, expires, labels };
      };
      const shown = changes.map(({ op, key, before, after }) =>
        plain({ op, key, before: facts(before), after: facts(after) }),
      );
      expect([range, shown]).toEqual([
        range,
        json(dir, "diff", ...range, ...(prefix === undefined ? [] : ["--prefix", prefix])),
      ]);
    }
  }
  for (const txn of ["-1", "2h", "99"]) {
    const { code } = (await opened.revert(txn).catch((error) => error)) as KvError;
    expect([txn, code]).toEqual([txn, JSON.parse(kv(dir, "revert", "--json", "--", txn).stdout).error.code]);
  }
  for (const at of ["99", "2001-01-01", "zz", "ffffffff"]) {
    const { code } = (await opened.get("a", { at }).catch((error) => error)) as KvError;
    expect([at, code]).toEqual([at, JSON.parse(kv(dir, "get", "a", "--at", at, "--json").stdout).error.code]);
  }
  opened.close();
}, 120_000);
