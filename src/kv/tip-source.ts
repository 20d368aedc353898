/**
 * Where news of a ledger comes from: the Stargate's stream of events, its refs where it has no such stream (over SSH), else the
 * mirror's refs; a clone that only reads has the mirror alone, and a repository of one's own its refs. Every source ends in a fetch, so what is told of a
 * transaction is read from the objects here and never from somebody's word.
 */

import { setTimeout as timer } from "node:timers/promises";
import { AGENT } from "../agent.ts";
import { KvError, toKvError } from "../errors.ts";
import { HttpTransport } from "../gitwire/transport/http.ts";
import { statusError } from "../gitwire/transport/http-error.ts";
import { parseUrl, redactUrl } from "../gitwire/transport/url.ts";
import { fetchAccepted, fetchMirror } from "./fetch.ts";
import { namespaceRefs } from "./namespace.ts";
import { Pauses, RefPoller } from "./ref-poller.ts";
import type { RemoteCopy } from "./remote-copy.ts";
import { fetchUrl, pushUrl } from "./remote-session.ts";
import { eventData } from "./server-events.ts";
import type { NamespaceState } from "./state.ts";
import type { Workspace } from "./workspace.ts";

/** Milliseconds; a test shortens them. */
export interface WatchPace {
  /** First and longest pause between two looks at refs. */
  readonly first: number;
  readonly most: number;
  /** How long the mirror is followed until the Stargate is tried again. */
  readonly retry: number;
  /** Silence of the Stargate's stream after which it is given up; it sends a sign of life every 15 s. */
  readonly silence: number;
}

const WATCH_PACE: WatchPace = { first: 500, most: 10_000, retry: 30_000, silence: 45_000 };
/** A look at the refs of this repository costs next to nothing. */
const LOCAL_PAUSE = 200;

/** The newest state that can be learned now; the mirror's where the Stargate does not answer. */
export async function newestTip(workspace: Workspace): Promise<NamespaceState | undefined> {
  if (workspace.followsMirror) return readTip(workspace);
  if (!workspace.hasStargate) return workspace.state();
  try {
    return await fetchAccepted(workspace);
  } catch (error) {
    workspace.around.signal.throwIfAborted();
    if (!isAway(error)) throw error;
    workspace.around.warn(`the Stargate cannot be reached, the mirror is read: ${toKvError(error).message}`);
    return mirrorTip(workspace);
  }
}

/** What the mirror shows, or where it cannot be reached what is known here. */
async function readTip(workspace: Workspace): Promise<NamespaceState | undefined> {
  try {
    return await mirrorTip(workspace);
  } catch (error) {
    workspace.around.signal.throwIfAborted();
    if (!isAway(error)) throw error;
    workspace.around.warn(`the mirror cannot be reached, what is here is read: ${toKvError(error).message}`);
    return workspace.state();
  }
}

/** A state each time there is news, for ever: some may be older than ones before. Throws what is no matter of reachability. */
export async function* followTips(workspace: Workspace, pace: WatchPace = WATCH_PACE): AsyncGenerator<NamespaceState> {
  if (workspace.followsMirror) return yield* readTips(workspace, pace);
  if (!workspace.hasStargate) return yield* localTips(workspace);
  for (let isTold = false; ; ) {
    try {
      for await (const state of stargateTips(workspace, pace)) {
        isTold = false;
        yield state;
      }
    } catch (error) {
      workspace.around.signal.throwIfAborted();
      if (!isAway(error)) throw error;
      const { message } = toKvError(error);
      if (!isTold) workspace.around.warn(`the Stargate cannot be followed, the mirror is: ${message}`);
      isTold = true;
    }
    yield* mirrorTips(workspace, pace);
  }
}

/** The newest state of a remote that is read without a clone, and with `follow` each one that comes after it, for ever. */
export async function* copyTips(
  workspace: Workspace,
  copy: RemoteCopy,
  follow: boolean,
  pace: WatchPace = WATCH_PACE,
): AsyncGenerator<NamespaceState> {
  const { remoteState } = await import("./copy-state.ts");
  const outage = new Outage(workspace, copy, pace);
  yield await remoteState(workspace, copy);
  while (follow) {
    try {
      const news = copy.isStateless ? eventsOf(workspace, pace) : movements(workspace, copy.url, pace, pace.retry);
      for await (const _ of news) {
        const state = await remoteState(workspace, copy);
        outage.end();
        yield state;
      }
    } catch (error) {
      outage.tell(error);
    }
    await outage.pause();
  }
}

