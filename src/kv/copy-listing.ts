/**
 * Brings what a listing needs of the kv-index from a remote that is read without a clone (docs/formats/data-format.md, section 5).
 *
 * On the way down to the prefix, one request a level. What lies below it comes whole in one request, unless most of it is here from an
 * earlier listing: then the few directories that changed are asked for, level by level. With a limit, no more directories than are
 * likely to hold so many keys.
 */

import { compare } from "../bytes.ts";
import { readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { MODE, parseTree } from "../gitwire/object/tree.ts";
import { Absent } from "./copy-store.ts";
import { type IndexEntry, type ListRange, listIndex } from "./index-list.ts";
import { labelOf, readKey } from "./index-node.ts";
import type { RemoteCopy, Want } from "./remote-copy.ts";

/** Keys that a directory is taken to hold before it is here; it has 2 to 256, and any number below it. */
const LIKELY_KEYS = 32;
/** Below a directory that is here, so many of its children must be missing that all of what they lead to is fetched. */
const FEW = 4;

/** What stands between here and the listing. */
interface Gap {
  /** Directories to bring by themselves, and keys' records. */
  readonly single: Want[];
  /** Directories to bring with all that is below them. */
  readonly whole: Oid[];
}

/** Keys of a page at most. */
const PAGE = 1_000;

/** The keys of the range in byte order, page by page; `limit` is about how many of them will be read. */
export async function* listPages(
  copy: RemoteCopy,
  root: Oid,
  range: ListRange,
  limit = Number.POSITIVE_INFINITY,
): AsyncGenerator<readonly IndexEntry[], void, undefined> {
  for (let rest = range; ; ) {
    await bringListing(copy, root, rest, limit);
    let page: IndexEntry[] = [];
    try {
      for (const entry of listIndex(copy.repo.objects, root, rest)) {
        if (page.push(entry) < PAGE) continue;
        yield page;
        page = [];
        rest = { ...rest, after: entry.key };
      }
      return yield page;
    } catch (error) {
      if (!(error instanceof Absent)) throw error;
    }
    if (page.length > 0) yield page;
    rest = { ...rest, ...(page.length > 0 && { after: page.at(-1)!.key }) };
  }
}

/** Brings the directories of the range, and the records of keys that are too long for their names. */
async function bringListing(copy: RemoteCopy, root: Oid, range: ListRange, limit: number): Promise<void> {
  for (;;) {
    const gap = await copy.through(() => new Survey(copy, range, limit).of(root));
    if (gap.whole.length > 0) await copy.bringBelow(gap.whole);
    else if (gap.single.length > 0) await copy.bring(gap.single);
    else return;
  }
}

/** A walk in key order over what is here. */
class Survey {
  readonly #copy: RemoteCopy;
  readonly #prefix: string;
  readonly #after: string | undefined;
  readonly #limit: number;
  readonly #gap: Gap = { single: [], whole: [] };
  #keys = 0;

  constructor(copy: RemoteCopy, { prefix = "", after }: ListRange, limit: number) {
    this.#copy = copy;
    this.#prefix = prefix;
    this.#after = after;
    this.#limit = limit;
  }

  of(root: Oid): Gap {
    if (this.#copy.repo.objects.has(root)) this.#walk("", root);
    else this.#gap.single.push({ oid: root, expected: "tree" });
    return this.#gap;
  }

  #walk(prefix: string, oid: Oid): void {
    const { objects } = this.#copy.repo;
    const below: { key: string; oid: Oid; isTree: boolean }[] = [];
    for (const entry of parseTree(objects.format, readAs(objects, oid, "tree"))) {
      const isTree = entry.mode === MODE.tree;
      const key = isTree ? prefix + labelOf(entry.name) : this.#keyOf(entry);
      if (key !== undefined && this.#isWanted(key, isTree)) below.push({ key, oid: entry.oid, isTree });
    }
    below.sort((a, b) => compare(a.key, b.key));
    const missing = new Set(below.filter((each) => each.isTree && !objects.has(each.oid)).map((each) => each.oid));
    const isChanged = missing.size * FEW <= below.filter(({ isTree }) => isTree).length;
    for (const each of below) {
      if (this.#keys >= this.#limit) return;
      if (!each.isTree) this.#keys++;
      else if (!missing.has(each.oid)) this.#walk(each.key, each.oid);
      else this.#miss(each, isChanged);
    }
  }

  #miss({ key, oid }: { readonly key: string; readonly oid: Oid }, isChanged: boolean): void {
    this.#keys += LIKELY_KEYS;
    const isInside = key.startsWith(this.#prefix) && !(this.#after ?? "").startsWith(key);
    if (isInside && !isChanged && this.#limit === Number.POSITIVE_INFINITY) this.#gap.whole.push(oid);
    else this.#gap.single.push({ oid, expected: "tree" });
  }

  /** The key of a file; undefined where its record tells it and is not here yet. */
  #keyOf(entry: Parameters<typeof readKey>[1]): string | undefined {
    const { objects } = this.#copy.repo;
    try {
      return readKey({ readBlob: (oid) => readAs(objects, oid, "blob") }, entry);
    } catch (error) {
      if (!(error instanceof Absent)) throw error;
      this.#gap.single.push(error);
      return undefined;
    }
  }

  /** As a listing sees it (index-list.ts). */
  #isWanted(key: string, isTree: boolean): boolean {
    const after = this.#after;
    if (!isTree) return key.startsWith(this.#prefix) && (after === undefined || key > after);
    if (!key.startsWith(this.#prefix) && !this.#prefix.startsWith(key)) return false;
    return after === undefined || key > after || after.startsWith(key);
  }
}
