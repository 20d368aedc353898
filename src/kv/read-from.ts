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

/** The state to read: the newest known here, or fetched first. Throws NS_NOT_FOUND, NETWORK and so on. */
export async function stateFrom(workspace: Workspace, from: ReadFrom): Promise<NamespaceState> {
  if (workspace.copy !== undefined) return (await import("./copy-state.ts")).remoteState(workspace, workspace.copy);
  if (from === "local") return workspace.requireState();
  const { fetchAccepted, fetchMirror } = await import("./fetch.ts");
  const { repo, ns, remote } = workspace;
  if (from === "mirror") await fetchMirror(workspace);
  const state =
    from === "mirror" ? readState(repo.objects, repo.refs, ns, trackingRoot(remote)) : await fetchAccepted(workspace);
  if (state === undefined) throw new KvError("NS_NOT_FOUND", `namespace '${ns}' is not on the ${from}`);
  return state;
}
