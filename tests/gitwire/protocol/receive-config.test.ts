/** What the config of an ordinary repository says about pushes (`receive.*`, `transfer.*`), held against git's own. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { receiveSettings } from "../../../src/gitwire/protocol/receive-settings.ts";
import { openRepository } from "../../../src/gitwire/repo.ts";
import { gitConfig } from "../../support/connect.ts";
import { fsck, git, gitInput, tryGit } from "../../support/git.ts";
import { RECEIVE_PACK } from "../../support/git-server.ts";
import { bareRepository, packWithCommit } from "../../support/push.ts";
import { both, commit, type Pair, pair, pushTo } from "../../support/push-pair.ts";
import { push } from "../../support/sessions.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

// Many processes of git and bun, on machines that may be busy.
setDefaultTimeout(90_000);

function configure(given: Pair, name: string, value: string): void {
  for (const server of [given.ours, given.theirs]) git(server, "config", name, value);
}

const ours = (given: Pair, ...args: string[]) =>
  pushTo(given.ours, given.client, [`--receive-pack=${RECEIVE_PACK}`], args);

test("a pack over receive.maxInputSize is refused, and nothing of it stays", () => {
  const given = pair();
  configure(given, "receive.maxInputSize", "1k");
  fs.writeFileSync(`${given.client}/noise`, crypto.getRandomValues(new Uint8Array(5_000)));
  commit(given.client, "c", "three");
  const { said, status } = ours(given, "main");
  expect(status).toBe(1);
  expect(said).toContain("LIMIT_EXCEEDED: the pack is larger than the limit of 1024 bytes");
  expect(fs.readdirSync(`${given.ours}/objects`).filter((name) => name.startsWith("tmp"))).toEqual([]);
  git(given.ours, "config", "receive.maxInputSize", "0");
  expect(ours(given, "main").status).toBe(0);
});

test("receive.keepAlive", () => {
  const silence = (...config: [string, string][]): number => receiveSettings(gitConfig(config)).keepAlive;
  expect(silence()).toBe(5_000);
  expect(silence(["receive.keepAlive", "2"])).toBe(2_000);
  expect(silence(["receive.keepAlive", "0"])).toBe(0);
});

test("packs of pushes are rolled up by gc.autoPackLimit, unless receive.autogc or gc.auto forbids it", async () => {
  for (const [config, most] of [
    [{ "gc.autoPackLimit": "4" }, 5],
    [{ "gc.autoPackLimit": "0" }, 8],
    [{ "gc.autoPackLimit": "4", "receive.autogc": "false" }, 8],
    [{ "gc.autoPackLimit": "4", "gc.auto": "0" }, 8],
  ] as const) {
    const server = bareRepository();
    for (const [name, value] of Object.entries(config)) git(server, "config", name, value);
    const repo = openRepository(server);
    let parent: string | undefined;
    for (let i = 0; i < 8; i++) {
      const { pack, commit: newOid } = packWithCommit(`${i}`, parent === undefined ? {} : { parent });
      const oldOid = parent ?? TEST_FORMAT.zeroOid;
      const bytes = Buffer.concat([...pack.chunks()]);
      const { report } = await push(repo, [{ ref: "refs/heads/main", oldOid, newOid }], bytes);
      expect(report.refs[0]?.status).toBe("ok");
      parent = newOid;
    }
    repo.close();
    const packs = fs.readdirSync(`${server}/objects/pack`).filter((name) => name.endsWith(".pack")).length;
    if (most === 8) expect(packs).toBe(8);
    else expect(packs).toBeLessThanOrEqual(most);
    expect(fsck(server)).toBe("");
    expect(git(server, "rev-list", "--count", "main")).toBe("8");
  }
});

test("what is not advertised is not used by clients", () => {
  const given = pair();
  configure(given, "receive.advertiseAtomic", "false");
  configure(given, "receive.advertisePushOptions", "false");
  const same = (text: string): string => text.replace("fatal: the remote end hung up unexpectedly\n", "");
  expect(both(given, ["--atomic", "main"], same).said).toContain("does not support --atomic push");
  expect(both(given, ["-oa=b", "main"], same).said).toContain("does not support push options");
});

test("faults of objects, by receive.fsck.<id>, its list of excused ones, and receive.fsckObjects", () => {
  const given = pair();
  const tree = git(given.client, "rev-parse", "HEAD^{tree}");
  const text = `tree ${tree}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 01 +0000\n\nx\n`;
  const bad = gitInput(given.client, text, "hash-object", "-w", "--literally", "-t", "commit", "--stdin");
  const push = () => ours(given, `${bad}:refs/heads/bad`);
  expect(push().said).toContain("zeroPaddedDate");
  git(given.ours, "config", "receive.fsck.zeroPaddedDate", "wrong");
  expect(push().status).not.toBe(0);
  git(given.ours, "config", "receive.fsck.zeroPaddedDate", "ignore");
  expect(push().status).toBe(0);
  git(given.ours, "config", "--unset", "receive.fsck.zeroPaddedDate");
  const again = (setting: string, value: string): number => {
    git(given.ours, "update-ref", "-d", "refs/heads/bad");
    fs.rmSync(`${given.ours}/objects/pack`, { recursive: true, force: true });
    git(given.ours, "config", setting, value);
    const { status } = ours(given, `${bad}:refs/heads/bad`, "main");
    git(given.ours, "config", "--unset", setting);
    return status;
  };
  // The first commit is loose, so that the packs can go.
  expect(again("receive.unpackLimit", "1")).not.toBe(0);
  const list = `${tempDir("skip")}/list`;
  fs.writeFileSync(list, `# old ones\n${bad} # a clock of long ago\n`);
  expect(again("receive.fsck.skipList", list)).toBe(0);
  expect(again("transfer.fsckObjects", "false")).toBe(0);
});

test("a push from a shallow clone whose history goes on here needs no leave; one that does not, needs receive.shallowUpdate", () => {
  const given = pair();
  both(given, ["main"]);
  for (let i = 0; i < 3; i++) commit(given.client, `c${i}`, `more ${i}`);
  const shallow = `${tempDir("shallow")}/c`;
  git(given.client, "clone", "-q", "--depth=2", `file://${given.client}`, shallow);
  commit(shallow, "top", "on top");
  const from = { ...given, client: shallow };
  expect(both(from, ["main:refs/heads/top", "main~2:refs/heads/cut"]).said).toContain("(shallow update not allowed)");
  expect(both(from, ["--atomic", "main:refs/heads/top"]).status).toBe(1);
  configure(given, "receive.shallowUpdate", "true");
  expect(both(from, ["main:refs/heads/top"]).status).toBe(0);
  const cuts = (server: string): string => fs.readFileSync(`${server}/shallow`, "utf8");
  expect(cuts(given.ours)).toBe(cuts(given.theirs));
  expect(git(given.ours, "rev-list", "--count", "top")).toBe("3");
  // Now the server is shallow, says so, and a client with the whole history pushes on to it.
  git(given.client, "fetch", "-q", shallow, "main:top");
  git(given.client, "checkout", "-q", "top");
  commit(given.client, "after", "after");
  expect(both(given, ["top:refs/heads/top"]).status).toBe(0);
  expect(fsck(given.ours)).toBe("");
});

test("a shallow history that is whole here leaves no mark", () => {
  const given = pair();
  both(given, ["main"]);
  const shallow = `${tempDir("shallow")}/c`;
  git(given.client, "clone", "-q", "--depth=1", `file://${given.client}`, shallow);
  commit(shallow, "top", "on top");
  expect(both({ ...given, client: shallow }, ["main:refs/heads/top"]).status).toBe(0);
  expect(fs.existsSync(`${given.ours}/shallow`)).toBe(false);
});

test("tips of alternates are told as .have, each once, and need not be sent", () => {
  const given = pair();
  const lender = `${tempDir("lender")}/lender.git`;
  git(given.client, "clone", "-q", "--bare", given.client, lender);
  for (const server of [given.ours, given.theirs]) {
    fs.writeFileSync(`${server}/objects/info/alternates`, `${lender}/objects\n`);
  }
  const greeting = (program: readonly string[]): string => {
    const run = Bun.spawnSync([...program], { stdin: Buffer.from("0000") });
    return run.stdout
      .toString()
      .replace(/\0.*/g, "")
      .replace(/^[0-9a-f]{4}/gm, "");
  };
  const main = git(given.client, "rev-parse", "main");
  const said = greeting([...RECEIVE_PACK.split(" "), given.ours]);
  expect(said).toBe(greeting(["git", "receive-pack", given.theirs]));
  expect(said.split("\n").filter((line) => line === `${main} .have`)).toHaveLength(1);
  expect(both(given, ["main"]).status).toBe(0);
  expect(fs.readdirSync(`${given.ours}/objects/pack`)).toEqual([]);
  for (const prefix of ["refs/tags/", "refs/heads/"]) {
    configure(given, "core.alternateRefsPrefixes", prefix);
    expect(greeting([...RECEIVE_PACK.split(" "), given.ours])).toBe(greeting(["git", "receive-pack", given.theirs]));
  }
});

