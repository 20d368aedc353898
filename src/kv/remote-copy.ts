/**
 * A remote that is read without a clone: the connection to it, and the cache that holds what was brought from it so far. A read says
 * which objects it needs (copy-store.ts), they are asked for by their ids, all that are known to be needed in one request, and the
 * read goes on.
 *
 * What is trusted: every object is the one its id names. Which commit is the newest, the remote says, and nobody checks its
 * signature here; `git kv verify` in a clone does.
 */

import { AGENT } from "../agent.ts";
import { KvError } from "../errors.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { type ByIdOrder, fetchById } from "../gitwire/protocol/fetch-by-id.ts";
import { lsRefs } from "../gitwire/protocol/fetch-pack.ts";
import type { Transport } from "../gitwire/protocol/transport.ts";
import type { Repository } from "../gitwire/repo.ts";
import { rollUp } from "../gitwire/store/maintenance.ts";
import { type CacheFolder, emptyCache, pruneCaches, prunePacks, type RemoteFacts } from "./cache-folder.ts";
import { CopyLink } from "./copy-link.ts";
import { Absent } from "./copy-store.ts";
import type { WholeHost } from "./copy-whole.ts";
import type { ClosedEpoch } from "./ledger-line.ts";
import type { RemoteRefMap } from "./remote-session.ts";
import type { Surroundings } from "./workspace.ts";

/** An object to be brought. */
export type Want = Pick<Absent, "oid" | "expected">;

/** What one request is to bring. */
export type Wanted = Pick<ByIdOrder, "wants" | "haves" | "depth"> & {
  readonly filter: string;
  /** A reader said that it needs these objects, and they were not here. */
  readonly isMissing?: boolean;
};

/** Trees that come with a commit: its root, the two tries' roots and the level below them. At 1,000,000 keys these are 35 trees, 12 KiB. */
const DEEP = "combine:tree:3+blob:none";
/** An object without what is in it. */
const FLAT = "tree:0";
/** All trees below one. */
const NO_BLOBS = "blob:none";
/** Everything but what no record is as large as. */
const NO_LARGE = "blob:limit=128k";
/** What is asked for where a host refuses one of the less usual filters. */
const INSTEAD: ReadonlyMap<string, string> = new Map([
  [DEEP, FLAT],
  [NO_LARGE, NO_BLOBS],
]);
/** Most ids in one request; git takes any number, some hosts' front ends do not. */
const MOST_WANTS = 20_000;

export class RemoteCopy {
  readonly repo: Repository;
  readonly #link: CopyLink;
  readonly #folder: CacheFolder;
  readonly #around: Surroundings;
  #isHealed = false;
  /** What does not come by being missed, and is brought again where the cache turned out to be damaged. */
  readonly #kept = new Map<string, () => Promise<void>>();
  /** The host gives no single objects. */
  #whole: WholeHost | undefined;

  constructor(url: string, repo: Repository, folder: CacheFolder, facts: RemoteFacts, around: Surroundings) {
    this.repo = repo;
    this.#folder = folder;
    this.#around = around;
    this.#link = new CopyLink(url, repo, folder, facts, around);
  }

  get url(): string {
    return this.#link.url;
  }

  /** The address as messages may show it. */
  get shown(): string {
    return this.#link.shown;
  }

  /** Whether requests stand alone (HTTP). */
  get isStateless(): boolean {
    return this.#link.isStateless;
  }

  /** Requests made so far. */
  get requests(): number {
    return this.#link.requests;
  }

  /** Whether the host can leave objects out of what it sends, as far as is known. */
  get isSelective(): boolean {
    return this.facts.filters !== "none";
  }

  /** What is known of the remote. */
  get facts(): RemoteFacts {
    return this.#link.facts;
  }

  /** The remote's objects are of another format than the cache's: nothing can be read. */
  get isOfOtherFormat(): boolean {
    return this.facts.format !== this.repo.format.name;
  }

