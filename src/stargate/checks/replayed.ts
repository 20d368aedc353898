/**
 * Does the ledger tree hold what a correct writer would have put there? A policy of `verify: attested` takes the commits' word
 * for it; `sample:N` is met by the whole replay, which looks at more.
 */

import { etagHasher } from "../../kv/etag.ts";
import { replayTransaction } from "../../kv/replay.ts";
import { stateAt } from "../../kv/state.ts";
import type { Check } from "./check.ts";

/** Values are rarely larger on average; the guess only decides which BLAKE3 is used. */
const USUAL_VALUE = 256;

export const replayed: Check = async ({ objects, base, ledger, index, commit, rules }) => {
  if (rules.verify.kind === "attested") return null;
  const hasher = await etagHasher(commit.keysSet * USUAL_VALUE);
  replayTransaction(objects, base, stateAt(objects, ledger, index), hasher, {
    maxKeys: rules.maxKeysPerTxn,
    maxInline: rules.maxValueInline,
  });
  return null;
};
