/** A Stargate that serves on the loopback, and a clone that writes through it. */

import * as fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort, stopDaemon } from "../demo/shell.ts";
import { type PeakRun, type ProcessRun, runBeside } from "./measure.ts";
import type { Scratch } from "./scratch.ts";
import { type Traffic, TrafficCounter } from "./traffic.ts";

/** What the policy says of checking transactions. */
export type Verify = "replay" | "attested";

export class Site {
  /** The clone; a folder of the scratch. */
  readonly clone: string;
  /** The Stargate's repository, likewise. */
  readonly server: string;
  readonly pid: number;
  readonly #scratch: Scratch;
  readonly #port: number;

  private constructor(scratch: Scratch, names: { clone: string; server: string }, pid: number, port: number) {
    this.#scratch = scratch;
    this.clone = names.clone;
    this.server = names.server;
    this.pid = pid;
    this.#port = port;
  }

  /** Serves what `from` (a folder of the scratch) holds. `name` tells one site from another. */
  static async start(scratch: Scratch, from: string, verify: Verify, name: string = verify): Promise<Site> {
    const server = `kv-${name}.git`;
    const clone = `clone-${name}`;
    const port = await freePort();
    const url = `http://127.0.0.1:${port}/${server}`;
    scratch.git("", "init", "-q", "--bare", "-b", "main", server);
    scratch.git("", "init", "-q", "-b", "main", clone);
    copyState(scratch, from, `${server}`, "");
    copyState(scratch, from, clone, ".git/");
    const policy = `version: 1
stargate:
  push_url: ${url}
namespaces:
  main:
    verify: ${verify}
    max_keys_per_txn: 1000000
`;
    commitPolicy(scratch, server, policy);
    scratch.run("", [scratch.stargate, "init", "--repo", server]);
    const token = scratch.run("", [scratch.stargate, "token", "add", "--repo", server, "--name", "bench"]);
    const pid = await serve(scratch, server, port);
    scratch.git(clone, "remote", "add", "origin", url);
    scratch.git(clone, "config", "http.extraHeader", `Authorization: Bearer ${token.stdout.toString().trim()}`);
    scratch.run(clone, [scratch.gitKv, "remote", "setup"]);
    return new Site(scratch, { clone, server }, pid, port);
  }

  /** Runs git-kv in the clone. */
  run(...args: string[]): ProcessRun {
    return this.#scratch.run(this.clone, [this.#scratch.gitKv, ...args]);
  }

  /** As {@link run}, with the most memory it had. */
  runPeak(...args: string[]): PeakRun {
    return this.#scratch.runPeak(this.clone, [this.#scratch.gitKv, ...args]);
  }

  /** Milliseconds the Stargate took for each push it accepted, as its log has them. */
  serverMs(): number[] {
    const lines = fs.readFileSync(this.#scratch.path(`${this.server}.log`), "utf8").split("\n");
    return lines.flatMap((line) => {
      if (!line.startsWith("{")) return [];
      const { component, result, ms } = JSON.parse(line) as { component?: string; result?: string; ms?: number };
      return component === "push" && result === "accepted" && ms !== undefined ? [ms] : [];
    });
  }

  /** Runs git-kv in the clone once, its pushes going through a counter. */
  async count(...args: string[]): Promise<Traffic> {
    const counter = await TrafficCounter.start(this.#port);
    try {
      await runBeside([this.#scratch.gitKv, ...args], {
        cwd: this.#scratch.path(this.clone),
        env: {
          ...this.#scratch.env,
          GIT_CONFIG_COUNT: "1",
          GIT_CONFIG_KEY_0: `url.http://127.0.0.1:${counter.port}/.insteadOf`,
          GIT_CONFIG_VALUE_0: `http://127.0.0.1:${this.#port}/`,
        },
      });
      return counter.traffic;
    } finally {
      counter.stop();
    }
  }
}

/** Gives the repository at `to` the objects and kv refs of `from`. */
function copyState(scratch: Scratch, from: string, to: string, gitDir: string): void {
  scratch.shareObjects(`${from}/.git/objects`, `${to}/${gitDir}objects`);
  for (const ref of ["refs/kv/main", "refs/kv-index/main"]) {
    scratch.git(to, "update-ref", ref, scratch.git(from, "rev-parse", ref));
  }
}

/** Commits a policy to the bare repository `repo`, for `init` to find. */
export function commitPolicy(scratch: Scratch, repo: string, text: string): void {
  const policy = scratch.path("policy.yaml");
  fs.writeFileSync(policy, text);
  const blob = scratch.git(repo, "hash-object", "-w", policy);
  const tree = (line: string): string => {
    fs.writeFileSync(policy, `${line}\n`);
    return scratch.run(repo, ["git", "mktree"], { input: policy }).stdout.toString().trim();
  };
  const root = tree(`040000 tree ${tree(`100644 blob ${blob}\tpolicy.yaml`)}\t.kv`);
  scratch.git(repo, "update-ref", "refs/heads/main", scratch.git(repo, "commit-tree", "-m", "policy", root));
}

/** Starts the daemon and waits until it listens; returns its process id. */
export async function serve(scratch: Scratch, server: string, port: number): Promise<number> {
  const log = scratch.path(`${server}.log`);
  const child = Bun.spawn([scratch.stargate, "serve", "--repo", server, "--listen", `127.0.0.1:${port}`], {
    cwd: scratch.root,
    env: scratch.env as Record<string, string>,
    stdout: "ignore",
    stderr: Bun.file(log),
  });
  const pidFile = scratch.path(`${server}.pid`);
  fs.writeFileSync(pidFile, String(child.pid));
  scratch.onEnd(() => stopDaemon(pidFile));
  for (let i = 0; i < 3_000; i++) {
    if (fs.readFileSync(log, "utf8").includes(`listening on http://127.0.0.1:${port}`)) return child.pid;
    if (child.exitCode !== null) break;
    await sleep(10);
  }
  throw new Error(`the Stargate does not listen: ${fs.readFileSync(log, "utf8")}`);
}
