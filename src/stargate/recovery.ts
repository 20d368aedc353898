/**
 * Start-up: finishes or drops what a crash left half done (docs/design/030-order-of-an-accept.md).
 *
 * A journal row is written when the objects are on disk in their quarantine, or come with the row itself, and the refs are locked. So each row that is not
 * known to be done is in one of these states: its refs have moved (then only the mark is missing), or they are where they
 * were and the objects are at hand (then it is finished), or the objects are gone (then nobody was told of it, and it is dropped).
 */

import type { Repository } from "../gitwire/repo.ts";
import { Quarantine } from "../gitwire/store/quarantine.ts";
import type { Journal, JournalEntry } from "./journal.ts";
import { restoreKeptPacks } from "./kept-packs.ts";

/** What became of an unfinished entry. */
export interface Recovery {
  readonly entry: JournalEntry;
  readonly outcome: "had moved" | "finished" | "dropped";
}

/** Brings `repo` in order. The caller is its only writer. */
export async function recoverJournal(repo: Repository, journal: Journal): Promise<Recovery[]> {
  const recoveries: Recovery[] = [];
  restoreKeptPacks(repo, journal);
  const kept = new Set(journal.keptPacks().map(({ entry }) => entry));
  for (const entry of journal.unfinished())
    recoveries.push({ entry, outcome: await recoverEntry(repo, journal, entry, kept.has(entry.id)) });
  journal.flush();
  return recoveries;
}

/** `isKept`: the journal had the objects, which are in place already. What the quarantine holds was never synced then. */
async function recoverEntry(
  repo: Repository,
  journal: Journal,
  entry: JournalEntry,
  isKept: boolean,
): Promise<Recovery["outcome"]> {
  const at = (ref: string): string => repo.refs.resolve(ref) ?? repo.format.zeroOid;
  if (entry.updates.every(({ ref, newOid }) => at(ref) === newOid)) {
    journal.finish(entry.id);
    return "had moved";
  }
  const quarantine = entry.quarantine === undefined ? undefined : Quarantine.reopen(repo.objectsDir, entry.quarantine);
  if (entry.updates.every(({ ref, oldOid }) => at(ref) === oldOid)) {
    if (!isKept) quarantine?.migrate(repo.objects, { keep: true });
    if (entry.updates.every(({ newOid }) => newOid === repo.format.zeroOid || repo.objects.has(newOid))) {
      await repo.refs.update(entry.updates.map(({ ref, oldOid, newOid }) => ({ name: ref, oldOid, newOid })));
      quarantine?.discard();
      journal.finish(entry.id);
      return "finished";
    }
  }
  quarantine?.discard();
  journal.drop(entry.id);
  return "dropped";
}
