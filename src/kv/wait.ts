/** Waits until a commit is visible on the mirror, which the Stargate brings up to date after it has accepted a transaction. */

import { setTimeout as sleep } from "node:timers/promises";
import { KvError } from "../errors.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { isSameRepository, redactUrl } from "../gitwire/transport/url.ts";
import { fetchMirror } from "./fetch.ts";
import { namespaceRefs, trackingRoot } from "./namespace.ts";
import { Pauses, RefPoller } from "./ref-poller.ts";
import { fetchUrl, pushUrl } from "./remote-session.ts";
import type { Status } from "./stargate-status.ts";
import { ledgerContains, readState, stateAt } from "./state.ts";
import type { Workspace } from "./workspace.ts";

/** First and longest pause between two looks, in milliseconds: hosts ask for few requests. */
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 5_000;

/**
 * Throws CONFIG where what is written here comes to no mirror that could be waited for: without a Stargate, and behind one that has none. Whoever
 * is to wait asks before anything is written. A Stargate that does not answer now is left to the write.
 */
export async function requireMirror(workspace: Workspace): Promise<void> {
  const { remote, hasStargate } = workspace;
  const reads = fetchUrl(workspace);
  if (!hasStargate) {
    throw new KvError("CONFIG", `no Stargate brings what is written here to the mirror: '${remote}' is not set up`, {
      hint: `git kv remote setup --remote ${remote}; or push by yourself, and then 'git kv wait --oid HASH'`,
    });
  }
  if (isSameRepository(reads, pushUrl(workspace))) await statusWithMirror(workspace).catch(unlessConfig);
}

function unlessConfig(error: unknown): void {
  if (!(error instanceof KvError) || error.code !== "CONFIG") return;
  throw new KvError("CONFIG", error.message, { hint: `${error.hint}: write with --no-wait`, cause: error });
}

/**
 * Resolves when the ledger commit `oid` is in the mirror's ledger, as its watermark `refs/kv-mirror/<ns>` says, or, where reads come
 * from the Stargate itself, the Stargate; or in the ledger of a host that is neither. Throws MIRROR_TIMEOUT after `timeout` milliseconds;
 * network errors end the wait only then. Throws CONFIG at once where there is no mirror.
 */
export async function waitForMirror(workspace: Workspace, oid: Oid, timeout: number): Promise<void> {
  const { ns } = workspace;
  const { clock, progress } = workspace.around;
  const begun = clock.now();
  let deadline = begun + timeout;
  let before = begun;
  const watermark = `refs/kv-mirror/${ns}`;
  const { ledger } = namespaceRefs(ns);
  const poller = new RefPoller(workspace, fetchUrl(workspace), [watermark, ledger]);
  const pauses = new Pauses(FIRST_PAUSE, LONGEST_PAUSE, () => clock.random(1)[0]! / 255);
  let seen: Oid | undefined;
  // Once a host has shown to be no Stargate it is not asked again.
  let isPlain = false;
  let failure: unknown = new KvError("NETWORK", "the mirror gave no answer");
  try {
    for (;;) {
      const now = clock.now();
      // A clock that is set back meanwhile makes nobody wait longer.
      if (now < before) deadline -= before - now;
      before = now;
      progress(`waiting for the mirror: ${Math.round((now - begun) / 1000)} s`);
      const left = deadline - now;
      const limit = AbortSignal.timeout(Math.max(1, Math.min(left, MOST_TIMEOUT)));
      const look = await lookOnce(workspace, limit, async () => {
        const refs = await poller.look();
        const mark = refs.get(watermark);
        // A host may move the watermark before the ledger.
        if (mark === oid && refs.get(ledger) === oid) return true;
        if (mark === undefined) {
          if (!readsFromStargate(workspace)) return false;
          const status = isPlain ? undefined : await statusWithMirror(workspace);
          isPlain = status === undefined;
          return status === undefined
            ? isInLedger(workspace, oid, refs.get(ledger))
            : isMirrored(workspace, oid, status);
        }
        // Only where it has moved is there anything to find out, and only then is the ledger fetched.
        if (mark === seen) return false;
        const isThere = await isOnMirror(workspace, oid, mark);
        if (isThere !== undefined) seen = mark;
        return isThere === true;
      });
      if (look === true) return;
      if (look instanceof KvError && look.code === "CONFIG") throw look;
      // One that the time cut short says nothing where the one before it was answered.
      if (look !== "cut short") failure = look === false ? undefined : look;
      const rest = deadline - clock.now();
      if (rest <= 0) throw timedOut(oid, timeout, failure);
      await sleep(Math.min(rest, pauses.next()), undefined, { signal: workspace.around.signal });
    }
  } finally {
    progress("");
    await poller.close();
  }
}

