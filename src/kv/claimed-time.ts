/** When a commit says it was made: the only time of it that is known to whoever did not receive it. */

import { parseCommit, parseIdent } from "../gitwire/object/commit.ts";
import type { ObjectFormat } from "../gitwire/object/oid.ts";

/** In milliseconds. Throws BAD_OBJECT. */
export function claimedTime(format: ObjectFormat, data: Buffer): number {
  return parseIdent(parseCommit(format, data).committer).seconds * 1_000;
}
