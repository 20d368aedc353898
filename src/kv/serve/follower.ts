/**
 * The state that `git kv serve` answers from: the newest one known here, looked at when a request comes, and brought up to date from
 * the remote at an interval. A request that has a state keeps it to its end: whatever it reads is of one moment.
 */

import { setTimeout as timer } from "node:timers/promises";
import { KvError, toKvError } from "../../errors.ts";
import type { Oid } from "../../gitwire/object/oid.ts";
import { fetchAccepted, fetchMirror } from "../fetch.ts";
import { namespaceRefs, trackingRoot } from "../namespace.ts";
import type { ReadFrom } from "../read-from.ts";
import { stateFrom } from "../read-from.ts";
import { hasRemote } from "../remote-session.ts";
import type { NamespaceState } from "../state.ts";
import { tidyUp } from "../tidy.ts";
import type { Workspace } from "../workspace.ts";

/** How often refs of this repository are looked at while somebody waits for a change. */
const LOCAL_PAUSE = 100;

/** How the following goes. */
export interface FollowerStatus {
  /** Milliseconds since the remote was asked with success; undefined where there is none to ask. */
  readonly age: number | undefined;
  /** Why the last try failed; undefined where it did not. */
  readonly error: string | undefined;
}

export class Follower {
  readonly #workspace: Workspace;
  readonly #from: ReadFrom;
  readonly #interval: number;
  readonly #stopped = new AbortController();
  #state: NamespaceState | undefined;
  /** Ids of the refs that {@link #state} was read from. */
  #seen = "";
  #asked: number | undefined;
  #error: string | undefined;
  readonly #waiters = new Set<() => void>();
  #watching: Promise<void> | undefined;
  #loop: Promise<void> | undefined;

  private constructor(workspace: Workspace, from: ReadFrom, interval: number) {
    this.#workspace = workspace;
    this.#from = from;
    this.#interval = interval;
  }

  /**
   * Begins to follow. `interval`: milliseconds between two looks at the remote. Throws NS_NOT_FOUND where there is nothing to serve,
   * and NETWORK and so on where that cannot even be found out.
   */
  static async start(workspace: Workspace, from: ReadFrom, interval: number): Promise<Follower> {
    const follower = new Follower(workspace, from, interval);
    const asks = workspace.copy !== undefined || (from !== "local" && hasRemote(workspace));
    if (asks) {
      await follower.#refresh();
      if (workspace.copy !== undefined && follower.#state === undefined) await stateFrom(workspace, from);
    }
    if (workspace.copy === undefined) workspace.requireState();
    if (asks) follower.#loop = follower.#follow();
    return follower;
  }

  /** The newest state known here. Throws NS_NOT_FOUND where it is gone. */
  state(): NamespaceState {
    if (this.#workspace.copy === undefined) this.#look();
    if (this.#state !== undefined) return this.#state;
    throw new KvError("NS_NOT_FOUND", `namespace '${this.#workspace.ns}' is not in this repository`);
  }

  get status(): FollowerStatus {
    const age = this.#asked === undefined ? undefined : performance.now() - this.#asked;
    return { age, error: this.#error };
  }

  /** Resolves when there is another state than `before`, after `ms` milliseconds, when `signal` is aborted, or at the end. Throws as {@link state}. */
  async changed(before: NamespaceState, ms: number, signal: AbortSignal): Promise<void> {
    if (ms <= 0 || signal.aborted || this.isStopped || this.state() !== before) return;
    const woken = Promise.withResolvers<void>();
    const timeout = setTimeout(woken.resolve, ms);
    const wake = (): void => woken.resolve();
    signal.addEventListener("abort", wake);
    this.#waiters.add(wake);
    this.#watching ??= this.#watch();
    try {
      await woken.promise;
    } finally {
      clearTimeout(timeout);
      signal.removeEventListener("abort", wake);
      this.#waiters.delete(wake);
    }
  }

  /** Looks at the refs now and then while somebody waits, one look for all of them. */
  async #watch(): Promise<void> {
    const { signal } = this.#stopped;
    while (this.#waiters.size > 0 && !signal.aborted) {
      await timer(LOCAL_PAUSE, undefined, { signal }).catch(() => {});
      try {
        if (this.#workspace.copy === undefined) this.#look();
      } catch {
        // Whoever waits meets it when they look themselves.
        this.#wake();
      }
    }
    this.#watching = undefined;
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiters) wake();
  }

  /** Whether it is over: whoever waits goes on. */
  get isStopped(): boolean {
    return this.#stopped.signal.aborted;
  }

  /** Ends the following. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await Promise.all([this.#loop, this.#watching]);
  }

  /** Reads the state where a ref has moved since. Two refs are read for it. */
  #look(): void {
    const { repo, ns, remote } = this.#workspace;
    const ids = [namespaceRefs(ns).ledger, namespaceRefs(ns, trackingRoot(remote)).ledger].map((ref): Oid | undefined =>
      repo.refs.resolve(ref),
    );
    const seen = ids.join(" ");
    if (seen === this.#seen) return;
    this.#state = this.#workspace.state();
    this.#seen = seen;
    this.#wake();
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      await timer(this.#interval, undefined, { signal }).catch(() => {});
      if (!signal.aborted) await this.#refresh();
    }
  }

  /** Asks the remote. What fails is told once, and shown in the status until it works again. */
  async #refresh(): Promise<void> {
    const workspace = this.#workspace;
    try {
      if (workspace.copy !== undefined) {
        const state = await stateFrom(workspace, "mirror");
        if (state.ledger.oid !== this.#state?.ledger.oid) {
          this.#state = state;
          this.#wake();
        }
        await workspace.copy.tidy();
      } else {
        await (this.#from === "stargate" ? fetchAccepted(workspace) : fetchMirror(workspace));
        await tidyUp(workspace);
      }
      this.#asked = performance.now();
      this.#error = undefined;
    } catch (thrown) {
      if (this.#stopped.signal.aborted || workspace.around.signal.aborted) return;
      const error = toKvError(thrown);
      if (error.code === "BUG") throw error;
      if (workspace.copy !== undefined && this.#state === undefined) throw error;
      if (this.#error === undefined) workspace.around.warn(`the remote cannot be asked: ${error.message}`);
      this.#error = error.message;
    }
  }
}
