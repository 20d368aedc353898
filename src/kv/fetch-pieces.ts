/** Brings pieces here that a value needs and this clone does not have: all of them in one request, by their object ids. */

import { KvError, toKvError } from "../errors.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { fetchUrl, pushUrl, receive, withConnection } from "./remote-session.ts";
import type { Workspace } from "./workspace.ts";

/** Fetches blobs from the mirror, or from the Stargate where the mirror does not have them (yet). Throws NETWORK and so on. */
export async function fetchPieces(workspace: Workspace, oids: readonly Oid[]): Promise<void> {
  if (workspace.copy !== undefined) return workspace.copy.bring(oids.map((oid) => ({ oid, expected: "blob" })));
  const urls = [...new Set([fetchUrl(workspace), ...(workspace.hasStargate ? [pushUrl(workspace)] : [])])];
  const failures: KvError[] = [];
  for (const url of urls) {
    try {
      await fetchFrom(workspace, url, oids);
      return;
    } catch (error) {
      workspace.around.signal.throwIfAborted();
      failures.push(toKvError(error));
    }
  }
  const [first] = failures;
  if (failures.length === 1) throw first;
  const tried = failures.map(({ message }, i) => `${urls[i]}: ${message.replace(`${urls[i]}: `, "")}`);
  throw new KvError(first!.code, `neither mirror nor Stargate gives the pieces: ${tried.join("; ")}`, { cause: first });
}

async function fetchFrom({ repo, around }: Workspace, url: string, oids: readonly Oid[]): Promise<void> {
  await withConnection(repo, around, url, "git-upload-pack", async (transport, words) => {
    await receive(transport, around, words, { wants: oids, haves: [], destination: repo });
  });
}
