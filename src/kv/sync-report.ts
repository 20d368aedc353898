/** What `stargate sync` found and did, as a Stargate tells it over HTTP, SSH and its socket: one JSON object. */

import { EXIT, isCode, KvError } from "../errors.ts";
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

/**
 * `dry-run` looks, `repair` pushes what is behind or missing, `force` overwrites besides what is ahead or diverged. `fork` pushes nothing: it
 * has the Stargate take writes again beside what the mirror has.
 */
export type SyncMode = "dry-run" | "repair" | "force" | "fork";

export const SYNC_MODES: readonly SyncMode[] = ["dry-run", "repair", "force", "fork"];

export interface SyncRequest {
  readonly mode: SyncMode;
  /** One namespace; undefined: all of them, and the policy. */
  readonly ns: string | undefined;
}

/** What became of one ref. */
export interface SyncedRef extends RefStanding {
  /**
   * `none`: nothing was to be done. `pushed`, `forced`: done. `left`: it would have to be overwritten, and was not. `planned`: a
   * dry run would push it. `refused`: it should have been pushed and is not there; `reason` has why. `forked`: writes go on beside it.
   */
  readonly action: "none" | "planned" | "pushed" | "forced" | "left" | "refused" | "forked";
  readonly reason?: string;
}

export interface SyncReport {
  readonly mode: SyncMode;
  /** The mirror's address without its password. */
  readonly remote: string;
  readonly refs: readonly SyncedRef[];
}

/** Whether anything is left that only `force` would bring in order: exit 11. */
function hasLeftOvers(report: SyncReport): boolean {
  return report.refs.some(
    ({ standing, action }) => isOverwrite(standing) && action !== "forced" && action !== "forked",
  );
}

/** Whether bringing a ref in order takes something away from the mirror. */
export function isOverwrite(standing: Standing): boolean {
  return standing === "ahead" || standing === "diverged";
}

/** The request that flags ask for: a dry run where none is given. Throws USAGE where they are more than one. */
export function syncRequest(ns: string | undefined, isOn: (mode: SyncMode) => boolean): SyncRequest {
  const [mode = "dry-run", ...more] = SYNC_MODES.filter(isOn);
  if (more.length > 0) throw new KvError("USAGE", `--${mode} and --${more[0]} do not go together`);
  return { mode, ns };
}

/** The report in an answer, which may be an error instead. Throws that error, or PROTOCOL. */
export function syncReport(answer: unknown): SyncReport {
  requireNoError(answer);
  if (Array.isArray((answer as Partial<SyncReport> | null)?.refs)) return answer as SyncReport;
  throw new KvError("PROTOCOL", "the Stargate does not answer as one");
}

/** Throws the error that a Stargate answers instead of what it was asked for. */
export function requireNoError(answer: unknown): void {
  const { error } = (typeof answer === "object" && answer !== null ? answer : {}) as Record<string, unknown>;
  const { code, message, hint } = (error ?? {}) as Record<string, unknown>;
  if (typeof code === "string" && isCode(code))
    throw new KvError(code, String(message), typeof hint === "string" ? { hint } : {});
}

/** Exit status of a sync: 11 where only force would bring the rest in order, 5 where the mirror did not take something. */
export function syncExit(report: SyncReport): number {
  if (report.mode === "dry-run") return EXIT.ok;
  if (hasLeftOvers(report)) return EXIT.syncRefused;
  return report.refs.some(({ action }) => action === "refused") ? EXIT.io : EXIT.ok;
}

/** What to tell besides the table; undefined where all is in order. */
export function syncAdvice(report: SyncReport): string | undefined {
  const { mode, refs } = report;
  if (mode !== "force" && hasLeftOvers(report)) {
    return (
      "the mirror has commits that are not the Stargate's: look at them; 'git-kv-stargate init --catch-up' takes over what follows, " +
      "--force overwrites them, --fork has writes go on beside them (admin)"
    );
  }
  if (mode === "fork")
    return "what the mirror has other than the Stargate gets nothing more until it is brought in order";
  if (refs.some(({ action }) => action === "left" || action === "refused")) return "the mirror did not take all of it";
  return refs.some(({ action }) => action === "planned") ? "push it with --repair" : undefined;
}

/** A report for people: what is not in order or was done, line by line, and a summary. */
export function describeSync({ mode, remote, refs }: SyncReport): string[] {
  const short = (oid: Oid | undefined): string => oid?.slice(0, 12) ?? "-";
  const rows = refs.map(({ ref, standing, here, there, action }) => [
    ref,
    standing,
    short(here),
    short(there),
    mode === "dry-run" && action === "left" ? "needs --force" : ACTIONS[action],
  ]);
  const lines = table([["REF", "MIRROR IS", "STARGATE", "MIRROR", ""], ...rows]);
  const reasons = [...new Set(refs.flatMap(({ reason }) => reason ?? []))];
  return [`mirror ${remote}`, ...lines, ...reasons].map((line) => line.replace(/[\x00-\x1f\x7f-\x9f]+/g, " "));
}

const ACTIONS: Readonly<Record<SyncedRef["action"], string>> = {
  none: "",
  planned: "to be pushed",
  pushed: "pushed",
  forced: "overwritten",
  left: "left alone",
  refused: "not taken",
  forked: "gone on beside",
};

/** Columns of equal width. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join("  ")
      .trimEnd(),
  );
}
