/**
 * A Stargate with a strict policy, entered through HTTP and through a real sshd, for attacks: each is pushed through both doors,
 * and must be refused by name, leave nothing behind, and leave the server at work.
 */

import { expect } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import type { ObjectFormat } from "../../src/gitwire/object/oid.ts";
import { openRepository } from "../../src/gitwire/repo.ts";
import { POLICY_REF } from "../../src/kv/namespace.ts";
import { executable } from "./executable.ts";
import { git } from "./git.ts";
import { tryGitAsync } from "./git-async.ts";
import { type Sshd, startSshd } from "./sshd.ts";
import { type Planned, policyPush, TestClient, TestStargate, type TestValues, verdict } from "./stargate.ts";
import { tempDir } from "./temp.ts";
import { TEST_FORMAT } from "./test-format.ts";
import { TestKey } from "./test-key.ts";

/** Every file of the object store and every ref, to see that a refused push has left nothing. */
function everything(dir: string): string {
  const objects = fs.readdirSync(path.join(dir, "objects"), { recursive: true }) as string[];
  const repo = openRepository(dir);
  const refs = repo.refs.snapshot().map(({ name, oid }) => `${name} ${oid}`);
  repo.close();
  return [...objects.sort(), ...refs].join("\n");
}

const controlPath = (sshd: Sshd): string => path.join(sshd.dir, "cm");

/** One login that all pushes share: each takes seconds where the machine is busy. */
async function logIn(sshd: Sshd): Promise<Bun.Subprocess> {
  const command = `exec ${sshd.command} -M -N -S ${controlPath(sshd)} -p ${sshd.port} ${sshd.user}@127.0.0.1`;
  const login = Bun.spawn(["sh", "-c", command], { stdin: "ignore", stdout: "ignore", stderr: "inherit" });
  for (const end = Date.now() + 60_000; !fs.existsSync(controlPath(sshd)); await Bun.sleep(10)) {
    if (Date.now() > end || login.exitCode !== null) throw new Error("sshd lets nobody in");
  }
  return login;
}

/** A push, as much of it as there is. */
export type Attempt = Pick<Planned, "commands"> & Partial<Planned>;

export class Arena {
  readonly alice = new TestKey("alice");
  /** Writes `cfg:` only. */
  readonly bot = new TestKey("bot");
  /** Could write until 2020. */
  readonly former = new TestKey("former");
  /** May write since 2020. */
  readonly newcomer = new TestKey("newcomer");
  readonly rsa = new TestKey("rsa", "ssh-rsa");
  readonly admin = new TestKey("admin");
  readonly stranger = new TestKey("stranger");
  readonly stargate: TestStargate;
  readonly sshd: Sshd;
  readonly http: TestClient;
  readonly ssh: TestClient;
  /** With a token of scope admin. */
  readonly office: TestClient;
  #refused: string | undefined;

  readonly #login: Bun.Subprocess;

  private constructor(stargate: TestStargate, sshd: Sshd, login: Bun.Subprocess) {
    this.stargate = stargate;
    this.sshd = sshd;
    this.#login = login;
    const { dir } = stargate;
    this.http = new TestClient(dir, stargate.loginUrl(stargate.token()));
    this.office = new TestClient(dir, stargate.loginUrl(stargate.token("admin")));
    const env = { GIT_SSH_COMMAND: `${sshd.command} -S ${controlPath(sshd)}` };
    this.ssh = new TestClient(dir, `ssh://${sshd.user}@127.0.0.1:${sshd.port}/kv.git`, env);
  }

  static async start(format: ObjectFormat = TEST_FORMAT): Promise<Arena> {
    const stargate = await TestStargate.start({ upkeep: false, format });
    const words = [executable("git-kv-stargate"), "shell", "--repo", stargate.dir, "--user", "tester"];
    const sshd = await startSshd({ forcedCommand: words.map((word) => `'${word}'`).join(" ") });
    const arena = new Arena(stargate, sshd, await logIn(sshd));
    expect(verdict(await arena.office.push(policyPush(arena.office, arena.policy())))).toBe("ok");
    expect(verdict(await arena.http.push(arena.sign({ "cfg:a": "1", "user:b": "2" })))).toBe("ok");
    return arena;
  }

  policy(more = ""): string {
    const quoted = (key: TestKey): string => JSON.stringify(key.line);
    const writers = [
      quoted(this.alice),
      quoted(this.rsa),
      `{ key: ${quoted(this.bot)}, prefixes: ["cfg:"] }`,
      `{ key: ${quoted(this.former)}, until: 2020-01-01 }`,
      `{ key: ${quoted(this.newcomer)}, from: 2020-01-01 }`,
    ];
    const main = `require_signed_commits: true, allowed_prefixes: ["cfg:", "user:", ".", "-", "%"], forbidden: [{ lfs: true }]`;
    return (
      `version: 1\nstargate: { admins: [${quoted(this.admin)}] }\n` +
      `namespaces: { main: { ${main}, writers: [${writers.join(", ")}]${more} } }\n`
    );
  }

  /** A transaction, signed. */
  sign(values: TestValues, key: TestKey = this.alice): Planned {
    return key.signed(this.http, this.http.plan(values));
  }

  /** Tries it through both doors. Returns what was said. */
  async refused(attempt: Attempt, code: string, options: readonly string[] = []): Promise<string> {
    const { dir } = this.stargate;
    const before = everything(dir);
    let said = "";
    for (const client of [this.http, this.ssh]) {
      expect(verdict(await client.push(attempt, options))).toBe(code);
      said = client.said;
      // Whatever is refused, there is a fact and a way out; git's own checks of a pack speak git's words.
      if (code !== "unpacker error") expect(said).toMatch(/^error: .+\nhint: .+$/m);
      expect(everything(dir)).toBe(before);
    }
    const missing = attempt.commands.find(({ newOid }) => attempt.objects?.has(newOid));
    if (missing !== undefined) this.#refused = missing.newOid;
    return said;
  }

  /** Nothing of the last refused push is given out by id. */
  async #unreadable(): Promise<void> {
    const to = tempDir("fetch");
    git(to, "init", "-q", "--bare", `--object-format=${this.http.repo.format.name}`);
    if (this.#refused === undefined) return;
    const fetchIt = ["-c", "protocol.version=2", "fetch", "-q", this.http.address, this.#refused];
    const run = await tryGitAsync(to, fetchIt);
    expect([run.status === 0, run.stderr]).toEqual([false, expect.stringContaining(this.#refused)]);
  }

  get tip(): string {
    return git(this.stargate.dir, "rev-parse", "refs/kv/main");
  }

  get policyTip(): string {
    return git(this.stargate.dir, "rev-parse", POLICY_REF);
  }

  /** `isServing`: whether it must still take pushes. */
  async stop({ isServing = true } = {}): Promise<void> {
    try {
      await this.#unreadable();
      if (!isServing) return;
      // Through both doors.
      for (const client of [this.http, this.ssh]) {
        expect(verdict(await client.push(this.sign({ "cfg:end": client.address })))).toBe("ok");
      }
    } finally {
      this.#login.kill();
      this.sshd.stop();
      await this.stargate.stop();
    }
  }
}
