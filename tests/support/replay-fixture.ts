/** A namespace with an honest transaction, and ways to forge it, for the tests of the replay check. */

import { KvError } from "../../src/errors.ts";
import type { ObjectFormat, Oid } from "../../src/gitwire/object/oid.ts";
import { encodeTree, MODE, type TreeEntry } from "../../src/gitwire/object/tree.ts";
import { etagOf } from "../../src/kv/etag.ts";
import { type ReplayLimits, replayTransaction } from "../../src/kv/replay.ts";
import type { NamespaceState } from "../../src/kv/state.ts";
import { type Files, type Forgery, filesOf, forge, treeOf } from "./forge.ts";
import { KvModel } from "./kv-model.ts";

const LIMITS: ReplayLimits = { maxKeys: 1000, maxInline: 4096 };

/** What a replay finds, as `set key rev` lines, or the code it ends with. */
export function replay(
  model: KvModel,
  base: NamespaceState | undefined,
  next: NamespaceState,
  limits = LIMITS,
): string | string[] {
  try {
    const changes = replayTransaction(model.objects, base, next, etagOf, limits);
    return changes.map(({ kind, key, rev }) => `${kind} ${key} ${rev}`);
  } catch (error) {
    if (error instanceof KvError) return error.code;
    throw error;
  }
}

/** 299 live keys and a deleted one, then "key" set to "value": the tries are split once, the kv-index too. */
export function replayFixture(format: ObjectFormat) {
  const model = new KvModel(format);
  const { objects } = model;
  model.commit(Array.from({ length: 300 }, (_, i) => model.set(`k${i}`, `v${i}`)));
  model.commit([model.del("k299")]);
  const base = model.state!;
  model.commit([model.set("key", "value", { labels: { a: "b" }, expires: 1_800_000_000, ctype: "text/plain" })]);
  const honest = model.state!;
  const paths = [...filesOf(objects, honest.ledger.tree).keys()];
  /** Where the honest transaction put "key". */
  const dataPath = paths.find((path) => path.startsWith("data/") && path.endsWith("/key"))!;
  const metaPath = paths.find((path) => path.endsWith("/key.meta"))!;

  const blob = (text: string | Buffer): Oid => objects.write("blob", Buffer.from(text));
  const text = (oid: Oid): string => objects.read(oid)!.data.toString();
  const file = (oid: Oid, mode: number = MODE.file): { mode: number; oid: Oid } => ({ mode, oid });

  /** The code a change of the honest transaction's ledger files meets. */
  function forged(change: (files: Files) => void, claims: Partial<Forgery> = {}, from = base): string | string[] {
    const files = filesOf(objects, honest.ledger.tree);
    change(files);
    const tree = treeOf(objects, files);
    return replay(model, from, forge(objects, from, { tree, indexTree: honest.ledger.indexTree, ...claims }));
  }

  function forgedIndex(change: (files: Files) => void): string | string[] {
    const files = filesOf(objects, honest.ledger.indexTree);
    change(files);
    return replay(model, base, forge(objects, base, { tree: honest.ledger.tree, indexTree: treeOf(objects, files) }));
  }

  const metadata = (change: (json: string) => string): ((files: Files) => void) => {
    return (files) => {
      const before = text(files.get(metaPath)!.oid);
      const after = change(before);
      if (after === before) throw new Error("the forgery changed nothing");
      files.set(metaPath, file(blob(after)));
    };
  };

  /** A forgery of the root's raw entries. */
  function rawRoot(change: (entries: TreeEntry[]) => TreeEntry[]): string | string[] {
    const entries: TreeEntry[] = [
      { mode: MODE.tree, name: "data", oid: honest.data! },
      { mode: MODE.file, name: "kv.json", oid: filesOf(objects, honest.ledger.tree).get("kv.json")!.oid },
      { mode: MODE.tree, name: "meta", oid: honest.meta! },
    ];
    const tree = objects.write("tree", encodeTree(format, change(entries)));
    return replay(model, base, forge(objects, base, { tree, indexTree: honest.ledger.indexTree }));
  }

  return { model, objects, base, honest, dataPath, metaPath, blob, text, file, forged, forgedIndex, metadata, rawRoot };
}
