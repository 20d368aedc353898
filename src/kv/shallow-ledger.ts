/** A ledger whose beginning is not here because the repository is shallow (git: `git clone --depth`). */

import { KvError } from "../errors.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { Repository } from "../gitwire/repo.ts";
import { readShallow } from "../gitwire/store/shallow-file.ts";
import { type LedgerCommit, parseLedgerCommit } from "./attestation.ts";

/** The ledger commit of `ns` that a shallow repository has without the one before it; undefined where there is none. */
export function shallowEnd({ commonDir, format, objects }: Repository, ns: string): LedgerCommit | undefined {
  for (const oid of readShallow(commonDir, format)) {
    const object = objects.read(oid);
    try {
      const commit = object?.kind === "commit" ? parseLedgerCommit(format, oid, object.data) : undefined;
      if (commit?.ns === ns && commit.parent !== undefined && !objects.has(commit.parent)) return commit;
    } catch (error) {
      // A commit of a branch, say.
      if (!(error instanceof KvError)) throw error;
    }
  }
  return undefined;
}

/** Throws NS_NOT_FOUND where the beginning of the ledger of `ns` is not here for that reason; `way` is another way out than fetching it. */
export function refuseShallow(repo: Repository, ns: string, way = ""): void {
  const end = shallowEnd(repo, ns);
  if (end === undefined) return;
  throw new KvError(
    "NS_NOT_FOUND",
    `this repository is shallow: what was before transaction ${end.seq} of '${ns}' is not here`,
    {
      hint: `'git fetch --unshallow' brings it${way}`,
    },
  );
}

/** Throws NS_NOT_FOUND where the first of `policies`, the commits of the policy's chain, is not here for that reason: nobody can tell the root of trust. */
export function refuseShallowPolicy({ commonDir, format, objects }: Repository, policies: readonly Oid[]): void {
  const [root, second] = policies;
  if (root === undefined || second === undefined || objects.has(root)) return;
  if (!readShallow(commonDir, format).includes(second)) return;
  throw new KvError("NS_NOT_FOUND", "this repository is shallow: the first commits of the policy are not here", {
    hint: "'git fetch --unshallow' brings them",
  });
}
