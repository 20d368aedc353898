/** Whether a write waits for the mirror where nobody says: the policy's `stargate.require_mirror_ack_by_default`. */

import { fileAt } from "../gitwire/object/file-at.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { Workspace } from "./workspace.ts";

/** A policy that does not speak of it need not be parsed: that alone would double the time of a small write. */
const MAY_REQUIRE = /require_mirror_ack_by_default["']?\s*:(?!\s*false\b)/;

/** The answer under the policy that was in force when it was asked for last: a write asks before it begins and when it is done. */
const LAST = new WeakMap<Workspace, { readonly policy: Oid; readonly waits: boolean }>();

/** Whether writes of this workspace wait for the mirror by default; never where no Stargate decides. */
export async function waitsByDefault(workspace: Workspace): Promise<boolean> {
  if (!workspace.hasStargate) return false;
  const policy = workspace.policy();
  if (policy === undefined) return false;
  const last = LAST.get(workspace);
  if (last?.policy === policy) return last.waits;
  const waits = await requiresAck(workspace, policy);
  LAST.set(workspace, { policy, waits });
  return waits;
}

async function requiresAck({ repo }: Workspace, policy: Oid): Promise<boolean> {
  const file = fileAt(repo.objects, policy, "policy.yaml");
  if (file === undefined || !MAY_REQUIRE.test(file.toString())) return false;
  const { cachedPolicy } = await import("./policy-cache.ts");
  return (await cachedPolicy(repo, policy)).mirrorAckByDefault;
}
