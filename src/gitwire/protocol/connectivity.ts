/**
 * Connectivity: a ref may only point at an object from which everything can be reached (git: `rev-list --objects --not --all`
 * in receive-pack). Only the objects that came with the push are walked: what was here before is complete, because
 * everything enters the repository through this check. So everything that came is walked, also what no ref needs: the next
 * push could build on it.
 *
 * A new tree is compared with the tree its commit's parent has in the same place. What they share is checked with the
 * parent, so a change in a directory of 256 entries costs one lookup and not 256. Entries that moved one level up or down, as
 * they do where a directory is split or folded, are looked for in what was there before in the same way.
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { TimeSlice } from "../../time-slice.ts";
import { commitLinks } from "../object/commit.ts";
import { objectFault } from "../object/fsck.ts";
import type { FsckRules } from "../object/fsck-rules.ts";
import type { GitObject, ObjectSource } from "../object/object.ts";
import type { ObjectKind, Oid } from "../object/oid.ts";
import { OidTable } from "../object/oid-table.ts";
import { tagTarget } from "../object/tag.ts";
import { MODE, TreeCursor } from "../object/tree.ts";
import { compareTrees } from "../object/tree-difference.ts";
import type { ArrivedObjects } from "../pack/arrived-objects.ts";
import { withRoom } from "../pack/grow.ts";
import { dotFileFault } from "./fsck-dot-files.ts";

/** What the check needs to know of a repository with a push in quarantine. */
export interface ConnectivityView {
  /** The quarantine first, then the repository. */
  readonly objects: ObjectSource;
  /** Kind of the object with the raw id at `bytes[at]` where it is in the quarantine, undefined where it is not. */
  newKind(bytes: Buffer, at: number): ObjectKind | undefined;
  /** Kind of the object where the repository had it before, undefined where it had not. */
  oldKind(oid: Oid): ObjectKind | undefined;
  /**
   * Git's own rules that each new object is held to (object/fsck.ts); undefined for none. A push is checked; a fetch is not, as
   * with git: histories of long ago have faults that nobody can take out any more.
   */
  readonly fsck: FsckRules | undefined;
  /** True for a commit at which the history ends, so that its parents need not be here. */
  isEnd?(commit: Oid): boolean;
  /** Trees and blobs may be missing: the repository is a partial clone, and they are to be had where the rest came from. */
  readonly isPartial?: boolean;
  /** Commits whose parents the sender says it lacks: what is missing there is no gap, and lands in `cuts`. */
  readonly shallow?: ReadonlySet<Oid>;
  /** Filled with those of `shallow` at which the history ends here. */
  readonly cuts?: Set<Oid>;
  /** Ends the search, with its reason, when it aborts. */
  readonly signal?: AbortSignal | undefined;
}

/** Objects that have to be complete whether a tip leads to them or not, by number. */
export interface ObjectsToFollow {
  readonly ids: Pick<ArrivedObjects["ids"], "raw" | "format">;
  /** How many. */
  readonly received: number;
  kind(number: number): ObjectKind | undefined;
  oid(number: number): Oid;
}

/** Why a tip is not connected. */
export interface Disconnection {
  readonly oid: Oid;
  /** What the links say the object is; undefined for the tip itself. */
  readonly expected: ObjectKind | undefined;
  /** What it is; undefined where it is missing. */
  readonly found: ObjectKind | undefined;
}

const KINDS: readonly (ObjectKind | undefined)[] = [undefined, "commit", "tree", "blob", "tag"];
const SCRATCH = Buffer.alloc(32);
/** Objects that came which are looked up before others may run. */
const ARRIVED_AT_ONCE = 1_000;
/** Trees that are gone are read where they may spare so many lookups each. */
const MOVED_PER_TREE = 4;
const NUMBERS = { commit: 1, tree: 2, blob: 3, tag: 4 } as const;

