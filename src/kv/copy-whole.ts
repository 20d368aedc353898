/**
 * For hosts that give no single objects (no partial clone, or no protocol v2): the newest states as they are, without their history,
 * into the cache, whose refs then say what is there. The next time only what has changed since comes. What else is asked for, earlier
 * commits and pieces of large values, comes with all that it leads to.
 */

import { AGENT } from "../agent.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { fetchPack } from "../gitwire/protocol/fetch-pack.ts";
import type { FetchScope } from "../gitwire/protocol/fetch-scope.ts";
import type { Transport } from "../gitwire/protocol/transport.ts";
import type { Repository } from "../gitwire/repo.ts";
import { ObjectStore } from "../gitwire/store/object-store.ts";
import type { RemoteRefMap } from "./remote-session.ts";

/** Fetches the commits that `tips` point at and everything in them, and points the cache's refs of the same names at them. */
export async function fetchTips(
  transport: Transport,
  repo: Repository,
  tips: RemoteRefMap,
  progress: (text: string) => void,
): Promise<void> {
  await fetchAll(transport, repo, [...tips.values()], { depth: 1 }, progress);
  const transaction = await repo.refs.begin([...tips].map(([name, newOid]) => ({ name, newOid })));
  await transaction.prepare();
  transaction.commit();
}

/** Fetches objects and everything that they lead to, as far as `scope` goes. */
export async function fetchAll(
  transport: Transport,
  repo: Repository,
  wants: readonly Oid[],
  scope: FetchScope,
  progress: (text: string) => void,
): Promise<void> {
  const { format, objectsDir, commonDir } = repo;
  // Not the cache's own store: what a fetch looks for and does not find is not to be brought.
  const objects = new ObjectStore(objectsDir, format);
  const haves = repo.refs.list().flatMap(({ oid }) => (objects.has(oid) ? [oid] : []));
  const destination = { format, objectsDir, commonDir, objects };
  try {
    await fetchPack(transport, { wants, haves, destination, agent: AGENT, progress, scope });
  } finally {
    objects.close();
  }
  repo.objects.refresh();
}
