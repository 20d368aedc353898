/**
 * Refspecs (git-fetch, "<refspec>"; git-push).
 *
 *   refspec = [ "+" ] src [ ":" dst ] | [ "+" ] ":" dst | [ "+" ] ":" | "^" src
 *
 * `+` = not only forward; one `*` on each side stands for the same text; `^` takes refs out again; an empty src in a push
 * deletes dst; ":" alone in a push means the branches both sides have.
 */

import { KvError } from "../../errors.ts";
import { checkRefFormat } from "./ref-name.ts";

export interface Refspec {
  readonly force: boolean;
  readonly negative: boolean;
  /** Both sides have one `*` (a negative one: its only side). */
  readonly pattern: boolean;
  readonly src: string;
  /** Undefined where there is no colon. */
  readonly dst: string | undefined;
}

/** Takes a refspec apart. Throws REF_INVALID. */
export function parseRefspec(text: string): Refspec {
  const negative = text.startsWith("^");
  const force = text.startsWith("+");
  const body = negative || force ? text.slice(1) : text;
  // The last colon: a src may be any expression for an object, such as HEAD^{/fix: it}.
  const colon = negative ? -1 : body.lastIndexOf(":");
  const src = colon < 0 ? body : body.slice(0, colon);
  const dst = colon < 0 ? undefined : body.slice(colon + 1);
  const pattern = src.includes("*");
  const isDstPattern = dst?.includes("*") ?? pattern;
  const isSound =
    pattern === isDstPattern &&
    (!pattern || isSoundSide(src)) &&
    (dst === undefined || dst === "" || isSoundSide(dst)) &&
    (!negative || (src !== "" && isSoundSide(src)));
  if (!isSound) throw new KvError("REF_INVALID", `'${text.slice(0, 200)}' is no refspec`);
  return { force, negative, pattern, src, dst };
}

function isSoundSide(side: string): boolean {
  return checkRefFormat(side, { oneLevel: true, pattern: true });
}

/** What `*` of `pattern` stands for in `name`, or undefined where it does not fit. Without `*` they must be equal. */
function matchStar(pattern: string, name: string): string | undefined {
  const star = pattern.indexOf("*");
  if (star < 0) return pattern === name ? "" : undefined;
  const head = pattern.slice(0, star);
  const tail = pattern.slice(star + 1);
  const fits = name.length >= head.length + tail.length && name.startsWith(head) && name.endsWith(tail);
  return fits ? name.slice(head.length, name.length - tail.length) : undefined;
}

/** True when the source side fits the full ref name `name`. */
function matchesRefspec(spec: Refspec, name: string): boolean {
  return matchStar(spec.src, name) !== undefined;
}

/** Where `spec` takes the ref `name` to, or undefined where it does not fit or names no destination. */
export function mapRefspec(spec: Refspec, name: string): string | undefined {
  if (spec.negative || spec.dst === undefined || spec.dst === "") return undefined;
  const star = matchStar(spec.src, name);
  return star === undefined ? undefined : spec.dst.replace("*", () => star);
}

export interface MappedRef {
  readonly src: string;
  readonly dst: string;
  readonly force: boolean;
}

/**
 * Where `specs` take the refs `names`, negative ones minded, each pair once. Throws REF_INVALID where two sources go to
 * the same destination.
 */
export function mapRefs(specs: readonly Refspec[], names: Iterable<string>): MappedRef[] {
  const negative = specs.filter((spec) => spec.negative);
  const byDst = new Map<string, MappedRef>();
  for (const src of names) {
    if (negative.some((spec) => matchesRefspec(spec, src))) continue;
    for (const spec of specs) {
      const dst = mapRefspec(spec, src);
      if (dst === undefined) continue;
      const other = byDst.get(dst);
      if (other !== undefined && other.src !== src) {
        throw new KvError("REF_INVALID", `refspecs take both ${other.src} and ${src} to ${dst}`);
      }
      byDst.set(dst, { src, dst, force: spec.force || (other?.force ?? false) });
    }
  }
  return [...byDst.values()];
}
