/** A real `git daemon` on the loopback that serves the repositories below a folder. */

import { freePort } from "./sshd.ts";

/** Starts one and waits until it listens. */
export async function startGitDaemon(root: string): Promise<{ readonly port: number; stop(): void }> {
  const port = await freePort();
  const args = ["--listen=127.0.0.1", `--port=${port}`, "--export-all", "--verbose", `--base-path=${root}`, root];
  const daemon = Bun.spawn(["git", "daemon", ...args], { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  // "Ready to rumble" is its first line.
  await daemon.stderr.getReader().read();
  return { port, stop: () => daemon.kill() };
}
