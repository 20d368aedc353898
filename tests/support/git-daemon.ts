/** A real `git daemon` on the loopback that serves the repositories below a folder. */

import * as fs from "node:fs";
import * as path from "node:path";
import { freePort } from "./sshd.ts";
import { tempDir } from "./temp.ts";

export interface GitDaemon {
  readonly port: number;
  stop(): void;
}

/** Starts one and waits until it listens; with `writes` it takes pushes too. */
export async function startGitDaemon(root: string, { writes = false } = {}): Promise<GitDaemon> {
  const port = await freePort();
  const more = writes ? ["--enable=receive-pack"] : [];
  const args = ["--listen=127.0.0.1", `--port=${port}`, "--export-all", "--verbose", `--base-path=${root}`];
  // A file: a test that waits for another program reads no pipe meanwhile.
  const log = path.join(tempDir("git-daemon"), "log");
  const stderr = fs.openSync(log, "a");
  const daemon = Bun.spawn(["git", "daemon", ...args, ...more, root], { stdin: "ignore", stdout: "ignore", stderr });
  fs.closeSync(stderr);
  process.on("exit", () => daemon.kill());
  while (!fs.readFileSync(log, "utf8").includes("Ready to rumble")) {
    if (daemon.exitCode !== null) throw new Error(`git daemon ended: ${fs.readFileSync(log, "utf8")}`);
    await Bun.sleep(5);
  }
  return { port, stop: () => daemon.kill() };
}
