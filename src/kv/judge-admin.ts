/** Whether a commit is signed by an admin of a policy: what an epoch begins with must be, where the policy names admins. */

import { KvError } from "../errors.ts";
import { verifyCommitSignature } from "../gitwire/object/commit-signature.ts";
import type { ObjectFormat } from "../gitwire/object/oid.ts";
import type { SignatureJudgement } from "./judge-signature.ts";
import type { Policy } from "./policy.ts";
import { adminsOf, isValidAt } from "./policy-keys.ts";

const NOBODY = { signer: undefined, name: undefined, limit: undefined } as const;
const HINT = "let one of stargate.admins sign it: git kv epoch new";

/** Judges the commit `data` by the admins of `policy`, which names some, at the time `now`, in milliseconds; `isClaimed`: it is the one that the commit states. */
export async function judgeAdmin(
  format: ObjectFormat,
  data: Uint8Array,
  policy: Policy,
  now: number,
  isClaimed = false,
): Promise<SignatureJudgement> {
  const admins = await adminsOf(policy);
  const verdict = await verifyCommitSignature(format, data, {
    now,
    isClaimed,
    openpgpKeys: admins.flatMap(({ openpgp }) => openpgp ?? []),
  });
  const no = (code: "UNSIGNED" | "BAD_SIGNATURE" | "SIGNER_NOT_ALLOWED", text: string): SignatureJudgement => {
    return { ...NOBODY, problem: new KvError(code, text, { hint: HINT }) };
  };
  if (verdict.kind === "unsigned")
    return no("UNSIGNED", "the start of an epoch must be signed by an admin, it is not signed");
  if (verdict.kind === "bad") return no("BAD_SIGNATURE", `the signature is no good: ${verdict.reason}`);
  if (verdict.kind === "unknown") return no("SIGNER_NOT_ALLOWED", `the OpenPGP key ${verdict.keyId} is no admin`);
  const { signer } = verdict;
  const id = signer.kind === "ssh" ? signer.blob : signer.fingerprint;
  const entries = admins.filter((admin) => admin.id === id);
  const [first] = entries;
  if (first === undefined) {
    const { problem } = no(
      "SIGNER_NOT_ALLOWED",
      `an epoch is begun by an admin, and the key ${signer.fingerprint} is none`,
    );
    return { ...NOBODY, signer, problem };
  }
  const isValid = entries.some((admin) => isValidAt(admin, now));
  const problem = isValid ? undefined : no("SIGNER_NOT_ALLOWED", `${first.name} is no admin at this time`).problem;
  return { signer, name: first.name, limit: undefined, problem };
}
