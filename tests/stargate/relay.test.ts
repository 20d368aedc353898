/** Branches and tags through a Stargate before a host, with the real git on both sides: as without a Stargate between them. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { fsck, git, tryGit } from "../support/git.ts";
import { gitAsync, tryGitAsync } from "../support/git-async.ts";
import { type HttpBackend, startHttpBackend } from "../support/http-backend.ts";
import { TestStargate } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";

let mirror: string;
let backend: HttpBackend;
let stargate: TestStargate;
let address: string;
let work: string;

beforeAll(async () => {
  mirror = path.join(tempDir("host"), "mirror.git");
  git("/", "init", "-q", "--bare", "-b", "main", mirror);
  git(mirror, "config", "http.receivepack", "true");
  backend = startHttpBackend(path.dirname(mirror));
  const first = await TestStargate.start({ mirror: `${backend.url}/mirror.git` });
  await first.stop();
  fs.appendFileSync(path.join(first.dir, "stargate.yaml"), "mirror: { refresh: 200ms }\n");
  stargate = await TestStargate.start({ dir: first.dir });
  address = stargate.loginUrl(stargate.token());
  work = path.join(tempDir("w"), "w");
  await gitAsync("/", "clone", "-q", address, work);
}, 60_000);

afterAll(async () => {
  await stargate.stop();
  backend.stop();
});

const refOf = (dir: string, ref: string): string =>
  tryGit(dir, ["rev-parse", "-q", "--verify", ref]).stdout.toString().trim();

async function commit(message: string): Promise<string> {
  await gitAsync(work, "commit", "-q", "--allow-empty", "-m", message);
  return git(work, "rev-parse", "HEAD");
}

function everywhere(ref: string): string[] {
  return [refOf(mirror, ref), refOf(stargate.dir, ref)];
}

async function until(holds: () => boolean, what: string): Promise<void> {
  for (const end = Date.now() + 30_000; !holds(); await Bun.sleep(20)) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
  }
}

/** Lets the host run `script` as its hook `name` while `act` runs. */
async function withHook(name: string, script: string, act: () => Promise<void>): Promise<void> {
  const hook = path.join(mirror, "hooks", name);
  fs.writeFileSync(hook, script, { mode: 0o755 });
  try {
    await act();
  } finally {
    fs.rmSync(hook);
  }
}

