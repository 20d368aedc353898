/** What a mirror's refusal means: whom it is about, and whether to try again or to wait for a person. */

import { KvError } from "../../errors.ts";
import type { PushResult } from "../../gitwire/protocol/send-pack.ts";

/** Reasons with which git and the hosts refuse what will not be better in a minute. */
const FOR_GOOD =
  /hook declined|declined due to|violat|protected|prohibited|not allowed|denied|deny |denying|secret|forbidden|permission|exceeds|too large|funny ref/i;
/** What every other ref of an atomic push gets besides the one that is to blame. */
const COMPANION = /^atomic (?:push failure|transaction failed)|^failed$/i;
/** The whole push is more than the host takes at once (git: receive.maxInputSize). */
const TOO_LARGE = /pack exceeds maximum allowed size|exceeds .*(?:push|pack) size/i;

/**
 * The refusal in the answer to a push, or undefined where every ref moved. `data.refs` are the refs to blame, all of them where
 * the host does not say; `data.tooLarge` is true where less at a time would do. `said` is what the host said beside it.
 */
export function refusalOf(result: PushResult, said = ""): KvError | undefined {
  const texts: string[] = [];
  const refused: string[] = [];
  const blamed: string[] = [];
  if (result.unpack !== "ok") texts.push(`unpack: ${result.unpack}`);
  for (const [ref, outcome] of result.refs) {
    if (outcome.ok) continue;
    refused.push(ref);
    if (COMPANION.test(outcome.reason)) continue;
    blamed.push(ref);
    texts.push(`${ref}: ${outcome.reason}`);
  }
  if (refused.length === 0) return undefined;
  const why = texts.slice(0, 5).join("; ") || "atomic push failure";
  const words = said === "" ? "" : ` (${said})`;
  const isUnpack = result.unpack !== "ok";
  return new KvError("REMOTE_REJECTED", `the mirror refused the push: ${why}${words}`, {
    data: {
      permanent: texts.some((text) => FOR_GOOD.test(text)),
      refs: isUnpack || blamed.length === 0 ? refused : blamed,
      tooLarge: isUnpack && TOO_LARGE.test(`${result.unpack}\n${said}`),
    },
  });
}

/** True where the mirror would take the same in smaller parts. */
export function isTooLarge(error: KvError): boolean {
  return error.data?.tooLarge === true || (error.code === "LIMIT_EXCEEDED" && error.data?.status === 413);
}

/** True where trying again cannot help until somebody acts. */
export function isPermanent(error: KvError): boolean {
  // Hosts also say 403 to one who comes too often, and then when to come again.
  if (error.data?.retryAfter !== undefined) return false;
  switch (error.code) {
    case "REMOTE_REJECTED":
      return error.data?.permanent === true || FOR_GOOD.test(error.message);
    case "UNAUTHENTICATED":
    case "FORBIDDEN":
    case "NOT_A_REPOSITORY":
    case "INPUT_INVALID":
    case "CONFIG":
    case "LIMIT_EXCEEDED":
      return true;
    case "UNSUPPORTED":
      return !/thin packs/.test(error.message);
    default:
      return false;
  }
}
