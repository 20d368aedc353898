/** A reload: another mirror, other settings, nonsense, and pushes meanwhile. */

import { afterEach, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { stargateDir } from "../../src/stargate/settings.ts";
import { git, tryGit } from "../support/git.ts";
import { gitAsync } from "../support/git-async.ts";
import { TestClient, TestStargate } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

async function scene(mirror?: string) {
  const stargate = await TestStargate.start({ ...(mirror !== undefined && { mirror }), adminListen: "127.0.0.1:0" });
  ends.push(() => stargate.stop());
  return { stargate, client: new TestClient(stargate.dir, stargate.loginUrl(stargate.token())) };
}

function newMirror(): string {
  const dir = tempDir("mirror");
  git(dir, "init", "-q", "--bare");
  return dir;
}

async function has(mirror: string, oid: string): Promise<void> {
  for (
    const end = Date.now() + 20_000;
    tryGit(mirror, ["rev-parse", "refs/kv/main"]).stdout.toString().trim() !== oid;
    await Bun.sleep(10)
  ) {
    if (Date.now() > end) throw new Error(`${mirror} has not got ${oid}`);
  }
}

test("a mirror is set up, changed and taken away, while pushes go on", async () => {
  const { stargate, client } = await scene();
  const readiness = async () => (await (await fetch(`${stargate.opsUrl}/readyz?verbose`)).text()).includes('"mirror"');
  await client.set({ a: "1" });
  expect(await readiness()).toBe(false);
  const [first, second] = [newMirror(), newMirror()];
  git(stargate.dir, "config", "remote.mirror.url", first);
  await stargate.daemon.reload();
  await has(first, git(stargate.dir, "rev-parse", "refs/kv/main"));
  expect(await readiness()).toBe(true);

  git(stargate.dir, "config", "remote.mirror.url", second);
  const [, oid] = await Promise.all([stargate.daemon.reload(), client.set({ a: "2" })]);
  await has(second, oid);
  // Branches go to the new one as well.
  const clone = path.join(tempDir("clone"), "x");
  await gitAsync("/", "clone", "-q", stargate.loginUrl(stargate.token()), clone);
  git(clone, "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-q", "--allow-empty", "-m", "x");
  const pushed = Bun.spawn(["git", "push", "-q", "origin", "HEAD:refs/heads/topic"], { cwd: clone, stderr: "pipe" });
  expect(await pushed.exited).toBe(0);
  expect(git(second, "rev-parse", "refs/heads/topic")).toBe(git(clone, "rev-parse", "HEAD"));
  expect(tryGit(first, ["rev-parse", "-q", "--verify", "refs/heads/topic"]).status).not.toBe(0);

  git(stargate.dir, "config", "--unset", "remote.mirror.url");
  await stargate.daemon.reload();
  expect(await readiness()).toBe(false);
  const last = await client.set({ a: "3" });
  expect(git(second, "rev-parse", "refs/kv/main")).not.toBe(last);
});

test("what was said of the mirror before holds for no other", async () => {
  const mirror = newMirror();
  const { stargate } = await scene(mirror);
  const isReady = async () => (await fetch(`${stargate.opsUrl}/readyz`)).status;
  expect(await isReady()).toBe(200);
  git(stargate.dir, "config", "remote.mirror.url", `${mirror}-nowhere`);
  await stargate.daemon.reload();
  expect(await isReady()).toBe(503);
  git(stargate.dir, "config", "remote.mirror.url", mirror);
  await stargate.daemon.reload();
  expect(await isReady()).toBe(200);
});

test("what is not sound is logged and changes nothing; what wants a restart is named", async () => {
  const mirror = newMirror();
  const { stargate, client } = await scene(mirror);
  const settings = path.join(stargate.dir, "stargate.yaml");
  const text = fs.readFileSync(settings, "utf8");
  for (const [bad, code] of [
    ["listen: [", "CONFIG"],
    ["anonymous_raed: true", "CONFIG"],
    ["mirror: { remote: 'nonsense://x' }", "UNSUPPORTED"],
    [undefined, "CONFIG"],
  ] as const) {
    stargate.log.length = 0;
    fs.rmSync(settings, { recursive: true });
    // A folder in the place of the file is no file that is missing.
    if (bad === undefined) fs.mkdirSync(settings);
    else fs.writeFileSync(settings, `${text}\n${bad}\n`);
    await stargate.daemon.reload();
    await stargate.logged((line) => line.result === "not reloaded" && line.code === code);
    await has(mirror, await client.set({ [`after ${code}`]: String(bad) }));
  }
  fs.rmSync(settings, { recursive: true });
  fs.writeFileSync(settings, text);
  const config = path.join(stargate.dir, "config");
  const sound = fs.readFileSync(config, "utf8");
  for (const [bad, code] of [
    ["[broken", "CONFIG"],
    ["[gc]\n\tauto = much", "UNSUPPORTED"],
  ] as const) {
    stargate.log.length = 0;
    const rest = code === "UNSUPPORTED" ? sound.replace(mirror, "nonsense://x") : sound;
    fs.writeFileSync(config, `${rest}\n${bad}\n`);
    await stargate.daemon.reload();
    await stargate.logged((line) => line.result === "not reloaded" && line.code === code);
    // What reads the config anew at any time finds it as it was: the push, the mirror, the upkeep that looks around.
    await has(mirror, await client.set({ [`config ${code}`]: bad }));
    expect(stargate.log.filter(({ component }) => component === "upkeep")).toEqual([]);
  }
  fs.writeFileSync(config, sound);
  fs.writeFileSync(settings, `${text}\nsocket: elsewhere\nanonymous_read: true\n`);
  await stargate.daemon.reload();
  expect(await stargate.logged((line) => line.result === "reloaded")).toMatchObject({ restart: ["socket"] });
  expect((await fetch(`${stargate.url}/info/refs?service=git-upload-pack`)).status).toBe(200);
});

test("tokens that cannot be read let nobody in, and are said at a reload, at each request and by the health check", async () => {
  const { stargate, client } = await scene();
  const file = path.join(stargateDir(stargate.dir), "tokens.json");
  const sound = fs.readFileSync(file);
  fs.writeFileSync(file, "{");
  await stargate.daemon.reload();
  await stargate.logged((line) => line.result === "not reloaded" && line.code === "CORRUPT");
  const answer = await fetch(`${stargate.loginUrl("gkv_x")}/info/refs?service=git-upload-pack`);
  expect([answer.status, await answer.text()]).toEqual([500, "internal error: CORRUPT\n"]);
  await stargate.logged((line) => line.component === "http" && String(line.message).includes("does not hold tokens"));
  expect(await (await fetch(`${stargate.opsUrl}/healthz`)).text()).toContain("does not hold tokens");
  fs.writeFileSync(file, sound);
  await client.set({ a: "1" });
  // It looks once a second at the most.
  await Bun.sleep(1_100);
  expect((await fetch(`${stargate.opsUrl}/healthz`)).status).toBe(200);
});
