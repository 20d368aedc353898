/** What a server says on its sideband: as lines, to the person, and the hint of a refusal as the error's own. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as path from "node:path";
import { FLUSH, pktLine } from "../../src/gitwire/protocol/pkt-line.ts";
import { sidebandPacket } from "../../src/gitwire/protocol/sideband.ts";
import { ServerWords } from "../../src/kv/server-words.ts";
import { git } from "../support/git.ts";
import { tempDir } from "../support/temp.ts";

function listen(): { words: ServerWords; lines: string[]; progress: string[] } {
  const lines: string[] = [];
  const progress: string[] = [];
  const around = {
    progress: (text: string) => void progress.push(text),
    heard: (line: string) => void lines.push(line),
  };
  return { words: new ServerWords(around, "remote: "), lines, progress };
}

test("pieces become lines: those that end in CR are replaced, the others stay", () => {
  const text = "Counting: 50%\rCounting: 100%\rCounting: done.\r\nbye\n\nhalf";
  for (let size = 1; size <= text.length; size++) {
    const { words, lines, progress } = listen();
    for (let at = 0; at < text.length; at += size) words.hear(text.slice(at, at + size));
    expect(lines).toEqual(["remote: bye"]);
    expect(progress).toEqual(["Counting: 50%", "Counting: 100%", "Counting: done."].map((line) => `remote: ${line}`));
    words.end();
    expect(lines).toEqual(["remote: bye", "remote: half"]);
  }
});

test("errors and hints wait: for the error of a refusal, or for the end", () => {
  const { words, lines } = listen();
  words.hear("error: no\nhint: ask\nnews\nhint: or wait");
  expect(lines).toEqual(["remote: news"]);
  expect(words.takeHint()).toBe("ask\nor wait");
  words.end();
  expect(lines).toEqual(["remote: news"]);
  words.hear("error: no\n");
  words.end();
  expect(lines).toEqual(["remote: news", "remote: error: no"]);
  expect(words.takeHint()).toBeUndefined();
});

test("a refusal that comes as a line waits too, and is found", () => {
  const { words, lines } = listen();
  words.hear("error: no\nhint: ask\nCODE: what is this\nSIGNER_NOT_ALLOWED: no\nUNSIGNED: no");
  expect(words.refusal()).toEqual({ code: "SIGNER_NOT_ALLOWED", message: "no" });
  expect(words.takeHint()).toBe("ask");
  expect(words.refusal()).toBeUndefined();
  words.hear("UNSIGNED: no\n");
  words.end();
  expect(lines).toEqual(["remote: CODE: what is this", "remote: UNSIGNED: no"]);
});

test("a line without an end, and hints without number, are held to a limit", () => {
  const { words, lines } = listen();
  for (let i = 0; i < 1_000; i++) words.hear("x".repeat(100));
  words.hear("\n");
  expect(lines).toEqual([`remote: ${"x".repeat(1_000)}`]);
  for (let i = 0; i < 1_000; i++) words.hear("hint: again\n");
  expect(lines.length).toBe(1 + 950);
});

let server: ReturnType<typeof Bun.serve>;
let reason = "";
let said = "";
/** Milliseconds before the answer. */
let pause = 0;

beforeAll(() => {
  server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      const head = Buffer.from(await request.arrayBuffer()).toString("latin1");
      const refs = [...head.matchAll(/[0-9a-f]{40,64} [0-9a-f]{40,64} (refs\/[^\0\n]+?)(?=\0|00[0-9a-f]{2}|$)/g)];
      const report = [pktLine("unpack ok\n"), ...refs.map((ref) => pktLine(`ng ${ref[1]} ${reason}\n`)), FLUSH];
      await Bun.sleep(pause);
      const body = [sidebandPacket(2, said), sidebandPacket(1, Buffer.concat(report)), FLUSH];
      return new Response(Buffer.concat(body), {
        headers: { "Content-Type": "application/x-git-receive-pack-result" },
      });
    },
  });
});

afterAll(() => server.stop(true));

const PROGRAM = path.join(import.meta.dir, "..", "..", "bin", "git-kv.ts");

/** Runs `git kv set` on a terminal, where the server answers as told; returns what the terminal got. */
async function onTerminal(...flags: string[]): Promise<string> {
  const dir = tempDir("words");
  git(dir, "init", "-q");
  git(dir, "config", "remote.origin.url", `http://127.0.0.1:${server.port}/x.git`);
  git(dir, "config", "remote.origin.fetch", "+refs/kv/*:refs/kv-remotes/origin/kv/*");
  const command = [process.execPath, PROGRAM, "set", "a", "1", ...flags].join(" ");
  const child = Bun.spawn(["script", "-qec", command, "/dev/null"], {
    cwd: dir,
    stdin: "ignore",
    stdout: "pipe",
    env: { ...process.env, TERM: "xterm", NO_COLOR: "1" },
  });
  return new Response(child.stdout).text();
}

test("on a terminal: whole lines, nothing that drives it, and the hint of the refusal once", async () => {
  expect(spawnSync("script", ["--version"]).status).toBe(0);
  reason = "FORBIDDEN: 'a' is not yours";
  said = "working: 10%\rworking: 100%\rbeware \x1b]0;title\x07\x9b31m\nerror: 'a' is not yours\nhint: ask an admin\n";
  // A program that has run for half a second shows progress, and the second line comes too soon after the first.
  pause = 700;
  const output = await onTerminal();
  pause = 0;
  expect(output).toContain("remote: working: 10%\r\x1b[K");
  expect(output).not.toContain("100%");
  expect(output).toContain("remote: beware \\x1b]0;title\\x07\\x9b31m\r\n");
  expect(output).toEndWith("error: 'a' is not yours\r\nhint: ask an admin\r\n");
  expect(output.split("ask an admin").length).toBe(2);
});

test("a refusal in a stock server's words keeps what the server said; --quiet leaves the error alone", async () => {
  reason = "pre-receive hook declined";
  said = "error: not on a Friday\n";
  expect(await onTerminal()).toMatch(/^remote: error: not on a Friday\r\nerror: refs\/kv\S+ was rejected: pre-rec/m);
  expect(await onTerminal("--quiet")).toStartWith("error: refs/kv");
});

test("a hook of a Stargate behind git's own server: its code is the error's, its hint is shown once", async () => {
  reason = "pre-receive hook declined";
  said = "error: the signer may not write\nhint: ask an admin\nSIGNER_NOT_ALLOWED: the signer may not write\n";
  const output = await onTerminal();
  expect(output).toEndWith("error: the signer may not write\r\nhint: ask an admin\r\n");
  expect(output.split("may not write").length).toBe(2);
  expect(await onTerminal("--json")).toContain('"SIGNER_NOT_ALLOWED"');
});
