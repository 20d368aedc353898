/** Signed writes with the compiled programs: through a Stargate that requires them, and where nobody can be asked. */

import { describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { executable, type Run, runProgram } from "../support/executable.ts";
import { git, tryGit } from "../support/git.ts";
import { ENV, kvOk, Scene } from "../support/scene.ts";
import { allowedSigners, newGpg, newKey, type TestKey } from "../support/signing.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

const SLOW = 60_000;

/** A user: a home of their own, and no agent. */
class Person {
  readonly home = tempDir("home");
  readonly env: NodeJS.ProcessEnv;

  constructor() {
    this.env = { ...ENV, HOME: this.home, SSH_AUTH_SOCK: "", GIT_CONFIG_GLOBAL: path.join(this.home, "config") };
  }

  configure(name: string, value: string): void {
    git(this.home, "config", "--file", path.join(this.home, "config"), name, value);
  }

  kv(dir: string, ...args: string[]): Run {
    return runProgram(executable("git-kv"), args, { cwd: dir, env: this.env });
  }
}

const signs = (key: TestKey): Person => {
  const person = new Person();
  person.configure("gpg.format", "ssh");
  person.configure("user.signingKey", key.file);
  return person;
};

const verifies = (dir: string, ref: string, keys: readonly TestKey[]): boolean =>
  tryGit(dir, ["-c", `gpg.ssh.allowedSignersFile=${allowedSigners(keys)}`, "verify-commit", ref]).status === 0;

for (const format of ["sha1", "sha256"] as const) {
  test(
    `${format}: a Stargate that requires signatures takes its writers' and nobody else's`,
    async () => {
      const [key, other] = [newKey(), newKey("ecdsa-256")];
      const scene = await Scene.start(format, { adminKey: `${key.file}.pub` });
      const dir = scene.clone("app");
      const [alice, mallory] = [signs(key), signs(other)];

      expect(alice.kv(dir, "set", "a", "1")).toMatchObject({ status: 0, stderr: "" });
      fs.writeFileSync(path.join(dir, "batch"), '{"op":"set","key":"b","value":"2"}\n{"op":"del","key":"a"}\n');
      expect(alice.kv(dir, "mset", "--file", "batch").status).toBe(0);
      const tip = git(dir, "rev-parse", "refs/kv/main");
      for (const ref of [tip, `${tip}~1`]) expect(verifies(dir, ref, [key])).toBe(true);
      expect(verifies(dir, tip, [other])).toBe(false);
      kvOk(dir, "wait", "--oid", tip, "--visible-on=mirror");
      expect(verifies(scene.github, "refs/kv/main", [key])).toBe(true);

      const stranger = mallory.kv(dir, "set", "b", "3");
      expect(stranger.status).toBe(3);
      expect(stranger.stderr).toMatch(/error: the key SHA256:\S+ is no writer of 'main'/);
      const unsigned = new Person();
      unsigned.configure("kv.sign", "false");
      expect(unsigned.kv(dir, "set", "b", "3")).toMatchObject({
        status: 3,
        stderr: expect.stringContaining("the policy requires signed transactions in 'main', and kv.sign is false"),
      });
      // Nor is another namespace open: the token lets in, and the policy that init began says no.
      expect(unsigned.kv(dir, "--ns", "other", "set", "b", "3").stderr).toContain(
        "the policy requires signed transactions in 'other', and kv.sign is false",
      );
      expect(mallory.kv(dir, "--ns", "other", "set", "b", "3").stderr).toMatch(/SHA256:\S+ is no writer of 'other'/);
      expect(git(dir, "rev-parse", "refs/kv/main")).toBe(tip);

      // Nobody named a key: the one in the home folder that the policy lists is taken, and said.
      const newcomer = new Person();
      expect(newcomer.kv(dir, "set", "b", "4").stderr).toContain(
        "no key to sign with: none that was found is a writer",
      );
      fs.mkdirSync(path.join(newcomer.home, ".ssh"), { mode: 0o700 });
      for (const suffix of ["", ".pub"]) {
        fs.copyFileSync(key.file + suffix, path.join(newcomer.home, ".ssh", `id_ed25519${suffix}`));
      }
      const taken = newcomer.kv(dir, "set", "b", "4");
      expect(taken.status).toBe(0);
      expect(taken.stderr).toMatch(/^signing with ssh-ed25519 SHA256:\S+ \(\S+id_ed25519\): .* a writer of 'main'\n$/);
      expect(newcomer.kv(dir, "set", "b", "5", "--quiet")).toMatchObject({ status: 0, stderr: "" });

      // The policy was written down as it was read. Damage costs nothing, and an audit asks the objects.
      const written = path.join(
        dir,
        ".git",
        "kv",
        "policies",
        git(dir, "rev-parse", "refs/kv-remotes/origin/kv-policy"),
      );
      const [text, log] = [fs.readFileSync(written, "utf8"), alice.kv(dir, "log").stdout];
      expect(log).toContain("good");
      fs.writeFileSync(written, text.replace("ssh-ed25519 AAAA", "ssh-ed25519 AAAB"));
      expect(alice.kv(dir, "log").stdout).toBe(log);
      expect(fs.readFileSync(written, "utf8")).toBe(text);
      const forged = text.slice(text.indexOf("\n") + 1).replaceAll("ssh-ed25519 AAAA", "ssh-ed25519 AAAB");
      const check = Bun.hash.crc32(`${path.basename(written)}\n${forged}`).toString(16);
      fs.writeFileSync(written, `${text.slice(0, text.indexOf(" ", 6))} ${check}\n${forged}`);
      expect(alice.kv(dir, "log").stdout).not.toBe(log);
      expect(alice.kv(dir, "verify")).toMatchObject({ status: 0, stderr: "" });
      fs.rmSync(written);
      expect(alice.kv(dir, "log").stdout).toBe(log);

      // A clone that does not know the policy learns of it by being refused, and signs the second try.
      for (const ref of git(dir, "for-each-ref", "--format=%(refname)").split("\n")) {
        if (/kv-policy/.test(ref)) git(dir, "update-ref", "-d", ref);
      }
      expect(alice.kv(dir, "set", "b", "6")).toMatchObject({ status: 0, stderr: "" });
      expect(verifies(dir, "refs/kv/main", [key])).toBe(true);
      expect(await scene.serving.stop()).toBe(0);
    },
    SLOW,
  );
}

test(
  "a Stargate verifies OpenPGP signatures by itself",
  async () => {
    const gpg = newGpg("Zoe <zoe@example.org>");
    const policy = (url: string): string => {
      const writers = JSON.stringify([{ pgp: gpg.armored }]);
      return `version: 1\nstargate: { push_url: "${url}", admins: ${writers} }\nnamespaces: { main: { require_signed_commits: true, writers: ${writers} } }\n`;
    };
    const scene = await Scene.start(TEST_FORMAT.name, { policy });
    const dir = scene.clone("app");
    const zoe = new Person();
    zoe.env.GNUPGHOME = gpg.home;
    zoe.configure("user.signingKey", gpg.fingerprint);
    expect(zoe.kv(dir, "set", "a", "1")).toMatchObject({ status: 0, stderr: "" });
    expect(tryGit(dir, ["verify-commit", "refs/kv/main"], { env: { GNUPGHOME: gpg.home } }).status).toBe(0);
    const other = newGpg("Zoe <zoe@example.org>");
    zoe.env.GNUPGHOME = other.home;
    zoe.configure("user.signingKey", other.fingerprint);
    const refused = zoe.kv(dir, "set", "a", "2");
    expect(refused.status).toBe(3);
    expect(refused.stderr).toContain(`the OpenPGP key ${other.fingerprint.slice(-16)} is no writer of 'main'`);
    for (const each of [gpg, other]) each.stop();
    expect(await scene.serving.stop()).toBe(0);
  },
  SLOW,
);

describe("nobody to ask", () => {
  /** Runs git-kv in a session of its own: such a process has no terminal, wherever the tests run. */
  async function withoutTerminal(person: Person, dir: string, ...args: string[]): Promise<Run> {
    const child = spawn(executable("git-kv"), args, { cwd: dir, env: person.env, detached: true });
    const [stdout, stderr] = [child.stdout, child.stderr].map((stream) => new Response(stream as never).text());
    const status = await new Promise<number | null>((resolve) => child.once("exit", resolve));
    return { status, signal: null, stdout: await stdout!, stderr: await stderr! };
  }

  test("a passphrase cannot be asked for: said at once, with the way out", async () => {
    const key = newKey("ed25519", { passphrase: "secret" });
    const person = signs(key);
    person.configure("kv.sign", "true");
    delete person.env.SSH_ASKPASS;
    const dir = path.join(tempDir("local"), "repo");
    git("/", "init", "-q", dir);
    expect(await withoutTerminal(person, dir, "init")).toMatchObject({
      status: 5,
      stdout: "",
      stderr: expect.stringContaining(`a passphrase protects ${key.file}, and there is no terminal to ask for it`),
    });
    expect(git(dir, "for-each-ref")).toBe("");
  });
});