/**
 * The first thing found that keeps `tips` from being complete, or undefined where they are. Every link's kind is checked
 * too. `arrived`: new objects that have to be complete as well, whether a tip leads to them or not. Throws BAD_OBJECT where a
 * new object is malformed, LIMIT_EXCEEDED where new trees are nested too deep.
 */
export async function findDisconnection(
  view: ConnectivityView,
  tips: readonly Oid[],
  arrived?: ObjectsToFollow,
): Promise<Disconnection | undefined> {
  const walk = new ConnectivityWalk(view, arrived);
  for (const tip of tips) walk.start(tip);
  const slice = new TimeSlice();
  for (;;) {
    const step = walk.step();
    if (step !== undefined) return step === "done" ? undefined : step;
    if (slice.isOver()) await slice.pause(view.signal);
  }
}

class ConnectivityWalk {
  readonly #view: ConnectivityView;
  readonly #seen: OidTable;
  /** Kind each seen object is known or said to have, as a number of NUMBERS; 0 for a tip not yet looked at. */
  #kinds = new Uint8Array(64);
  /** How many trees each seen object was found below. */
  #depths = new Uint32Array(64);
  #depth = 0;
  readonly #pending: number[] = [];
  /** For a new tree, the tree of the commit before in the same place, by number in `seen`. */
  readonly #before = new Map<number, Oid>();
  #conflict: Disconnection | undefined;
  /** Blobs that git reads settings from, by what a new tree calls them. */
  readonly #dotFiles = { gitmodules: new Set<Oid>(), gitattributes: new Set<Oid>() };
  readonly #arrived: ObjectsToFollow | undefined;
  /** The next of {@link #arrived} to be looked at; beyond the first once the tips are done with. */
  #nextArrived = 0;

  constructor(view: ConnectivityView, arrived: ObjectsToFollow | undefined) {
    this.#view = view;
    this.#arrived = arrived;
    this.#seen = new OidTable(view.objects.format);
  }

  start(tip: Oid): undefined {
    const before = this.#seen.size;
    const index = this.#seen.add(tip);
    if (index === before) this.#push(index, 0);
  }

  /** Looks at one object: what is wrong, "done" where there is none left, or undefined to go on. */
  step(): Disconnection | "done" | undefined {
    const index = this.#pending.pop();
    if (index === undefined) {
      return this.#nextArrived < (this.#arrived?.received ?? 0)
        ? this.#takeArrived(this.#arrived!)
        : this.#checkDotFiles();
    }
    const oid = this.#seen.oid(index);
    const expected = KINDS[this.#kinds[index]!];
    const newKind = this.#newKind(oid);
    const found = newKind ?? this.#view.oldKind(oid);
    const mayBeMissing = this.#view.isPartial === true && (expected === "tree" || expected === "blob");
    if (found === undefined && mayBeMissing) return undefined;
    if (found === undefined || (expected !== undefined && found !== expected)) return { oid, expected, found };
    this.#kinds[index] = NUMBERS[found];
    if (newKind === undefined || newKind === "blob") return undefined;
    const object = this.#view.objects.read(oid);
    if (object === undefined) return { oid, expected, found: undefined };
    this.#check(oid, object);
    this.#depth = object.kind === "tree" ? this.#depths[index]! + 1 : 0;
    if (this.#view.fsck !== undefined && this.#depth > LIMITS.treeDepth) {
      throw new KvError(
        "LIMIT_EXCEEDED",
        `folders are nested more than ${LIMITS.treeDepth} deep, the limit (tree ${oid})`,
      );
    }
    this.#follow(index, oid, object);
    return this.#conflict;
  }

  /** Looks at some of the objects that came, up to the first that nothing has led to so far. A blob leads nowhere. */
  #takeArrived(arrived: ObjectsToFollow): undefined {
    const { ids, received } = arrived;
    const { rawSize } = ids.format;
    this.#depth = 0;
    for (let looked = 0; looked < ARRIVED_AT_ONCE && this.#nextArrived < received; looked++) {
      const entry = this.#nextArrived++;
      if (this.#seen.indexOfRaw(ids.raw, entry * rawSize) >= 0 || arrived.kind(entry) === "blob") continue;
      const oid = arrived.oid(entry);
      if (this.#view.oldKind(oid) === undefined) return this.start(oid);
    }
  }

  #newKind(oid: Oid): ObjectKind | undefined {
    SCRATCH.write(oid, 0, "hex");
    return this.#view.newKind(SCRATCH, 0);
  }

  #check(oid: Oid, { kind, data }: GitObject): void {
    const { fsck } = this.#view;
    if (fsck === undefined || fsck.skips(oid)) return;
    const { format } = this.#view.objects;
    const fault = objectFault(format, kind, data, fsck, (file, tree, at) => {
      if (file === "gitmodules" || file === "gitattributes") {
        this.#dotFiles[file].add(tree.hexSlice(at, at + format.rawSize));
      }
    });
    if (fault !== undefined) throw new KvError("BAD_OBJECT", `malformed ${kind} ${oid}: ${fault}`);
  }

