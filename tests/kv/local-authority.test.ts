/** Where the local refs may decide what is accepted, and where a write would only look accepted. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import { KvError } from "../../src/errors.ts";
import { git } from "../support/git.ts";
import { tempDir } from "../support/temp.ts";
import { workspaceAt } from "../support/workspace.ts";

const REFSPEC = "+refs/kv/*:refs/kv-remotes/origin/kv/*";

function repository(...config: [string, string][]): string {
  const dir = tempDir("authority");
  git(dir, "init", "-q", "--bare", ".");
  for (const [name, value] of config) git(dir, "config", "--add", name, value);
  return dir;
}

function refusal(dir: string): KvError | undefined {
  try {
    workspaceAt(dir).requireLocalMode();
    return undefined;
  } catch (error) {
    if (error instanceof KvError) return error;
    throw error;
  }
}

test("a repository of its own, with or without a remote", () => {
  expect(refusal(repository())).toBeUndefined();
  expect(refusal(repository(["remote.origin.url", "x"], ["remote.origin.fetch", "+refs/heads/*:y/*"]))).toBeUndefined();
});

test("kv.remote names another remote than the one that is set up", () => {
  const dir = repository(["remote.origin.url", "x"], ["remote.origin.fetch", REFSPEC], ["kv.remote", "nope"]);
  expect(refusal(dir)).toMatchObject({
    code: "CONFIG",
    message: expect.stringContaining("'origin', and kv.remote is 'nope'"),
  });
});

test("a clone that follows a ledger and was not set up", () => {
  const dir = repository(["remote.origin.url", "x"]);
  const commit = git(dir, "commit-tree", "-m", "x", git(dir, "hash-object", "-w", "-t", "tree", "/dev/null"));
  git(dir, "update-ref", "refs/kv-remotes/origin/kv/main", commit);
  expect(refusal(dir)).toMatchObject({ code: "CONFIG", hint: "run 'git kv remote setup'" });
});

test("the Stargate's own repository", () => {
  const dir = repository();
  fs.writeFileSync(`${dir}/stargate.yaml`, "");
  expect(refusal(dir)?.code).toBe("REF_FORBIDDEN");
});
