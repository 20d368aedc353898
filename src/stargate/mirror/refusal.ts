/** What a mirror's refusal means: try again, or wait for a person. */

import { KvError } from "../../errors.ts";
import type { PushResult } from "../../gitwire/protocol/send-pack.ts";

/** Reasons with which git and the hosts refuse what will not be better in a minute. */
const FOR_GOOD =
  /hook declined|declined due to|violat|protected|prohibited|not allowed|denied|deny |denying|secret|forbidden|permission|exceeds|too large|funny ref|non-fast-forward/i;
/** What every other ref of an atomic push gets besides the one that is to blame. */
const COMPANION = /^atomic (?:push failure|transaction failed)|^failed$/i;

/** The refusal in the answer to a push, or undefined where every ref moved. */
export function refusalOf(result: PushResult): KvError | undefined {
  const texts: string[] = [];
  if (result.unpack !== "ok") texts.push(`unpack: ${result.unpack}`);
  let refs = 0;
  for (const [ref, outcome] of result.refs) {
    if (outcome.ok) continue;
    refs++;
    if (!COMPANION.test(outcome.reason)) texts.push(`${ref}: ${outcome.reason}`);
  }
  if (refs === 0) return undefined;
  const message = `the mirror refused the push: ${texts.slice(0, 5).join("; ") || "atomic push failure"}`;
  return new KvError("REMOTE_REJECTED", message, { data: { permanent: texts.some((text) => FOR_GOOD.test(text)) } });
}

/** True where trying again cannot help until somebody acts. */
export function isPermanent(error: KvError): boolean {
  switch (error.code) {
    case "REMOTE_REJECTED":
      return error.data?.permanent === true || FOR_GOOD.test(error.message);
    case "UNAUTHENTICATED":
    case "FORBIDDEN":
    case "NOT_A_REPOSITORY":
    case "INPUT_INVALID":
    case "CONFIG":
      return true;
    case "UNSUPPORTED":
      return !/thin packs/.test(error.message);
    default:
      return false;
  }
}
