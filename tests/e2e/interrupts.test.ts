/** Ctrl-C and SIGTERM in the middle of whatever takes long: heard at once, 130 and 143, and nothing is left half done. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { executable } from "../support/executable.ts";
import { fsck, git } from "../support/git.ts";
import { ENV, kvOk } from "../support/scene.ts";
import { tempDir } from "../support/temp.ts";

/** Enough that reading all of it takes the better part of a second, in transactions that take a tenth of one. */
const KEYS = 40_000;
const BATCH = 2_000;

let store: string;
let lines: string;
let silent: net.Server;
let url: string;
/** Connections that were made to the silent host. */
let connections = 0;

beforeAll(async () => {
  store = tempDir("long");
  lines = path.join(tempDir("lines"), "all.jsonl");
  fs.writeFileSync(lines, Array.from({ length: KEYS }, (_, i) => `{"key":"key:${i}","value":"value ${i}"}\n`).join(""));
  kvOk(store, "init");
  kvOk(store, "import", lines, "--batch", String(BATCH));
  // A host that takes connections and never says a word.
  silent = net.createServer((socket) => {
    connections++;
    socket.on("error", () => {});
    socket.resume();
  });
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  url = `git://127.0.0.1:${(silent.address() as net.AddressInfo).port}/kv.git`;
}, 120_000);
afterAll(() => silent.close());

/** Whether the program listens to SIGINT by now. */
function hears({ pid }: ChildProcess): boolean {
  const [, caught = "0"] = /^SigCgt:\s*([0-9a-f]+)$/m.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return (BigInt(`0x${caught}`) & 2n) !== 0n;
}

/** Whether it has a pack open: then it is at its work. */
function reads({ pid }: ChildProcess): boolean {
  const folder = `/proc/${pid}/fd`;
  return fs.readdirSync(folder).some((fd) => {
    try {
      return fs.readlinkSync(path.join(folder, fd)).endsWith(".pack");
    } catch {
      return false;
    }
  });
}

/** How many bytes a process has read or written so far. */
const ioOf = (pid: number | undefined, what: "rchar" | "wchar"): number =>
  Number(new RegExp(`^${what}: (\\d+)$`, "m").exec(fs.readFileSync(`/proc/${pid}/io`, "utf8"))?.[1]);

/** Once it has read this part of the input: an import reads all of it to check it, before it writes. */
function hasRead(part: number): Case["when"] {
  const size = fs.statSync(lines).size;
  let first: number | undefined;
  return ({ pid }) => {
    const read = ioOf(pid, "rchar");
    first ??= read;
    return read - first > part * size;
  };
}

/** Once objects have gone to the disk, which is when there are too many to be held in memory: it is planning then. */
const hasWritten: Case["when"] = ({ pid }) => ioOf(pid, "wchar") > 1_000_000;

/** Files of a write that is under way. */
const halfDone = (dir: string): string[] =>
  (fs.readdirSync(dir, { recursive: true }) as string[])
    .filter((name) => /(^|\/)\.?tmp|\.lock$|incoming-|\.git-kv/.test(name))
    .sort();

interface Case {
  readonly args: readonly string[];
  /** Whether it is in the middle of things. */
  readonly when: (child: ChildProcess) => boolean;
}

/** Runs the cases, every other one ended by SIGTERM. */
async function interruptEach(dir: string, cases: readonly Case[]): Promise<void> {
  const before = [git(dir, "for-each-ref"), fs.readdirSync(dir).sort(), halfDone(dir)];
  for (const [i, { args, when }] of cases.entries()) {
    const [signal, status, said] =
      i % 2 === 0
        ? (["SIGINT", 130, "interrupted by SIGINT"] as const)
        : (["SIGTERM", 143, "ended by SIGTERM"] as const);
    const child = spawn(executable("git-kv"), args, { cwd: dir, env: ENV });
    // What it answers is taken, so that a full pipe does not hold it.
    child.stdout.resume();
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk;
    });
    const ended = once(child, "close");
    while (child.exitCode === null && !(hears(child) && when(child))) await Bun.sleep(2);
    child.kill(signal);
    const [code] = await ended;
    expect([args, code, stderr]).toEqual([args, status, `error: ${said}\n`]);
    expect([args, git(dir, "for-each-ref"), fs.readdirSync(dir).sort(), halfDone(dir)]).toEqual([args, ...before]);
  }
}

