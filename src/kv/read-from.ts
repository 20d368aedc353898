/** Which copy a read is answered from. */

import { KvError } from "../errors.ts";
import { trackingRoot } from "./namespace.ts";
import { type NamespaceState, readState } from "./state.ts";
import type { Workspace } from "./workspace.ts";

export type ReadFrom = "local" | "mirror" | "stargate";

/** The copy `text` names (`github` is another word for the mirror). Throws INPUT_INVALID. */
export function parseReadFrom(text: string): ReadFrom {
  if (text === "github") return "mirror";
  if (text === "local" || text === "mirror" || text === "stargate") return text;
  throw new KvError("INPUT_INVALID", `'${text}' is none of local, mirror and stargate`);
}

/** The copy that `given` names; without it, the one that `kv.readFrom` names, else `otherwise`. Throws INPUT_INVALID. */
export function readFromOr(otherwise: ReadFrom, { repo }: Workspace, given?: string): ReadFrom {
  const setting = given === undefined ? repo.config.get("kv.readFrom") : undefined;
  if (setting === undefined) return given === undefined ? otherwise : parseReadFrom(given);
  try {
    return parseReadFrom(setting);
  } catch (error) {
    throw new KvError("INPUT_INVALID", `kv.readFrom: ${(error as KvError).message}`, { cause: error });
  }
}

/** The state of the copy that `given` names; without it, of the one that `kv.readFrom` names, else of this clone. Throws as {@link stateFrom}. */
export async function stateToRead(workspace: Workspace, given?: string): Promise<NamespaceState> {
  return stateFrom(workspace, readFromOr("local", workspace, given));
}

/** The state to read: the newest known here, or fetched first. Throws NS_NOT_FOUND, NETWORK and so on. */
export async function stateFrom(workspace: Workspace, from: ReadFrom): Promise<NamespaceState> {
  const { repo, ns, remote, copy } = workspace;
  if (copy !== undefined) return (await import("./copy-state.ts")).remoteState(workspace, copy);
  if (from === "local") {
    // Loaded here: most read what is here.
    if (repo.config.get("kv.autoFetch") !== undefined) await (await import("./auto-fetch.ts")).autoFetch(workspace);
    return workspace.requireState();
  }
  const { fetchAccepted, fetchMirror } = await import("./fetch.ts");
  if (from === "mirror") await fetchMirror(workspace);
  const state =
    from === "mirror" ? readState(repo.objects, repo.refs, ns, trackingRoot(remote)) : await fetchAccepted(workspace);
  if (state === undefined) throw new KvError("NS_NOT_FOUND", `namespace '${ns}' is not on the ${from}`);
  return state;
}
