/**
 * Labels of epochs: refs and archives are called by them, so none is used twice in a namespace. A clone has few of the archives,
 * so the Stargate is asked which there are.
 */

import { KvError } from "../errors.ts";
import { archiveRef, chunkRef, classifyRef, LABEL_LENGTH, parseEpoch } from "./namespace.ts";
import { fetchObjects, pushUrl } from "./remote-session.ts";
import type { NamespaceState } from "./state.ts";
import type { Workspace } from "./workspace.ts";

/** The labels that epochs closed before have or had, by the refs of whoever decides. Throws what asking it throws. */
export async function archivedLabels(workspace: Workspace): Promise<ReadonlySet<string>> {
  const { repo, around, ns } = workspace;
  const prefixes = [archiveRef(ns, ""), chunkRef(ns, "")];
  const names = prefixes.flatMap((prefix) => repo.refs.list(prefix)).map(({ name }) => name);
  if (workspace.hasStargate) {
    names.push(...(await fetchObjects(repo, around, pushUrl(workspace), prefixes, () => [])).keys());
  }
  const labels = new Set<string>();
  for (const name of names) {
    const is = classifyRef(name);
    if ((is?.kind === "archive" || is?.kind === "chunks") && is.ns === ns) labels.add(is.epoch);
  }
  return labels;
}

/** Throws INPUT_INVALID for a label that cannot be used, or was. */
export function requireNewLabel({ ns, ledger }: NamespaceState, label: string, archived: ReadonlySet<string>): void {
  parseEpoch(label);
  if (ledger.epoch === label) {
    throw new KvError("INPUT_INVALID", `the epoch '${label}' of '${ns}' has begun already`, {
      hint: "another label begins a further one",
    });
  }
  if (ledger.parentEpoch?.label !== label && !archived.has(label)) return;
  throw new KvError("INPUT_INVALID", `'${ns}' had an epoch '${label}' before`, { hint: "take another label" });
}

/** The label that follows `label`: its number counted on, else `.2` added; further on where that was used before. */
export function nextLabel(label: string, archived: ReadonlySet<string>): string {
  const [, text = label, number] = /^(.*?)(\d+)$/.exec(label) ?? [];
  const counted = number === undefined ? ".2" : String(BigInt(number) + 1n).padStart(number.length, "0");
  const next = parseEpoch(text.slice(0, LABEL_LENGTH - counted.length) + counted);
  return archived.has(next) ? nextLabel(next, archived) : next;
}
