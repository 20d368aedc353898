/** What a tag, a branch or another ref means, by the rules of `git rev-parse` (gitrevisions, "<refname>"), without its `~` and `^`. */

import type { Oid } from "../gitwire/object/oid.ts";
import { tagTarget } from "../gitwire/object/tag.ts";
import { isValidRefName } from "../gitwire/refs/ref-name.ts";
import type { Repository } from "../gitwire/repo.ts";

/** Where a short name is looked for, the first place first. */
const PLACES = ["", "refs/", "refs/tags/", "refs/heads/", "refs/remotes/"];

/** The object that the ref called `name` leads to, over tags; undefined where there is no such ref. */
export function commitNamed({ refs, objects, format }: Repository, name: string): Oid | undefined {
  for (const place of PLACES) {
    const full = place + name;
    let oid = isValidRefName(full) ? refs.resolve(full) : undefined;
    if (oid === undefined) continue;
    for (let object = objects.read(oid); object?.kind === "tag"; object = objects.read(oid))
      oid = tagTarget(format, object.data).oid;
    return oid;
  }
  return undefined;
}
