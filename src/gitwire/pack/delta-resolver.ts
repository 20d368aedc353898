/**
 * The second pass over an arriving pack: its deltas are applied, whatever the order they and their bases came in, and get
 * their ids.
 *
 * From every object that has deltas the tree of them is walked depth first. A base is held while deltas of it are left; on
 * a chain without branches that is one object at a time. What is held beyond a budget is dropped and made again.
 */

import { KvError } from "../../errors.ts";
import { TimeSlice } from "../../time-slice.ts";
import type { GitObject } from "../object/object.ts";
import { ObjectBuffer } from "../object/object-buffer.ts";
import { hashObjectRaw, type ObjectKind } from "../object/oid.ts";
import type { DeltaLimits } from "./delta-limits.ts";
import type { EntryList } from "./entry-list.ts";
import { decodeEntryHeader, entryKind, kindType } from "./pack-entry.ts";
import type { ByteFile } from "./temp-file.ts";
import { inflateAt } from "./zlib.ts";

const PAGE_BYTES = 4_096;
/** Results up to this size are made in one place. */
const SCRATCH_BYTES = 64 * 1024;

/** A base on the path that is walked. */
interface Frame {
  readonly entry: number;
  readonly depth: number;
  /** Undefined while dropped. */
  data: Buffer | undefined;
  /** Its deltas still to be applied: the next ofs-delta and the next ref-delta, -1 for none. */
  nextOfs: number;
  nextRef: number;
}

export class DeltaResolver {
  readonly #list: EntryList;
  readonly #file: ByteFile;
  readonly #limits: DeltaLimits;
  readonly #heldMax: number;
  readonly #signal: AbortSignal | undefined;
  readonly #slice = new TimeSlice();
  #scratch: ObjectBuffer | undefined;
  #page: Buffer | undefined;
  /** Entries that came with the pack, and where they end in the file. */
  readonly #received: number;
  readonly #end: number;
  /** Where the walk under way began. An appended base keeps its data: it may not be in the file yet, or be a delta there. */
  #root: Frame | undefined;
  #held = 0;
  #resolved: number;

  /**
   * The entries in `list` have come with the pack and are in `file` up to `end`; `heldMax` bytes of bases are held. Resolving
   * ends with the reason of `signal` when it aborts.
   */
  constructor(
    list: EntryList,
    file: ByteFile,
    end: number,
    limits: DeltaLimits,
    heldMax: number,
    signal?: AbortSignal,
  ) {
    this.#list = list;
    this.#file = file;
    this.#received = list.count;
    this.#resolved = list.earlyCount;
    this.#end = end;
    this.#limits = limits;
    this.#heldMax = heldMax;
    this.#signal = signal;
  }

  /** Deltas without an object yet. */
  get unresolved(): number {
    return this.#list.deltaCount - this.#resolved;
  }

  /** Resolves every delta whose chain ends in the pack. */
  async resolveReceived(): Promise<void> {
    const list = this.#list;
    for (let entry = 0; entry < this.#received && this.unresolved > 0; entry++) {
      const kind = entryKind(list.types[entry]!);
      const depth = list.depthOf(entry);
      // A delta is walked with its own base, unless it was resolved as it arrived; by then it has a kind and nothing left to give out.
      if (kind === undefined || (depth === 0 && list.deltaOf(entry) >= 0)) continue;
      const nextOfs = list.firstChild(entry);
      const nextRef = list.takeRefChildren(entry);
      if (nextOfs >= 0 || nextRef >= 0) await this.#walk(kind, { entry, depth, data: undefined, nextOfs, nextRef });
      if (this.#slice.isOver()) await this.#slice.pause(this.#signal);
    }
  }

  /** Resolves every delta whose chain ends in `entry`, an appended one that stands for the given object. */
  async resolveBase(entry: number, { kind, data }: GitObject): Promise<void> {
    const nextRef = this.#list.takeRefChildren(entry);
    if (nextRef >= 0) await this.#walk(kind, { entry, depth: 0, data, nextOfs: -1, nextRef });
  }

  async #walk(kind: ObjectKind, root: Frame): Promise<void> {
    const stack: Frame[] = [root];
    this.#root = root;
    this.#held = root.data?.length ?? 0;
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const delta = this.#nextDelta(top);
      const base = this.#dataOf(top);
      const isLast = top.nextOfs < 0 && top.nextRef < 0;
      if (isLast) {
        stack.pop();
        this.#held -= base.length;
      }
      const child = this.#resolve(kind, top, base, delta);
      if (child !== undefined) {
        stack.push(child);
        this.#held += child.data!.length;
        if (this.#held > this.#heldMax) this.#drop(stack);
      }
      if (this.#slice.isOver()) await this.#slice.pause(this.#signal);
    }
  }

  /** Takes the frame's next delta. */
  #nextDelta(frame: Frame): number {
    const { nextSibling } = this.#list;
    let delta = frame.nextOfs;
    if (delta >= 0) {
      frame.nextOfs = nextSibling[delta]!;
    } else {
      delta = frame.nextRef;
      frame.nextRef = nextSibling[delta]!;
    }
    return delta;
  }

