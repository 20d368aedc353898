/** A KV-Txn names one transaction for ever: "seen before" is decided by it, never by a commit id. */

import { KvError } from "../../errors.ts";
import type { Check } from "./check.ts";

export const newTransaction: Check = ({ commit, ledger, seen }) => {
  const other = seen(commit.txn);
  if (other === undefined) return null;
  return new KvError(
    "ATTESTATION_MISMATCH",
    `KV-Txn ${commit.txn} is already in the ledger as ${other}, not ${ledger}`,
    {
      hint: "make the transaction anew, with a new KV-Txn",
    },
  );
};
