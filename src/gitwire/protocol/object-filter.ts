/**
 * Which objects a partial fetch leaves out (git: rev-list "--filter", list-objects-filter-options.c).
 *
 *     filter-spec  =  "blob:none" / "blob:limit=" size / "tree:" depth / "object:type=" kind / "combine:" spec *("+" spec)
 *     size, depth  =  1*DIGIT ["k" / "m" / "g"]           the specs of a combination are percent-encoded
 *
 * A combination sends what all its parts would send, so that whatever it is made of comes down to three rules. What the
 * client wants by its id it gets in any case.
 */

import { KvError } from "../../errors.ts";
import type { ObjectKind } from "../object/oid.ts";

export interface ObjectFilter {
  /** Blobs of this many bytes or more are left out; 0 leaves out all. */
  readonly blobLimit?: number;
  /** Trees and blobs this deep or deeper are left out; a commit's tree is at depth 0. */
  readonly treeDepth?: number;
  /** Objects of other kinds are left out; "none" where two different kinds are asked for. */
  readonly type?: ObjectKind | "none";
  /** The parts it was made of, as they are called in git's config (`uploadpackfilter.<name>.allow`). */
  readonly names: readonly FilterName[];
}

export type FilterName = "blob:none" | "blob:limit" | "tree" | "object:type" | "combine";

/** Combinations of combinations followed; each level doubles the percent signs, so nobody writes many. */
const DEEPEST = 8;
/** Parts of one filter. */
const MOST_PARTS = 64;
const LONGEST = 4_096;

const KINDS: readonly string[] = ["commit", "tree", "blob", "tag"];

/** Parses a filter. Throws PROTOCOL, in git's words, where it is malformed or of a kind that is not served. */
export function parseFilter(spec: string): ObjectFilter {
  if (spec.length > LONGEST) throw new KvError("LIMIT_EXCEEDED", `the filter is longer than ${LONGEST} bytes`);
  return parse(spec, { depth: 0, parts: 0 });
}

function parse(spec: string, budget: { depth: number; parts: number }): ObjectFilter {
  if (++budget.parts > MOST_PARTS) throw new KvError("LIMIT_EXCEEDED", `the filter has more than ${MOST_PARTS} parts`);
  if (spec === "blob:none") return { blobLimit: 0, names: ["blob:none"] };
  if (spec.startsWith("blob:limit=")) return { blobLimit: magnitude(spec, 11), names: ["blob:limit"] };
  if (spec.startsWith("tree:")) {
    const depth = tryMagnitude(spec.slice(5));
    if (depth === undefined) throw new KvError("PROTOCOL", "expected 'tree:<depth>'");
    return { treeDepth: depth, names: ["tree"] };
  }
  if (spec.startsWith("object:type=")) return { type: objectType(spec.slice(12)), names: ["object:type"] };
  if (spec.startsWith("sparse:path=")) throw new KvError("PROTOCOL", "sparse:path filters support has been dropped");
  if (spec.startsWith("sparse:oid=")) throw notSupported("sparse:oid");
  if (spec.startsWith("combine:")) return combination(spec.slice(8), budget);
  throw invalid(spec);
}

function combination(list: string, budget: { depth: number; parts: number }): ObjectFilter {
  if (list === "") throw new KvError("PROTOCOL", "expected something after combine:");
  if (++budget.depth > DEEPEST) throw new KvError("LIMIT_EXCEEDED", `the filter is nested more than ${DEEPEST} deep`);
  let all: ObjectFilter = { names: ["combine"] };
  for (const part of list.split("+")) {
    all = both(all, parse(decoded(part), budget));
  }
  budget.depth--;
  return all;
}

/** What passes both filters. */
function both(a: ObjectFilter, b: ObjectFilter): ObjectFilter {
  const blobLimit = least(a.blobLimit, b.blobLimit);
  const treeDepth = least(a.treeDepth, b.treeDepth);
  const type = a.type === undefined || b.type === undefined || a.type === b.type ? (a.type ?? b.type) : "none";
  return {
    ...(blobLimit === undefined ? {} : { blobLimit }),
    ...(treeDepth === undefined ? {} : { treeDepth }),
    ...(type === undefined ? {} : { type }),
    names: [...a.names, ...b.names],
  };
}

function least(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);
}

/** A part of a combination without its percent signs; git asks for one before each of these characters. */
function decoded(part: string): string {
  const reserved = /[\x00-\x20~`!@#$^&*()[\]{}\\;'",<>?]/.exec(part);
  if (reserved !== null) throw new KvError("PROTOCOL", `must escape char in sub-filter-spec: '${reserved[0]}'`);
  const bytes: number[] = [];
  for (let at = 0; at < part.length; at++) {
    const digits = part[at] === "%" ? /^[0-9a-f]{2}/i.exec(part.slice(at + 1, at + 3)) : null;
    if (digits === null) {
      bytes.push(...Buffer.from(part[at]!));
      continue;
    }
    bytes.push(Number.parseInt(digits[0], 16));
    at += 2;
  }
  return Buffer.from(bytes).toString();
}

function magnitude(spec: string, at: number): number {
  const value = tryMagnitude(spec.slice(at));
  if (value === undefined) throw invalid(spec);
  return value;
}

/** A number as git's config takes it. */
function tryMagnitude(text: string): number | undefined {
  const [, digits, unit] = /^(\d{1,15})([kmg]?)$/i.exec(text) ?? [];
  if (digits === undefined) return undefined;
  const value = Number(digits) * 1024 ** ["", "k", "m", "g"].indexOf((unit ?? "").toLowerCase());
  return Number.isSafeInteger(value) ? value : undefined;
}

function objectType(text: string): ObjectKind {
  if (KINDS.includes(text)) return text as ObjectKind;
  throw new KvError("PROTOCOL", `'${text.slice(0, 100)}' for 'object:type=<type>' is not a valid object type`);
}

/** Git's words for a filter it does not serve. */
export function notSupported(name: string): KvError {
  return new KvError("PROTOCOL", `filter '${name}' not supported`);
}

function invalid(spec: string): KvError {
  return new KvError("PROTOCOL", `invalid filter-spec '${spec.slice(0, 200)}'`);
}
