/**
 * Writes and fetches of a clone against git's own servers: `git http-backend`, and `git-receive-pack` behind a real sshd. There
 * the atomic push decides alone, without a Stargate's checks.
 */

import { afterAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { commit } from "../../src/kv/commit.ts";
import { fetchAccepted, fetchMirror, trackingRefspecs } from "../../src/kv/fetch.ts";
import { parseKey } from "../../src/kv/key.ts";
import type { Workspace } from "../../src/kv/workspace.ts";
import type { WriteOutcome } from "../../src/kv/write.ts";
import { git } from "../support/git.ts";
import { startHttpBackend } from "../support/http-backend.ts";
import { bareRepository } from "../support/push.ts";
import { readValue } from "../support/read.ts";
import { freePort, startSshd } from "../support/sshd.ts";
import { tempDir } from "../support/temp.ts";
import { complaints, workspaceAt } from "../support/workspace.ts";

interface Server {
  /** The address of the repository at the absolute path `dir`. */
  readonly address: (dir: string) => string;
  readonly config: readonly (readonly [name: string, value: string])[];
  readonly env: Record<string, string>;
}

const ends: (() => void)[] = [];
afterAll(() => {
  for (const end of ends) end();
});

/** `remote.origin.proxy` stands against a proxy that nobody could use. */
async function http(): Promise<Server> {
  const backend = startHttpBackend("/");
  ends.push(() => backend.stop());
  const config = [
    ["http.proxy", "http://127.0.0.1:1"],
    ["remote.origin.proxy", ""],
  ] as const;
  return { address: (dir) => backend.url + dir, config, env: {} };
}

/** Programs that write down that they ran, on the other side of ssh. */
const ran = path.join(tempDir("ran"), "log");

async function ssh(): Promise<Server> {
  const sshd = await startSshd();
  ends.push(() => sshd.stop());
  const programs = ["upload-pack", "receive-pack"].map((name) => {
    const file = path.join(sshd.dir, name);
    fs.writeFileSync(file, `#!/bin/sh\necho ${name} >> ${ran}\nexec git ${name} "$@"\n`, { mode: 0o755 });
    return [`remote.origin.${name.replace("-", "")}`, file] as const;
  });
  const env = { GIT_SSH_COMMAND: sshd.command };
  return { address: (dir) => `ssh://${sshd.user}@127.0.0.1:${sshd.port}${dir}`, config: programs, env };
}

async function daemon(): Promise<Server> {
  const port = await freePort();
  const args = [
    "--listen=127.0.0.1",
    `--port=${port}`,
    "--export-all",
    "--enable=receive-pack",
    "--verbose",
    path.dirname(tempDir("daemon")),
  ];
  const child = Bun.spawn(["git", "daemon", ...args], { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  ends.push(() => child.kill());
  await child.stderr.getReader().read();
  return { address: (dir) => `git://127.0.0.1:${port}${dir}`, config: [], env: {} };
}

/** A clone that writes to `address`. */
function cloneOf(address: string, { config, env }: Server): Workspace {
  const dir = tempDir("clone");
  git(dir, "init", "-q");
  git(dir, "config", "remote.origin.url", address);
  for (const refspec of trackingRefspecs("origin")) git(dir, "config", "--add", "remote.origin.fetch", refspec);
  for (const [name, value] of config) git(dir, "config", name, value);
  return workspaceAt(dir, { clock: systemClock, env });
}

function set(workspace: Workspace, key: string, value: string): Promise<WriteOutcome> {
  const options = { ctype: undefined, expires: undefined, labels: undefined };
  const data = { kind: "bytes", data: Buffer.from(value) } as const;
  return commit(workspace, {}, (use) =>
    use({ op: "set", key: parseKey(key), value: data, options, condition: undefined }),
  );
}

const get = (workspace: Workspace, key: string): string =>
  readValue(workspace.repo.objects, workspace.requireState(), parseKey(key), {
    now: 0,
    allowExpired: false,
  }).data.toString();

test.each([
  ["git http-backend", http],
  ["git behind sshd", ssh],
  ["git daemon", daemon],
] as const)(
  "%s takes the writes of two clones, and each reads the other's",
  async (_name, start) => {
    const server = await start();
    const dir = bareRepository();
    const one = cloneOf(server.address(dir), server);
    const two = cloneOf(server.address(dir), server);
    expect(await set(one, "a", "1")).toMatchObject({ kind: "committed", seq: 1 });
    await fetchAccepted(two);
    expect(get(two, "a")).toBe("1");
    expect(await set(two, "b", "2")).toMatchObject({ kind: "committed", seq: 2 });
    // The first does not know of it: its push is stale, and it plans again.
    expect(await set(one, "c", "3")).toMatchObject({ kind: "committed", seq: 3 });
    expect([get(one, "b"), get(one, "c")]).toEqual(["2", "3"]);
    expect(await set(two, "d", "x".repeat(50_000))).toMatchObject({ kind: "committed", seq: 4 });
    await fetchMirror(one);
    expect(get(one, "d")).toBe("x".repeat(50_000));

    expect(complaints(dir)).toBe("");
    expect(git(dir, "log", "--format=%(trailers:key=KV-Seq,valueonly,separator=)", "refs/kv/main")).toBe("4\n3\n2\n1");
    for (const { repo } of [one, two]) expect(complaints(repo.gitDir)).toBe("");
    expect(git(two.repo.gitDir, "rev-parse", "refs/kv/main", "refs/kv-index/main")).toBe(
      git(dir, "rev-parse", "refs/kv/main", "refs/kv-index/main"),
    );
    if (start === ssh) {
      const log = fs.readFileSync(ran, "utf8");
      expect([log.includes("upload-pack"), log.includes("receive-pack")]).toEqual([true, true]);
    }
  },
  60_000,
);