/** What `told` yields: where its host cannot be reached meanwhile, it is begun again, as often as that takes. */
export async function* throughOutages<T>(
  workspace: Workspace,
  copy: RemoteCopy,
  told: () => AsyncGenerator<T>,
  pace: WatchPace = WATCH_PACE,
): AsyncGenerator<T> {
  const outage = new Outage(workspace, copy, pace);
  for (;;) {
    try {
      yield* told();
      return outage.end();
    } catch (error) {
      outage.tell(error);
    }
    await outage.pause();
  }
}

/** A host that may be away for a while: that is told once, and once that it is back, and it is asked ever more seldom. */
class Outage {
  readonly #around: Workspace["around"];
  readonly #shown: string;
  readonly #pauses: Pauses;
  #isTold = false;

  constructor(workspace: Workspace, { shown }: RemoteCopy, pace: WatchPace) {
    this.#around = workspace.around;
    this.#shown = shown;
    this.#pauses = pausesOf(workspace, pace);
  }

  /** Throws `error` where it is no matter of reachability, and the signal's reason. */
  tell(error: unknown): void {
    const { signal, warn } = this.#around;
    signal.throwIfAborted();
    if (!isAway(error)) throw error;
    if (!this.#isTold) warn(`${this.#shown} cannot be reached, and is tried again: ${toKvError(error).message}`);
    this.#isTold = true;
  }

  end(): void {
    if (this.#isTold) this.#around.warn(`${this.#shown} can be reached again`);
    this.#isTold = false;
    this.#pauses.restart();
  }

  pause(): Promise<void> {
    return pause(this.#pauses.next(), this.#around.signal);
  }
}

/** Yields when the host tells that something has happened, or its ledger ref has moved where it tells nothing. */
async function* eventsOf(workspace: Workspace, pace: WatchPace): AsyncGenerator<void> {
  const stream = await openStream(workspace);
  if (stream === undefined) return yield* movements(workspace, fetchUrl(workspace), pace, pace.retry);
  try {
    for await (const _ of eventData(stream.body, pace.silence, workspace.around.signal)) yield;
  } finally {
    await stream.close();
  }
}

function pausesOf({ around: { clock } }: Workspace, { first, most }: WatchPace): Pauses {
  return new Pauses(first, most, () => clock.random(1)[0]! / 255);
}

/** Waits; rejects with the signal's reason where it is aborted. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await timer(ms, undefined, { signal }).catch(() => {});
  signal.throwIfAborted();
}

/** Whether it may be better later, as far as the mirror helps out meanwhile. */
function isAway(error: unknown): boolean {
  return error instanceof KvError && ["NETWORK", "BUSY", "PROTOCOL", "NOT_LEADER"].includes(error.code);
}

async function* localTips(workspace: Workspace): AsyncGenerator<NamespaceState> {
  const { signal } = workspace.around;
  for (let seen: string | undefined; ; ) {
    const state = workspace.state();
    if (state !== undefined && state.ledger.oid !== seen) {
      seen = state.ledger.oid;
      yield state;
    }
    await pause(LOCAL_PAUSE, signal);
  }
}

async function* stargateTips(workspace: Workspace, pace: WatchPace): AsyncGenerator<NamespaceState> {
  const url = parseUrl(pushUrl(workspace));
  const stream = url.kind === "http" || url.kind === "https" ? await openStream(workspace) : undefined;
  if (stream === undefined) return yield* polledTips(workspace, pushUrl(workspace), pace);
  try {
    for await (const data of eventData(stream.body, pace.silence, workspace.around.signal)) {
      const seq = seqOf(data);
      if (seq <= (workspace.acceptedState()?.ledger.seq ?? 0) && seq > 0) yield* known(workspace);
      else yield* fetched(workspace);
    }
  } finally {
    await stream.close();
  }
}

async function* known(workspace: Workspace): AsyncGenerator<NamespaceState> {
  const state = workspace.acceptedState();
  if (state !== undefined) yield state;
}

async function* fetched(workspace: Workspace): AsyncGenerator<NamespaceState> {
  const state = await fetchAccepted(workspace);
  if (state !== undefined) yield state;
}

/** The `seq` of an event's data; 0 where there is none, which means: look. */
function seqOf(data: string): number {
  try {
    const { seq } = JSON.parse(data) as { seq?: unknown };
    return typeof seq === "number" && Number.isSafeInteger(seq) ? seq : 0;
  } catch {
    return 0;
  }
}

interface EventStream {
  readonly body: ReadableStream<Uint8Array>;
  close(): Promise<void>;
}

/** The Stargate's stream of events; undefined where whatever serves the push URL has none. */
async function openStream(workspace: Workspace): Promise<EventStream | undefined> {
  const { repo, around, ns } = workspace;
  const { env, signal } = around;
  const address = pushUrl(workspace);
  const url = parseUrl(address);
  if (url.kind !== "http" && url.kind !== "https") return undefined;
  const transport = new HttpTransport(url, "git-upload-pack", { config: repo.config, env, agent: AGENT, signal });
  const response = await transport.open(`kv/watch?ns=${encodeURIComponent(ns)}`);
  const isStream = /^text\/event-stream\b/.test(response.headers.get("content-type") ?? "");
  if (response.status === 200 && isStream && response.body !== null) {
    return { body: response.body, close: () => transport.close() };
  }
  const isElsewhere = [200, 404, 405, 410].includes(response.status);
  if (isElsewhere) await response.body?.cancel().catch(() => {});
  const error = isElsewhere ? undefined : await statusError(response, redactUrl(address));
  await transport.close();
  if (error !== undefined) throw error;
  return undefined;
}

/** Looks at the ledger ref of the Stargate now and then. */
async function* polledTips(workspace: Workspace, url: string, pace: WatchPace): AsyncGenerator<NamespaceState> {
  for await (const _ of movements(workspace, url, pace, Number.POSITIVE_INFINITY)) yield* fetched(workspace);
}

/** Follows the mirror until it is time to try the Stargate again. */
async function* mirrorTips(workspace: Workspace, pace: WatchPace): AsyncGenerator<NamespaceState> {
  try {
    for await (const _ of movements(workspace, fetchUrl(workspace), pace, pace.retry)) {
      const state = await mirrorTip(workspace);
      if (state !== undefined) yield state;
    }
  } catch (error) {
    workspace.around.signal.throwIfAborted();
    if (!isAway(error)) throw error;
    await pause(Math.min(pace.most, pace.retry), workspace.around.signal);
  }
}

/** Follows the mirror, which is all a clone that only reads has. */
async function* readTips(workspace: Workspace, pace: WatchPace): AsyncGenerator<NamespaceState> {
  for (let isTold = false; ; ) {
    try {
      for await (const _ of movements(workspace, fetchUrl(workspace), pace, Number.POSITIVE_INFINITY)) {
        isTold = false;
        const state = await mirrorTip(workspace);
        if (state !== undefined) yield state;
      }
    } catch (error) {
      workspace.around.signal.throwIfAborted();
      if (!isAway(error)) throw error;
      const { message } = toKvError(error);
      if (!isTold) workspace.around.warn(`the mirror cannot be followed, and is tried again: ${message}`);
      isTold = true;
    }
    await pause(pace.most, workspace.around.signal);
  }
}

/** What the mirror shows, unless that is older than what is known here, or does not follow it. */
async function mirrorTip(workspace: Workspace): Promise<NamespaceState | undefined> {
  await fetchMirror(workspace);
  return workspace.state();
}

/** Yields when the ledger ref at `url` is another than before, the first time at once; ends after `most` milliseconds. */
async function* movements(workspace: Workspace, url: string, pace: WatchPace, most: number): AsyncGenerator<void> {
  const { signal } = workspace.around;
  const { ledger } = namespaceRefs(workspace.ns);
  const poller = new RefPoller(workspace, url, [ledger]);
  const pauses = pausesOf(workspace, pace);
  const end = performance.now() + most;
  let seen: string | undefined;
  try {
    while (performance.now() < end) {
      const tip = (await poller.look()).get(ledger);
      if (tip !== undefined && tip !== seen) {
        yield;
        seen = tip;
        pauses.restart();
      }
      await pause(Math.min(pauses.next(), Math.max(0, end - performance.now())), signal);
    }
  } finally {
    await poller.close();
  }
}
