/**
 * What the policy that this clone knows has against keys and values, asked before anything of them is sent: a Stargate names the first
 * key that it refuses, and whoever sends many wants to hear of all. The Stargate's word is the last one.
 */

import * as fs from "node:fs";
import { KvError } from "../errors.ts";
import {
  type ContentRules,
  checkKey,
  checkLfs,
  checkTotal,
  hasContentRules,
  LFS_POINTER_BYTES,
} from "./content-rules.ts";
import type { Key } from "./key.ts";
import { namespacePolicy } from "./policy.ts";
import { cachedPolicy } from "./policy-cache.ts";
import { replayLimits } from "./replay-limits.ts";
import type { Workspace } from "./workspace.ts";

/** Why a key or its value is refused, and the way out. */
export interface Refusal {
  readonly message: string;
  readonly hint: string;
}

/** The rules of the workspace's namespace; undefined: there are none, or nobody who would refuse a key, as without a Stargate. */
export async function knownRules(workspace: Workspace): Promise<ContentRules | undefined> {
  const oid = workspace.policy();
  if (oid === undefined || !workspace.hasStargate) return undefined;
  const rules = replayLimits(namespacePolicy(await cachedPolicy(workspace.repo, oid), workspace.ns));
  return hasContentRules(rules) ? rules : undefined;
}

/** A value of `size` bytes (undefined: only its end will tell), in memory or a file where it is not a stream. */
export interface GivenValue {
  readonly size: number | undefined;
  readonly data?: Buffer | undefined;
  readonly path?: string | undefined;
}

/** What `rules` have against changing `key`, to `value` where it is set; undefined: nothing. */
export function refusalOf(rules: ContentRules, key: Key, value?: GivenValue): Refusal | undefined {
  try {
    checkKey(rules, key);
    if (value?.size !== undefined) checkGiven(rules, key, value.size, value);
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    return { message: error.message, hint: "'git kv fetch' brings a newer policy" };
  }
  return undefined;
}

function checkGiven(rules: ContentRules, key: Key, size: number, { data, path }: GivenValue): void {
  checkTotal(rules, key, size);
  if (rules.forbidLfs !== true || size >= LFS_POINTER_BYTES) return;
  const bytes = data ?? (path === undefined ? undefined : fs.readFileSync(path));
  if (bytes !== undefined) checkLfs(rules, key, bytes);
}