test("refs for a hook that is not there, by receive.procReceiveRefs with its flags; where it is there we do not run it", () => {
  const given = pair();
  configure(given, "receive.procReceiveRefs", "refs/for");
  for (const server of [given.ours, given.theirs]) {
    git(server, "config", "--add", "receive.procReceiveRefs", "md:refs/tags/");
    git(server, "config", "--add", "receive.procReceiveRefs", "a!:refs");
  }
  expect(both(given, ["main:refs/for/main", "main:refs/heads/x"]).said).toContain("(fail to run proc-receive hook)");
  expect(both(given, ["main:refs/tags/t"]).status).toBe(0);
  expect(both(given, ["main^:refs/tags/t", "-f"]).status).toBe(1);
  expect(both(given, [":refs/tags/t", "main:refs/heads/y"]).status).toBe(1);
  fs.mkdirSync(`${given.ours}/hooks`, { recursive: true });
  fs.writeFileSync(`${given.ours}/hooks/proc-receive`, "#!/bin/sh\n", { mode: 0o755 });
  const { said } = ours(given, "main:refs/for/main", "main:refs/heads/z");
  expect(said).toContain("(proc-receive hook is not run here)");
  expect(tryGit(given.ours, ["rev-parse", "-q", "--verify", "z"]).status).toBe(0);
});

test("a linked worktree as the address", () => {
  const given = pair();
  for (const server of [given.ours, given.theirs]) git(server, "worktree", "add", "-q", `${server}-tree`, "-b", "side");
  const trees = { ...given, ours: `${given.ours}-tree`, theirs: `${given.theirs}-tree` };
  expect(both(trees, ["main:refs/heads/new"]).status).toBe(0);
  const same = (text: string): string => text.replace(/remote: error: refusing[\s\S]*?(?=To )/, "");
  expect(both(trees, ["main:side"], same).said).toContain("(branch is currently checked out)");
});
