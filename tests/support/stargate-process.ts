/** A Stargate in a process of its own, so that its memory and its death are its own. */

import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { STARGATE_PROGRAM } from "./stargate.ts";
import { tempDir } from "./temp.ts";
import { TEST_FORMAT } from "./test-format.ts";

const [program, ...script] = STARGATE_PROGRAM as [string, ...string[]];

function run(cwd: string, ...args: string[]): string {
  const done = Bun.spawnSync([program, ...script, ...args], { cwd, env: process.env });
  if (done.exitCode !== 0) throw new Error(done.stderr.toString());
  return done.stdout.toString().trim();
}

export class StargateProcess {
  readonly dir: string;
  /** With a token that may write. */
  readonly address: string;
  readonly port: number;
  readonly #child: ChildProcess;

  private constructor(dir: string, child: ChildProcess, url: string, token: string) {
    this.dir = dir;
    this.#child = child;
    this.port = Number(new URL(url).port);
    this.address = `${url.replace("http://", `http://tester:${token}@`)}/kv.git`;
  }

  /** Serves a new repository in `root`; `shell` goes before the program in a shell's command line (`ulimit -f 1000;`). */
  static async start(root: string = tempDir("stargate-process"), shell?: string): Promise<StargateProcess> {
    run(root, "init", "--repo", "kv.git", "--object-format", TEST_FORMAT.name);
    const dir = path.join(root, "kv.git");
    const token = run(root, "token", "add", "--repo", "kv.git", "--name", "test", "--scope", "write");
    const words = [program, ...script, "serve", "--repo", dir, "--listen", "127.0.0.1:0"];
    const exec = words.map((word) => `'${word}'`).join(" ");
    const [command, ...args] = shell === undefined ? words : ["sh", "-c", `${shell} exec ${exec}`];
    const child = spawn(command!, args, { stdio: ["ignore", "ignore", "pipe"] });
    let log = "";
    const url = await new Promise<string>((resolve, reject) => {
      child.once("exit", () => reject(new Error(log)));
      child.stderr!.on("data", (chunk: Buffer) => {
        log += chunk;
        const ready = /listening on (http:\S+)/.exec(log);
        if (ready !== null) resolve(ready[1]!);
      });
    });
    return new StargateProcess(dir, child, url, token);
  }

  /** Bytes: the most it ever had resident. */
  get mostResident(): number {
    return Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync(`/proc/${this.#child.pid}/status`, "utf8"))![1]) * 1024;
  }

  async stop(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGTERM");
    await gone;
  }
}
