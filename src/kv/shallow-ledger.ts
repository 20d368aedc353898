/** A ledger whose beginning is not here because the repository is shallow (git: `git clone --depth`). */

import { KvError } from "../errors.ts";
import type { ObjectFormat, Oid } from "../gitwire/object/oid.ts";
import type { Repository } from "../gitwire/repo.ts";
import { readShallow } from "../gitwire/store/shallow-file.ts";
import { type IndexCommit, type LedgerCommit, parseIndexCommit, parseLedgerCommit } from "./attestation.ts";

/** The newest ledger commit of `ns` that a shallow repository has without the one before it; undefined where there is none. */
export function shallowEnd(repo: Repository, ns: string): LedgerCommit | undefined {
  return newestEnd(repo, ns, parseLedgerCommit);
}

/** The same of its kv-index: refs may lead to ledger commits that a fetch with a depth leaves out of the kv-index. */
export function shallowIndexEnd(repo: Repository, ns: string): IndexCommit | undefined {
  return newestEnd(repo, ns, parseIndexCommit);
}

function newestEnd<T extends LedgerCommit | IndexCommit>(
  { commonDir, format, objects }: Repository,
  ns: string,
  parse: (format: ObjectFormat, oid: Oid, data: Buffer) => T,
): T | undefined {
  let newest: T | undefined;
  for (const oid of readShallow(commonDir, format)) {
    const object = objects.read(oid);
    try {
      const commit = object?.kind === "commit" ? parse(format, oid, object.data) : undefined;
      if (commit?.ns !== ns || commit.parent === undefined || objects.has(commit.parent)) continue;
      if (newest === undefined || commit.seq > newest.seq) newest = commit;
    } catch (error) {
      // A commit of a branch, say.
      if (!(error instanceof KvError)) throw error;
    }
  }
  return newest;
}

/** Throws NS_NOT_FOUND where the beginning of the ledger of `ns` is not here for that reason. */
export function refuseShallow(repo: Repository, ns: string): void {
  const end = shallowEnd(repo, ns);
  if (end !== undefined) throw shallowError(end);
}

/** That nothing before `end` is here; `way` is another way out than fetching it. */
export function shallowError({ ns, seq }: LedgerCommit | IndexCommit, way = ""): KvError {
  return new KvError(
    "NS_NOT_FOUND",
    `this repository is shallow: what was before transaction ${seq} of '${ns}' is not here`,
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
