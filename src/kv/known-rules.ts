/**
 * What the policy has against keys and values, asked before anything of them is sent: a Stargate names the first
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
import { knownPolicy } from "./policy-in-force.ts";
import { replayLimits } from "./replay-limits.ts";
import type { Workspace } from "./workspace.ts";

/** Why a key or its value is refused, and the way out. */
export interface Refusal {
  readonly message: string;
  readonly hint: string;
}

const IN_FORCE = "'git kv policy show' prints the policy in force";
const MAY_BE_OLD = "the Stargate does not answer: 'git kv fetch' may bring a newer policy";

/** The rules of the workspace's namespace. */
export class KnownRules {
  readonly #workspace: Workspace;
  #rules: ContentRules;
  /** Once the Stargate was asked for a newer policy. */
  #asked: Promise<void> | undefined;
  #isNewest = false;

  private constructor(workspace: Workspace, rules: ContentRules) {
    this.#workspace = workspace;
    this.#rules = rules;
  }

  /** Undefined: there are none, or nobody who would refuse a key, as without a Stargate. */
  static async open(workspace: Workspace): Promise<KnownRules | undefined> {
    if (!workspace.hasStargate) return undefined;
    const rules = await readRules(workspace);
    return hasContentRules(rules) ? new KnownRules(workspace, rules) : undefined;
  }

  /**
   * What they have against changing `key`, to `value` where it is set; undefined: nothing. Nothing is refused by an old policy: before the
   * first word against a key the Stargate is asked for a newer one, where it can be.
   */
  refusalOf(key: Key, value?: GivenValue): Promise<Refusal | undefined> | undefined {
    return judge(this.#rules, key, value) === undefined ? undefined : this.#judgeAgain(key, value);
  }

  async #judgeAgain(key: Key, value: GivenValue | undefined): Promise<Refusal | undefined> {
    this.#asked ??= this.#ask();
    await this.#asked;
    const message = judge(this.#rules, key, value);
    return message === undefined ? undefined : { message, hint: this.#isNewest ? IN_FORCE : MAY_BE_OLD };
  }

  async #ask(): Promise<void> {
    const { fetchAccepted } = await import("./fetch.ts");
    try {
      await fetchAccepted(this.#workspace);
      this.#isNewest = true;
    } catch (error) {
      // What is known here stands: whoever cannot ask cannot write either.
      this.#workspace.around.signal.throwIfAborted();
      if (!(error instanceof KvError)) throw error;
    }
    this.#rules = await readRules(this.#workspace);
  }
}

/** By the accepted policy, or a later one that the mirror has shown. */
async function readRules(workspace: Workspace): Promise<ContentRules> {
  const oid = knownPolicy(workspace)?.oid;
  const policy = oid === undefined ? undefined : await cachedPolicy(workspace.repo, oid);
  return replayLimits(namespacePolicy(policy, workspace.ns));
}

/** A value of `size` bytes (undefined: only its end will tell), in memory or a file where it is not a stream. */
export interface GivenValue {
  readonly size: number | undefined;
  readonly data?: Buffer | undefined;
  readonly path?: string | undefined;
}

function judge(rules: ContentRules, key: Key, value?: GivenValue): string | undefined {
  try {
    checkKey(rules, key);
    if (value?.size !== undefined) checkGiven(rules, key, value.size, value);
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    return error.message;
  }
  return undefined;
}

function checkGiven(rules: ContentRules, key: Key, size: number, { data, path }: GivenValue): void {
  checkTotal(rules, key, size);
  if (rules.forbidLfs !== true || size >= LFS_POINTER_BYTES) return;
  const bytes = data ?? (path === undefined ? undefined : fs.readFileSync(path));
  if (bytes !== undefined) checkLfs(rules, key, bytes);
}
