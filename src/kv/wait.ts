/** Waits until a commit is visible on the mirror, which the Stargate brings up to date after it has accepted a transaction. */

import { setTimeout as sleep } from "node:timers/promises";
import { KvError } from "../errors.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { fetchMirror } from "./fetch.ts";
import { trackingRoot } from "./namespace.ts";
import { fetchObjects, fetchUrl } from "./remote-session.ts";
import { ledgerContains, readState, stateAt } from "./state.ts";
import type { Workspace } from "./workspace.ts";

/** First and longest pause between two looks, in milliseconds: hosts ask for few requests. */
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 5_000;

/**
 * Resolves when the ledger commit `oid` is in the mirror's ledger, as its watermark `refs/kv-mirror/<ns>` says. Throws
 * MIRROR_TIMEOUT after `timeout` milliseconds; network errors end the wait only then.
 */
export async function waitForMirror(workspace: Workspace, oid: Oid, timeout: number): Promise<void> {
  const { clock, signal } = workspace.around;
  const deadline = clock.now() + timeout;
  let pause = FIRST_PAUSE;
  let seen: Oid | undefined;
  for (;;) {
    let failure: unknown;
    try {
      const watermark = await readWatermark(workspace);
      if (watermark === oid) return;
      if (watermark !== undefined && watermark !== seen && (await isOnMirror(workspace, oid))) return;
      seen = watermark;
    } catch (error) {
      signal.throwIfAborted();
      failure = error;
    }
    const left = deadline - clock.now();
    if (left <= 0) throw timedOut(oid, timeout, failure);
    const jittered = pause * (0.75 + (clock.random(1)[0]! / 255) * 0.5);
    await sleep(Math.min(left, jittered), undefined, { signal });
    pause = Math.min(LONGEST_PAUSE, pause * 1.5);
  }
}

async function readWatermark(workspace: Workspace): Promise<Oid | undefined> {
  const { repo, around, ns } = workspace;
  const name = `refs/kv-mirror/${ns}`;
  const refs = await fetchObjects(repo, around, fetchUrl(workspace), [name], () => []);
  return refs.get(name);
}

async function isOnMirror(workspace: Workspace, oid: Oid): Promise<boolean> {
  const { repo, ns, remote } = workspace;
  await fetchMirror(workspace);
  const state = readState(repo.objects, repo.refs, ns, trackingRoot(remote));
  if (state === undefined || !repo.objects.has(oid)) return false;
  return ledgerContains(repo.objects, state.ledger, stateAt(repo.objects, oid).ledger);
}

function timedOut(oid: Oid, timeout: number, cause: unknown): KvError {
  const why = cause instanceof Error ? ` (last try: ${cause.message})` : "";
  return new KvError("MIRROR_TIMEOUT", `${oid} is not on the mirror after ${timeout / 1000} s${why}`, {
    hint: "'git kv stargate status' shows the mirror's backlog",
    cause,
  });
}
