/**
 * Plans a transaction: operations on a state become objects, a ledger commit, a kv-index commit and the ref updates that move
 * both atomically (docs/formats/data-format.md, section 7). Planning is pure: objects go into the sink it is given, nothing
 * else changes, and what the plan says is what is pushed or committed.
 */

import { KvError } from "../errors.ts";
import { encodeCommit, type Ident } from "../gitwire/object/commit.ts";
import { type ObjectSink, type ObjectSource, readAs } from "../gitwire/object/object.ts";
import { hashText, type Oid } from "../gitwire/object/oid.ts";
import { createDelta } from "../gitwire/pack/delta-search.ts";
import { atOnce, type Steps } from "../time-slice.ts";
import { type Applied, applyInSteps } from "./apply.ts";
import {
  CHUNK_SUBJECT,
  formatChunkTrailers,
  formatIndexTrailers,
  formatLedgerTrailers,
  hasReservedLine,
  INDEX_SUBJECT,
} from "./attestation.ts";
import { addPieces, type ChunkFile, type ChunkTip } from "./chunk-tree.ts";
import { keyText } from "./key.ts";
import type { MetaJob } from "./meta-helper.ts";
import { chunkRef, namespaceRefs } from "./namespace.ts";
import { NodeWriter } from "./node-writer.ts";
import type { KeyChange, Operation } from "./operation.ts";
import { indexParent, kvJson, ledgerTree, type NamespaceState } from "./state.ts";

/** What a transaction is made from. */
export interface TransactionInput {
  /** The state to build on; undefined makes the namespace. */
  readonly base: NamespaceState | undefined;
  readonly ns: string;
  /** The epoch's label, where `base` is undefined. */
  readonly epoch: string;
  readonly policy: Oid | undefined;
  /** ULID. */
  readonly txn: string;
  /** Distinct keys, any order. */
  readonly operations: readonly Operation[];
  /** Subject and body; undefined takes the usual subject. */
  readonly message: string | undefined;
  readonly author: Ident;
  readonly committer: Ident;
  /** Pieces that the manifests of the operations name; undefined where none has one. */
  readonly chunks?: ChunkInput | undefined;
  /** Makes the metadata, begun for these operations. */
  readonly metas?: MetaJob | undefined;
}

/** The pieces of a transaction. */
export interface ChunkInput {
  /** The newest chunk commit of the base's epoch; undefined where there is none. */
  readonly tip: ChunkTip | undefined;
  /** Each once. Those the tip's tree holds already change nothing. */
  readonly pieces: readonly ChunkFile[];
}

/** One ref to move. */
export interface RefMove {
  readonly ref: string;
  /** undefined = the ref must not exist. */
  readonly oldOid: Oid | undefined;
  readonly newOid: Oid;
}

/** A planned transaction, or the news that nothing would change. */
export type Plan =
  | { readonly kind: "unchanged"; readonly base: NamespaceState }
  | {
      readonly kind: "planned";
      readonly ledger: Oid;
      readonly tree: Oid;
      readonly seq: number;
      readonly txn: string;
      readonly changes: readonly KeyChange[];
      readonly moves: readonly RefMove[];
    };

/** A transaction whose trees are written and whose commits are not: the ledger commit can still be signed. */
export interface DraftTransaction {
  readonly kind: "draft";
  /** The ledger commit without a signature. */
  readonly ledgerCommit: Buffer;
  /** Writes the commits. `signed` is the ledger commit with a signature in it. */
  finish(signed?: Buffer): PlannedTransaction;
}

type Draft = DraftTransaction | Extract<Plan, { readonly kind: "unchanged" }>;

export type PlannedTransaction = Extract<Plan, { readonly kind: "planned" }>;

/** Plans a transaction that is not signed. Throws as {@link draftTransaction}. */
export function planTransaction(source: ObjectSource, sink: ObjectSink, input: TransactionInput): Plan {
  const draft = draftTransaction(source, sink, input);
  return draft.kind === "draft" ? draft.finish() : draft;
}

/**
 * Plans a transaction up to its commits. Throws as {@link applyOperations}, and INPUT_INVALID for a message that looks like
 * trailers.
 */
export function draftTransaction(source: ObjectSource, sink: ObjectSink, input: TransactionInput): Draft {
  return atOnce(draftInSteps(source, sink, input));
}

/** As {@link draftTransaction}, yielding now and then so that others may run. */
export function* draftInSteps(source: ObjectSource, sink: ObjectSink, input: TransactionInput): Steps<Draft> {
  const { base, ns } = input;
  const { format } = source;
  const writer = new NodeWriter(source, sink);
  const applied = yield* applyInSteps(
    writer,
    source,
    {
      data: base?.data,
      meta: base?.meta,
      index: base?.ledger.indexTree ?? format.emptyTree,
      ledger: base?.ledger.oid,
    },
    input.operations,
    input.committer.seconds,
    input.metas,
  );
  if (base !== undefined && applied.changes.length === 0) return { kind: "unchanged", base };
  // The root of an empty kv-index is the empty tree, which a pack need not hold but a stock repository wants stored.
  if (applied.index === format.emptyTree) sink.write("tree", new Uint8Array(0));
  return draftCommits(source, sink, writer, input, applied, ns);
}

