/**
 * Ref names: the rules of `git check-ref-format` and where a name belongs.
 *
 * A name is refused when (git-check-ref-format, rules 1 to 10): a component between slashes begins with `.` or ends with
 * `.lock`; it has fewer than two components (unless one level is allowed); it holds `..`, a byte below 0x20, DEL, space,
 * `~ ^ : ? * [ \`, or `@{`; it begins or ends with `/` or holds `//`; it ends with `.`; it is `@`.
 */

import { utf8ToByteString } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";

/** What `git check-ref-format` takes as flags. */
export interface RefNameOptions {
  /** `--allow-onelevel`: a name without a slash is valid. */
  readonly oneLevel?: boolean;
  /** `--refspec-pattern`: one `*` is valid. */
  readonly pattern?: boolean;
}

const FORBIDDEN = /[\x00-\x20\x7f~^:?*[\\]/;

/** Whether a rule refuses some part of `name`. One expression for all of them takes three times as long to compile. */
function hasForbidden(name: string): boolean {
  if (FORBIDDEN.test(name) || name.includes("..") || name.includes("@{")) return true;
  if (name.endsWith(".") || name.endsWith("/") || name.endsWith(".lock") || name.includes(".lock/")) return true;
  return name.startsWith(".") || name.startsWith("/") || name.includes("//") || name.includes("/.");
}

/** True when git takes `name` as a ref name. */
export function checkRefFormat(name: string, options: RefNameOptions = {}): boolean {
  const plain = options.pattern === true ? name.replace("*", "x") : name;
  if (plain === "" || plain === "@" || hasForbidden(plain)) return false;
  return options.oneLevel === true || plain.includes("/");
}

/** One level outside `refs/`: HEAD, FETCH_HEAD, ORIG_HEAD ... (upper case, `_` and `-`). */
const PSEUDO_REF = /^[A-Z_-]+$/;

/**
 * True for a name refs are stored under: `refs/...` as check-ref-format has it, or a pseudo ref such as HEAD.
 * Anything else is never turned into a path.
 */
export function isValidRefName(name: string): boolean {
  if (name.length > LIMITS.refName) return false;
  if (name.startsWith("refs/")) return checkRefFormat(name);
  if (PSEUDO_REF.test(name)) return true;
  return OTHER_WORKTREE.test(name) && checkRefFormat(name);
}

/** Returns `name`. Throws REF_INVALID where {@link isValidRefName} says no. */
export function checkRefName(name: string): string {
  if (!isValidRefName(name)) {
    throw new KvError("REF_INVALID", `'${printable(name)}' is not a valid ref name`, {
      hint: "see 'git help check-ref-format' for what a ref may be called",
    });
  }
  return name;
}

function printable(text: string): string {
  return text.slice(0, 200).replace(/[\x00-\x1f\x7f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

const OTHER_WORKTREE = /^(?:main-worktree|worktrees\/[^/]+)\/(?:[A-Z_-]+|refs\/.+)$/;

/** True for refs each worktree has its own of: pseudo refs, refs/bisect/, refs/worktree/, refs/rewritten/. */
export function isPerWorktree(name: string): boolean {
  if (!name.startsWith("refs/")) return true;
  return name.startsWith("refs/bisect/") || name.startsWith("refs/worktree/") || name.startsWith("refs/rewritten/");
}

/** Folder and name in it of the ref's own file, for a repository whose worktree has `gitDir` and shares `commonDir`. */
export function refPath(name: string, gitDir: string, commonDir: string): string {
  if (name.startsWith("main-worktree/")) return `${commonDir}/${name.slice("main-worktree/".length)}`;
  if (name.startsWith("worktrees/")) return `${commonDir}/${name}`;
  return `${isPerWorktree(name) ? gitDir : commonDir}/${name}`;
}

/** Orders ref names as git does, by their UTF-8 bytes. */
export function compareRefNames(a: string, b: string): number {
  if (a === b) return 0;
  return utf8ToByteString(a) < utf8ToByteString(b) ? -1 : 1;
}
