/** The compiled programs at work: a bare repository that stands for the host, a Stargate before it, and clones. */

import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { executable, type Run, runProgram } from "./executable.ts";
import { git, gitInput } from "./git.ts";
import { tempDir } from "./temp.ts";
import { TEST_FORMAT } from "./test-format.ts";

const KV = executable("git-kv");
const STARGATE = executable("git-kv-stargate");

/** Settings of the user's stay out, and dates are real. */
export const ENV: NodeJS.ProcessEnv = {
  ...process.env,
  PATH: `${path.dirname(KV)}${path.delimiter}${process.env.PATH}`,
};

/** Runs git-kv in `dir`. */
export function kv(dir: string, ...args: string[]): Run {
  return runProgram(KV, args, { cwd: dir, env: ENV });
}

/** As {@link kv}; throws where it fails; returns stdout without its last newline. */
export function kvOk(dir: string, ...args: string[]): string {
  const run = kv(dir, ...args);
  if (run.status !== 0) throw new Error(`git kv ${args.join(" ")} exited ${run.status}: ${run.stderr}`);
  return run.stdout.replace(/\n$/, "");
}

/** Runs git-kv-stargate; throws where it fails. */
export function stargateOk(dir: string, ...args: string[]): string {
  const run = runProgram(STARGATE, args, { cwd: dir, env: ENV });
  if (run.status !== 0) throw new Error(`git-kv-stargate ${args.join(" ")} exited ${run.status}: ${run.stderr}`);
  return run.stdout.replace(/\n$/, "");
}

/** A running `git-kv-stargate serve`. */
export class Serving {
  readonly child: ChildProcess;
  readonly url: string;
  readonly #log: () => string;

  private constructor(child: ChildProcess, url: string, log: () => string) {
    this.child = child;
    this.url = url;
    this.#log = log;
  }

  /** Serves `repo` on `port` (0: a free one) and waits for its ready line. */
  static async start(repo: string, port = 0): Promise<Serving> {
    const child = spawn(STARGATE, ["serve", "--repo", repo, "--listen", `127.0.0.1:${port}`, "--admin-listen", "off"], {
      env: ENV,
      stdio: ["ignore", "ignore", "pipe"],
    });
    process.on("exit", () => child.kill("SIGKILL"));
    let log = "";
    const url = await new Promise<string>((resolve, reject) => {
      child.once("exit", (status) => reject(new Error(`serve ended with ${status}: ${log}`)));
      child.stderr!.on("data", (chunk: Buffer) => {
        log += chunk;
        const ready = /listening on (http:\S+)/.exec(log);
        if (ready !== null) resolve(ready[1]!);
      });
    });
    return new Serving(child, url, () => log);
  }

  get log(): string {
    return this.#log();
  }

  /** Ends it with `signal` and returns its exit status. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return this.child.exitCode;
    const gone = new Promise<number | null>((resolve) => this.child.once("exit", resolve));
    this.child.kill(signal);
    return gone;
  }
}

export interface SceneOptions {
  /** File of the first admin's key; signatures are required then. */
  readonly adminKey?: string;
  /** The policy on the default branch, given the push URL. */
  readonly policy?: (pushUrl: string) => string;
  /** Starts a server for the host's repositories, which are in the folder it is given; returns the address of github.git. */
  readonly mirror?: (root: string) => Promise<string>;
}

/** Everything in one temporary folder. */
export class Scene {
  readonly root = tempDir("scene");
  readonly github = path.join(this.root, "github.git");
  readonly repo = path.join(this.root, "kv.git");
  /** The host's address. */
  hostUrl = this.github;
  serving: Serving;
  readonly token: string;

  private constructor(serving: Serving, token: string) {
    this.serving = serving;
    this.token = token;
  }

  /** Sets all up as the README says; the push URL of the policy is the one it listens on. */
  static async start(format: "sha1" | "sha256" = TEST_FORMAT.name, options: SceneOptions = {}): Promise<Scene> {
    const port = await freePort();
    const scene = new Scene(undefined as unknown as Serving, "");
    git(scene.root, "init", "-q", "--bare", `--object-format=${format}`, "github.git");
    scene.hostUrl = (await options.mirror?.(scene.root)) ?? scene.github;
    if (options.policy !== undefined) scene.#publish(options.policy(`http://127.0.0.1:${port}/kv.git`));
    stargateOk(
      scene.root,
      ...["init", "--repo", "kv.git", "--mirror-remote", scene.hostUrl, "--object-format", format],
      ...["--push-url", `http://127.0.0.1:${port}/kv.git`],
      ...(options.adminKey === undefined ? [] : ["--admin-key", options.adminKey]),
    );
    // A host over a network is pushed to seldom, unless told otherwise.
    if (options.mirror !== undefined)
      fs.appendFileSync(path.join(scene.repo, "stargate.yaml"), "mirror: { burst: 1000 }\n");
    const token = stargateOk(scene.root, "token", "add", "--repo", "kv.git", "--name", "test", "--scope", "write");
    return Object.assign(scene, { token, serving: await Serving.start(scene.repo, port) });
  }

  /** Commits a policy to the default branch of the host. */
  #publish(policy: string): void {
    const blob = gitInput(this.github, policy, "hash-object", "-w", "--stdin");
    const folder = gitInput(this.github, `100644 blob ${blob}\tpolicy.yaml\n`, "mktree");
    const tree = gitInput(this.github, `040000 tree ${folder}\t.kv\n`, "mktree");
    git(this.github, "update-ref", "HEAD", git(this.github, "commit-tree", "-m", "policy", tree));
  }

  get url(): string {
    return `${this.serving.url}/kv.git`;
  }

  /** A clone that is set up, with the token. */
  clone(name: string): string {
    const dir = path.join(this.root, name);
    git(this.root, "clone", "-q", this.hostUrl, name);
    this.giveToken(dir);
    kvOk(dir, "remote", "setup");
    return dir;
  }

  giveToken(dir: string): void {
    git(dir, "config", `http.${this.serving.url}/.extraHeader`, `Authorization: Bearer ${this.token}`);
  }
}

async function freePort(): Promise<number> {
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = server;
  server.stop(true);
  return port;
}
