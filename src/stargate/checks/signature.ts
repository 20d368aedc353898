/**
 * The signature, where the policy asks for one. This version cannot verify signatures, and a signature nobody verifies is
 * worth nothing: under such a policy it takes no transaction at all rather than an unverified one. Elsewhere it takes no
 * signed one: the ledger would keep what nobody has looked at for ever.
 */

import { KvError } from "../../errors.ts";
import type { Check } from "./check.ts";

export const signature: Check = ({ commit, ns, rules }) => {
  const isSigned = commit.commit.headers.some(({ name }) => name.startsWith("gpgsig"));
  if (!rules.requireSignedCommits) {
    return isSigned
      ? new KvError("BAD_SIGNATURE", "this Stargate cannot verify signatures yet", { hint: "push it unsigned" })
      : null;
  }
  if (!isSigned) {
    return new KvError("UNSIGNED", `the policy requires signed transactions in '${ns}', this one is not signed`);
  }
  return new KvError(
    "BAD_SIGNATURE",
    `the policy requires signed transactions in '${ns}', and this Stargate cannot verify signatures yet`,
    {
      hint: "set require_signed_commits: false in the policy, or use a version that verifies signatures",
    },
  );
};
