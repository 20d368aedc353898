/** Pushes of branches, tags and other ordinary refs where no mirror is the authority for them: stored here. */

import { KvError } from "../errors.ts";
import type { PushIntent } from "../gitwire/protocol/receive-pack-host.ts";
import { repositoryHost } from "../gitwire/protocol/repository-host.ts";
import type { Gate } from "./gate.ts";
import type { OrdinaryHost } from "./push-host.ts";

/** The host that stores ordinary refs in `gate`'s repository, by the repository's own config. */
export function storingHost(gate: Gate): OrdinaryHost {
  // Our hooks are there to keep a stock receive-pack away from kv refs; those never come this way.
  const host = (): ReturnType<typeof repositoryHost> => repositoryHost(gate.repo, { hooksSatisfied: true });
  return {
    refusal: "REF_FORBIDDEN",
    preflight: async (push) => {
      refuseMirrorBranches(gate, push);
      return host().preflight?.(push);
    },
    apply: (push) => gate.mutexes.run("refs/heads", () => host().apply(push)),
  };
}

/** Where the ledger is published as a branch, that branch is the mirror worker's. Throws REF_FORBIDDEN. */
export function refuseMirrorBranches(gate: Gate, push: PushIntent): void {
  if (!push.commands.some(({ ref }) => ref.startsWith("refs/heads/kv/"))) return;
  if (gate.policy()?.policy.publishBranch !== true) return;
  throw new KvError(
    "REF_FORBIDDEN",
    "branches under kv/ are written by the Stargate: the policy publishes ledgers there",
  );
}