describe("pushes", () => {
  test("of branches and annotated tags; forced with a lease; deletions", async () => {
    const one = await commit("one");
    await gitAsync(work, "tag", "-a", "-m", "a release", "v1");
    await gitAsync(work, "push", "-q", "origin", "HEAD:main", "HEAD:topic", "v1");
    for (const ref of ["refs/heads/main", "refs/heads/topic"]) expect(everywhere(ref)).toEqual([one, one]);
    const tag = git(work, "rev-parse", "v1");
    expect(everywhere("refs/tags/v1")).toEqual([tag, tag]);
    await gitAsync(work, "commit", "-q", "--amend", "--allow-empty", "-m", "one, better");
    const better = git(work, "rev-parse", "HEAD");
    const plain = await tryGitAsync(work, ["push", "origin", "HEAD:topic"]);
    expect(plain.stderr).toContain("non-fast-forward");
    const stale = await tryGitAsync(work, [
      "push",
      `--force-with-lease=topic:${"1".repeat(one.length)}`,
      "origin",
      "HEAD:topic",
    ]);
    expect(stale.stderr).toContain("stale info");
    await gitAsync(work, "push", "-q", `--force-with-lease=topic:${one}`, "origin", "HEAD:topic");
    expect(everywhere("refs/heads/topic")).toEqual([better, better]);
    await gitAsync(work, "push", "-q", "origin", ":topic", ":refs/tags/v1");
    expect(everywhere("refs/heads/topic")).toEqual(["", ""]);
    expect(everywhere("refs/tags/v1")).toEqual(["", ""]);
    await gitAsync(work, "reset", "-q", "--hard", one);
  }, 60_000);

  test("what the host says against a ref comes back, words and reason, and the other refs go through", async () => {
    const before = refOf(mirror, "refs/heads/main");
    const two = await commit("two");
    const words = "GH006: Protected branch update failed for refs/heads/main.";
    await withHook(
      "update",
      `#!/bin/sh\n[ "$1" != refs/heads/main ] || { echo "error: ${words}" >&2; exit 1; }\n`,
      async () => {
        const run = await tryGitAsync(work, ["push", "origin", "HEAD:main", "HEAD:side"]);
        expect(run.status).not.toBe(0);
        expect(run.stderr).toContain(`remote: error: ${words}`);
        expect(run.stderr).toMatch(/! \[remote rejected\] HEAD -> main \(hook declined\)/);
        expect(everywhere("refs/heads/main")).toEqual([before, before]);
        expect(everywhere("refs/heads/side")).toEqual([two, two]);
        const atomic = await tryGitAsync(work, ["push", "--atomic", "origin", "HEAD:main", "HEAD:third"]);
        expect(atomic.status).not.toBe(0);
        expect(everywhere("refs/heads/third")).toEqual(["", ""]);
      },
    );
  }, 60_000);

  test.each(["protected branch hook declined", "push declined due to repository rule violations"])(
    "refused with the host's own reason: %s",
    async (reason) => {
      const before = refOf(mirror, "refs/heads/main");
      await commit(reason);
      git(mirror, "config", "receive.procReceiveRefs", "refs/heads/main");
      await withHook("proc-receive", procReceive(reason), async () => {
        const run = await tryGitAsync(work, ["push", "origin", "HEAD:main"]);
        expect(run.stderr).toContain(`! [remote rejected] HEAD -> main (${reason})`);
        expect(run.status).toBe(1);
      });
      git(mirror, "config", "--unset", "receive.procReceiveRefs");
      expect(everywhere("refs/heads/main")).toEqual([before, before]);
      await gitAsync(work, "push", "-q", "origin", "HEAD:main");
      const head = git(work, "rev-parse", "HEAD");
      expect(everywhere("refs/heads/main")).toEqual([head, head]);
    },
    60_000,
  );

  test("of branches and kv refs together are refused, with the way out", async () => {
    await commit("mixed");
    const before = git(mirror, "for-each-ref");
    const run = await tryGitAsync(work, ["push", "origin", "HEAD:main", "HEAD:refs/kv/main"]);
    expect(run.stderr).toContain("REF_FORBIDDEN");
    expect(run.stderr).toMatch(/remote: hint: .*(?:apart|by themselves|separately|alone)/);
    expect(git(mirror, "for-each-ref")).toBe(before);
    await gitAsync(work, "push", "-q", "origin", "HEAD:main");
  }, 60_000);
});

describe("what happens on the host", () => {
  test("a merge made there comes with git pull; a branch deleted there goes", async () => {
    const other = path.join(tempDir("w"), "other");
    await gitAsync("/", "clone", "-q", mirror, other);
    await gitAsync(other, "commit", "-q", "--allow-empty", "-m", "on a branch");
    await gitAsync(other, "push", "-q", "origin", "HEAD:feature");
    await gitAsync(other, "checkout", "-q", "-b", "merging", "origin/main");
    await gitAsync(other, "merge", "-q", "--no-ff", "-m", "Merge pull request #1", "origin/feature");
    await gitAsync(other, "push", "-q", "origin", "HEAD:main");
    const merged = git(other, "rev-parse", "HEAD");
    await until(() => refOf(stargate.dir, "refs/heads/main") === merged, "the merge");
    await gitAsync(work, "pull", "-q", "--ff-only", "origin", "main");
    expect(git(work, "rev-parse", "HEAD")).toBe(merged);
    expect(refOf(stargate.dir, "refs/heads/feature")).not.toBe("");
    await gitAsync(other, "push", "-q", "origin", ":feature");
    await until(() => refOf(stargate.dir, "refs/heads/feature") === "", "the deletion");
    expect(refOf(stargate.dir, "refs/heads/main")).toBe(merged);
    expect(fsck(stargate.dir)).toBe("");
  }, 60_000);
});

/** A hook that refuses every ref with `reason` (git: githooks, "proc-receive"). */
function procReceive(reason: string): string {
  return `#!/usr/bin/python3
import sys
def read():
    size = int(sys.stdin.buffer.read(4), 16)
    return sys.stdin.buffer.read(size - 4) if size > 4 else None
def write(text):
    line = text.encode()
    sys.stdout.buffer.write(b"%04x" % (len(line) + 4) + line)
while read() is not None: pass
write("version=1\\n")
sys.stdout.buffer.write(b"0000")
sys.stdout.buffer.flush()
refs = []
for line in iter(read, None): refs.append(line.decode().split()[2])
for ref in refs: write("ng " + ref + " ${reason}\\n")
sys.stdout.buffer.write(b"0000")
sys.stdout.buffer.flush()
`;
}