/** Runs to its end, killed by SIGINT once it has read so many bytes; says how it ended and how many it had read when it was seen last. */
async function bytesRead(dir: string, args: readonly string[], until = Number.POSITIVE_INFINITY) {
  const child = spawn(executable("git-kv"), args, { cwd: dir, env: ENV, stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk;
  });
  const ended = once(child, "close");
  let bytes = 0;
  let isKilled = false;
  while (child.exitCode === null) {
    bytes = bytesSoFar(child) ?? bytes;
    if (!isKilled && bytes > until && hears(child)) isKilled = child.kill("SIGINT");
    await Bun.sleep(1);
  }
  const [code] = await ended;
  return { code, bytes, stderr };
}

/** Undefined where it has just ended. */
function bytesSoFar({ pid }: ChildProcess): number | undefined {
  try {
    return ioOf(pid, "rchar");
  } catch {
    return undefined;
  }
}

describe("in the middle of", () => {
  test("one transaction, be it replayed or taken back", async () => {
    const dir = tempDir("one");
    kvOk(dir, "init");
    kvOk(dir, "import", lines);
    for (const args of [["verify"], ["revert", "2"]]) {
      const tip = git(dir, "for-each-ref");
      const part = args[0] === "verify" ? (await bytesRead(dir, args)).bytes / 3 : 0;
      const run = await bytesRead(dir, args, part);
      expect([run.code, run.stderr]).toEqual([130, "error: interrupted by SIGINT\n"]);
      if (part > 0) expect(run.bytes).toBeLessThan(part * 2.5);
      expect(git(dir, "for-each-ref")).toBe(tip);
    }
    // On a terminal it is shown how far it is.
    const line = `${executable("git-kv")} verify`;
    const shown = spawnSync("script", ["-qec", line, "/dev/null"], {
      cwd: dir,
      env: { ...ENV, TERM: "xterm" },
      encoding: "utf8",
    });
    expect(shown.stdout).toMatch(/verifying main: \d of 2 transactions, \d+ objects read/);
    expect(shown.stdout).toEndWith("no findings\r\n");
  }, 120_000);

  test("reading a large store", async () => {
    await interruptEach(
      store,
      [
        ["verify"],
        ["snapshot", "--export", "all.jsonl"],
        ["snapshot", "--export", "all.jsonl.gz"],
        ["snapshot", "--dir", "all"],
        ["list", "--long"],
        ["log", "--keys"],
        ["diff", "1"],
        ["watch", "--since", "0"],
        ["watch", "--follow"],
      ].map((args) => ({ args, when: reads })),
    );
  }, 120_000);

  test("writing a large transaction", async () => {
    const dir = tempDir("import");
    kvOk(dir, "init");
    await interruptEach(dir, [
      { args: ["import", lines], when: () => true },
      { args: ["import", lines], when: hasRead(0.5) },
      { args: ["import", lines], when: hasRead(0.95) },
      { args: ["import", lines], when: hasWritten },
    ]);
    expect(kvOk(dir, "import", lines)).toBe(git(dir, "rev-parse", "refs/kv/main"));
    expect(fsck(dir)).toBe("notice: HEAD points to an unborn branch (main)");
  }, 120_000);

  test("waiting for input", async () => {
    const dir = tempDir("stdin");
    kvOk(dir, "init");
    spawnSync("mkfifo", [path.join(dir, "pipe")]);
    const waits = [
      "set k -",
      "mset --file -",
      "import -",
      "cas set k - --expect-blob 0 --expect-tree TREE",
      "policy check -",
      "policy apply -",
      "set k --file pipe",
      "mset --file pipe",
    ];
    const tree = git(dir, "rev-parse", "refs/kv/main^{tree}");
    await interruptEach(
      dir,
      waits.map((line) => ({ args: line.replace("TREE", tree).split(" "), when: () => true })),
    );
    expect(kvOk(dir, "list")).toBe("");
  }, 60_000);

  test("waiting for a host", async () => {
    const dir = tempDir("host");
    kvOk(dir, "init");
    git(dir, "remote", "add", "origin", url);
    git(dir, "config", "remote.origin.pushurl", `${url}?stargate`);
    git(dir, "config", "remote.origin.fetch", "+refs/kv/*:refs/kv-remotes/origin/kv/*");
    const oid = git(dir, "rev-parse", "refs/kv/main");
    const lines = [
      "clone URL copy",
      "fetch",
      "fetch --read-from stargate",
      `wait --oid ${oid}`,
      "set k v",
      "get k --read-from mirror",
      "epoch new --label e2",
      "watch",
      "doctor",
      "--repo URL get k",
    ];
    await interruptEach(
      dir,
      lines.map((line) => {
        const known = { count: -1 };
        return {
          args: line.replace("URL", url).split(" "),
          when: () => {
            if (known.count < 0) known.count = connections;
            return connections > known.count;
          },
        };
      }),
    );
  }, 60_000);
});
