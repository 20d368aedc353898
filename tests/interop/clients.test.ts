/** Other implementations of git push to a running Stargate, clone it and fetch from it, over HTTP and over a real sshd. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import { executable } from "../support/executable.ts";
import { fsck, git } from "../support/git.ts";
import { type Sshd, startSshd } from "../support/sshd.ts";
import { TestStargate } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { type Client, clients } from "./client.ts";

const SLOW = 120_000;

/** A running Stargate, and what is pushed to it. */
interface Scene {
  readonly stargate: TestStargate;
  /** Its address over HTTP, with a token. */
  readonly http: string;
  /** Holds the branches one <- two and other, and the annotated tag v1 on one. */
  readonly work: string;
}

let scene: Scene;
let sshd: Sshd;
let sshUrl: string;
const home = tempDir("home");
const sshProgram = path.join(home, "ssh");
const env: Record<string, string | undefined> = {
  HOME: home,
  GIT_DEFAULT_HASH: "sha1",
  PATH: `${home}${path.delimiter}${process.env.PATH}`,
  GIT_SSH: sshProgram,
  GIT_SSH_VARIANT: "ssh",
  JAVA_TOOL_OPTIONS: `-Djava.awt.headless=true -Duser.home=${home} -XX:TieredStopAtLevel=1`,
  // Debian's launcher leaves these out.
  JGIT_CLASSPATH: ["org.eclipse.jgit.lfs", "org.eclipse.jgit.http.apache", "httpclient", "httpcore", "commons-logging"]
    .map((name) => `/usr/share/java/${name}.jar`)
    .join(":"),
  TEST_SSH_KEY: path.join(home, "user_key"),
};

beforeAll(async () => {
  // Of these clients git alone knows sha256.
  const stargate = await TestStargate.start({ format: SHA1 });
  const token = stargate.token();
  scene = { stargate, http: stargate.loginUrl(token), work: makeWork("sha1") };
  sshd = await startSshd({ forcedCommand: `${executable("git-kv-stargate")} shell --repo ${stargate.dir}` });
  sshUrl = `ssh://${sshd.user}@127.0.0.1:${sshd.port}/kv.git`;
  fs.writeFileSync(sshProgram, `#!/bin/sh\nexec ${sshd.command.replace(/^ssh/, "/usr/bin/ssh")} "$@"\n`, {
    mode: 0o755,
  });
  for (const name of ["user_key", "user_key.pub"]) fs.copyFileSync(path.join(sshd.dir, name), path.join(home, name));
  // jgit looks for a login here, not in the address.
  fs.writeFileSync(path.join(home, ".netrc"), `machine 127.0.0.1 login tester password ${token}\n`, { mode: 0o600 });
  fs.writeFileSync(path.join(home, ".gitconfig"), "[user]\n\tname = Test\n\temail = test@example.com\n");
}, SLOW);

afterAll(async () => {
  sshd.stop();
  await scene.stargate.stop();
});

function makeWork(format: string): string {
  const dir = tempDir("work");
  git(dir, "init", "-q", "-b", "one", `--object-format=${format}`);
  for (let i = 0; i < 40; i++) fs.writeFileSync(path.join(dir, `f${i}`), `line ${i}\n`.repeat(200 + i));
  git(dir, "add", ".");
  git(dir, "commit", "-q", "-m", "one");
  git(dir, "tag", "-a", "-m", "first", "v1");
  git(dir, "checkout", "-q", "-b", "two");
  fs.appendFileSync(path.join(dir, "f7"), "changed\n");
  git(dir, "commit", "-q", "-a", "-m", "two");
  git(dir, "checkout", "-q", "-b", "other", "one");
  git(dir, "rm", "-q", "f3");
  git(dir, "commit", "-q", "-m", "other");
  return dir;
}

const tip = ({ work }: Scene, name: string): string => git(work, "rev-parse", name);