  /** Values of those of the refs that are there. Throws NETWORK and so on. */
  tips(names: readonly string[]): Promise<RemoteRefMap> {
    return this.#link.talkOfRefs(async (transport) => {
      const { refs } = await lsRefs(transport, names, { agent: AGENT });
      return new Map(refs.filter(({ name }) => names.includes(name)).map(({ name, oid }) => [name, oid]));
    });
  }

  /**
   * The value of `ref`, and what {@link bring} brings of a commit, in one request where the host takes refs by their names. Where that is not known
   * yet, both ways are tried at once. Throws NETWORK and so on.
   */
  async tip(ref: string): Promise<Oid | undefined> {
    if (this.#link.givesRefs) {
      const found = await this.#wantRef(ref, (use) => this.#link.talk(use));
      if (found !== undefined) return found;
    } else if (this.#link.isGuess && this.#link.isStateless) {
      const [found, tips] = await Promise.all([
        this.#wantRef(ref, (use) => this.#link.aside(use)),
        this.tips([ref]).then(
          (refs) => ({ refs, error: undefined }),
          (error: unknown) => ({ refs: undefined, error }),
        ),
      ]);
      if (found !== undefined) {
        this.#link.keep({ features: [...this.facts.features, "ref-in-want"] });
        return found;
      }
      if (tips.refs === undefined) throw tips.error;
      return tips.refs.get(ref);
    }
    return (await this.tips([ref])).get(ref);
  }

  /** Undefined where that is refused, for whatever reason. */
  async #wantRef(
    ref: string,
    talk: (use: (transport: Transport) => Promise<Oid | undefined>) => Promise<Oid | undefined>,
  ): Promise<Oid | undefined> {
    const known = this.facts.tips?.[ref.replace(/^refs\/kv\//, "")];
    // Where nothing has changed since the last time, nothing is sent.
    const haves = known !== undefined && this.repo.objects.has(known) ? [known] : [];
    try {
      return await talk(async (transport) => {
        const order = { ...this.#order(this.#commitFilter), wants: [], wantRefs: [ref], haves, depth: 1 };
        const { wantedRefs } = await fetchById(transport, order);
        return wantedRefs.get(ref);
      });
    } catch (error) {
      this.#around.signal.throwIfAborted();
      if (error instanceof KvError) return undefined;
      throw error;
    }
  }

  /**
   * What `work` returns, which reads objects of {@link repo} and changes nothing: it is begun again whenever something that it needs had
   * to be brought, and once where the cache turned out to be damaged.
   */
  async through<T>(work: () => T): Promise<T> {
    for (;;) {
      try {
        return work();
      } catch (error) {
        if (error instanceof Absent) await this.bring([error]);
        else await this.#heal(error);
      }
    }
  }

  /** What `work` returns, which brings what it needs itself: it is begun again where the cache turns out to be damaged. */
  async mended<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      await this.#heal(error);
      return work();
    }
  }

  /** Brings all that `works` need, one level at a time: what each of them misses goes into one request. Other errors of theirs wait. */
  async gather(works: readonly (() => unknown)[]): Promise<void> {
    for (let left = works; left.length > 0; ) {
      const wants: Want[] = [];
      const again: (() => unknown)[] = [];
      for (const work of left) {
        try {
          work();
        } catch (error) {
          if (error instanceof Absent) wants.push(error);
          else if (isDamage(error)) await this.#heal(error);
          else continue;
          again.push(work);
        }
      }
      if (wants.length > 0) await this.bring(wants);
      left = again;
    }
  }

  /** Brings objects, and of trees nothing that is in them. Throws NETWORK, BAD_PACK, UNSUPPORTED and so on. */
  async bring(wants: readonly Want[]): Promise<void> {
    const commits = new Set<Oid>();
    const others = new Set<Oid>();
    for (const { oid, expected } of wants) (expected === "commit" ? commits : others).add(oid);
    const isMissing = true;
    if (commits.size > 0) await this.#fetch({ wants: [...commits], depth: 1, filter: this.#commitFilter, isMissing });
    const ids = [...others];
    for (let from = 0; from < ids.length; from += MOST_WANTS) {
      await this.#fetch({ wants: ids.slice(from, from + MOST_WANTS), filter: FLAT, isMissing });
    }
  }

  /** Brings trees with all trees below them. */
  bringBelow(trees: readonly Oid[]): Promise<void> {
    return this.#fetch({ wants: trees, filter: NO_BLOBS });
  }

  /** Brings the last `count` commits of the ledger that ends with `tip`, without what is in them. */
  bringHistory(tip: Oid, count: number): Promise<void> {
    return this.#fetch({ wants: [tip], depth: count, filter: FLAT });
  }

  /**
   * Brings all commits of the ledger that ends with `tip`, without what is in them: those of its epoch that did not come before. A few
   * hundred bytes each, so this costs the length of the ledger, once.
   */
  bringLedger(ns: string, tip: Oid): Promise<void> {
    return this.#bringCommits(commitsRef(ns), tip);
  }

  /** The same for a closed epoch, all of it. */
  bringArchive(ns: string, { label, ledger }: ClosedEpoch): Promise<void> {
    return this.#bringCommits(commitsRef(`${ns}@${label}`), ledger);
  }

  /** Whether the commits of a closed epoch are here. */
  hasArchive(ns: string, { label, ledger }: ClosedEpoch): boolean {
    return this.#isKnown(commitsRef(`${ns}@${label}`), ledger);
  }

  /** Whether the ref `name` of the cache says that `oid` and what belongs to it is here. */
  #isKnown(name: string, oid: Oid): boolean {
    const { refs, objects } = this.repo;
    try {
      return refs.resolve(name) === oid && objects.has(oid);
    } catch (error) {
      if (isDamage(error)) return false;
      throw error;
    }
  }

  /** The ref `name` of the cache says up to where they are here. */
  #bringCommits(name: string, tip: Oid): Promise<void> {
    return this.#keep(name, () => this.#fetchCommits(name, tip));
  }

  async #fetchCommits(name: string, tip: Oid): Promise<void> {
    const { refs, objects } = this.repo;
    const before = refs.resolve(name);
    const isHere = before !== undefined && objects.has(before);
    if (isHere && before === tip) return;
    await this.#fetch({ wants: [tip], filter: FLAT, ...(isHere && { haves: [before] }) });
    const transaction = await refs.begin([{ name, newOid: tip }]);
    await transaction.prepare();
    transaction.commit();
  }

  /** Brings what the ledger that ends with `tip` has that the one that ends with `base` has not, without large values. */
  async bringChanges(tip: Oid, base: Oid): Promise<void> {
    await this.#fetch({ wants: [tip], haves: [base], filter: NO_LARGE });
  }

  /** The tip of a ledger was read. The host alone says which it is; that it goes back to an older one is noticed and told. */
  noteTip(ns: string, seq: number, oid: Oid): void {
    const { seen, tips } = this.facts;
    const before = seen[ns] ?? 0;
    if (seq < before) {
      this.#around.warn(`the ledger of '${ns}' at ${this.shown} is at #${seq} and was at #${before} before`);
    }
    if (tips?.[ns] !== oid) this.#link.keep({ seen: { ...seen, [ns]: seq }, tips: { ...tips, [ns]: oid } });
  }

  /** Brings everything of the states of `ns` that end with `tips`: for a host that is not selective. */
  async bringWhole(ns: string, tips: RemoteRefMap): Promise<void> {
    // Then all is begun again with a cache of the right format.
    if (this.isOfOtherFormat) throw new KvError("UNSUPPORTED", `${this.shown} is a ${this.facts.format} repository`);
    const { WholeHost } = await import("./copy-whole.ts");
    this.#whole ??= new WholeHost(this.#link, this.repo, ns, this.#around.warn);
    const host = this.#whole;
    await this.#keep("whole", async () => {
      if (![...tips].every(([name, oid]) => this.#isKnown(name, oid))) await host.bringTips(tips);
    });
  }

  /** Combines the cache's packs where there are many, and keeps them in bounds: for who reads on and on. Never throws. */
  async tidy(): Promise<void> {
    await this.#combine();
    // A state that came whole would come whole again.
    if (this.#whole !== undefined) return;
    try {
      if (prunePacks(this.repo.commonDir, this.#around.clock.now())) this.repo.objects.refresh();
    } catch {
      // As at the end of a command.
    }
  }

  async #combine(): Promise<void> {
    const { objects, commonDir } = this.repo;
    await rollUp(objects, { commonDir, signal: this.#around.signal }).catch(() => {});
  }

  /** Ends the connection and keeps the cache in bounds. Never throws. */
  async close(): Promise<void> {
    await this.#link.hangUp();
    await this.#combine();
    this.repo.close();
    pruneCaches(this.#folder, this.repo.format, this.#around.clock.now());
  }

  get #commitFilter(): string {
    return this.facts.filters === "deep" ? DEEP : FLAT;
  }

  #order(filter: string): Omit<ByIdOrder, "wants"> {
    return { filter, store: this.repo.objects, agent: AGENT, progress: this.#link.hear };
  }

  async #fetch(order: Wanted): Promise<void> {
    if (this.#whole !== undefined) return this.#whole.bring(order);
    try {
      await this.#link.talk((transport) => fetchById(transport, { ...this.#order(order.filter), ...order }));
    } catch (error) {
      // Hosts that serve partial clones may refuse the less usual filters.
      if (!isRefused(error) || !this.isSelective) throw error;
      const instead = INSTEAD.get(order.filter);
      // One that gives no tree without what is in it gives whole states.
      if (order.filter !== NO_LARGE) this.#link.keep({ filters: instead === undefined ? "none" : "flat" });
      if (instead === undefined) throw error;
      await this.#fetch({ ...order, filter: instead });
    }
  }

  /** Does `work`, which brings what reading does not miss when it is gone: again, too, when the cache was damaged and is emptied. */
  async #keep(name: string, work: () => Promise<void>): Promise<void> {
    this.#kept.delete(name);
    await this.mended(work);
    this.#kept.set(name, work);
  }

  /** Empties the cache where `error` says that it is damaged, for another try; throws it where that was done before, or it is another. */
  async #heal(error: unknown): Promise<void> {
    if (this.#isHealed || !isDamage(error)) throw error;
    this.#isHealed = true;
    this.#around.warn(`the cache of ${this.shown} was damaged and is filled again`);
    emptyCache(this.repo);
    this.#whole?.forget();
    for (const bringAgain of this.#kept.values()) await bringAgain();
  }
}

const commitsRef = (what: string): string => `refs/kv-commits/${what}`;

function isRefused(error: unknown): boolean {
  return error instanceof KvError && error.code === "REMOTE_REJECTED" && /filter/.test(error.message);
}

function isDamage(error: unknown): boolean {
  return error instanceof KvError && error.code === "CORRUPT";
}
