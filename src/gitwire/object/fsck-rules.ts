/**
 * Which of git's object rules count (git: git-fsck, "FSCK MESSAGES"; git-config `receive.fsck.<id>`, `receive.fsck.skipList`).
 *
 * By default a push is held to what `git index-pack --strict` refuses: errors and warnings, not what git merely remarks on.
 * Stricter in one point: a mode that git never writes is refused, because programs differ about what it is.
 */

import * as fs from "node:fs";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import type { GitConfig } from "../config.ts";
import type { Oid } from "./oid.ts";

/** Ids of what git only remarks on, or passes over. */
const REMARKS = [
  "gitmodulesParse",
  "gitignoreSymlink",
  "gitattributesSymlink",
  "mailmapSymlink",
  "badTagName",
  "missingTaggerEntry",
  "extraHeaderEntry",
];

/** Ids that git lets nobody turn off. */
const FATAL = ["nulInHeader", "unterminatedHeader"];

export class FsckRules {
  /** The default. */
  static readonly strict = new FsckRules(new Map(), new Set());
  readonly #levels: ReadonlyMap<string, "error" | "warn" | "ignore">;
  readonly #skipped: ReadonlySet<Oid>;

  private constructor(levels: ReadonlyMap<string, "error" | "warn" | "ignore">, skipped: ReadonlySet<Oid>) {
    this.#levels = new Map([...REMARKS.map((id) => [id.toLowerCase(), "ignore"] as const), ...levels]);
    this.#skipped = skipped;
  }

  /** The rules of `<section>.fsck.*`. Throws CONFIG where a level is none, or an id may not be turned off. */
  static fromConfig(config: GitConfig, section: "receive" | "fetch"): FsckRules {
    const prefix = `${section}.fsck.`;
    const levels = new Map<string, "error" | "warn" | "ignore">();
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
    return levels.size === 0 && skipped.size === 0 ? FsckRules.strict : new FsckRules(levels, skipped);
  }

  /** Whether a fault of this id refuses an object. */
  counts(id: string): boolean {
    return (this.#levels.get(id.toLowerCase()) ?? "error") === "error";
  }

  /** Whether the object is excused from all rules. */
  skips(oid: Oid): boolean {
    return this.#skipped.has(oid);
  }

  /** `id: text` where the id counts, else undefined. */
  fault(id: string, text: string): string | undefined {
    return this.counts(id) ? `${id}: ${text}` : undefined;
  }
}

function levelOf(name: string, value: string | undefined, isFatal: boolean): "error" | "warn" | "ignore" {
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
