/** The other ways in: sshd's forced command, the two services on standard input and output, init and the small commands. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { fsck, git, tryGit } from "../support/git.ts";
import { gitAsync, tryGitAsync } from "../support/git-async.ts";
import { type Sshd, startSshd } from "../support/sshd.ts";
import { STARGATE_PROGRAM, TestClient, TestStargate } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TestKey } from "../support/test-key.ts";

// Many processes of git, ssh and bun, on machines that may be busy.
setDefaultTimeout(60_000);

interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs git-kv-stargate from source. */
async function stargateCommand(
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string>; input?: string } = {},
): Promise<Outcome> {
  const child = Bun.spawn([...STARGATE_PROGRAM, ...args], {
    cwd: options.cwd ?? "/",
    env: { ...process.env, ...options.env },
    stdin: Buffer.from(options.input ?? ""),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { status, stdout, stderr };
}

const quoted = (args: readonly string[]): string => args.map((arg) => `'${arg}'`).join(" ");

describe("over ssh", () => {
  let stargate: TestStargate;
  let sshd: Sshd;
  let env: Record<string, string>;
  let address: string;

  beforeAll(async () => {
    stargate = await TestStargate.start();
    const command = quoted([...STARGATE_PROGRAM, "shell", "--repo", `org/kv.git=${stargate.dir}`, "--user", "alice"]);
    sshd = await startSshd({ forcedCommand: command });
    env = { GIT_SSH_COMMAND: sshd.command };
    address = `ssh://${sshd.user}@127.0.0.1:${sshd.port}`;
  });

  afterAll(async () => {
    sshd.stop();
    await stargate.stop();
  });

  async function ssh(remote: string): Promise<Outcome> {
    const child = Bun.spawn(["sh", "-c", `${sshd.command} -p ${sshd.port} ${sshd.user}@127.0.0.1 "$0"`, remote], {
      stdout: "pipe",
      stderr: "pipe",
      stdin: "ignore",
    });
    const [stdout, stderr, status] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { status, stdout, stderr };
  }

  test.each(["0", "2"])("the real git clones and pushes, in protocol %s", async (version) => {
    const dir = tempDir("ssh");
    const work = path.join(dir, "w");
    const clone = await tryGitAsync(
      dir,
      ["-c", `protocol.version=${version}`, "clone", "-q", `${address}/org/kv.git`, "w"],
      { env },
    );
    expect(clone.stderr).toBe("");
    fs.writeFileSync(path.join(work, `f${version}`), "x".repeat(300_000));
    git(work, "add", ".");
    git(work, "commit", "-q", "-m", `over ssh ${version}`);
    const push = await tryGitAsync(work, ["push", "origin", "HEAD"], { env });
    expect(push.status).toBe(0);
    expect(git(stargate.dir, "rev-parse", "HEAD")).toBe(git(work, "rev-parse", "HEAD"));
  });

  test("transactions go through the daemon, under the user's name", async () => {
    process.env.GIT_SSH_COMMAND = sshd.command;
    try {
      const client = new TestClient(stargate.dir, `${address}/org/kv.git`);
      const ledger = await client.set({ ssh: "1" });
      expect(stargate.log.find((line) => line.oid === ledger)?.who).toBe("alice");
      const byPath = new TestClient(stargate.dir, `${address}${stargate.dir}`);
      await byPath.set({ path: "1" });
    } finally {
      delete process.env.GIT_SSH_COMMAND;
    }
  });

  test("nothing else is run, and no other repository is found", async () => {
    for (const remote of [
      "id",
      "",
      "git-upload-pack '/etc'",
      `git-upload-pack '${stargate.dir}/objects'`,
      "git-upload-pack '../org/kv.git'",
      "git-upload-pack 'org/kv.git'; id",
    ]) {
      const run = await ssh(remote);
      expect(run.status).not.toBe(0);
      expect(run.stdout).toMatch(/^(?:003cERR NOT_A_REPOSITORY: no such repository is served here\n)?$/);
    }
    const status = await ssh("git-kv-stargate status 'org/kv.git'");
    expect(status.status).toBe(0);
    expect(JSON.parse(status.stdout)).toMatchObject({ role: "leader", name: "kv.git" });
  });

  test("without a daemon the session does the work itself", async () => {
    await stargate.stop();
    const dir = tempDir("ssh");
    const clone = await tryGitAsync(dir, ["clone", "-q", `${address}/org/kv`, "w"], { env });
    expect(clone.status).toBe(0);
    process.env.GIT_SSH_COMMAND = sshd.command;
    try {
      const client = new TestClient(stargate.dir, `${address}/org/kv.git`);
      const ledger = await client.set({ alone: "1" });
      expect(git(stargate.dir, "rev-parse", "refs/kv/main")).toBe(ledger);
    } finally {
      delete process.env.GIT_SSH_COMMAND;
    }
    expect(fsck(stargate.dir)).toBe("");
  });
});

describe("receive-pack and upload-pack", () => {
  const services = (): string[] => [
    `--upload-pack=${quoted(STARGATE_PROGRAM)} upload-pack`,
    `--receive-pack=${quoted(STARGATE_PROGRAM)} receive-pack`,
  ];

  test("serve ordinary repositories as git's own programs do", async () => {
    const dir = tempDir("stdio");
    const [upload, receive] = services();
    git(dir, "init", "-q", "-b", "main", "source");
    const source = path.join(dir, "source");
    fs.writeFileSync(path.join(source, "f"), "x".repeat(100_000));
    git(source, "add", ".");
    git(source, "commit", "-q", "-m", "one");
    await gitAsync(dir, "clone", "-q", upload!, `file://${source}`, "w");
    const work = path.join(dir, "w");
    expect(git(work, "rev-parse", "HEAD")).toBe(git(source, "rev-parse", "HEAD"));
    git(work, "commit", "-q", "--allow-empty", "-m", "two");
    await gitAsync(work, "push", "-q", receive!, "origin", "HEAD:topic");
    expect(git(source, "rev-parse", "topic")).toBe(git(work, "rev-parse", "HEAD"));
    const checkedOut = await tryGitAsync(work, ["push", receive!, "origin", "HEAD:main"]);
    expect(checkedOut.stderr).toContain("branch is currently checked out");
    expect(fsck(source)).toBe("");
  });

  test("hand a Stargate's repository to its daemon, which decides", async () => {
    const stargate = await TestStargate.start();
    const [, receive] = services();
    const work = path.join(tempDir("stdio"), "w");
    await gitAsync("/", "clone", "-q", `file://${stargate.dir}`, work);
    const run = await tryGitAsync(work, ["push", receive!, "origin", "HEAD:refs/kv/x"]);
    expect(run.stderr).toContain("REF_FORBIDDEN");
    await gitAsync(work, "push", "-q", receive!, "origin", "HEAD:refs/heads/y");
    expect(git(stargate.dir, "rev-parse", "refs/heads/y")).toBe(git(work, "rev-parse", "HEAD"));
    expect(stargate.log.some((line) => line.code === "REF_FORBIDDEN")).toBe(true);
    await stargate.stop();
  });

  test("refuse a part of the refs by GIT_NAMESPACE", async () => {
    const dir = tempDir("stdio");
    git(dir, "init", "-q", "--bare", "server.git");
    for (const service of ["upload-pack", "receive-pack"]) {
      const run = await stargateCommand([service, `${dir}/server.git`], { env: { GIT_NAMESPACE: "part" } });
      expect([run.status === 0, run.stdout]).toEqual([false, ""]);
      expect(run.stderr).toContain("ref namespaces are not served here");
    }
  });

  test("say what is no repository", async () => {
    const run = await stargateCommand(["upload-pack", tempDir("none")]);
    expect(run.status).toBe(5);
    expect(run.stdout).toBe("");
    expect(run.stderr).toContain("error: ");
  });
});

describe("init", () => {
  test("makes a Stargate, twice without harm, and says what is not protected", async () => {
    const dir = path.join(tempDir("init"), "kv.git");
    const first = await stargateCommand([
      "init",
      "--repo",
      dir,
      "--push-url",
      "https://stargate.example.com/kv.git",
      "--ns",
      "main",
    ]);
    expect(first.status).toBe(0);
    expect(first.stderr).toContain("signatures are not required: a token alone lets a writer in");
    const refs = git(dir, "for-each-ref");
    const second = await stargateCommand(["init", "--repo", dir]);
    expect(second.status).toBe(0);
    expect(second.stdout).toContain("already a repository");
    expect(git(dir, "for-each-ref")).toBe(refs);
    expect(git(dir, "show", "HEAD:.kv/policy.yaml")).toBe(git(dir, "show", "refs/kv-policy/current:policy.yaml"));
    expect(git(dir, "show", "HEAD:.kv/policy.yaml")).toContain('push_url: "https://stargate.example.com/kv.git"');
    expect(fsck(dir)).toBe("");
  });

  test("adopts a repository with content and a policy of its own", async () => {
    const dir = tempDir("init");
    git(dir, "init", "-q", "-b", "trunk", "w");
    const work = path.join(dir, "w");
    fs.mkdirSync(path.join(work, ".kv"));
    fs.writeFileSync(path.join(work, ".kv/policy.yaml"), "version: 1\nnamespaces: { main: { max_keys_per_txn: 7 } }\n");
    git(work, "add", ".");
    git(work, "commit", "-q", "-m", "mine");
    git(dir, "clone", "-q", "--bare", "w", "kv.git");
    const bare = path.join(dir, "kv.git");
    const run = await stargateCommand(["init", "--repo", bare]);
    expect(run.status).toBe(0);
    expect(git(bare, "rev-parse", "trunk")).toBe(git(work, "rev-parse", "HEAD"));
    expect(git(bare, "show", "refs/kv-policy/current:policy.yaml")).toContain("max_keys_per_txn: 7");
    expect((await stargateCommand(["init", "--repo", work])).stderr).toContain("no bare repository");
  });

  test("refuses a policy that is not valid, with its lines", async () => {
    const dir = tempDir("init");
    git(dir, "init", "-q", "w");
    const work = path.join(dir, "w");
    fs.mkdirSync(path.join(work, ".kv"));
    fs.writeFileSync(path.join(work, ".kv/policy.yaml"), "version: 1\nnamespaces:\n  main: { verfy: replay }\n");
    git(work, "add", ".");
    git(work, "commit", "-q", "-m", "mine");
    git(dir, "clone", "-q", "--bare", "w", "kv.git");
    const run = await stargateCommand(["init", "--repo", path.join(dir, "kv.git")]);
    expect(run.status).toBe(5);
    expect(run.stderr).toContain(".kv/policy.yaml:3: namespaces.main.verfy: unknown key");
  });

  test("takes up a mirror with content; says when it cannot be reached, and serve catches up", async () => {
    const first = await TestStargate.start();
    await new TestClient(first.dir, first.loginUrl(first.token())).set({ a: "1" });
    await first.stop();
    const dir = tempDir("init");
    git(dir, "clone", "-q", "--mirror", first.dir, "mirror.git");
    const mirror = path.join(dir, "mirror.git");
    const again = await stargateCommand(["init", "--repo", path.join(dir, "again.git"), "--mirror-remote", mirror]);
    expect(again.status).toBe(0);
    for (const ref of ["refs/kv/main", "refs/kv-index/main", "refs/kv-policy/current", "refs/heads/main"]) {
      expect(git(path.join(dir, "again.git"), "rev-parse", ref)).toBe(git(first.dir, "rev-parse", ref));
    }
    const absent = path.join(dir, "absent.git");
    const late = path.join(dir, "late.git");
    const run = await stargateCommand(["init", "--repo", late, "--mirror-remote", absent]);
    expect(run.status).toBe(0);
    expect(run.stderr).toContain("the mirror could not be brought up to date");
    git(dir, "init", "-q", "--bare", "-b", "main", "absent.git");
    const serving = await TestStargate.start({ dir: late });
    for (
      let tries = 0;
      tryGit(absent, ["rev-parse", "-q", "--verify", "refs/kv-policy/current"]).status !== 0;
      tries++
    ) {
      if (tries > 200) throw new Error("the mirror was not brought up to date");
      await Bun.sleep(20);
    }
    expect(git(absent, "rev-parse", "refs/heads/main")).toBe(git(late, "rev-parse", "refs/heads/main"));
    await serving.stop();
  });

  test("with an admin's key the policy asks for signatures, and says what that means now", async () => {
    const dir = tempDir("init");
    const key = path.join(dir, "key.pub");
    fs.writeFileSync(key, `${new TestKey("alice@example.com").line}\n`);
    const run = await stargateCommand(["init", "--repo", path.join(dir, "kv.git"), "--admin-key", key]);
    expect(run.status).toBe(0);
    expect(run.stderr).toContain("the policy requires signed transactions");
    const policy = git(path.join(dir, "kv.git"), "show", "refs/kv-policy/current:policy.yaml");
    expect(policy).toContain("require_signed_commits: true");
    // Admin, writer, and writer of the namespaces that are not named.
    expect(policy.match(/alice@example.com/g)).toHaveLength(3);
    fs.writeFileSync(key, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ cut short\n");
    const cut = await stargateCommand(["init", "--repo", path.join(dir, "kv2.git"), "--admin-key", key]);
    expect(cut.stderr).toContain("holds no SSH public key");
    fs.writeFileSync(key, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    const wrong = await stargateCommand(["init", "--repo", path.join(dir, "kv2.git"), "--admin-key", key]);
    expect(wrong.stderr).toContain("private key");
    expect(fs.existsSync(path.join(dir, "kv2.git"))).toBe(false);
  });
});

describe("tokens and status", () => {
  test("a token is printed once, alone on stdout; it can be listed by name and revoked", async () => {
    const dir = path.join(tempDir("token"), "kv.git");
    await stargateCommand(["init", "--repo", dir]);
    const added = await stargateCommand(["token", "add", "--repo", dir, "--name", "ci", "--expires", "30d"]);
    expect(added.stdout).toMatch(/^gkv_[A-Za-z0-9_-]{43}\n$/);
    const listed = await stargateCommand(["token", "list"], { cwd: dir });
    expect(listed.stdout).toMatch(/^ci\twrite\tsince .*\texpires .*\n$/);
    expect(listed.stdout).not.toContain(added.stdout.trim());
    expect((await stargateCommand(["token", "add", "--repo", dir, "--name", "ci"])).status).toBe(4);
    expect((await stargateCommand(["token", "add", "--repo", dir, "--name", "x", "--scope", "root"])).status).toBe(64);
    expect(
      (await stargateCommand(["token", "add", "--repo", dir, "--name", "x", "--expires", "2001-01-01"])).status,
    ).toBe(4);
    expect((await stargateCommand(["token", "revoke", "ci", "--repo", dir])).status).toBe(0);
    expect((await stargateCommand(["token", "list", "--repo", dir])).stdout).toBe("");
    const status = await stargateCommand(["status", "--repo", dir]);
    expect(status.stdout).toContain("no daemon runs");
    expect(status.stdout).toContain("the same as on the default branch");
  });

  test("serve and init say who holds the repository", async () => {
    const stargate = await TestStargate.start();
    const run = await stargateCommand(["serve", "--repo", stargate.dir, "--listen", "127.0.0.1:0"]);
    expect(run.status).toBe(5);
    expect(run.stderr).toContain(`is served by process ${process.pid}`);
    fs.rmSync(path.join(stargate.dir, "hooks", "update"), { force: true });
    const init = await stargateCommand(["init", "--repo", stargate.dir]);
    expect([init.status, init.stderr]).toEqual([
      5,
      expect.stringMatching(/the hooks are in order; .* is served by process/),
    ]);
    expect(fs.existsSync(path.join(stargate.dir, "hooks", "update"))).toBe(true);
    await stargate.stop();
    const none = await stargateCommand(["serve", "--repo", path.join(stargate.dir, "nowhere")]);
    expect(none.stderr).toContain("git-kv-stargate init --repo");
  });
});
