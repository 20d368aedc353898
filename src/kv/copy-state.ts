/** The newest state of a namespace at a remote that is read without a clone. */

import { KvError } from "../errors.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { namespaceRefs } from "./namespace.ts";
import type { RemoteCopy } from "./remote-copy.ts";
import { type NamespaceState, requireNamespace, stateAt } from "./state.ts";
import type { Workspace } from "./workspace.ts";

/** Learns the state. Throws NS_NOT_FOUND, ATTESTATION_MISMATCH, NETWORK and so on. */
export async function remoteState(workspace: Workspace, copy: RemoteCopy): Promise<NamespaceState> {
  const { ns } = workspace;
  const state = copy.isSelective ? await selectedState(workspace, copy) : await wholeState(workspace, copy);
  if (state === undefined) {
    throw new KvError("NS_NOT_FOUND", `namespace '${ns}' is not at ${copy.shown}`, {
      hint: "--ns NAME names another one; check that the address is that of a store of git-kv",
    });
  }
  copy.noteTip(ns, state.ledger.seq, state.ledger.oid);
  return state;
}

async function selectedState(workspace: Workspace, copy: RemoteCopy): Promise<NamespaceState | undefined> {
  try {
    const ledger = await copy.tip(namespaceRefs(workspace.ns).ledger);
    return ledger === undefined ? undefined : await copy.through(() => read(workspace, ledger));
  } catch (error) {
    // It turned out on the way that the host is not what it was thought to be.
    if (copy.isSelective) throw error;
    return wholeState(workspace, copy);
  }
}

async function wholeState(workspace: Workspace, copy: RemoteCopy): Promise<NamespaceState | undefined> {
  const names = namespaceRefs(workspace.ns);
  const tips = await copy.tips([names.ledger, names.index]);
  const ledger = tips.get(names.ledger);
  if (ledger === undefined) return undefined;
  // The host was asked what it can do, and that may be more than it was.
  if (copy.isSelective) return selectedState(workspace, copy);
  await copy.bringWhole(workspace.ns, tips);
  return copy.through(() => read(workspace, ledger));
}

function read({ repo, ns }: Workspace, ledger: Oid): NamespaceState {
  return requireNamespace(stateAt(repo.objects, ledger), ns);
}
