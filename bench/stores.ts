/**
 * The stores that cases measure in, each made when first asked for: the keys in a git-kv repository, the same in stock git, and
 * Stargates with clones over copies of the first. Copies share the packs (hard links): objects never change.
 */

import * as fs from "node:fs";
import { Batches, type Change, everyKey, writeBatch } from "./data.ts";
import type { PeakRun } from "./measure.ts";
import type { Scratch } from "./scratch.ts";
import { Site, type Verify } from "./site.ts";
import { fastImport, type Layout, writeFastImport } from "./stock-git.ts";

/** A stock git pair: a client that commits and the bare repository it pushes to. */
export interface StockPair {
  /** Both are folders of the scratch. */
  readonly client: string;
  readonly server: string;
}

export class Stores {
  readonly scratch: Scratch;
  readonly keys: number;
  readonly #batches: Batches;
  readonly #sites = new Map<Verify, Promise<Site>>();
  readonly #imports = new Map<Layout, PeakRun>();
  readonly #pairs = new Map<Layout, StockPair>();
  #built: PeakRun | undefined;
  #spare = 0;

  constructor(scratch: Scratch, keys: number) {
    this.scratch = scratch;
    this.keys = keys;
    this.#batches = new Batches(keys);
  }

  batch(n: number): Change[] {
    return this.#batches.batch(n);
  }

  /** A key that was not changed before and will not be again. */
  spareKey(): string {
    return this.#batches.spare(this.#spare++);
  }

  /** File with every key as a batch. */
  get batchFile(): string {
    const file = this.scratch.path("every-key.jsonl");
    if (!fs.existsSync(file)) writeBatch(file, everyKey(this.keys));
    return file;
  }

  /** The repository that holds all keys, in one pack besides that of `init`; a folder of the scratch. */
  ours(): string {
    this.#built ??= this.buildOurs("ours");
    return "ours";
  }

  /** Makes a repository in `dir` and writes all keys in one transaction; what is measured is the transaction. */
  buildOurs(dir: string): PeakRun {
    const { scratch } = this;
    const { batchFile } = this;
    fs.rmSync(scratch.path(dir), { recursive: true, force: true });
    scratch.git("", "init", "-q", "-b", "main", dir);
    scratch.run(dir, [scratch.gitKv, "init"]);
    scratch.settle();
    const run = scratch.runPeak(dir, [scratch.gitKv, "mset", "--file", batchFile]);
    if (dir === "ours") this.#built = run;
    return run;
  }

  /** The keys in stock git; a folder of the scratch. */
  async stock(layout: Layout): Promise<string> {
    if (!this.#imports.has(layout)) await this.buildStock(layout);
    return stockDir(layout);
  }

  /** Imports all keys into stock git; what is measured is `git fast-import`, with its input ready in a file. */
  async buildStock(layout: Layout): Promise<PeakRun> {
    const { scratch } = this;
    const dir = stockDir(layout);
    const stream = scratch.path(`${dir}.stream`);
    if (!fs.existsSync(stream)) await writeFastImport(stream, layout, everyKey(this.keys), 1);
    fs.rmSync(scratch.path(dir), { recursive: true, force: true });
    scratch.git("", "init", "-q", "--bare", "-b", "main", dir);
    scratch.settle();
    const run = fastImport(scratch, dir, stream);
    this.#imports.set(layout, run);
    return run;
  }

  /** Two bare repositories with the keys, to push from one to the other. */
  async stockPair(layout: Layout): Promise<StockPair> {
    const known = this.#pairs.get(layout);
    if (known !== undefined) return known;
    const from = await this.stock(layout);
    const pair = { client: `${from}-client.git`, server: `${from}-server.git` };
    const tip = this.scratch.git(from, "rev-parse", "refs/heads/main");
    for (const dir of [pair.client, pair.server]) {
      this.scratch.git("", "init", "-q", "--bare", "-b", "main", dir);
      this.scratch.shareObjects(`${from}/objects`, `${dir}/objects`);
      this.scratch.git(dir, "update-ref", "refs/heads/main", tip);
    }
    this.#pairs.set(layout, pair);
    return pair;
  }

  /** A Stargate over the keys, whose policy says `verify`, and a clone. */
  site(verify: Verify): Promise<Site> {
    const known = this.#sites.get(verify);
    if (known !== undefined) return known;
    const made = Site.start(this.scratch, this.ours(), verify);
    this.#sites.set(verify, made);
    return made;
  }
}

function stockDir(layout: Layout): string {
  return `stock-${layout}`;
}
