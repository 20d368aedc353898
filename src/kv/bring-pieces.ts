/** Sees to it that the pieces of a value are here before they are read. */

import type { ByteRange } from "./byte-range.ts";
import { missingPieces } from "./chunked-value.ts";
import type { Manifest } from "./manifest.ts";
import type { Workspace } from "./workspace.ts";

/** Fetches the pieces of `range` that are not here, where there is somewhere to fetch from. */
export async function bringPieces(workspace: Workspace, manifest: Manifest, range: ByteRange): Promise<void> {
  const missing = missingPieces(workspace.repo.objects, manifest, range);
  if (missing.length === 0) return;
  // Loaded here: most values are here whole.
  const { hasRemote } = await import("./remote-session.ts");
  if (!hasRemote(workspace)) return;
  const { fetchPieces } = await import("./fetch-pieces.ts");
  await fetchPieces(workspace, missing);
}
