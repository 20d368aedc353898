/** When a commit says it was made: the only time of it that is known to whoever did not receive it. */

import { type Commit, parseCommit, parseIdent } from "../gitwire/object/commit.ts";
import type { ObjectFormat } from "../gitwire/object/oid.ts";

/** In milliseconds. Throws BAD_OBJECT. */
export function claimedTime(format: ObjectFormat, data: Buffer): number {
  return committerTime(parseCommit(format, data));
}

/** As {@link claimedTime}, of a commit that has been read. */
export function committerTime({ committer }: Pick<Commit, "committer">): number {
  return parseIdent(committer).seconds * 1_000;
}
