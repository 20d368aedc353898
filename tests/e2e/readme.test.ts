/** The README's quick start works as printed, line by line, in one shell. */

import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { ENV } from "../support/scene.ts";
import { tempDir } from "../support/temp.ts";

const README = fs.readFileSync(path.join(import.meta.dir, "..", "..", "README.md"), "utf8");

test("quick start", () => {
  const blocks = [...README.matchAll(/^```sh\n(.*?)^```$/gms)].map((match) => match[1]!);
  expect(blocks.length).toBe(3);
  const root = tempDir("readme");
  // A port of its own; the daemon needs a moment until it listens, which people give it by typing on.
  const port = 20_000 + (process.pid % 20_000);
  const [local, server, client] = blocks.map((block) => block.replaceAll("8418", String(port)));
  const wait = `for i in $(seq 100); do [ -S kv.git/stargate/socket ] && break; sleep 0.05; done\n`;
  const script = `set -e\n${local}${server}trap 'kill $(cat "${root}/stargate.pid")' EXIT\n${wait}${client}`;
  const run = spawnSync("bash", ["-c", script], {
    cwd: root,
    env: { ...ENV, HOME: root },
    encoding: "utf8",
    timeout: 60_000,
  });
  expect(run.stderr).not.toContain("error");
  expect(run.status).toBe(0);
  const lines = run.stdout.replaceAll(/[0-9a-f]{40,64}/g, "OID").replaceAll(/^[0-9a-f]{7,12} /gm, "ID ");
  expect(lines).toMatch(
    /^OID\nOID\ndarkcfg:theme\n[0-9a-f]{12}\t[^\t]+\t[^\t]+\tset\t1\tunsigned\tset cfg:theme\t4 B, blake3:[0-9a-f]{12}\nID set cfg:theme\nID init main\n/,
  );
  expect(lines).toContain(`Configured origin.pushurl → http://127.0.0.1:${port}/kv.git\n`);
  expect(lines).toEndWith("OID\ndarkOID\ncfg:lang\nID mset: 1 set, 1 del\nID set cfg:theme\n");
}, 90_000);
