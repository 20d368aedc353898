/** Transactions whose trees somebody has changed, under commits that attest the changed ones. */

import { commitLinks } from "../../src/gitwire/object/commit.ts";
import type { GitObject } from "../../src/gitwire/object/object.ts";
import type { ObjectKind, Oid } from "../../src/gitwire/object/oid.ts";
import { PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import { type Files, filesOf, treeOf } from "./forge.ts";
import { MemoryObjects } from "./memory-objects.ts";
import type { Planned, TestClient } from "./stargate.ts";

/** The planned objects over those of the repository; keeps what is new. */
class Overlay extends MemoryObjects {
  readonly #below: (oid: Oid) => GitObject | undefined;

  constructor(client: TestClient, planned: Planned) {
    super(client.repo.format);
    for (const [oid, object] of planned.objects) this.objects.set(oid, object);
    this.#below = (oid) => client.repo.objects.read(oid);
  }

  override read(oid: Oid): GitObject | undefined {
    return super.read(oid) ?? this.#below(oid);
  }
}

/** What is changed before the ledger commit is made again (and signed). */
export interface TreeForgery {
  readonly ledger?: (files: Files, write: (text: string) => Oid, read: (oid: Oid) => string) => void;
  readonly index?: (files: Files, write: (text: string) => Oid, read: (oid: Oid) => string) => void;
  /** The chunk tree, of a transaction that has one; the ledger commit names the changed one. */
  readonly chunks?: (files: Files, write: (text: string) => Oid, read: (oid: Oid) => string) => void;
  /** Last change of the chunk commit's text. */
  readonly chunkText?: (text: string) => string;
  /** Last change of the ledger commit's text. */
  readonly text?: (text: string) => string;
}

/** The transaction with other trees; both commits name them as if they were right. */
export function withTrees(client: TestClient, planned: Planned, forgery: TreeForgery): Planned {
  const { format } = client.repo;
  const objects = new Overlay(client, planned);
  const write = (text: string): Oid => objects.write("blob", Buffer.from(text));
  const read = (oid: Oid): string => objects.read(oid)!.data.toString();
  const [ledger, index, chunks] = planned.commands;
  const change = (commit: Oid, edit: TreeForgery["ledger"]): [from: Oid, to: Oid] => {
    const { tree } = commitLinks(format, objects.read(commit)!.data);
    const files = filesOf(objects, tree);
    edit?.(files, write, read);
    return [tree, treeOf(objects, files)];
  };
  const [oldTree, newTree] = change(ledger!.newOid, forgery.ledger);
  const [oldIndex, newIndex] = change(index!.newOid, forgery.index);
  const [oldChunks, newChunks] = chunks === undefined ? ["", ""] : change(chunks.newOid, forgery.chunks);
  const commit = (oid: Oid, edit: (text: string) => string): Oid => {
    const data = Buffer.from(edit(read(oid)));
    objects.objects.delete(oid);
    return objects.write("commit", data);
  };
  const renamed = (text: string): string => {
    const trees = text.replaceAll(oldTree, newTree).replaceAll(oldIndex, newIndex);
    return oldChunks === "" ? trees : trees.replaceAll(oldChunks, newChunks);
  };
  const same = (text: string): string => text;
  const newLedger = commit(ledger!.newOid, (text) => (forgery.text ?? same)(renamed(text)));
  const newIndexCommit = commit(index!.newOid, renamed);
  const newChunkCommit = chunks && commit(chunks.newOid, (text) => (forgery.chunkText ?? same)(renamed(text)));
  const pack = new PackBuilder(format);
  for (const { kind, data } of objects.objects.values()) pack.write(kind as ObjectKind, data);
  return {
    ...planned,
    pack,
    ledger: newLedger,
    objects: objects.objects,
    commands: [
      { ...ledger!, newOid: newLedger },
      { ...index!, newOid: newIndexCommit },
      ...(newChunkCommit === undefined ? [] : [{ ...chunks!, newOid: newChunkCommit }]),
    ],
  };
}
