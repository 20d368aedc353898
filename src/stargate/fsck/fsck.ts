/**
 * The whole check of a Stargate's repository (docs/stargate.md, "Checking a repository"): hooks, refs, objects, attestations and journal, each by
 * itself and against each other. It reads only, and may run beside the daemon.
 */

import type { Clock } from "../../clock.ts";
import type { Ref } from "../../gitwire/refs/ref-snapshot.ts";
import type { Repository } from "../../gitwire/repo.ts";
import { audit } from "../../kv/audit.ts";
import { classifyRef } from "../../kv/namespace.ts";
import { Workspace } from "../../kv/workspace.ts";
import { hookFaults } from "../hooks.ts";
import { journalToRead } from "../journal-to-read.ts";
import { stargateDir } from "../settings.ts";
import { type Report, reportThrown } from "./fault.ts";
import { checkJournal, journalRows } from "./journal-check.ts";
import { checkConnected, checkStored } from "./objects-check.ts";
import { checkRefs } from "./refs-check.ts";

export interface FsckOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly report: Report;
  readonly progress: (text: string) => void;
}

/** What was looked at. */
export interface FsckSummary {
  readonly refs: number;
  readonly objects: number;
  readonly namespaces: number;
  readonly transactions: number;
  readonly rows: number;
}

/** Checks everything; what is wrong goes to `report`. Throws INTERRUPTED, and what keeps the journal from being opened. */
export async function fsck(repo: Repository, options: FsckOptions): Promise<FsckSummary> {
  const { report } = options;
  for (const message of hookFaults(repo.gitDir, repo.config))
    report({ part: "hooks", subject: "hooks", code: "CONFIG", message });
  const journal = journalToRead(stargateDir(repo.gitDir));
  try {
    const rows = journalRows(journal);
    const refs = checkRefs(repo, report);
    const stored = await checkStored(repo, options);
    await checkConnected(repo, refs, stored, options);
    const { namespaces, transactions } = await checkAttestations(repo, refs, options);
    checkJournal(repo, journal, rows, refs, report);
    return { refs: refs.length, objects: stored.size, namespaces, transactions, rows: rows.length };
  } finally {
    journal.close();
  }
}

/** The audit any clone can make, made here. */
async function checkAttestations(
  repo: Repository,
  refs: readonly Ref[],
  { env, clock, signal, report, progress }: FsckOptions,
): Promise<{ namespaces: number; transactions: number }> {
  const hasNamespace = refs.some(({ name }) => {
    const is = classifyRef(name);
    return is !== undefined && "ns" in is;
  });
  if (!hasNamespace) return { namespaces: 0, transactions: 0 };
  const workspace = new Workspace(repo, undefined, { env, clock, signal, progress, warn: () => {} });
  try {
    const { namespaces } = await audit(workspace, {
      all: true,
      keepRoot: false,
      found: ({ ns, seq, oid, code, message }) => {
        const where = ns === undefined ? "policy" : `${ns}${seq === undefined ? "" : ` #${seq}`}`;
        report({ part: "attestation", subject: `${where} ${oid}`, code, message });
      },
      progress,
    });
    const transactions = namespaces.reduce((sum, one) => sum + one.transactions, 0);
    return { namespaces: namespaces.length, transactions };
  } catch (thrown) {
    signal.throwIfAborted();
    reportThrown("attestation", "refs/kv", report, thrown);
    return { namespaces: 0, transactions: 0 };
  }
}
