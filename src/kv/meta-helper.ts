/**
 * Makes the metadata of large transactions, and the trie of them, on another thread (meta-worker.ts) while the keys are resolved and the trie of the
 * values is made on this one: docs/design/273. What comes of it is the same objects; a thread that cannot be started, or fails, is
 * done without.
 *
 * Bounded: the lines of one transaction, which are kept until its trie is there, and as much in the thread.
 */

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Oid } from "../gitwire/object/oid.ts";
import type { PackBlock, PackBuilder } from "../gitwire/pack/pack-builder.ts";
import type { ObjectPlace } from "../gitwire/store/object-place.ts";
import type { Steps } from "../time-slice.ts";
import { trace } from "../trace.ts";
import type { Key } from "./key.ts";
import { joinLines, MetaMaker, metaLine } from "./meta-changes.ts";
import type { NodeWriter } from "./node-writer.ts";
import type { MetadataFields } from "./record.ts";

/** Operations of a transaction from which it pays. */
const MANY = 20_000;
/** UTF-16 units that are handed over at a time, about. */
const BATCH = 128 * 1024;

/** The helper's file: beside this one, or where the compiler puts it (scripts/compile.ts). */
const isSource = import.meta.url.endsWith("/src/kv/meta-helper.ts");
const WORKER = new URL(isSource ? "./meta-worker.ts" : "./src/kv/meta-worker.js", import.meta.url);

/** What the thread is told: that a transaction begins, lines of it, and what trie they change. */
export type MetaOrder =
  | { readonly kind: "begin" }
  | { readonly kind: "lines"; readonly text: string }
  | { readonly kind: "finish"; readonly root: Oid | undefined; readonly question: number };

/** What it answers to the last: the one of a transaction that was given up may come when nobody waits for it. */
export interface MetaAnswer {
  readonly question: number;
  readonly root: Oid | undefined;
  readonly block: PackBlock;
}

/** What the thread is started with. */
export interface MetaPlace {
  readonly objects: ObjectPlace;
  readonly copiesBases: boolean;
}

export interface MetaHelperOptions {
  /** {@link MANY}, what the thread runs, and whether there is a processor for it, for tests. */
  readonly many?: number;
  readonly worker?: URL;
  readonly processors?: number;
}

export class MetaHelper {
  readonly #place: MetaPlace;
  readonly #options: MetaHelperOptions;
  /** Null: there is none, and will be none. */
  #worker: Worker | undefined | null;
  /** The question under way, and who waits for its answer. */
  #question = 0;
  #answered: ((answer: MetaAnswer | undefined) => void) | undefined;
  /** Transactions whose metadata the thread has made. */
  made = 0;

  constructor(place: MetaPlace, options: MetaHelperOptions = {}) {
    this.#place = place;
    this.#options = options;
    if ((options.processors ?? availableParallelism()) < 2) this.#worker = null;
  }

  /** Begins the metadata of a transaction of so many operations; undefined where they are to be made with the rest. */
  begin(operations: number, builder: PackBuilder): MetaJob | undefined {
    if (operations < (this.#options.many ?? MANY)) return undefined;
    if (this.#worker === undefined) this.#worker = this.#start();
    if (this.#worker === null) return undefined;
    this.send({ kind: "begin" });
    return new MetaJob(this, builder);
  }

  /** Tells the thread. */
  send(order: MetaOrder): void {
    this.#worker?.postMessage(order);
  }

  /** Has the thread make the trie; undefined where it failed. */
  finish(root: Oid | undefined): Promise<MetaAnswer | undefined> {
    return new Promise((resolve) => {
      this.#answered = resolve;
      const question = ++this.#question;
      if (this.#worker === null) this.#answer(undefined);
      else this.send({ kind: "finish", root, question });
    });
  }

  /** Ends the thread. */
  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = null;
    await worker?.terminate();
    if (worker) trace("perf", `a helper made the metadata of ${this.made} transactions`);
  }

  #answer(answer: MetaAnswer | undefined): void {
    this.#answered?.(answer);
    this.#answered = undefined;
  }

  #start(): Worker | null {
    try {
      const worker = new Worker(this.#options.worker ?? WORKER, {
        workerData: this.#place,
        smol: true,
      } as WorkerOptions);
      worker.on("message", (answer: MetaAnswer) => {
        if (answer.question === this.#question) this.#answer(answer);
      });
      const gone = (why: string): void => {
        if (this.#worker !== worker) return;
        trace("perf", `the helper for metadata is gone: ${why}`);
        this.#worker = null;
        this.#answer(undefined);
      };
      worker.on("error", (error) => gone(String(error)));
      worker.on("exit", () => gone("it ended"));
      return worker;
    } catch (error) {
      trace("perf", `no helper for metadata: ${String(error)}`);
      return null;
    }
  }
}

/** The metadata of one transaction. */
export class MetaJob {
  readonly #helper: MetaHelper;
  readonly #builder: PackBuilder;
  /** What the thread was told, for the case that it fails. */
  readonly #texts: string[] = [];
  #lines: string[] = [];
  #length = 0;

  constructor(helper: MetaHelper, builder: PackBuilder) {
    this.#helper = helper;
    this.#builder = builder;
  }

  /** The metadata of `key` will say this; undefined: they are removed. */
  add(key: Key, fields: MetadataFields | undefined): void {
    const line = metaLine(key, fields);
    this.#lines.push(line);
    this.#length += line.length;
    if (this.#length > BATCH) this.#handOver();
  }

  /** Begins to make the trie that was `root`; what is returned gives its new root, in `writer` where the thread did not do. */
  finish(root: Oid | undefined, writer: NodeWriter): Steps<Oid | undefined> {
    this.#handOver();
    const answer = this.#helper.finish(root);
    return this.#wait(answer, root, writer);
  }

  *#wait(answer: Promise<MetaAnswer | undefined>, root: Oid | undefined, writer: NodeWriter): Steps<Oid | undefined> {
    let made: MetaAnswer | undefined;
    yield answer.then((given) => {
      made = given;
    });
    if (made !== undefined && this.#builder.append(made.block)) {
      this.#helper.made++;
      return made.root;
    }
    const maker = new MetaMaker(writer);
    for (const text of this.#texts) {
      maker.add(text);
      yield;
    }
    return yield* maker.finish(root);
  }

  #handOver(): void {
    if (this.#lines.length === 0) return;
    const text = joinLines(this.#lines);
    this.#texts.push(text);
    this.#helper.send({ kind: "lines", text });
    this.#lines = [];
    this.#length = 0;
  }
}
