/** How the mirror stands, as `status` tells it. */

/**
 * `idle`: it has everything. `waiting`: something is to be pushed, when the pace or the backoff allows. `pushing`: right now.
 * `blocked`: the host refuses for good until somebody acts. `diverged`: it has commits of a ledger that are not ours.
 */
export type MirrorState = "idle" | "waiting" | "pushing" | "blocked" | "diverged";

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
}
