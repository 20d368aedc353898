/**
 * A real sshd on the loopback, for tests: own port, host key, user key and configuration in a temporary folder, run as the
 * current user and ended by its process id.
 */

import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { tempDir } from "./temp.ts";

export interface Sshd {
  readonly port: number;
  readonly user: string;
  /** Value of GIT_SSH_COMMAND that logs in with the test's key and trusts the test's host only. */
  readonly command: string;
  /** The folder of keys and configuration. */
  readonly dir: string;
  /** Everything sshd has logged. */
  log(): string;
  stop(): void;
}

export interface SshdOptions {
  /** Runs instead of what the client asks for; SSH_ORIGINAL_COMMAND has that. */
  readonly forcedCommand?: string;
  /** Says who may log in, instead of authorized_keys: words and sshd's tokens. */
  readonly authorizedKeysCommand?: string;
  /** More lines for sshd_config. */
  readonly config?: readonly string[];
}

/** Starts one and waits until it listens. */
export async function startSshd(options: SshdOptions = {}): Promise<Sshd> {
  const dir = tempDir("sshd");
  const port = await freePort();
  const user = run("id", ["-un"]).trim();
  for (const key of ["host_key", "user_key"]) {
    run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", key, "-f", path.join(dir, key)]);
  }
  const forced = options.forcedCommand === undefined ? "" : `command=${JSON.stringify(options.forcedCommand)} `;
  const key = fs.readFileSync(path.join(dir, "user_key.pub"), "utf8");
  fs.writeFileSync(path.join(dir, "authorized_keys"), forced + key, { mode: 0o600 });
  const host = fs.readFileSync(path.join(dir, "host_key.pub"), "utf8");
  fs.writeFileSync(path.join(dir, "known_hosts"), `[127.0.0.1]:${port} ${host}`);
  fs.writeFileSync(path.join(dir, "sshd_config"), config(dir, port, options));
  // sshd started by root insists on this folder.
  if (process.getuid?.() === 0) fs.mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
  const log = path.join(dir, "log");
  const child = spawn(sshdPath(), ["-D", "-f", path.join(dir, "sshd_config"), "-E", log], { stdio: "ignore" });
  const stop = (): void => {
    child.kill("SIGTERM");
  };
  process.on("exit", stop);
  await listening(port, () => fs.existsSync(log) && child.exitCode !== null);
  const client = [
    `ssh -F /dev/null -i ${dir}/user_key -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes`,
    `-o StrictHostKeyChecking=yes -o UserKnownHostsFile=${dir}/known_hosts -o GlobalKnownHostsFile=/dev/null`,
    "-o LogLevel=ERROR",
  ];
  return {
    port,
    user,
    command: client.join(" "),
    dir,
    log: () => (fs.existsSync(log) ? fs.readFileSync(log, "utf8") : ""),
    stop: () => {
      process.off("exit", stop);
      stop();
    },
  };
}

function config(dir: string, port: number, options: SshdOptions): string {
  return [
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    `HostKey ${dir}/host_key`,
    ...(options.authorizedKeysCommand === undefined
      ? [`AuthorizedKeysFile ${dir}/authorized_keys`]
      : [
          "AuthorizedKeysFile none",
          `AuthorizedKeysCommand ${options.authorizedKeysCommand}`,
          `AuthorizedKeysCommandUser ${run("id", ["-un"]).trim()}`,
        ]),
    "PidFile none",
    "StrictModes no",
    "UsePAM no",
    "PasswordAuthentication no",
    "PermitRootLogin yes",
    "AcceptEnv GIT_PROTOCOL",
    "LogLevel VERBOSE",
    // Else bash, told that it runs under sshd, reads the user's .bashrc for every session: seconds, on some machines.
    "SetEnv SHLVL=1",
    ...(options.config ?? []),
    "",
  ].join("\n");
}

/** sshd must be started by its full path. */
function sshdPath(): string {
  const found = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"].find((name) => fs.existsSync(name));
  if (found === undefined) throw new Error("these tests need sshd (package openssh-server)");
  return found;
}

function run(program: string, args: readonly string[]): string {
  const result = spawnSync(program, args as string[]);
  if (result.status !== 0) throw new Error(`${program} failed: ${result.stderr}`);
  return result.stdout.toString();
}

/** A port nobody listens on. */
export async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function listening(port: number, hasFailed: () => boolean): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (hasFailed()) break;
    const open = await new Promise<boolean>((resolve) => {
      const socket = net.connect(port, "127.0.0.1", () => {
        socket.destroy();
        resolve(true);
      });
      socket.on("error", () => resolve(false));
    });
    if (open) return;
    await Bun.sleep(25);
  }
  throw new Error("sshd does not listen");
}
