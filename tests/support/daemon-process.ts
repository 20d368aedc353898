/** The compiled daemon in a process of its own, for tests that kill it, starve it or trace it. */

import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { TokenStore } from "../../src/stargate/tokens.ts";
import { executable, runProgram } from "./executable.ts";
import { tempDir } from "./temp.ts";

export interface DaemonOptions {
  /** Before the program, as in `["faketime", "-1h"]`. */
  readonly wrapper?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface DaemonProcess {
  readonly pid: number;
  /** The repository's address, with a token that may write. */
  readonly address: string;
  /** Resolves when it has ended. */
  readonly exited: Promise<number>;
  readonly isRunning: () => boolean;
  /** Everything it has logged so far. */
  readonly log: () => string;
  kill(): Promise<void>;
  /** SIGTERM, and waits. */
  stop(): Promise<void>;
}

/** A new Stargate's repository, and a token for it. */
export function stargateRepository(args: readonly string[] = []): { readonly dir: string; readonly token: string } {
  const dir = path.join(tempDir("daemon"), "kv.git");
  const made = runProgram(executable("git-kv-stargate"), ["init", "--repo", dir, ...args]);
  if (made.status !== 0) throw new Error(`init: ${made.stderr}`);
  return { dir, token: new TokenStore(path.join(dir, "stargate")).add("tester", "admin", undefined, systemClock) };
}

/** Starts the daemon of `dir`; resolves when it listens, rejects with what it said where it does not. */
export async function startDaemon(dir: string, token: string, options: DaemonOptions = {}): Promise<DaemonProcess> {
  const program = [...(options.wrapper ?? []), executable("git-kv-stargate")];
  const child = Bun.spawn([...program, "serve", "--repo", dir, "--listen", "127.0.0.1:0"], {
    stdout: "ignore",
    stderr: "pipe",
    env: { ...process.env, ...options.env },
  });
  let said = "";
  const listening = Promise.withResolvers<string>();
  void (async () => {
    for await (const chunk of child.stderr) {
      said += Buffer.from(chunk).toString("utf8");
      const url = /^listening on (http:\S+)$/m.exec(said)?.[1];
      if (url !== undefined && said.includes("listening on unix:")) listening.resolve(url);
    }
    listening.reject(new Error(`the daemon did not start: ${said}`));
  })();
  const url = await listening.promise;
  const end = async (signal: "SIGKILL" | "SIGTERM"): Promise<void> => {
    child.kill(signal);
    await child.exited;
  };
  return {
    pid: child.pid,
    address: `${url.replace("http://", `http://tester:${token}@`)}/kv.git`,
    exited: child.exited,
    isRunning: () => child.exitCode === null && child.signalCode === null,
    log: () => said,
    kill: () => end("SIGKILL"),
    stop: () => end("SIGTERM"),
  };
}