function draftCommits(
  source: ObjectSource,
  sink: ObjectSink,
  writer: NodeWriter,
  input: TransactionInput,
  applied: Applied,
  ns: string,
): DraftTransaction {
  const { base, txn, author, committer } = input;
  const { format } = source;
  // It is the same since the first commit: whoever receives the transaction has it, and would compare it with his.
  const file = kvJson(format, ns);
  const kvJsonOid = base === undefined ? writer.blob(file) : hashText(format, "blob", file);
  const tree = sink.write("tree", ledgerTree(format, { kvJson: kvJsonOid, data: applied.data, meta: applied.meta }));
  const epoch = base?.ledger.epoch ?? input.epoch;
  const chunksTree = newChunkTree(writer, input.chunks);
  const seq = (base?.ledger.seq ?? 0) + 1;
  const keysSet = applied.changes.filter((change) => change.kind === "set").length;
  const keysDel = applied.changes.length - keysSet;
  const text = commitText(input.message, applied.changes, keysSet, keysDel, ns);
  const [subject = ""] = text.split("\n", 1);
  const ledgerBlock = formatLedgerTrailers({
    ns,
    txn,
    seq,
    baseTree: base?.ledger.tree,
    indexTree: applied.index,
    chunksTree,
    policy: input.policy,
    epoch,
    keysSet,
    keysDel,
  });
  const index = base === undefined ? undefined : indexParent(source, base);
  const ledgerCommit = encodeCommit({
    tree,
    parents: parents(base?.ledger.oid),
    author,
    committer,
    message: `${text}\n\n${ledgerBlock}`,
  });
  const indexCommit = encodeCommit({
    tree: applied.index,
    parents: parents(index),
    author,
    committer,
    message: `${INDEX_SUBJECT}${subject}\n\n${formatIndexTrailers({ ns, txn, seq, ledgerTree: tree })}`,
  });
  const finish = (signed: Buffer = ledgerCommit): PlannedTransaction => {
    const ledgerOid = writeCommit(source, sink, signed, base?.ledger.oid);
    const indexOid = writeCommit(source, sink, indexCommit, index);
    const refs = namespaceRefs(ns);
    const moves: RefMove[] = [
      { ref: refs.ledger, oldOid: base?.ledger.oid, newOid: ledgerOid },
      { ref: refs.index, oldOid: index, newOid: indexOid },
    ];
    if (chunksTree !== undefined) moves.push(chunkMove(source, sink, input, { tree: chunksTree, epoch, subject }));
    return { kind: "planned", ledger: ledgerOid, tree, seq, txn, changes: applied.changes, moves };
  };
  return { kind: "draft", ledgerCommit, finish };
}

/** The chunk tree with the pieces in it; undefined where it holds them all already, or there are none. */
function newChunkTree(writer: NodeWriter, chunks: ChunkInput | undefined): Oid | undefined {
  if (chunks === undefined) return undefined;
  const tree = addPieces(writer, chunks.tip?.tree, chunks.pieces);
  return tree === chunks.tip?.tree ? undefined : tree;
}

/** Writes the chunk commit. */
function chunkMove(
  source: ObjectSource,
  sink: ObjectSink,
  { ns, txn, author, committer, chunks }: TransactionInput,
  { tree, epoch, subject }: { readonly tree: Oid; readonly epoch: string; readonly subject: string },
): RefMove {
  const tip = chunks?.tip?.commit;
  const message = `${CHUNK_SUBJECT}${subject}\n\n${formatChunkTrailers({ ns, txn, epoch })}`;
  const commit = encodeCommit({ tree, parents: parents(tip), author, committer, message });
  return { ref: chunkRef(ns, epoch), oldOid: tip, newOid: writeCommit(source, sink, commit, tip) };
}

const parents = (parent: Oid | undefined): Oid[] => (parent === undefined ? [] : [parent]);

/** A commit repeats most of its parent: as a delta it takes about a third of the bytes. */
function writeCommit(source: ObjectSource, sink: ObjectSink, data: Buffer, parent: Oid | undefined): Oid {
  const delta = parent === undefined ? undefined : createDelta(readAs(source, parent, "commit"), data);
  return parent === undefined || delta === undefined
    ? sink.write("commit", data)
    : sink.writeDelta("commit", data, parent, delta);
}

function commitText(
  message: string | undefined,
  changes: readonly KeyChange[],
  sets: number,
  dels: number,
  ns: string,
): string {
  if (message === undefined) {
    if (changes.length === 0) return `init ${ns}`;
    if (changes.length === 1) return `${changes[0]!.kind} ${keyText(changes[0]!.key)}`;
    return `mset: ${sets} set, ${dels} del`;
  }
  return checkedMessage(message);
}

/** A user's message as a commit has it. Throws INPUT_INVALID for one that is empty or has a line like a trailer. */
export function checkedMessage(message: string): string {
  const text = message.replace(/\r\n/g, "\n").trim();
  if (text === "" || text.includes("\0"))
    throw new KvError("INPUT_INVALID", "the message is empty or holds a NUL byte");
  if (hasReservedLine(text)) {
    throw new KvError("INPUT_INVALID", "the message has a line that looks like a trailer of git-kv", {
      hint: "lines that begin with 'KV-...:', 'Epoch:', 'Base-Tree:' or 'Keys-...:' are git-kv's own",
    });
  }
  return text;
}
