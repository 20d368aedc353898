/** Keys, agents and checkers of the real OpenSSH and GnuPG, each in a folder of its own. */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { tempDir } from "./temp.ts";

/** Every type that ssh-keygen makes without a security key. */
export const SSH_TYPES = ["ed25519", "ecdsa-256", "ecdsa-384", "ecdsa-521", "rsa-2048"] as const;

export interface TestKey {
  readonly file: string;
  /** The line of the .pub file. */
  readonly line: string;
}

/** Runs a program; throws with what it said where it fails. Returns its stdout. */
export function run(command: string, args: readonly string[], env: Record<string, string> = {}, input = ""): string {
  const done = spawnSync(command, args as string[], { env: { ...process.env, ...env }, input, encoding: "utf8" });
  if (done.error) throw done.error;
  if (done.status !== 0) throw new Error(`${command} ${args.join(" ")} exited ${done.status}: ${done.stderr}`);
  return done.stdout;
}

/** A new key; `type` is one of {@link SSH_TYPES}, or another type and number of bits. */
export function newKey(type = "ed25519", options: { passphrase?: string; file?: string; pem?: boolean } = {}): TestKey {
  const file = options.file ?? path.join(tempDir("key"), "key");
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  const [name, bits] = type.split("-");
  const more = [...(bits === undefined ? [] : ["-b", bits]), ...(options.pem ? ["-m", "PEM"] : [])];
  run("ssh-keygen", ["-q", "-t", name!, ...more, "-N", options.passphrase ?? "", "-C", `${type} test`, "-f", file]);
  return { file, line: fs.readFileSync(`${file}.pub`, "utf8").trim() };
}

/** A file that makes `git verify-commit` trust `keys`, for `git -c gpg.ssh.allowedSignersFile=...`. */
export function allowedSigners(keys: readonly TestKey[]): string {
  const file = path.join(tempDir("signers"), "allowed");
  fs.writeFileSync(file, keys.map(({ line }) => `test@example.com namespaces="git" ${line}\n`).join(""));
  return file;
}

export interface TestAgent {
  readonly socket: string;
  add(key: TestKey, ...flags: string[]): void;
  stop(): void;
}

/** A real ssh-agent, ended by its process id. */
export async function startAgent(): Promise<TestAgent> {
  const socket = path.join(tempDir("agent"), "socket");
  const child: ChildProcess = spawn("ssh-agent", ["-D", "-a", socket], { stdio: ["ignore", "pipe", "ignore"] });
  const stop = (): void => {
    child.kill("SIGTERM");
  };
  process.on("exit", stop);
  // It prints the socket's name when it listens.
  await new Promise<void>((resolve, reject) => {
    child.stdout!.once("data", () => resolve());
    child.once("exit", () => reject(new Error("ssh-agent ended")));
    child.once("error", reject);
  });
  return {
    socket,
    add: (key, ...flags) => {
      run("ssh-add", ["-q", ...flags, key.file], { SSH_AUTH_SOCK: socket });
    },
    stop: () => {
      process.off("exit", stop);
      stop();
    },
  };
}

/** A GnuPG of its own with one key. */
export interface TestGpg {
  readonly home: string;
  readonly fingerprint: string;
  readonly armored: string;
  stop(): void;
}

export function newGpg(userId = "Test Committer <committer@example.com>"): TestGpg {
  const home = tempDir("gpg");
  fs.chmodSync(home, 0o700);
  const env = { GNUPGHOME: home };
  run(
    "gpg",
    ["--batch", "--quiet", "--passphrase", "", "--quick-generate-key", userId, "ed25519", "sign", "never"],
    env,
  );
  const listed = run("gpg", ["--list-keys", "--with-colons"], env);
  return {
    home,
    fingerprint: /^fpr:+([0-9A-F]{40}):/m.exec(listed)![1]!,
    armored: run("gpg", ["--armor", "--export"], env),
    stop: () => {
      run("gpgconf", ["--kill", "all"], env);
    },
  };
}
