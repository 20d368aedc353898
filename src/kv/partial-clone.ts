/**
 * Clones that git was told to leave objects out of (`git clone --filter`). It goes on leaving them out of each `git fetch`, those of the kv
 * refs too, so that a commit that is here says nothing of what it leads to. Which kv commits are here with all they lead to is therefore
 * written down, in `<git folder>/kv/whole`, one id a line: a fetch of ours begins behind those and brings everything from there on.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import type { Oid } from "../gitwire/object/oid.ts";
import type { Repository } from "../gitwire/repo.ts";
import { replaceTable } from "./table-file.ts";

/** Commits that are written down at most: those of the newest fetches. */
const MOST = 1_000;

/** Whether git leaves objects out of what it fetches into `repo`. */
export function isPartialClone({ config }: Repository): boolean {
  return config.subsections("remote").some((name) => config.getBool(`remote.${name}.promisor`) === true);
}

/** What helps where an object is missing; undefined where that can only be damage. */
export function missingHint(repo: Repository): string | undefined {
  return isPartialClone(repo) ? "git left it out of this partial clone: 'git kv fetch' brings it" : undefined;
}

/** The kv commits that are here with all they lead to. */
export function readWhole(repo: Repository): readonly Oid[] {
  try {
    return fs
      .readFileSync(fileOf(repo), "latin1")
      .split("\n")
      .filter((oid) => oid !== "" && repo.objects.has(oid));
  } catch {
    return [];
  }
}

/** Writes down that all that `oids` lead to is here. Throws the system's errors. */
export function addWhole(repo: Repository, oids: readonly Oid[]): void {
  const all = [...new Set([...oids, ...readWhole(repo)])].slice(0, MOST);
  replaceTable(fileOf(repo), Buffer.from(all.map((oid) => `${oid}\n`).join("")), false);
}

const fileOf = ({ commonDir }: Repository): string => path.join(commonDir, "kv", "whole");
