/** The library in Node.js: the bundle that build.ts makes, on a repository that the executable reads as well. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { runProgram } from "../support/executable.ts";
import { fsck, git } from "../support/git.ts";
import { kv, kvOk, Scene } from "../support/scene.ts";
import { tempDir } from "../support/temp.ts";

const BUNDLE = path.join(import.meta.dir, "..", "..", "dist", "node", "open-kv-node.js");

const PROGRAM = `
import { openKv, KvError } from ${JSON.stringify(BUNDLE)};
const kv = openKv();
const said = [(await kv.get("from:cli")).text(), kv.state().seq];
await kv.set("from:node", "hello", { labels: { a: "1" } });
await kv.write([{ op: "set", key: "a", value: "1" }, { op: "del", key: "from:cli" }]);
const big = new Uint8Array(2_500_000).map((_, i) => (i * 2654435761) >>> 24);
await kv.set("big", big);
let size = 0;
await kv.read("big", (bytes) => { for (const byte of bytes) if (byte !== big[size++]) throw new Error("another byte"); });
said.push(size);
for await (const { key } of kv.list()) said.push(key);
for await (const { rev, op } of kv.history("from:cli")) said.push(op + rev);
said.push((await kv.get("from:cli", { at: "-2" })).text());
try { await kv.set("a", "2", { if: { absent: true } }); } catch (error) { said.push(error instanceof KvError && error.code); }
kv.close();
console.log(JSON.stringify(said));
`;

test("reads and writes what the executable does", () => {
  const dir = tempDir("node");
  kvOk(dir, "init");
  kvOk(dir, "set", "from:cli", "good morning");
  const file = path.join(dir, "program.mjs");
  fs.writeFileSync(file, PROGRAM);
  const run = runProgram("node", [file], { cwd: dir, env: process.env });
  expect(run.stderr).toBe("");
  expect(JSON.parse(run.stdout)).toEqual([
    ...["good morning", 2, 2_500_000, "a", "big", "from:node", "del2", "set1", "good morning", "CAS_CONFLICT"],
  ]);
  expect(kv(dir, "get", "from:node").stdout).toBe("hello");
  expect(kv(dir, "verify").status).toBe(0);
  expect(fsck(dir)).toBe("notice: HEAD points to an unborn branch (main)");
});

const BY_ITSELF = `
const before = Object.getOwnPropertyNames(globalThis).join();
const heard = () => process.eventNames().map((name) => [String(name), process.listenerCount(name)]).join();
const listeners = heard();
import fs from "node:fs";
const { openKv } = await import(${JSON.stringify(BUNDLE)});
const [kv, other] = [openKv({ dir: "store" }), openKv({ dir: "store" })];
await kv.init();
const done = await Promise.all(Array.from({ length: 32 }, (_, i) => (i % 2 ? kv : other).set("key" + i, "x")));
const said = [new Set(done.map(({ oid }) => oid).values()).size];
const lines = Array.from({ length: 2_000 }, (_, i) => JSON.stringify({ key: "many:" + i, value: "v" + i }) + "\\n");
said.push((await kv.import(lines)).set, (await other.get("many:1999")).text());
const { findings, namespaces } = await kv.verify();
said.push(findings.length, namespaces[0].transactions);
const open = () => fs.readdirSync("/proc/self/fd").filter((fd) => {
  try { return fs.readlinkSync("/proc/self/fd/" + fd).includes("/store/"); } catch { return false; }
}).length;
for await (const { seq } of kv.watch({ since: 1, follow: true })) { said.push(seq); break; }
const away = openKv({ url: "http://127.0.0.1:4/x.git" });
said.push(await away.get("a").catch(({ code, message }) => code + " " + message));
kv.close();
other.close();
said.push(open(), typeof Bun, Object.getOwnPropertyNames(globalThis).join() === before, heard() === listeners);
console.log(JSON.stringify(said));
`;

const AWAY = "NETWORK cannot reach http://127.0.0.1:4/x.git: connection refused";

test("leaves nothing behind: no global, no listener, no open file, no word on standard error", () => {
  const dir = tempDir("node");
  git(dir, "init", "-q", "store");
  const file = path.join(dir, "program.mjs");
  fs.writeFileSync(file, BY_ITSELF);
  const run = runProgram("node", [file], { cwd: dir, env: { ...process.env, XDG_CACHE_HOME: tempDir("cache") } });
  expect(run.stderr).toBe("");
  expect(JSON.parse(run.stdout)).toEqual([32, 2_000, "v1999", 0, 34, 2, AWAY, 0, "undefined", true, true]);
}, 60_000);

const THROUGH_STARGATE = `
import { openKv } from ${JSON.stringify(BUNDLE)};
import { randomBytes } from "node:crypto";
const kv = openKv();
const large = randomBytes(3_000_000);
const said = [(await kv.set("large", large)).changed];
const { oid, txn } = await kv.set("small", "value");
await kv.wait(oid, 60_000);
await kv.fetch();
for await (const { op, key } of kv.watch({ since: 0 })) said.push(op + " " + key);
const { bytes } = await kv.get("large");
said.push(large.equals(bytes));
const told = [];
const watching = openKv({ onWarning: (text) => told.push(text) });
await kv.set("news", "0");
for await (const { key, seq } of watching.watch({ prefix: "news", since: kv.state().seq - 1, follow: true })) {
  told.push(key + seq);
  if (told.length === 3) break;
  await kv.set("news", String(seq));
}
watching.close();
said.push(told);
await kv.revert(txn);
said.push(await kv.get("small"));
kv.close();
console.log(JSON.stringify(said));
`;

test("writes through a Stargate, large values too, but not past a proxy", async () => {
  const scene = await Scene.start();
  const clone = scene.clone("node");
  kvOk(clone, "set", "from:cli", "x");
  const file = path.join(clone, "program.mjs");
  fs.writeFileSync(file, THROUGH_STARGATE);
  const run = runProgram("node", [file], { cwd: clone, env: process.env });
  expect(run.stderr).toBe("");
  expect(JSON.parse(run.stdout)).toEqual([
    ...[true, "set from:cli", "set large", "set small", true],
    // By the Stargate's own stream, without a word of a mirror in its place.
    ...[["news4", "news5", "news6"], null],
  ]);
  expect(kvOk(scene.clone("other"), "get", "large", "--json", "--range", "0-0")).toContain('"size":3000000');
  git(clone, "config", "http.proxy", "http://127.0.0.1:9");
  const refused = runProgram("node", [file], { cwd: clone, env: process.env });
  expect(refused.stderr).toContain("UNSUPPORTED");
  await scene.serving.stop();
}, 60_000);
