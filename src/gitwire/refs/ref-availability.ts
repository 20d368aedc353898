/**
 * Whether a new ref may be made beside the refs there are: `a` and `a/b` exclude each other, because one is a file and the
 * other would need a folder in its place (git: refs_verify_refname_available).
 */

import * as fs from "node:fs";
import { KvError } from "../../errors.ts";
import { holdsFiles } from "./loose-refs.ts";
import { isPerWorktree } from "./ref-name.ts";
import type { RefReader } from "./ref-reader.ts";

/** The names of one transaction, and the folders they need. */
export class NameSpace {
  readonly #names: ReadonlySet<string>;
  readonly #folders = new Map<string, string>();

  constructor(names: readonly string[]) {
    this.#names = new Set(names);
    for (const name of names) for (const parent of parents(name)) this.#folders.set(parent, name);
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  /** One of the names below `name`, or undefined. */
  below(name: string): string | undefined {
    return this.#folders.get(name);
  }
}

/**
 * Throws REF_INVALID where a ref in the store, or another one of the transaction's `names`, stands in the way of `name`; LOCKED where
 * another process is just making one. The lock of `name` must be held: two processes that make `a` and `a/b` at the same
 * time then see each other's lock, whoever comes first.
 */
export function checkAvailable(store: RefReader, name: string, names: NameSpace): void {
  if (!name.startsWith("refs/")) return;
  for (const parent of parents(name)) {
    if (store.readRaw(parent) !== undefined) throw inTheWay(parent, name);
    if (names.has(parent)) throw together(parent, name);
    if (fs.existsSync(`${store.path(parent)}.lock`)) throw beingMade(parent, name);
  }
  const child = store
    .view([`${name}/`])
    .refs()
    .next().value;
  if (child !== undefined) throw inTheWay(child.name, name);
  if (!isPerWorktree(name) && store.packed.read().hasPrefix(`${name}/`)) throw inTheWay(`${name}/...`, name);
  const below = names.below(name);
  if (below !== undefined) throw together(below, name);
  if (holdsFiles(store.path(name))) throw beingMade(`${name}/...`, name);
}

/** `refs/a` and `refs/a/b` of `refs/a/b/c`. */
function parents(name: string): string[] {
  const found: string[] = [];
  for (let at = name.indexOf("/", "refs/".length); at >= 0; at = name.indexOf("/", at + 1))
    found.push(name.slice(0, at));
  return found;
}

function inTheWay(existing: string, name: string): KvError {
  return new KvError("REF_INVALID", `ref ${existing} exists; ${name} cannot be made`, {
    data: { ref: name, existing },
    hint: "a ref and a folder of refs cannot have the same name",
  });
}

function together(other: string, name: string): KvError {
  return new KvError("REF_INVALID", `${other} and ${name} cannot both be refs`, {
    data: { ref: name, other },
    hint: "a ref and a folder of refs cannot have the same name",
  });
}

function beingMade(existing: string, name: string): KvError {
  return new KvError("LOCKED", `ref ${existing} is in use by another process; ${name} cannot be made now`, {
    data: { ref: name, existing },
  });
}
