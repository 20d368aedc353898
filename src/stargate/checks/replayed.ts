/**
 * Does the ledger tree hold what a correct writer would have put there, and what the policy lets it hold? How closely that is looked
 * at is the policy's choice (docs/policy.md, "How closely a transaction is looked at"): everything, some keys chosen by chance, or the
 * commits' word, where the policy has no rule about keys or values either.
 */

import { randomInt } from "node:crypto";
import { chunkTipAt } from "../../kv/chunk-tree.ts";
import { hasContentRules } from "../../kv/content-rules.ts";
import { etagHasher } from "../../kv/etag.ts";
import { replayTransaction } from "../../kv/replay.ts";
import { replayLimits } from "../../kv/replay-limits.ts";
import { sampleTransaction } from "../../kv/sample.ts";
import { stateAt } from "../../kv/state.ts";
import { type NewManifest, newManifests } from "../../kv/stored-manifest.ts";
import type { Check } from "./check.ts";

/** Values are rarely larger on average; the guess only decides which BLAKE3 is used. */
const USUAL_VALUE = 256;

export const replayed: Check = async (admission) => {
  const { objects, base, ledger, index, commit, rules, signature, chunkTip, known } = admission;
  const { verify } = rules;
  const limits = replayLimits(rules, (await signature()).limit);
  if (verify.kind === "attested" && !hasContentRules(limits)) return null;
  const hasher = await etagHasher(commit.keysSet * USUAL_VALUE);
  const next = stateAt(objects, ledger, index);
  let manifests: readonly NewManifest[];
  if (verify.kind === "replay") {
    manifests = newManifests(objects, base, replayTransaction(objects, base, next, hasher, limits));
  } else {
    // The clients must not be able to tell which keys are looked at.
    const count = verify.kind === "sample" ? verify.keys : 0;
    const sample = { count, pick: (bound: number) => randomInt(bound) };
    ({ manifests } = sampleTransaction(objects, base, next, hasher, limits, sample));
  }
  if (manifests.length === 0 && commit.chunksTree === undefined) return null;
  const before = chunkTip === undefined ? undefined : chunkTipAt(objects, chunkTip).tree;
  await (await import("../../kv/replay-chunks.ts")).replayChunks(objects, {
    before,
    added: commit.chunksTree,
    manifests,
    rules: limits,
    known,
  });
  return null;
};