/** What one look says, or why it failed; a host that says nothing is not waited for beyond `limit`. */
async function lookOnce(workspace: Workspace, limit: AbortSignal, look: () => Promise<boolean>): Promise<unknown> {
  const { signal } = workspace.around;
  const isOver = new Promise<unknown>((resolve) => {
    limit.addEventListener("abort", () => resolve("cut short"), { once: true });
  });
  const answer = look().catch((error: unknown) => error);
  const result = await Promise.race([answer, isOver]);
  signal.throwIfAborted();
  return result;
}

/** Undefined where the mirror shows another ledger than the one that it says it has: its refs may move one after the other. */
async function isOnMirror(workspace: Workspace, oid: Oid, mark: Oid): Promise<boolean | undefined> {
  const { repo, ns, remote, copy } = workspace;
  if (copy !== undefined) return (await import("./copy-watch.ts")).ledgerHolds(workspace, copy, mark, oid);
  await fetchMirror(workspace);
  const state = readState(repo.objects, repo.refs, ns, trackingRoot(remote));
  if (state !== undefined && repo.objects.has(oid)) {
    if (ledgerContains(repo.objects, state.ledger, stateAt(repo.objects, oid).ledger)) return true;
  }
  return state?.ledger.oid === mark ? false : undefined;
}

function readsFromStargate(workspace: Workspace): boolean {
  return isSameRepository(fetchUrl(workspace), pushUrl(workspace));
}

/** Whether the ledger of a host that is no Stargate, and that nobody mirrors to, has the commit `oid`; it ends with `shown`. */
async function isInLedger(workspace: Workspace, oid: Oid, shown: Oid | undefined): Promise<boolean> {
  return shown !== undefined && (await isOnMirror(workspace, oid, shown)) === true;
}

/** Whether the Stargate says that its mirror has the ledger commit `oid`. */
async function isMirrored(workspace: Workspace, oid: Oid, status: Status): Promise<boolean> {
  const found = status.namespaces.find(({ ns }) => ns === workspace.ns);
  if (found === undefined || !(await isOnMirror(workspace, oid, found.ledger))) return false;
  return stateAt(workspace.repo.objects, oid).ledger.seq <= found.seq - (found.backlog ?? 0);
}

/** The status of a Stargate; undefined where the address is not one's. Throws CONFIG where it has no mirror. */
async function statusWithMirror(workspace: Workspace): Promise<Status | undefined> {
  const { askStatus } = await import("./ask-stargate.ts");
  const status = await askStatus(workspace).catch((error: unknown) => {
    if (error instanceof KvError && NO_STARGATE.has(error.code)) return undefined;
    throw error;
  });
  if (status?.mirror !== null) return status;
  throw new KvError("CONFIG", `${redactUrl(pushUrl(workspace))} has no mirror that could be waited for`, {
    hint: "what the Stargate has accepted is what is read there",
  });
}

/** What the address of another host answers, and what a path does. */
const NO_STARGATE: ReadonlySet<string> = new Set(["NOT_A_REPOSITORY", "PROTOCOL", "UNSUPPORTED"]);

function timedOut(oid: Oid, timeout: number, cause: unknown): KvError {
  const why = cause instanceof Error ? ` (last try: ${cause.message})` : "";
  return new KvError("MIRROR_TIMEOUT", `${oid} is not on the mirror after ${timeout / 1000} s${why}`, {
    hint: "'git kv stargate status' shows the mirror's backlog",
    cause,
  });
}

/** The longest that one timer of the system can be set for. */
const MOST_TIMEOUT = 2 ** 31 - 1;
