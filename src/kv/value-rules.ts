/**
 * What the policy in force says of the sizes of values, and of how long keys live. Most values are under any limit a policy names: for those its file is
 * looked at and not parsed, which alone would double the time of a small write.
 */

import { type Chunking, completeChunking, DEFAULT_CHUNKING } from "../cdc/chunking.ts";
import { fileAt } from "../gitwire/object/file-at.ts";
import { LIMITS } from "../limits.ts";
import { parseSize } from "../quantity.ts";
import type { Workspace } from "./workspace.ts";

/** How values are stored. */
export interface ValueRules {
  /** Largest inline value in bytes. */
  readonly maxInline: number;
  /** Largest value; undefined: no limit. */
  readonly maxTotal: number | undefined;
  /** How values larger than `maxInline` are cut. */
  readonly chunking: Chunking;
  /** Seconds that a key lives that is set without a time; undefined: for ever. */
  readonly ttlDefault: number | undefined;
}

/** The rules, read when a value is large enough to need them. */
export interface ValueRuleBook {
  /** Values up to this size are stored inline whatever the rules are. */
  readonly surelyInline: number;
  rules(): Promise<ValueRules>;
  /** Whether keys may expire that are set without a time: `rules` tells. */
  readonly mayExpire: boolean;
}

const NO_POLICY: ValueRules = {
  maxInline: LIMITS.inlineValue,
  maxTotal: LIMITS.valueBytes,
  chunking: DEFAULT_CHUNKING,
  ttlDefault: undefined,
};

/** A size in a policy file, also one in a comment or of another namespace: it can only make a value be looked at more closely. */
const SIZE_RULE = /max_value_(?:inline|total)["']?\s*:\s*["']?([^\s"',}#]*)/g;

/** A default time to live, or a key that is spelled with escapes. */
const TTL_RULE = /ttl_default|\\/;

/** The rules of the workspace's namespace in the policy this clone knows. */
export function valueRules(workspace: Workspace): ValueRuleBook {
  const { repo, ns } = workspace;
  const oid = workspace.policy();
  const file = oid === undefined ? undefined : fileAt(repo.objects, oid, "policy.yaml");
  if (oid === undefined || file === undefined)
    return { surelyInline: NO_POLICY.maxInline, rules: async () => NO_POLICY, mayExpire: false };
  let read: Promise<ValueRules> | undefined;
  const rules = async (): Promise<ValueRules> => {
    const { namespacePolicy } = await import("./policy.ts");
    const { cachedPolicy } = await import("./policy-cache.ts");
    const { maxValueInline, maxValueTotal, chunking, ttlDefault } = namespacePolicy(await cachedPolicy(repo, oid), ns);
    const maxTotal = maxValueTotal ?? LIMITS.valueBytes;
    return { maxInline: maxValueInline, maxTotal, chunking: completeChunking(chunking), ttlDefault };
  };
  const text = file.toString();
  return { surelyInline: smallestSize(text), rules: () => (read ??= rules()), mayExpire: TTL_RULE.test(text) };
}

/** The smallest size that any rule in the text can mean. */
function smallestSize(text: string): number {
  let smallest: number = NO_POLICY.maxInline;
  for (const [, size] of text.matchAll(SIZE_RULE)) {
    try {
      smallest = Math.min(smallest, parseSize(size!));
    } catch {
      return 0;
    }
  }
  return smallest;
}