  /** Last, because a blob has a meaning only by the trees that name it. */
  #checkDotFiles(): "done" {
    const { fsck, objects } = this.#view;
    for (const file of ["gitmodules", "gitattributes"] as const) {
      for (const oid of this.#dotFiles[file]) {
        if (fsck === undefined || fsck.skips(oid)) continue;
        const fault = dotFileFault(file, objects.read(oid), fsck);
        if (fault !== undefined) throw new KvError("BAD_OBJECT", `bad .${file} ${oid}: ${fault}`);
      }
    }
    return "done";
  }

  #follow(index: number, oid: Oid, object: GitObject): void {
    const { format } = this.#view.objects;
    if (object.kind === "commit") {
      const { tree, parents } = commitLinks(format, object.data);
      const followed = this.#view.isEnd?.(oid) === true ? [] : parents;
      for (const parent of followed) if (!this.#isCut(oid, parent)) this.#linkOid("commit", parent);
      this.#linkOid("tree", tree, this.#treeOf(followed[0]));
    } else if (object.kind === "tree") {
      this.#followTree(index, object);
    } else if (object.kind === "tag") {
      const target = tagTarget(format, object.data);
      this.#linkOid(target.kind, target.oid);
    }
  }

  /** Whether the history ends before `parent` because the sender has no more of it, and neither have we. */
  #isCut(oid: Oid, parent: Oid): boolean {
    const { shallow, cuts } = this.#view;
    // What no ref leads to is written into no list of cuts.
    if (shallow === undefined || shallow.size === 0 || this.#nextArrived > 0) return false;
    if (!shallow.has(oid) || this.#newKind(parent) !== undefined) return false;
    if (this.#view.oldKind(parent) !== undefined) return false;
    cuts?.add(oid);
    return true;
  }

  #followTree(index: number, tree: GitObject): void {
    const { format } = this.#view.objects;
    const beforeOid = this.#before.get(index);
    const trees = this.#compared(beforeOid, tree);
    const cursor = new TreeCursor(format, trees.after);
    if (trees.before === undefined) {
      while (cursor.next()) this.#linkEntry(cursor, undefined);
      return;
    }
    const blobs: number[] = [];
    const gone: Oid[] = [];
    compareTrees(format, trees.before, trees.after, {
      added: (entry, old) => {
        // Where a directory is split, what a new part holds was in the whole.
        if (entry.isTree()) this.#linkEntry(entry, old?.isTree() === true ? old.oid() : beforeOid);
        else blobs.push(entry.start);
      },
      removed: (entry) => {
        if (entry.isTree()) gone.push(entry.oid());
      },
    });
    const moved = blobs.length < gone.length * MOVED_PER_TREE ? new Set() : this.#blobsIn(gone);
    for (const start of blobs) {
      cursor.end = start;
      cursor.next();
      if (moved.size === 0 || !moved.has(cursor.oid())) this.#linkEntry(cursor, undefined);
    }
  }

  /** A new tree and the one before it, where there is one: as far as they differ, where that is known. */
  #compared(beforeOid: Oid | undefined, { data, change }: GitObject): { before?: Buffer; after: Buffer } {
    if (beforeOid === undefined) return { after: data };
    if (change?.base === beforeOid) return change;
    const before = this.#view.objects.read(beforeOid);
    return before?.kind === "tree" ? { before: before.data, after: data } : { after: data };
  }

  /** The blobs in trees that the commit before leads to: they are checked with it. */
  #blobsIn(trees: readonly Oid[]): ReadonlySet<Oid> {
    const blobs = new Set<Oid>();
    const { objects } = this.#view;
    for (const tree of trees) {
      // Of a large push they are many, and each is gone over once.
      const object = objects.readOnce === undefined ? objects.read(tree) : objects.readOnce(tree);
      if (object?.kind !== "tree") continue;
      const cursor = new TreeCursor(objects.format, object.data);
      while (cursor.next()) if (!cursor.isTree() && cursor.mode !== MODE.gitlink) blobs.add(cursor.oid());
    }
    return blobs;
  }

  #linkEntry(entry: TreeCursor, before: Oid | undefined): void {
    // A gitlink is another repository's commit.
    if (entry.mode === MODE.gitlink) return;
    this.#link(entry.isTree() ? "tree" : "blob", entry.data, entry.oidStart, before);
  }

  /** Tree of a commit, new or old; undefined where there is no such commit. */
  #treeOf(commit: Oid | undefined): Oid | undefined {
    const object = commit === undefined ? undefined : this.#view.objects.read(commit);
    return object?.kind === "commit" ? commitLinks(this.#view.objects.format, object.data).tree : undefined;
  }

  #linkOid(kind: ObjectKind, oid: Oid, before?: Oid): void {
    SCRATCH.write(oid, 0, "hex");
    this.#link(kind, SCRATCH, 0, before);
  }

  #link(kind: ObjectKind, bytes: Buffer, at: number, before: Oid | undefined): void {
    // A new blob leads nowhere: that it is here is all there is to know, and most links are to one.
    if (kind === "blob" && this.#view.newKind(bytes, at) === "blob") return;
    const size = this.#seen.size;
    const index = this.#seen.addRaw(bytes, at);
    if (index === size) {
      this.#push(index, NUMBERS[kind]);
      if (before !== undefined) this.#before.set(index, before);
      return;
    }
    const known = KINDS[this.#kinds[index]!];
    if (known === undefined) this.#kinds[index] = NUMBERS[kind];
    else if (known !== kind) this.#conflict ??= { oid: this.#seen.oid(index), expected: kind, found: known };
  }

  #push(index: number, kind: number): void {
    this.#kinds = withRoom(this.#kinds, index);
    this.#kinds[index] = kind;
    this.#depths = withRoom(this.#depths, index);
    this.#depths[index] = this.#depth;
    this.#pending.push(index);
  }
}

/** One line about a disconnection, for a message. */
export function describeDisconnection({ oid, expected, found }: Disconnection): string {
  return found === undefined ? `missing ${expected ?? "object"} ${oid}` : `${oid} is a ${found}, not a ${expected}`;
}

/** Those of `tips` that are not connected, each with what is wrong with it in one line. Throws BAD_OBJECT as {@link findDisconnection}. */
export async function unconnectedTips(view: ConnectivityView, tips: readonly Oid[]): Promise<Map<Oid, string>> {
  const reasons = new Map<Oid, string>();
  if ((await problemOf(view, tips)) === undefined) return reasons;
  // Which of them it is matters only now.
  for (const tip of tips) {
    const problem = await problemOf(view, [tip]);
    if (problem !== undefined) reasons.set(tip, problem);
  }
  return reasons;
}

async function problemOf(view: ConnectivityView, tips: readonly Oid[]): Promise<string | undefined> {
  const gap = await findDisconnection(view, tips);
  return gap === undefined ? undefined : describeDisconnection(gap);
}
