/**
 * Hosts that give no single objects (no partial clone, or no protocol v2): the newest states as they are, without their history, into the
 * cache, whose refs then say what is there. The next time only what has changed since comes. What else is asked for, earlier commits and
 * pieces of large values, comes with all that it leads to.
 */

import { AGENT } from "../agent.ts";
import { KvError } from "../errors.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { fetchPack, lsRefs } from "../gitwire/protocol/fetch-pack.ts";
import { type FetchScope, WHOLE_HISTORY } from "../gitwire/protocol/fetch-scope.ts";
import type { Repository } from "../gitwire/repo.ts";
import { ObjectStore } from "../gitwire/store/object-store.ts";
import { readShallow } from "../gitwire/store/shallow-file.ts";
import type { CopyLink } from "./copy-link.ts";
import { chunkRef } from "./namespace.ts";
import type { Wanted } from "./remote-copy.ts";
import type { RemoteRefMap } from "./remote-session.ts";

export class WholeHost {
  readonly #link: CopyLink;
  readonly #repo: Repository;
  readonly #ns: string;
  readonly #warn: (text: string) => void;
  /** What was asked for besides the newest state. */
  readonly #asked = new Set<Oid>();

  constructor(link: CopyLink, repo: Repository, ns: string, warn: (text: string) => void) {
    this.#link = link;
    this.#repo = repo;
    this.#ns = ns;
    this.#warn = warn;
  }

  /** Brings the commits that `tips` point at and everything in them, and points the cache's refs of the same names at them. */
  async bringTips(tips: RemoteRefMap, what = "the newest state"): Promise<void> {
    this.#tell(what);
    await this.#fetch([...tips.values()], { depth: 1 });
    const transaction = await this.#repo.refs.begin([...tips].map(([name, newOid]) => ({ name, newOid })));
    await transaction.prepare();
    transaction.commit();
  }

  /** Brings what is not in the newest state. Throws UNSUPPORTED where the host gives only that. */
  async bring({ wants, depth, isMissing = false }: Wanted): Promise<void> {
    const { objects, commonDir, format } = this.#repo;
    const isHere = wants.every((oid) => objects.has(oid)) && readShallow(commonDir, format).length === 0;
    if (isHere && !isMissing) return;
    if (isMissing && wants.every((oid) => this.#asked.has(oid))) throw this.#refusal();
    for (const oid of wants) this.#asked.add(oid);
    const isHistory = depth !== undefined || !isMissing;
    if (isHistory) this.#tell("its history");
    try {
      await this.#fetch(wants, isHistory ? { depth: WHOLE_HISTORY } : {});
    } catch (error) {
      if (!(error instanceof KvError) || error.code !== "REMOTE_REJECTED") throw error;
      if (!isHistory) await this.#bringPieces();
      if (wants.some((oid) => !objects.has(oid))) throw this.#refusal(error);
    }
  }

  /** The cache was emptied. */
  forget(): void {
    this.#asked.clear();
  }

  /** Brings the pieces of all large values: a host of v0 gives only what its refs point at. */
  async #bringPieces(): Promise<void> {
    const prefix = chunkRef(this.#ns, "");
    const { refs } = await this.#link.talkOfRefs((transport) => lsRefs(transport, [prefix], { agent: AGENT }));
    const tips = refs.filter(({ name }) => name.startsWith(prefix)).map(({ name, oid }) => [name, oid] as const);
    if (tips.length > 0) await this.bringTips(new Map(tips), "its large values");
  }

  #tell(what: string): void {
    this.#warn(`${this.#link.shown} cannot leave objects out of what it sends, so all of ${what} is fetched`);
  }

  #refusal(cause?: unknown): KvError {
    return new KvError(
      "UNSUPPORTED",
      `${this.#link.shown} gives no single objects, and its newest state does not hold all that is asked for`,
      { hint: "git kv clone URL, then read there", cause },
    );
  }

  /** Fetches objects and everything that they lead to, as far as `scope` goes. */
  async #fetch(wants: readonly Oid[], scope: FetchScope): Promise<void> {
    const { format, objectsDir, commonDir, refs } = this.#repo;
    const { hear: progress } = this.#link;
    // One of v0 tells its refs once in a connection, and has.
    await this.#link.hangUp();
    // Not the cache's own store: what a fetch looks for and does not find is not to be brought.
    const objects = new ObjectStore(objectsDir, format);
    const haves = refs.list().flatMap(({ oid }) => (objects.has(oid) ? [oid] : []));
    const destination = { format, objectsDir, commonDir, objects };
    const order = { wants, haves, destination, agent: AGENT, progress, scope };
    try {
      await this.#link.talk((transport) => fetchPack(transport, order));
    } finally {
      objects.close();
    }
    this.#repo.objects.refresh();
  }
}
