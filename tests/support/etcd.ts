/** A real etcd with a folder and ports of its own. */

import { type ChildProcess, spawn } from "node:child_process";
import { runProgram } from "./executable.ts";
import { tempDir } from "./temp.ts";

export class Etcd {
  readonly #child: ChildProcess;
  readonly #address: string;

  private constructor(child: ChildProcess, address: string) {
    this.#child = child;
    this.#address = address;
  }

  /** Starts one on free ports and waits until it serves. */
  static async start(): Promise<Etcd> {
    const [client, peer] = [freePort(), freePort()].map((port) => `http://127.0.0.1:${port}`);
    const child = spawn(
      "etcd",
      [
        ...["--data-dir", tempDir("etcd"), "--name", "test", "--unsafe-no-fsync"],
        ...["--listen-client-urls", client!, "--advertise-client-urls", client!],
        ...["--listen-peer-urls", peer!, "--initial-advertise-peer-urls", peer!, "--initial-cluster", `test=${peer}`],
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    process.on("exit", () => child.kill("SIGKILL"));
    let log = "";
    await new Promise<void>((resolve, reject) => {
      child.once("exit", (status) => reject(new Error(`etcd ended with ${status}: ${log}`)));
      child.stderr!.on("data", (chunk: Buffer) => {
        log += chunk;
        if (log.includes("ready to serve client requests")) resolve();
      });
    });
    return new Etcd(child, client!);
  }

  /** Runs etcdctl and returns what it prints; throws where it fails. */
  ctl(args: readonly string[]): string {
    const env = { ...process.env, ETCDCTL_API: "3", ETCDCTL_ENDPOINTS: this.#address };
    const { status, stdout, stderr } = runProgram("etcdctl", args, { env });
    if (status !== 0) throw new Error(`etcdctl ${args.join(" ")}: ${stderr}`);
    return stdout;
  }

  async stop(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGTERM");
    await gone;
  }
}

function freePort(): number {
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = server;
  server.stop(true);
  return port;
}
