/** Requests whose size is the attack, against a Stargate in a process of its own: refused, its memory hardly grows, others are served. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { deflateSync } from "node:zlib";
import { hashObject } from "../../src/gitwire/object/oid.ts";
import { encodeTree, MODE } from "../../src/gitwire/object/tree.ts";
import { ENTRY } from "../../src/gitwire/pack/pack-entry.ts";
import { FLUSH, pktLine } from "../../src/gitwire/protocol/pkt-line.ts";
import { encodeEntry, type HandEntry, handPack } from "../gitwire/pack/fixtures.ts";
import { fsck } from "../support/git.ts";
import { STARGATE_PROGRAM } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

const MOST_GROWTH = 64 * 1024;
const OID = "1".repeat(TEST_FORMAT.hexSize);
const root = tempDir("hostile");
const [program, ...script] = STARGATE_PROGRAM as [string, ...string[]];
let server: ChildProcess;
let url: string;
let token: string;

beforeAll(async () => {
  const run = (...args: string[]): string => {
    const done = Bun.spawnSync([program, ...script, ...args], { cwd: root, env: process.env });
    if (done.exitCode !== 0) throw new Error(done.stderr.toString());
    return done.stdout.toString().trim();
  };
  run("init", "--repo", "kv.git");
  token = run("token", "add", "--repo", "kv.git", "--name", "test", "--scope", "write");
  server = spawn(program, [...script, "serve", "--repo", path.join(root, "kv.git"), "--listen", "127.0.0.1:0"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  url = await new Promise<string>((resolve, reject) => {
    server.once("exit", () => reject(new Error(log)));
    server.stderr!.on("data", (chunk: Buffer) => {
      log += chunk;
      const ready = /listening on (http:\S+)/.exec(log);
      if (ready !== null) resolve(`${ready[1]}/kv.git`);
    });
  });
  // What the first push loads is not growth.
  await post("git-receive-pack", push(handPack(TEST_FORMAT, [{ type: ENTRY.blob, data: Buffer.alloc(200_000) }])));
}, 60_000);

afterAll(async () => {
  const gone = new Promise((resolve) => server.once("exit", resolve));
  server.kill("SIGTERM");
  await gone;
  expect(fsck(path.join(root, "kv.git"))).toBe("");
});

/** Kilobytes: the most the server ever had resident (VmHWM). */
function mostResident(): number {
  return Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync(`/proc/${server.pid}/status`, "utf8"))![1]);
}

async function post(service: string, body: Buffer | ReadableStream): Promise<string> {
  const response = await fetch(`${url}/${service}`, {
    method: "POST",
    headers: {
      Authorization: `Bearer ${token}`,
      "Content-Type": `application/x-${service}-request`,
      "Git-Protocol": "version=2",
    },
    body,
  });
  return `${response.status} ${Buffer.from(await response.arrayBuffer()).toString("latin1")}`;
}

function push(pack: Buffer, tip = OID): Buffer {
  // A whole transaction: others are refused before their pack is read.
  const refs = [
    `${TEST_FORMAT.zeroOid} ${tip} refs/kv/main\0report-status atomic object-format=${TEST_FORMAT.name}`,
    `${TEST_FORMAT.zeroOid} ${tip} refs/kv-index/main`,
  ];
  return Buffer.concat([...refs.map(pktLine), FLUSH, pack]);
}

/** `start`, then `again` for ever. */
function endless(start: Buffer, again: Buffer): ReadableStream {
  let chunk = start;
  return new ReadableStream({
    pull: (controller) => {
      controller.enqueue(chunk);
      chunk = again;
    },
  });
}

const entry = (size: number, stream: Buffer): HandEntry => ({ type: ENTRY.blob, data: Buffer.alloc(0), size, stream });

function chain(length: number): Buffer {
  const made: HandEntry[] = [{ type: ENTRY.blob, data: Buffer.from("0") }];
  for (let i = 1; i <= length; i++) {
    const data = Buffer.from([`${i - 1}`.length, `${i}`.length, `${i}`.length, ...Buffer.from(`${i}`)]);
    made.push({ type: ENTRY.ofsDelta, data, base: encodeEntry(made[i - 1]!).length });
  }
  return handPack(TEST_FORMAT, made);
}

