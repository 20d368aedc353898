/** What a namespace's policy holds a transaction to when its keys are looked at. */

import { completeChunking } from "../cdc/chunking.ts";
import type { ContentRules } from "./content-rules.ts";
import type { NamespacePolicy } from "./policy.ts";
import type { ReplayLimits } from "./replay.ts";

/** The limits of `rules`; `signer` where the policy lets the one who signed write some prefixes only. */
export function replayLimits(rules: NamespacePolicy, signer?: ContentRules["signer"]): ReplayLimits {
  return {
    maxKeys: rules.maxKeysPerTxn,
    maxInline: rules.maxValueInline,
    maxTotal: rules.maxValueTotal,
    allowedPrefixes: rules.allowedPrefixes,
    forbidLfs: rules.forbidLfs,
    chunking: completeChunking(rules.chunking),
    signer,
  };
}
