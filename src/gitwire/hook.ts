/**
 * Hooks of a repository (git: githooks): programs of its owner in `hooks/`, or where core.hooksPath says. Each runs in the
 * git folder with GIT_DIR=".", as git's server does it; what it prints, on stdout or stderr, goes to one place.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../errors.ts";
import type { Repository } from "./repo.ts";

export type HookName =
  | "pre-receive"
  | "update"
  | "proc-receive"
  | "post-receive"
  | "post-update"
  | "reference-transaction"
  | "push-to-checkout";

export interface HookRun {
  readonly args?: readonly string[];
  /** What the hook reads; it need not. */
  readonly input?: string;
  /** Environment variables besides our own; undefined takes one away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Takes what the hook prints, as it comes. */
  readonly said: (bytes: Buffer) => void;
}

/** Variables that tell of another repository than the hook's. */
const FOREIGN = [
  "GIT_COMMON_DIR",
  "GIT_WORK_TREE",
  "GIT_INDEX_FILE",
  "GIT_OBJECT_DIRECTORY",
  "GIT_ALTERNATE_OBJECT_DIRECTORIES",
  "GIT_QUARANTINE_PATH",
  "GIT_PUSH_OPTION_COUNT",
];

/** Where the hook `name` of `repo` is, or undefined where there is none, or none that may be executed. */
export function findHook(repo: Repository, name: HookName): string | undefined {
  const configured = repo.config.getPath("core.hooksPath");
  // A relative path is taken from where the hook runs.
  const dir = configured === undefined ? path.join(repo.commonDir, "hooks") : path.resolve(repo.gitDir, configured);
  const file = path.join(dir, name);
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile() ? file : undefined;
  } catch {
    return undefined;
  }
}

/** Runs the program `file` as a hook of `repo`; resolves to true where it says yes. Throws IO where it cannot be started. */
export async function runHook(repo: Repository, file: string, run: HookRun): Promise<boolean> {
  const child = start(repo, file, run);
  const reading = readAll(child.stdout, run.said);
  try {
    // What does not fit the pipe goes on being written: its failure is this one's, and nobody else's to hear of.
    if (run.input !== undefined) await child.stdin.write(run.input);
    await child.stdin.end();
  } catch {
    // It does not read its input, as it may.
  }
  const status = await child.exited;
  await reading;
  return status === 0;
}

function start(repo: Repository, file: string, { args = [], env = {} }: HookRun) {
  const foreign = Object.fromEntries(FOREIGN.map((name) => [name, undefined]));
  // The shell does nothing but lay stderr onto stdout, which keeps the order of what is printed; no text of a push is its code.
  const command = ["/bin/sh", "-c", 'exec "$0" "$@" 2>&1', file, ...args];
  const environment = { ...repo.env, ...foreign, GIT_DIR: ".", ...env };
  try {
    return Bun.spawn(command, {
      cwd: repo.gitDir,
      env: environment as Record<string, string>,
      stdin: "pipe",
      stdout: "pipe",
      stderr: "ignore",
      lazy: true,
    });
  } catch (cause) {
    throw new KvError("IO", `the hook '${file}' cannot be run`, { cause, hint: "hooks need /bin/sh" });
  }
}

async function readAll(stream: ReadableStream<Uint8Array>, said: (bytes: Buffer) => void): Promise<void> {
  for await (const chunk of stream) said(Buffer.from(chunk));
}
