/** Whether a transaction is let in: the checks in their order, cheapest first; the first rejection decides. */

import { attested } from "./checks/attested.ts";
import type { Admission, Check } from "./checks/check.ts";
import { expectedState } from "./checks/expected-state.ts";
import { newTransaction } from "./checks/new-transaction.ts";
import { replayed } from "./checks/replayed.ts";
import { signature } from "./checks/signature.ts";
import { transactionSize } from "./checks/transaction-size.ts";

const CHECKS: readonly Check[] = [expectedState, attested, newTransaction, transactionSize, signature, replayed];

/** Throws the first rejection. */
export async function admit(admission: Admission): Promise<void> {
  for (const check of CHECKS) {
    const rejection = await check(admission);
    if (rejection !== null) throw rejection;
  }
}
