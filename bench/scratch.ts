/** The temporary folder of a run, the programs in it, and what must be ended when it goes. */

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { type PeakRun, type ProcessOptions, type ProcessRun, runPeak, runProcess } from "./measure.ts";

const DIST = path.resolve(import.meta.dir, "..", "dist");

export class Scratch {
  readonly root: string;
  /** No settings of the user's, one identity. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly gitKv = path.join(DIST, "git-kv");
  readonly stargate = path.join(DIST, "git-kv-stargate");
  readonly #ends: (() => Promise<void> | void)[] = [];

  constructor() {
    for (const program of [this.gitKv, this.stargate]) {
      if (!fs.existsSync(program)) throw new Error(`${program} is not built: run 'make build'`);
    }
    this.root = fs.mkdtempSync(path.join(os.tmpdir(), "git-kv-bench-"));
    this.env = {
      PATH: process.env.PATH,
      HOME: this.root,
      LANG: "C.UTF-8",
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_AUTHOR_NAME: "Bench",
      GIT_AUTHOR_EMAIL: "bench@example.com",
      GIT_COMMITTER_NAME: "Bench",
      GIT_COMMITTER_EMAIL: "bench@example.com",
    };
  }

  /** A path in the folder. */
  path(...names: string[]): string {
    return path.join(this.root, ...names);
  }

  /** Runs a program in the folder `dir` of the scratch. */
  run(dir: string, command: readonly string[], options: ProcessOptions = {}): ProcessRun {
    return runProcess(command, { cwd: this.path(dir), env: this.env, ...options });
  }

  /** As {@link run}, with the most memory it had. */
  runPeak(dir: string, command: readonly string[], options: ProcessOptions = {}): PeakRun {
    return runPeak(command, { cwd: this.path(dir), env: this.env, ...options });
  }

  /** Runs git there; returns what it prints. */
  git(dir: string, ...args: string[]): string {
    return this.run(dir, ["git", ...args])
      .stdout.toString()
      .trimEnd();
  }

  /** Links the objects of one folder of the scratch into another: objects never change. */
  shareObjects(from: string, to: string): void {
    runProcess(["cp", "-alf", `${this.path(from)}/.`, this.path(to)]);
  }

  /** Brings to disk what earlier work wrote, so that nobody's fsync pays for it. */
  settle(): void {
    runProcess(["sync"]);
    Bun.gc(true);
  }

  /** Calls `end` before the folder goes. */
  onEnd(end: () => Promise<void> | void): void {
    this.#ends.push(end);
  }

  /** Ends what runs and removes the folder. */
  async close(): Promise<void> {
    for (const end of this.#ends.splice(0).reverse()) await end();
    fs.rmSync(this.root, { recursive: true, force: true });
  }
}
