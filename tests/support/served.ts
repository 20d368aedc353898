/** A repository with objects that its visible refs reach and others that they do not, for tests. */

import type { Oid } from "../../src/gitwire/object/oid.ts";
import { git, gitInput } from "./git.ts";
import { tempDir } from "./temp.ts";
import { TEST_FORMAT } from "./test-format.ts";

export interface Reach {
  readonly server: string;
  readonly tip: Oid;
  readonly old: Oid;
  readonly blob: Oid;
  readonly lostCommit: Oid;
  readonly lostBlob: Oid;
}

/** A repository with objects that are reachable, at the tip or below, and others that are not. */
export function reach(): Reach {
  const server = newServer();
  const blob = gitInput(server, "old\n", "hash-object", "-w", "--stdin");
  const old = git(server, "commit-tree", "-m", "old", gitInput(server, `100644 blob ${blob}\tf\n`, "mktree"));
  const tip = git(server, "commit-tree", "-p", old, "-m", "tip", gitInput(server, "", "mktree"));
  git(server, "update-ref", "refs/heads/main", tip);
  const lostBlob = gitInput(server, "secret\n", "hash-object", "-w", "--stdin");
  const lostCommit = git(
    server,
    "commit-tree",
    "-p",
    tip,
    "-m",
    "lost",
    gitInput(server, `100644 blob ${lostBlob}\tf\n`, "mktree"),
  );
  git(server, "update-ref", "refs/secret/x", lostCommit);
  git(server, "config", "transfer.hideRefs", "refs/secret");
  return { server, tip, old, blob, lostCommit, lostBlob };
}

/** An empty bare repository. */
export function newServer(format: string = TEST_FORMAT.name): string {
  const dir = `${tempDir("serve")}/server.git`;
  git("/", "init", "-q", "--bare", "-b", "main", `--object-format=${format}`, dir);
  git(dir, "config", "gc.auto", "0");
  return dir;
}
