/** Which of git's object rules a repository's config turns off (git: git-config `receive.fsck.<id>`, `receive.fsck.skipList`). */

import * as fs from "node:fs";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import type { GitConfig } from "../config.ts";
import { type FsckLevel, FsckRules } from "../object/fsck-rules.ts";
import type { Oid } from "../object/oid.ts";
import { checkRefFormat } from "../refs/ref-name.ts";

/** Ids that git lets nobody turn off. */
const FATAL = ["nulInHeader", "unterminatedHeader"];

/** The rules of `<section>.fsck.*`. Throws CONFIG where a level is none, or an id may not be turned off. */
export function fsckRules(config: GitConfig, section: "receive" | "fetch"): FsckRules {
  const prefix = `${section}.fsck.`;
  const levels = new Map<string, FsckLevel>();
  for (const { name, value } of config.entries()) {
    if (!name.startsWith(prefix) || name === `${prefix}skiplist`) continue;
    const id = name.slice(prefix.length).toLowerCase();
    levels.set(
      id,
      levelOf(
        name,
        value,
        FATAL.some((fatal) => fatal.toLowerCase() === id),
      ),
    );
  }
  const skipList = config.getPath(`${prefix}skipList`);
  const skipped = skipList === undefined ? new Set<Oid>() : readSkipList(skipList);
  return levels.size === 0 && skipped.size === 0
    ? FsckRules.strict
    : new FsckRules(levels, skipped, (name) => checkRefFormat(`refs/tags/${name}`));
}

function levelOf(name: string, value: string | undefined, isFatal: boolean): FsckLevel {
  const level = value?.toLowerCase();
  if (level !== "error" && level !== "warn" && level !== "ignore") {
    throw new KvError("CONFIG", `${name} is '${value ?? ""}', not error, warn or ignore`);
  }
  if (isFatal && level !== "error") throw new KvError("CONFIG", `${name} cannot be turned off`);
  return level;
}

/** Ids of objects, one a line; `#` begins a comment. */
function readSkipList(file: string): Set<Oid> {
  try {
    if (fs.statSync(file).size > LIMITS.configBytes)
      throw new KvError("LIMIT_EXCEEDED", `${file} is larger than 16 MiB`);
    const lines = fs.readFileSync(file, "latin1").split("\n");
    return new Set(lines.map((line) => line.replace(/#.*/, "").trim()).filter((line) => line !== ""));
  } catch (cause) {
    if (cause instanceof KvError) throw cause;
    throw new KvError("CONFIG", `the list of excused objects, ${file}, cannot be read`, { cause });
  }
}
