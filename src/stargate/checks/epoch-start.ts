/**
 * The start of an epoch: do its commits follow the state they name, is its label new, is its time believable (it decides which keys
 * have expired), and are no keys lost or changed by it? Under `replay` and `sample` its kv-index and chunk tree are made again too:
 * a boundary is rare, and a sample of it would say little.
 */

import { KvError } from "../../errors.ts";
import { checkEpochStart, checkLeftOut, epochTime, replayEpoch } from "../../kv/check-epoch.ts";
import { stateAt } from "../../kv/state.ts";
import { formatTime } from "../../time.ts";
import type { Check } from "./check.ts";

/** How far the clock of whoever begins an epoch may be ahead of ours, in seconds. */
const MOST_AHEAD = 300;

/** What the commits say. O(1). */
export const epochAttested: Check = ({
  objects,
  ns,
  base,
  ledger,
  index,
  policy,
  chunks,
  commit,
  now,
  isUsedLabel,
}) => {
  if (base === undefined) return new KvError("NOT_FAST_FORWARD", `there is no '${ns}' for an epoch to follow`);
  checkEpochStart(objects, { ns, base, ledger, index, policy, chunks });
  if (isUsedLabel(commit.epoch)) {
    return new KvError("REF_FORBIDDEN", `'${ns}' had an epoch '${commit.epoch}' before`, {
      hint: "take another label",
    });
  }
  const time = epochTime({ ledger: commit });
  if (time <= now / 1000 + MOST_AHEAD) return null;
  return new KvError(
    "ATTESTATION_MISMATCH",
    `the epoch begins at ${formatTime(time)}, and here it is ${formatTime(Math.floor(now / 1000))}`,
    {
      hint: "set the clock right: it decides which keys have expired",
    },
  );
};

/** What the trees hold. */
export const epochReplayed: Check = async ({ objects, base, ledger, index, rules }) => {
  const next = stateAt(objects, ledger, index);
  if (rules.verify.kind === "attested") await checkLeftOut(objects, base!, next);
  else await replayEpoch(objects, base!, next);
  return null;
};
