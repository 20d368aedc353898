/** Namespaces, epochs and the refs that hold them (docs/formats/data-format.md, sections 1 and 2). */

import { KvError } from "../errors.ts";
import { isValidRefName } from "../gitwire/refs/ref-name.ts";

const NAMESPACE = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const EPOCH = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** Longest label of an epoch. */
export const LABEL_LENGTH = 63;

/** Label of a namespace's first epoch. */
export const FIRST_EPOCH = "e1";

/** Where the policy in force is. Git takes no push to a ref of one level below refs/ ("funny refname"). */
export const POLICY_REF = "refs/kv-policy/current";

/** The refs of a namespace that a transaction moves. */
export interface NamespaceRefs {
  readonly ledger: string;
  readonly index: string;
}

function isRefComponent(name: string): boolean {
  return isValidRefName(`refs/kv/${name}`);
}

/** `name` where it is a valid namespace; `source` is the setting it comes from. Throws NS_INVALID. */
export function parseNamespace(name: string, source?: string): string {
  if (NAMESPACE.test(name) && isRefComponent(name)) return name;
  const where = source === undefined ? "" : `${source}: `;
  throw new KvError("NS_INVALID", `${where}'${name}' is not a valid namespace`);
}

/** `label` where it is a valid epoch label. Throws INPUT_INVALID. */
export function parseEpoch(label: string): string {
  if (EPOCH.test(label) && isRefComponent(label)) return label;
  throw new KvError("INPUT_INVALID", `'${label}' is not a valid epoch label`, {
    hint: "letters, digits, '.', '_' and '-', at most 63, beginning with a letter or digit",
  });
}

/** The refs of the namespace `ns` under `root`: `refs/` for the accepted state, `refs/kv-remotes/<remote>/` for a mirror's. */
export function namespaceRefs(ns: string, root = "refs/"): NamespaceRefs {
  return { ledger: `${root}kv/${ns}`, index: `${root}kv-index/${ns}` };
}

/** The ref of the pieces of the namespace's large values in one epoch. */
export function chunkRef(ns: string, epoch: string): string {
  return `refs/kv-chunks/${ns}@${epoch}`;
}

/** The ref of the first ledger commit of the current epoch; a namespace in its first epoch has none. */
export function epochRef(ns: string, root = "refs/"): string {
  return `${root}kv-epoch/${ns}`;
}

/** The ref of the last ledger commit of a closed epoch. */
export function archiveRef(ns: string, epoch: string, root = "refs/"): string {
  return `${root}kv-archive/${ns}@${epoch}`;
}

/** The ref of the last kv-index commit of a closed epoch: what was deleted, and when, the ledger's trees do not tell. */
export function indexArchiveRef(ns: string, epoch: string, root = "refs/"): string {
  return `${root}kv-index-archive/${ns}@${epoch}`;
}

/** The tracking side of {@link namespaceRefs}: what the last fetch from `remote` saw. */
export function trackingRoot(remote: string): string {
  return `refs/kv-remotes/${remote}/`;
}

/** What a ref name is to git-kv; undefined where it is an ordinary ref. */
export type KvRef =
  | { readonly kind: "ledger" | "index" | "epoch" | "mirror"; readonly ns: string }
  | { readonly kind: "chunks" | "archive" | "index-archive"; readonly ns: string; readonly epoch: string }
  | { readonly kind: "policy" }
  | { readonly kind: "reserved" };

const KINDS = { kv: "ledger", "kv-index": "index", "kv-epoch": "epoch", "kv-mirror": "mirror" } as const;
const EPOCH_KINDS = {
  "kv-chunks": "chunks",
  "kv-archive": "archive",
  "kv-index-archive": "index-archive",
} as const;

/** Classifies a ref. Names under `refs/kv*` that no rule of the format gives a meaning to are reserved. */
export function classifyRef(ref: string): KvRef | undefined {
  if (ref === POLICY_REF) return { kind: "policy" };
  if (!/^refs\/kv(?:-[^/]*)?(?:\/|$)/i.test(ref)) return undefined;
  const [, group, name, ...more] = ref.split("/");
  if (name === undefined || more.length > 0) return { kind: "reserved" };
  if (Object.hasOwn(KINDS, group!)) {
    return NAMESPACE.test(name) ? { kind: KINDS[group as keyof typeof KINDS], ns: name } : { kind: "reserved" };
  }
  const at = name.indexOf("@");
  const [ns, epoch] = [name.slice(0, at), name.slice(at + 1)];
  if (at > 0 && Object.hasOwn(EPOCH_KINDS, group!) && NAMESPACE.test(ns) && EPOCH.test(epoch)) {
    return { kind: EPOCH_KINDS[group as keyof typeof EPOCH_KINDS], ns, epoch };
  }
  return { kind: "reserved" };
}
