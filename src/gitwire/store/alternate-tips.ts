/**
 * Tips of the repositories that ours borrows objects from: a client that has them need not send what they reach (git:
 * gitprotocol-pack, `.have`; git-config `core.alternateRefsPrefixes`; `core.alternateRefsCommand` is not run).
 */

import * as path from "node:path";
import { KvError } from "../../errors.ts";
import type { Oid } from "../object/oid.ts";
import { openRepository, type Repository } from "../repo.ts";
import { alternateDirs } from "./alternates.ts";

/** The tips, each once. A borrowed folder that belongs to no repository, or to one we cannot read, has none. */
export function alternateTips(repo: Repository): Oid[] {
  const prefixes = (repo.config.get("core.alternateRefsPrefixes") ?? "").split(" ").filter((prefix) => prefix !== "");
  const isWanted = (name: string): boolean =>
    prefixes.length === 0 || prefixes.some((prefix) => name.startsWith(prefix));
  const tips = new Set<Oid>();
  for (const dir of alternateDirs(repo.objectsDir)) {
    for (const { name, oid } of refsOf(dir, repo)) if (isWanted(name)) tips.add(oid);
  }
  return [...tips];
}

function refsOf(objectsDir: string, repo: Repository): { name: string; oid: Oid }[] {
  if (path.basename(objectsDir) !== "objects") return [];
  let other: Repository | undefined;
  try {
    other = openRepository(path.dirname(objectsDir), repo.env);
    return other.format.name === repo.format.name ? other.refs.snapshot() : [];
  } catch (error) {
    if (error instanceof KvError) return [];
    throw error;
  } finally {
    other?.close();
  }
}
