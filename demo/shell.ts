/** Runs command lines and shows them with what they print. */

import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export class Shell {
  #cwd: string;
  readonly #env: NodeJS.ProcessEnv;

  /** Starts in `root`, with `bin` first on PATH and no settings of the user's. */
  constructor(root: string, bin: string) {
    this.#cwd = root;
    this.#env = {
      ...process.env,
      PATH: `${bin}${path.delimiter}${process.env.PATH}`,
      HOME: root,
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_AUTHOR_NAME: "Demo",
      GIT_AUTHOR_EMAIL: "demo@example.com",
      GIT_COMMITTER_NAME: "Demo",
      GIT_COMMITTER_EMAIL: "demo@example.com",
    };
  }

  cd(dir: string): void {
    console.log(`$ cd ${dir}`);
    this.#cwd = path.resolve(this.#cwd, dir);
  }

  /** Runs one line with bash. Throws where it does not exit with `status`. */
  run(line: string, status = 0): void {
    console.log(`$ ${line}`);
    const run = spawnSync("bash", ["-c", line], {
      cwd: this.#cwd,
      env: this.#env,
      stdio: ["ignore", "inherit", "inherit"],
    });
    if (run.status !== status) throw new Error(`'${line}' exited ${run.status}, not ${status}`);
    if (status !== 0) console.log(`(exit ${status}, as it should be)`);
  }

  /** Waits until the file holds a line that fits. */
  async waitFor(file: string, pattern: RegExp): Promise<void> {
    const full = path.join(this.#cwd, file);
    for (let i = 0; i < 500; i++) {
      if (fs.existsSync(full) && pattern.test(fs.readFileSync(full, "utf8"))) return;
      await sleep(10);
    }
    throw new Error(`${file} does not say ${pattern}`);
  }

  show(file: string): void {
    process.stdout.write(fs.readFileSync(path.join(this.#cwd, file), "utf8"));
  }
}

/** A port of the loopback that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Ends the process whose id is in `file`, and waits until it is gone. */
export async function stopDaemon(file: string): Promise<void> {
  if (!fs.existsSync(file)) return;
  const pid = Number(fs.readFileSync(file, "utf8"));
  for (let i = 0; i < 500; i++) {
    try {
      process.kill(pid, i === 0 ? "SIGTERM" : 0);
    } catch {
      return;
    }
    await sleep(10);
  }
  process.kill(pid, "SIGKILL");
}