  /** Makes the object of `delta`; returns a frame for it where it is a base itself. */
  #resolve(kind: ObjectKind, parent: Frame, base: Buffer, delta: number): Frame | undefined {
    const list = this.#list;
    const depth = parent.depth + 1;
    this.#limits.requireDepth(depth);
    const entry = list.deltaEntries[delta]!;
    // Most are no base of anything: their bytes are needed for the id, and by those who keep a copy.
    this.#scratch ??= new ObjectBuffer(list.format, SCRATCH_BYTES);
    const data = this.#apply(delta, base, this.#scratch.data);
    list.deltaBases[delta] = parent.entry;
    list.types[entry] = kindType(kind);
    const isPassing = data.buffer === this.#scratch.data.buffer;
    const id = isPassing ? this.#scratch.id(kind, data.length) : hashObjectRaw(list.format, kind, data);
    list.setId(entry, id);
    list.seen?.keep(id, kind, data, { id: list.idOf(parent.entry), data: base });
    this.#resolved++;
    const nextOfs = list.firstChild(entry);
    const nextRef = list.takeRefChildren(entry);
    if (nextOfs < 0 && nextRef < 0) return undefined;
    const kept = isPassing ? Buffer.copyBytesFrom(data) : data;
    return { entry, depth, data: kept, nextOfs, nextRef };
  }

  #dataOf(frame: Frame): Buffer {
    if (frame.data === undefined) {
      frame.data = this.#make(frame.entry);
      this.#held += frame.data.length;
    }
    return frame.data;
  }

  /** Drops the bases that are needed last, those nearest to the root, until half the budget is free. */
  #drop(stack: readonly Frame[]): void {
    for (const frame of stack.slice(0, -1)) {
      if (this.#held <= this.#heldMax / 2) return;
      if (frame.data === undefined || frame.entry >= this.#received) continue;
      this.#held -= frame.data.length;
      frame.data = undefined;
    }
  }

  /** Data of an entry that has been resolved, from the file. */
  #make(entry: number): Buffer {
    const list = this.#list;
    const chain: number[] = [];
    let at = entry;
    for (let delta = list.deltaOf(at); delta >= 0; delta = list.deltaOf(at)) {
      chain.push(delta);
      at = list.deltaBases[delta]!;
    }
    let data = at >= this.#received ? this.#root!.data! : this.#read(at);
    for (let link = chain.pop(); link !== undefined; link = chain.pop()) data = this.#apply(link, data);
    return data;
  }

  #apply(delta: number, base: Buffer, into?: Buffer): Buffer {
    const entry = this.#list.deltaEntries[delta]!;
    return this.#limits.apply(entry, base, this.#list.kept.get(delta) ?? this.#read(entry), into);
  }

  /** Inflated data of an entry as stored: an object or a delta. The first pass has found it sound. */
  #read(entry: number): Buffer {
    const list = this.#list;
    const offset = list.offsets[entry]!;
    const length = (entry + 1 < this.#received ? list.offsets[entry + 1]! : this.#end) - offset;
    if (length <= PAGE_BYTES) this.#page ??= Buffer.allocUnsafeSlow(PAGE_BYTES);
    const bytes = length <= PAGE_BYTES ? this.#page! : Buffer.allocUnsafeSlow(length);
    for (let done = 0; done < length; ) {
      const got = this.#file.read(bytes.subarray(done), length - done, offset + done);
      if (got === 0) throw new KvError("IO", "the temporary pack was cut short");
      done += got;
    }
    const header = decodeEntryHeader(list.format, bytes, 0, length)!;
    return inflateAt(bytes, header.length, header.size).data;
  }
}
