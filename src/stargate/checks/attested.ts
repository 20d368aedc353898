/** Do the commits follow the tips, name each other's trees and the policy in force? O(1), whatever changes. */

import { checkAttestation } from "../../kv/check-attestation.ts";
import type { Check } from "./check.ts";

export const attested: Check = ({ objects, ns, base, ledger, index, policy }) => {
  checkAttestation(objects, { ns, base, ledger, index, policy });
  return null;
};
