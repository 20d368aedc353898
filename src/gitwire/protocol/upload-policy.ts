/**
 * What clients may ask of upload-pack (git config `uploadpack.*`, `uploadpackfilter.*`, `lsrefs.unborn`).
 *
 * Git's own defaults are for its own programs: no filters, and on a connection of v0 nothing but the values of refs. A Stargate
 * is open unless the config says otherwise: filters, refs wanted by name, and everything that a visible ref reaches.
 */

import { KvError } from "../../errors.ts";
import type { GitConfig } from "../config.ts";
import { type FilterName, notSupported, type ObjectFilter } from "./object-filter.ts";

export interface UploadPolicy {
  /** Partial fetches. */
  readonly filters: boolean;
  /** Throws PROTOCOL, in git's words, where `filter` has a part that is not allowed. */
  checkFilter(filter: ObjectFilter): void;
  /** What may be wanted besides the values of visible refs: nothing more on a connection of v0, all they reach, or all there is. */
  readonly wants: "tips" | "reachable" | "any";
  /** Values of hidden refs may be wanted too. */
  readonly hiddenTips: boolean;
  /** Refs may be wanted by name. */
  readonly refInWant: boolean;
  /** Whether the branch of a HEAD without commits is told, and whether that is offered. */
  readonly unborn: "advertise" | "allow" | "ignore";
  /** Milliseconds of silence before a sign of life; 0 for none. */
  readonly keepAlive: number;
}

const KEEP_ALIVE_SECONDS = 5;

/** The policy of a repository. `open`: a Stargate's defaults instead of git's. Throws CONFIG. */
export function uploadPolicy(config: GitConfig, open: boolean): UploadPolicy {
  const flag = (name: string): boolean => config.getBool(`uploadpack.${name}`) ?? false;
  const seconds = config.getInt("uploadpack.keepAlive") ?? KEEP_ALIVE_SECONDS;
  const any = flag("allowAnySHA1InWant");
  const reachable = config.getBool("uploadpack.allowReachableSHA1InWant") ?? open;
  return {
    filters: config.getBool("uploadpack.allowFilter") ?? open,
    checkFilter: (filter) => checkFilter(config, filter),
    wants: any ? "any" : reachable ? "reachable" : "tips",
    hiddenTips: any || flag("allowTipSHA1InWant"),
    refInWant: config.getBool("uploadpack.allowRefInWant") ?? open,
    unborn: unbornSetting(config),
    keepAlive: Math.max(0, seconds) * 1000,
  };
}

function unbornSetting(config: GitConfig): UploadPolicy["unborn"] {
  const value = config.get("lsrefs.unborn") ?? "advertise";
  if (value === "ignore" || value === "allow" || value === "advertise") return value;
  throw new KvError("CONFIG", `invalid value for 'lsrefs.unborn': '${value.slice(0, 100)}'`, {
    hint: "write advertise, allow or ignore",
  });
}

function checkFilter(config: GitConfig, filter: ObjectFilter): void {
  const allowed = (name: FilterName): boolean =>
    config.getBool(`uploadpackfilter.${name}.allow`) ?? config.getBool("uploadpackfilter.allow") ?? true;
  const banned = filter.names.find((name) => !allowed(name));
  if (banned !== undefined) throw notSupported(banned);
  const most = config.getInt("uploadpackfilter.tree.maxDepth");
  const { treeDepth } = filter;
  if (most === undefined || treeDepth === undefined || treeDepth <= most) return;
  throw new KvError("PROTOCOL", `tree filter allows max depth ${most}, but got ${treeDepth}`);
}
