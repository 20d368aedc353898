/** Which objects a client may want (git: check_non_tip in upload-pack.c, parse_want). */

import type { Oid } from "../object/oid.ts";
import type { CommitGraph } from "./commit-graph.ts";
import { notOurRef } from "./fetch-request.ts";
import { findUnreachable } from "./reachability.ts";
import type { UploadPackHost } from "./upload-pack-host.ts";
import type { VisibleRefs } from "./visible-refs.ts";

/**
 * Throws PROTOCOL ("not our ref") unless everything wanted may be had. `onlyTips`: nothing but the values of refs, as on a
 * connection of v0, where nothing can have changed since they were advertised; elsewhere whatever a visible ref reaches.
 */
export async function checkWants(
  host: UploadPackHost,
  graph: CommitGraph,
  refs: VisibleRefs,
  wants: readonly Oid[],
  onlyTips: boolean,
): Promise<void> {
  const { policy, objects } = host;
  let others = refs.withoutTips(wants);
  if (others.length > 0 && policy.hiddenTips) others = host.hiddenRefs().withoutTips(others);
  let bad: Oid | undefined;
  if (policy.wants === "any") bad = others.find((oid) => !objects.has(oid));
  else if (onlyTips && policy.wants === "tips") [bad] = others;
  else bad = await findUnreachable(objects, graph, refs, others);
  if (bad !== undefined) throw notOurRef(bad);
}
