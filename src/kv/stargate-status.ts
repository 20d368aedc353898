/** How a Stargate stands, as it tells it over HTTP, SSH and its socket: one JSON object. */

import type { Oid } from "../gitwire/object/oid.ts";
import { formatDuration } from "../quantity.ts";

/**
 * `idle`: it has everything. `waiting`: something is to be pushed, when the pace or the backoff allows. `pushing`: right now.
 * `blocked`: the host refuses for good until somebody acts. `diverged`: it has commits of a ledger that are not ours.
 */
export type MirrorState = "idle" | "waiting" | "pushing" | "blocked" | "diverged";

/** A namespace (`""` is the policy) that the mirror does not take, or that it has something else of. */
export interface StuckLane {
  readonly ns: string;
  readonly state: "waiting" | "blocked" | "diverged";
  /** The host's words, or ours. */
  readonly error: string;
  /** Milliseconds since 1970. */
  readonly since: number;
  readonly nextTry: number;
  readonly failures: number;
}

export interface MirrorReport {
  /** The remote's address without its password. */
  readonly remote: string;
  readonly state: MirrorState;
  /** Why, in the host's words or ours; undefined while all is well. */
  readonly error: string | undefined;
  /** Milliseconds since 1970; undefined where nothing is planned. */
  readonly nextTry: number | undefined;
  readonly lastSuccess: number | undefined;
  /** Failed tries since the last success. */
  readonly failures: number;
  /** Namespaces the worker leaves alone because the mirror's ledger is not an ancestor of ours. */
  readonly diverged: readonly string[];
  /** What is not in order, namespace by namespace; the others go on. */
  readonly stuck: readonly StuckLane[];
}

/** A namespace that no writes are taken to, because the mirror has what is not here. */
export interface RefusedWrites {
  /** "": no writes at all. */
  readonly ns: string;
  /** Milliseconds since 1970. */
  readonly since: number;
  readonly why: string;
}

/** One namespace. */
export interface NamespaceStatus {
  readonly ns: string;
  readonly ledger: Oid;
  /** The newest chunk commit of the epoch; absent while there are no large values. */
  readonly chunks?: Oid;
  readonly seq: number;
  readonly epoch: string;
  readonly requireSignedCommits: boolean;
  readonly verify: string;
  /** Transactions the mirror does not have, of those this Stargate accepted; absent without a mirror. */
  readonly backlog?: number;
  /** Age of the oldest of them in milliseconds. */
  readonly lag?: number;
  /** Absent without a mirror, and where a Stargate is too old to say. */
  readonly mirror?: MirrorStanding;
}

/**
 * How the mirror's copy of a namespace stands. `diverged`: it has what is not here, so that an empty backlog says nothing. `unknown`: nobody
 * has seen the mirror since this repository was restored.
 */
export type MirrorStanding = "current" | "behind" | "diverged" | "unknown";

export interface PolicyStatus {
  /** The policy commit in force. */
  readonly oid: Oid;
  readonly pushUrl?: string;
  /** `same`, or how the file on the default branch differs from what is in force. */
  readonly drift: "same" | "differs" | "no file";
  readonly error?: string;
}

export interface Status {
  readonly name: string;
  readonly agent: string;
  readonly role: "leader" | "stopped";
  readonly format: string;
  /** Whether pushes are taken; else why not. */
  readonly writable: boolean;
  readonly error?: string;
  /** Absent where a Stargate is too old to say. */
  readonly refused?: readonly RefusedWrites[];
  readonly policy: PolicyStatus | null;
  readonly namespaces: readonly NamespaceStatus[];
  readonly mirror: MirrorReport | null;
}

/** A status for people, line by line. */
export function describeStatus({
  name,
  role,
  policy,
  namespaces,
  mirror,
  writable,
  error,
  refused = [],
}: Status): string[] {
  const lines = [
    `${name}: ${role === "leader" ? "serving" : "no daemon runs"}${writable ? "" : `, takes no pushes: ${error}`}`,
  ];
  for (const { ns, since, why } of refused)
    lines.push(`no writes${ns === "" ? "" : ` to '${ns}'`} since ${new Date(since).toISOString()}: ${why}`);
  if (policy === null) lines.push("policy: none");
  else
    lines.push(
      `policy: ${policy.oid.slice(0, 12)} in force, ${DRIFT[policy.drift]}${policy.error === undefined ? "" : ` (${policy.error})`}`,
    );
  for (const { ns, seq, ledger, verify, requireSignedCommits, ...copy } of namespaces) {
    const behind = copy.backlog === undefined ? "" : `, mirror ${describeCopy(copy.backlog, copy)}`;
    const signed = requireSignedCommits
      ? "signatures required"
      : "signatures not required: the token alone lets a writer in";
    lines.push(`namespace ${ns}: seq ${seq}, ledger ${ledger.slice(0, 12)}, verify ${verify}, ${signed}${behind}`);
  }
  if (mirror !== null) {
    lines.push(...describeMirror(mirror));
  }
  return lines;
}

function describeCopy(backlog: number, { lag = 0, mirror }: Pick<NamespaceStatus, "lag" | "mirror">): string {
  if (mirror === "diverged" || mirror === "unknown") return mirror;
  return backlog === 0 ? "up to date" : `${backlog} behind (${formatDuration(Math.ceil(lag / 1000))})`;
}

function describeMirror({ remote, state, error, stuck, nextTry, failures }: MirrorReport): string[] {
  const time = (ms: number): string => new Date(ms).toISOString();
  // What keeps all of it, where nothing of a namespace does.
  const why = error === undefined || stuck.length > 0 ? "" : `: ${error}`;
  const lines = [`mirror ${remote}: ${state}${why}`];
  for (const one of stuck) {
    const name = one.ns === "" ? "policy" : `namespace ${one.ns}`;
    lines.push(`  ${name} ${one.state} since ${time(one.since)}: ${one.error}`);
  }
  if (nextTry !== undefined)
    lines.push(`next try: ${time(nextTry)}${failures > 1 ? `, after ${failures} failures` : ""}`);
  return lines;
}

const DRIFT = {
  same: "the same as on the default branch",
  differs: "differs from the file on the default branch",
  "no file": "no file on the default branch",
} as const;
