/** How many keys the commit says it changes; the replay finds out whether that is so. */

import { KvError } from "../../errors.ts";
import type { Check } from "./check.ts";

export const transactionSize: Check = ({ commit, rules }) => {
  const keys = commit.keysSet + commit.keysDel;
  if (keys <= rules.maxKeysPerTxn) return null;
  return new KvError(
    "TXN_TOO_LARGE",
    `the transaction changes ${keys} keys, at most ${rules.maxKeysPerTxn} are allowed`,
    {
      hint: "split it into several transactions",
    },
  );
};
