/** The real git pushes to our receive-pack, and beside it to its own: what it prints and what it leaves must agree. */

import { expect } from "bun:test";
import * as fs from "node:fs";
import { fsck, git, tryGit } from "./git.ts";
import { RECEIVE_PACK } from "./git-server.ts";
import { tempDir } from "./temp.ts";
import { TEST_FORMAT } from "./test-format.ts";

export interface Pair {
  readonly client: string;
  /** Pushed to with our receive-pack, and with git's own. */
  readonly ours: string;
  readonly theirs: string;
}

/** A client with two commits, and two copies of one server that has the first. */
export function pair(options: { bare?: boolean; format?: string } = {}): Pair {
  const dir = tempDir("push");
  const client = `${dir}/client`;
  git(dir, "init", "-q", "-b", "main", `--object-format=${options.format ?? TEST_FORMAT.name}`, client);
  commit(client, "a", "one");
  for (const name of ["ours", "theirs"]) {
    git(dir, "clone", "-q", ...(options.bare === false ? [] : ["--bare"]), client, name);
    // Both say the same about themselves.
    git(`${dir}/${name}`, "config", "gc.auto", "0");
    git(`${dir}/${name}`, "config", "receive.advertisePushOptions", "true");
  }
  commit(client, "b", "two");
  return { client, ours: `${dir}/ours`, theirs: `${dir}/theirs` };
}

export function commit(dir: string, file: string, text: string): void {
  fs.writeFileSync(`${dir}/${file}`, `${text}\n`);
  git(dir, "add", ".");
  git(dir, "commit", "-q", "-m", text);
}

export interface Outcome {
  readonly status: number;
  readonly said: string;
  readonly refs: string;
}

export function pushTo(server: string, client: string, program: readonly string[], args: readonly string[]): Outcome {
  const [flags, refspecs] = [args.filter((arg) => arg.startsWith("-")), args.filter((arg) => !arg.startsWith("-"))];
  const run = tryGit(client, ["push", "--no-progress", ...program, ...flags, server, ...refspecs]);
  const said = run.stderr.replaceAll(server, "SERVER").replace(/[ \t]+$/gm, "");
  return { status: run.status, said, refs: git(server, "for-each-ref", "--format=%(objectname) %(refname)") };
}

/** Pushes to both; they must agree in every word, but for what `same` takes away. */
export function both(given: Pair, args: readonly string[], same: (text: string) => string = (text) => text): Outcome {
  const theirs = pushTo(given.theirs, given.client, [], args);
  const ours = pushTo(given.ours, given.client, [`--receive-pack=${RECEIVE_PACK}`], args);
  expect({ ...ours, said: same(ours.said) }).toEqual({ ...theirs, said: same(theirs.said) });
  expect(fsck(given.ours).replace(/^notice: HEAD points to an unborn branch.*/, "")).toBe("");
  return ours;
}
