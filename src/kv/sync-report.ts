/** What `stargate sync` found and did, as a Stargate tells it over HTTP, SSH and its socket: one JSON object. */

import type { Oid } from "../gitwire/object/oid.ts";

/**
 * How a ref of the mirror stands against the Stargate's. `behind`: it is part of ours. `ahead`: ours is part of it. `diverged`:
 * neither. `missing`: the mirror does not have it. `extra`: the Stargate does not have it.
 */
export type Standing = "equal" | "behind" | "ahead" | "diverged" | "missing" | "extra";

export interface RefStanding {
  /** "" for the policy. */
  readonly ns: string;
  readonly ref: string;
  readonly here: Oid | undefined;
  readonly there: Oid | undefined;
  readonly standing: Standing;
}

/** `dry-run` looks, `repair` pushes what is behind or missing, `force` overwrites besides what is ahead or diverged. */
export type SyncMode = "dry-run" | "repair" | "force";

export const SYNC_MODES: readonly SyncMode[] = ["dry-run", "repair", "force"];

/** What became of one ref. */
export interface SyncedRef extends RefStanding {
  /**
   * `none`: nothing was to be done. `pushed`, `forced`: done. `left`: it would have to be overwritten, and was not. `planned`: a
   * dry run would push it. `refused`: the mirror did not take it, or the push of its namespace came to nothing; `reason` has why.
   */
  readonly action: "none" | "planned" | "pushed" | "forced" | "left" | "refused";
  readonly reason?: string;
}

export interface SyncReport {
  readonly mode: SyncMode;
  /** The mirror's address without its password. */
  readonly remote: string;
  readonly refs: readonly SyncedRef[];
}

/** Whether anything is left that only `force` would bring in order: exit 11. */
export function hasLeftOvers(report: SyncReport): boolean {
  return report.refs.some(({ standing, action }) => isOverwrite(standing) && action !== "forced");
}

/** Whether bringing a ref in order takes something away from the mirror. */
export function isOverwrite(standing: Standing): boolean {
  return standing === "ahead" || standing === "diverged";
}
