/**
 * Does the ledger tree hold what a correct writer would have put there, and what the policy lets it hold? How closely that is
 * looked at is the policy's choice (docs/policy.md, "verify"): everything, some keys chosen by chance, or the commits' word,
 * where the policy has no rule about keys or values either.
 */

import { randomInt } from "node:crypto";
import { hasContentRules } from "../../kv/content-rules.ts";
import { etagHasher } from "../../kv/etag.ts";
import { replayTransaction } from "../../kv/replay.ts";
import { replayLimits } from "../../kv/replay-limits.ts";
import { sampleTransaction } from "../../kv/sample.ts";
import { stateAt } from "../../kv/state.ts";
import type { Check } from "./check.ts";

/** Values are rarely larger on average; the guess only decides which BLAKE3 is used. */
const USUAL_VALUE = 256;

export const replayed: Check = async ({ objects, base, ledger, index, commit, rules, signature }) => {
  const { verify } = rules;
  const limits = replayLimits(rules, (await signature()).limit);
  if (verify.kind === "attested" && !hasContentRules(limits)) return null;
  const hasher = await etagHasher(commit.keysSet * USUAL_VALUE);
  const next = stateAt(objects, ledger, index);
  if (verify.kind === "replay") {
    replayTransaction(objects, base, next, hasher, limits);
  } else {
    // The clients must not be able to tell which keys are looked at.
    const count = verify.kind === "sample" ? verify.keys : 0;
    sampleTransaction(objects, base, next, hasher, limits, { count, pick: (bound) => randomInt(bound) });
  }
  return null;
};
