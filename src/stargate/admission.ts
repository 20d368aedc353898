/** Whether a transaction is let in: the checks in their order, cheapest first; the first rejection decides. */

import { attested } from "./checks/attested.ts";
import type { Admission, Check } from "./checks/check.ts";
import { epochAttested, epochReplayed } from "./checks/epoch-start.ts";
import { expectedState } from "./checks/expected-state.ts";
import { newTransaction } from "./checks/new-transaction.ts";
import { replayed } from "./checks/replayed.ts";
import { signature } from "./checks/signature.ts";
import { transactionSize } from "./checks/transaction-size.ts";

const CHECKS: readonly Check[] = [expectedState, attested, newTransaction, transactionSize, signature, replayed];

/** Of a transaction that begins an epoch: it changes no key, so the rules about keys and their number are not its. */
const EPOCH_CHECKS: readonly Check[] = [expectedState, epochAttested, newTransaction, signature, epochReplayed];

/** Throws the first rejection. */
export async function admit(admission: Admission): Promise<void> {
  for (const check of admission.beginsEpoch ? EPOCH_CHECKS : CHECKS) {
    const rejection = await check(admission);
    if (rejection !== null) throw rejection;
  }
}