/** The push of a commit. */
function deepTrees(depth: number): Buffer {
  const entries: HandEntry[] = [];
  let oid = TEST_FORMAT.emptyTree;
  for (let i = 0; i < depth; i++) {
    const data = encodeTree(TEST_FORMAT, [{ mode: MODE.tree, name: "d", oid }]);
    oid = hashObject(TEST_FORMAT, "tree", data);
    entries.push({ type: ENTRY.tree, data });
  }
  const who = "A <a@example.com> 1700000000 +0000";
  const commit = Buffer.from(`tree ${oid}\nauthor ${who}\ncommitter ${who}\n\ndeep\n`);
  entries.push({ type: ENTRY.commit, data: commit });
  return push(handPack(TEST_FORMAT, entries), hashObject(TEST_FORMAT, "commit", commit));
}

const have = pktLine(`have ${OID}\n`);
const zeros = (): Buffer => deflateSync(Buffer.alloc(200 * 1024 * 1024));

describe("hostile sizes", () => {
  test.each<[string, () => Promise<string>, RegExp]>([
    [
      "a pack of 2^32-1 objects",
      () => post("git-receive-pack", push(handPack(TEST_FORMAT, [], 2 ** 32 - 1))),
      /unpack .*4294967295 objects, the limit/,
    ],
    [
      "an object of 2^40 bytes",
      () => post("git-receive-pack", push(handPack(TEST_FORMAT, [entry(2 ** 40, Buffer.from("x"))]))),
      /unpack .*1099511627776 bytes, the limit/,
    ],
    [
      "a bomb of 200 MB that says 1 MB",
      () => post("git-receive-pack", push(handPack(TEST_FORMAT, [entry(1 << 20, zeros())]))),
      /unpack (?!ok)/,
    ],
    [
      "an honest bomb of 200 MB",
      () => post("git-receive-pack", push(handPack(TEST_FORMAT, [entry(200 * 1024 * 1024, zeros())]))),
      /ng refs\/kv\/main/,
    ],
    ["a chain of 5,000 deltas", () => post("git-receive-pack", push(chain(5_000))), /unpack (?!ok)/],
    [
      "trees 100,000 deep",
      () => post("git-receive-pack", deepTrees(100_000)),
      /unpack LIMIT_EXCEEDED: folders are nested more than 4096 deep, the limit/,
    ],
    [
      "a body of commands without end",
      () =>
        post(
          "git-receive-pack",
          endless(
            pktLine(`${OID} ${OID} refs/kv/x\0report-status object-format=${TEST_FORMAT.name}`),
            Buffer.concat(Array(500).fill(pktLine(`${OID} ${OID} refs/kv/main`))),
          ),
        ),
      /ERR a push moves at most 32768 refs/,
    ],
    [
      "a million haves and more",
      () =>
        post(
          "git-upload-pack",
          endless(
            Buffer.concat([
              pktLine("command=fetch"),
              pktLine(`object-format=${TEST_FORMAT.name}`),
              Buffer.from("0001"),
            ]),
            Buffer.concat(Array(1_000).fill(have)),
          ),
        ),
      // With long ids a million of them are more bytes than a request may have.
      /ERR the request is (?:too long|longer than 67108864 bytes)/,
    ],
  ])(
    "%s",
    async (what, attack, answer) => {
      const before = mostResident();
      const attacked = attack();
      const others = await fetch(`${url}/info/refs?service=git-receive-pack`, {
        headers: { Authorization: `Bearer ${token}` },
      });
      expect(others.status).toBe(200);
      const said = (await attacked).slice(0, 2_000);
      console.error(`${what}: ${JSON.stringify(said.slice(0, 150))}, ${mostResident() - before} KiB more`);
      expect(said).toMatch(answer);
      expect(mostResident() - before).toBeLessThan(MOST_GROWTH);
      expect(fs.readdirSync(path.join(root, "kv.git", "objects")).filter((name) => /^\.?tmp[-_]/.test(name))).toEqual(
        [],
      );
    },
    180_000,
  );
});
