/** A ledger whose beginning is not here because the repository is shallow (git: `git clone --depth`). */

import { KvError } from "../errors.ts";
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

/** Throws NS_NOT_FOUND where the beginning of the ledger of `ns` is not here for that reason. */
export function refuseShallow(repo: Repository, ns: string): void {
  const end = shallowEnd(repo, ns);
  if (end === undefined) return;
  throw new KvError(
    "NS_NOT_FOUND",
    `this repository is shallow: what was before transaction ${end.seq} of '${ns}' is not here`,
    {
      hint: "'git fetch --unshallow' brings it",
    },
  );
}