/** Creates a branch and a tag, moves the branch on, then aside by force while the tag is deleted. */
async function pushes(client: Client, url: string, on: Scene): Promise<string> {
  const { work, stargate } = on;
  const name = `${client.name}-${url.slice(0, 3)}`;
  const [branch, tag] = [`refs/heads/${name}`, `refs/tags/${name}`];
  const held = (ref: string): string => git(stargate.dir, "for-each-ref", "--format=%(objectname)", ref);
  await client.push(work, url, `refs/heads/one:${branch}`, `refs/tags/v1:${tag}`);
  expect(held(branch)).toBe(tip(on, "one"));
  expect(held(tag)).toBe(tip(on, "v1"));
  await client.push(work, url, `refs/heads/two:${branch}`);
  expect(held(branch)).toBe(tip(on, "two"));
  await client.push(work, url, `+refs/heads/other:${branch}`, `:${tag}`);
  expect(held(branch)).toBe(tip(on, "other"));
  expect(held(tag)).toBe("");
  expect(fsck(stargate.dir)).toBe("");
  expect(fsck(work)).toBe("");
  return name;
}

async function clonesAndFetches(client: Client, url: string, on: Scene, name: string): Promise<void> {
  const { work, http } = on;
  const copy = path.join(tempDir("copy"), "copy");
  await client.clone(copy, url);
  expect(git(copy, "rev-parse", `refs/remotes/origin/${name}`)).toBe(tip(on, "other"));
  expect(fsck(copy)).toBe("");
  const next = git(work, "commit-tree", "-p", "other", "-m", `more of ${name}`, "two^{tree}");
  await clients(env)[0]!.push(work, http, `${next}:refs/heads/${name}`);
  await client.fetch(copy);
  expect(git(copy, "rev-parse", `refs/remotes/origin/${name}`)).toBe(next);
  expect(git(copy, "show", `${next}:f7`)).toEndWith("changed");
  expect(fsck(copy)).toBe("");
  if (client.shallow === undefined) return;
  const tips = path.join(tempDir("tips"), "tips");
  await client.shallow(tips, url);
  expect(git(tips, "rev-list", "--count", `refs/remotes/origin/${name}`)).toBe("1");
  expect(fsck(tips)).toBe("");
}

describe("over HTTP", () => {
  for (const client of clients(env)) {
    test(
      client.name,
      async () => {
        const name = await pushes(client, scene.http, scene);
        await clonesAndFetches(client, scene.http, scene, name);
      },
      SLOW,
    );
  }

  // None of the others knows SHA-256.
  test(
    "git in a SHA-256 repository",
    async () => {
      const client = clients(env)[0]!;
      const stargate = await TestStargate.start({ format: SHA256 });
      try {
        const on: Scene = { stargate, http: stargate.loginUrl(stargate.token()), work: makeWork("sha256") };
        const name = await pushes(client, on.http, on);
        await clonesAndFetches(client, on.http, on, name);
      } finally {
        await stargate.stop();
      }
    },
    SLOW,
  );

  test(
    "git: partial clone by each filter, and what is missing comes when it is needed",
    async () => {
      const run = clients(env)[0]!;
      await run.push(scene.work, scene.http, "+refs/heads/two:refs/heads/partial");
      for (const filter of ["blob:none", "blob:limit=1k", "tree:0"]) {
        const copy = path.join(tempDir("partial"), "copy");
        const clone = ["clone", "-q", "--bare", `--filter=${filter}`, scene.http, copy];
        expect(await Bun.spawn(["git", ...clone], { env: { ...process.env, ...env } }).exited).toBe(0);
        const missing = ["-C", copy, "rev-list", "--objects", "--missing=print", "refs/heads/partial"];
        const before = await new Response(Bun.spawn(["git", ...missing]).stdout).text();
        expect(before).toMatch(/^\?/m);
        const show = Bun.spawn(["git", "-C", copy, "show", "refs/heads/partial:f7"], {
          env: { ...process.env, ...env },
        });
        expect(await new Response(show.stdout).text()).toEndWith("changed\n");
        expect(fsck(copy)).toBe("");
      }
    },
    SLOW,
  );
});

describe("over ssh", () => {
  for (const client of clients(env).filter((one) => one.ssh)) {
    test(
      client.name,
      async () => {
        const name = await pushes(client, sshUrl, scene);
        await clonesAndFetches(client, sshUrl, scene, name);
      },
      SLOW,
    );
  }
});
