/** How many keys the commit says it changes; the replay finds out whether that is so. */

import { checkKeyCount } from "../../kv/content-rules.ts";
import type { Check } from "./check.ts";

export const transactionSize: Check = ({ commit, rules }) => {
  checkKeyCount(commit.keysSet + commit.keysDel, rules.maxKeysPerTxn);
  return null;
};
