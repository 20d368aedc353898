/**
 * Which of git's object rules count (git: git-fsck, "FSCK MESSAGES"; git-config `receive.fsck.<id>`, `receive.fsck.skipList`).
 *
 * By default a push is held to what `git index-pack --strict` refuses: errors and warnings, not what git merely remarks on.
 * Stricter in one point: a mode that git never writes is refused, because programs differ about what it is.
 */

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

export type FsckLevel = "error" | "warn" | "ignore";

export class FsckRules {
  /** The default. */
  static readonly strict = new FsckRules(new Map(), new Set());
  readonly #levels: ReadonlyMap<string, FsckLevel>;
  readonly #skipped: ReadonlySet<Oid>;

  /** Whether a ref can have this name; asked only where badTagName counts. */
  readonly isTagName: (name: string) => boolean;

  /** `levels` by id in lower case: what is not said is as by default; `skipped`: objects excused from all rules. */
  constructor(
    levels: ReadonlyMap<string, FsckLevel>,
    skipped: ReadonlySet<Oid>,
    isTagName: (name: string) => boolean = () => true,
  ) {
    this.#levels = new Map([...REMARKS.map((id) => [id.toLowerCase(), "ignore"] as const), ...levels]);
    this.#skipped = skipped;
    this.isTagName = isTagName;
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
