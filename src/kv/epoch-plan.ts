/**
 * Plans the start of an epoch (docs/formats/data-format.md, section 8): three commits without parents over the trees of
 * epoch-trees.ts, and the moves of all refs that go with them. Like every plan it is pure: objects go into the sink, nothing else changes.
 */

import { encodeCommit } from "../gitwire/object/commit.ts";
import { type ObjectSink, type ObjectSource, readAs } from "../gitwire/object/object.ts";
import { hashObject, type Oid } from "../gitwire/object/oid.ts";
import { hasSubtree, MODE, parseTree } from "../gitwire/object/tree.ts";
import {
  CHUNK_SUBJECT,
  formatChunkTrailers,
  formatIndexTrailers,
  formatLedgerTrailers,
  INDEX_SUBJECT,
} from "./attestation.ts";
import { type EpochTrees, epochTrees } from "./epoch-trees.ts";
import { archiveRef, chunkRef, epochRef, indexArchiveRef, namespaceRefs } from "./namespace.ts";
import { NodeWriter } from "./node-writer.ts";
import { indexParent, kvJson, ledgerTree, type NamespaceState } from "./state.ts";
import { checkedMessage, type DraftTransaction, type RefMove, type TransactionInput } from "./transaction.ts";
import type { Watch } from "./workspace.ts";

/** What the start of an epoch is made from. */
export interface EpochInput extends Omit<TransactionInput, "base" | "operations" | "chunks" | "epoch"> {
  readonly base: NamespaceState;
  readonly label: string;
  /** Where `refs/kv-epoch/<ns>` is; undefined in the first epoch. */
  readonly epochRoot: Oid | undefined;
  readonly watch?: Watch;
}

/** A draft, and what the epoch begins with. */
export interface EpochDraft {
  readonly draft: DraftTransaction;
  readonly trees: EpochTrees;
}

/** Plans up to the commits. Rejects as {@link epochTrees}, INPUT_INVALID for a message that looks like trailers. */
export async function draftEpoch(source: ObjectSource, sink: ObjectSink, input: EpochInput): Promise<EpochDraft> {
  const { base, ns, label, txn, author, committer } = input;
  const { format } = source;
  const writer = new NodeWriter(source, withoutKnown(sink, source, base.ledger.indexTree));
  const trees = await epochTrees(source, writer, base, committer.seconds, input.watch);
  if (trees.index === format.emptyTree) sink.write("tree", new Uint8Array(0));
  const roots = { kvJson: writer.blob(kvJson(format, ns)), data: trees.data, meta: trees.meta };
  const tree = sink.write("tree", ledgerTree(format, roots));
  const seq = base.ledger.seq + 1;
  const text = input.message === undefined ? `epoch ${label}` : checkedMessage(input.message);
  const [subject = ""] = text.split("\n", 1);
  const trailers = formatLedgerTrailers({
    ns,
    txn,
    seq,
    baseTree: base.ledger.tree,
    indexTree: trees.index,
    chunksTree: trees.chunks,
    policy: input.policy,
    epoch: label,
    keysSet: 0,
    keysDel: trees.expired,
    parentEpoch: { label: base.ledger.epoch, ledger: base.ledger.oid },
  });
  const root = (of: Oid, message: string): Buffer =>
    encodeCommit({ tree: of, parents: [], author, committer, message });
  const ledgerCommit = root(tree, `${text}\n\n${trailers}`);
  const indexTrailers = formatIndexTrailers({ ns, txn, seq, ledgerTree: tree });
  const finish = (signed: Buffer = ledgerCommit) => {
    const ledger = sink.write("commit", signed);
    const index = sink.write("commit", root(trees.index, `${INDEX_SUBJECT}${subject}\n\n${indexTrailers}`));
    const refs = namespaceRefs(ns);
    const closes = base.ledger.epoch;
    const oldIndex = indexParent(source, base);
    const moves: RefMove[] = [
      { ref: refs.ledger, oldOid: base.ledger.oid, newOid: ledger },
      { ref: refs.index, oldOid: oldIndex, newOid: index },
    ];
    if (trees.chunks !== undefined) {
      const message = `${CHUNK_SUBJECT}${subject}\n\n${formatChunkTrailers({ ns, txn, epoch: label })}`;
      const newOid = sink.write("commit", root(trees.chunks, message));
      moves.push({ ref: chunkRef(ns, label), oldOid: undefined, newOid });
    }
    moves.push({ ref: epochRef(ns), oldOid: input.epochRoot, newOid: ledger });
    moves.push({ ref: archiveRef(ns, closes), oldOid: undefined, newOid: base.ledger.oid });
    moves.push({ ref: indexArchiveRef(ns, closes), oldOid: undefined, newOid: oldIndex });
    return { kind: "planned", ledger, tree, seq, txn, changes: [], moves } as const;
  };
  return { draft: { kind: "draft", ledgerCommit, finish }, trees };
}

/**
 * A sink that takes no tree that the kv-index `root` has already: the receiver has those. Without tombstones most of a kv-index is
 * as it was.
 */
function withoutKnown(sink: ObjectSink, source: ObjectSource, root: Oid): ObjectSink {
  let known: Set<Oid> | undefined;
  const isKnown = (oid: Oid): boolean => {
    known ??= treesOf(source, root);
    return known.has(oid);
  };
  return {
    format: sink.format,
    write: (kind, data) => {
      const oid = kind === "tree" ? hashObject(sink.format, kind, data) : undefined;
      return oid !== undefined && isKnown(oid) ? oid : sink.write(kind, data);
    },
    writeDelta: (kind, data, base, delta) => sink.writeDelta(kind, data, base, delta),
  };
}

function treesOf(source: ObjectSource, root: Oid, found = new Set<Oid>()): Set<Oid> {
  found.add(root);
  const data = readAs(source, root, "tree");
  if (!hasSubtree(source.format, data)) return found;
  for (const { mode, oid } of parseTree(source.format, data)) if (mode === MODE.tree) treesOf(source, oid, found);
  return found;
}
