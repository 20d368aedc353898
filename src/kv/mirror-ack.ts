/** Whether a write waits for the mirror where nobody says: the policy's `stargate.require_mirror_ack_by_default`. */

import { fileAt } from "../gitwire/object/file-at.ts";
import type { Workspace } from "./workspace.ts";

/** A policy that does not speak of it need not be parsed: that alone would double the time of a small write. */
const MAY_REQUIRE = /require_mirror_ack_by_default["']?\s*:(?!\s*false\b)/;

/** Whether writes of this workspace wait for the mirror by default; never where no Stargate decides. */
export async function waitsByDefault(workspace: Workspace): Promise<boolean> {
  if (!workspace.hasStargate) return false;
  const { repo } = workspace;
  const policy = workspace.policy();
  const file = policy === undefined ? undefined : fileAt(repo.objects, policy, "policy.yaml");
  if (policy === undefined || file === undefined || !MAY_REQUIRE.test(file.toString())) return false;
  const { cachedPolicy } = await import("./policy-cache.ts");
  return (await cachedPolicy(repo, policy)).mirrorAckByDefault;
}
