/** Do the commits follow the tips, name each other's trees and the policy in force? O(1), whatever changes. */

import { checkAttestation } from "../../kv/check-attestation.ts";
import type { Check } from "./check.ts";

export const attested: Check = ({ objects, ns, base, ledger, index, commit, policy, chunks, chunkTip }) => {
  const pieces = chunks === undefined ? undefined : { commit: chunks, tip: chunkTip };
  checkAttestation(objects, { ns, base, ledger, index, commit, policy, chunks: pieces });
  return null;
};
