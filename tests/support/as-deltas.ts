/** A planned push packed as git packs one for a receiver that has the state before: each new tree is a delta of the one in its place there. */

import { commitLinks } from "../../src/gitwire/object/commit.ts";
import type { Oid } from "../../src/gitwire/object/oid.ts";
import { MODE, parseTree } from "../../src/gitwire/object/tree.ts";
import { DeltaBuilder } from "../../src/gitwire/pack/delta.ts";
import { PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import type { Planned, TestClient } from "./stargate.ts";

/** The same objects, and how many of them are deltas. */
export function asDeltas(client: TestClient, planned: Planned): Planned & { readonly deltas: number } {
  const { objects, format } = client.repo;
  const bases = new Map<Oid, Oid>();
  const read = (oid: Oid): Buffer => (planned.objects.get(oid) ?? objects.read(oid)!).data;
  const walk = (before: Oid, after: Oid): void => {
    if (before === after || objects.has(after) || bases.has(after)) return;
    bases.set(after, before);
    const old = new Map(parseTree(format, read(before)).map((entry) => [entry.name, entry]));
    for (const { name, mode, oid } of parseTree(format, read(after))) {
      const from = old.get(name);
      if (mode === MODE.tree && from?.mode === MODE.tree) walk(from.oid, oid);
    }
  };
  for (const { oldOid, newOid } of planned.commands) {
    if (oldOid !== format.zeroOid) walk(commitLinks(format, read(oldOid)).tree, commitLinks(format, read(newOid)).tree);
  }
  const pack = new PackBuilder(format);
  let deltas = 0;
  for (const [oid, { kind, data }] of planned.objects) {
    if (objects.has(oid)) continue;
    const base = bases.get(oid);
    if (base === undefined) {
      pack.write(kind, data);
      continue;
    }
    pack.writeDelta(kind, data, base, delta(read(base), data));
    deltas++;
  }
  return { ...planned, pack, deltas };
}

/** What both begin and end with is copied. */
function delta(base: Buffer, target: Buffer): Buffer {
  const most = Math.min(base.length, target.length);
  let head = 0;
  while (head < most && base[head] === target[head]) head++;
  let tail = 0;
  while (tail < most - head && base[base.length - 1 - tail] === target[target.length - 1 - tail]) tail++;
  const builder = new DeltaBuilder();
  builder.copy(0, head);
  builder.insert(target, head, target.length - tail);
  builder.copy(base.length - tail, tail);
  return builder.finish(base.length, target.length);
}
