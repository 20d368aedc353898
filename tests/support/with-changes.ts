/** Objects as a quarantine has them: of each tree below one root is known how it differs from the tree in its place below another. */

import type { GitObject, ObjectSource, TreeChange } from "../../src/gitwire/object/object.ts";
import type { Oid } from "../../src/gitwire/object/oid.ts";
import { MODE, parseTree } from "../../src/gitwire/object/tree.ts";
import { reduceTrees } from "../../src/gitwire/object/tree-difference.ts";

export interface SourceWithChanges extends ObjectSource {
  /** How many trees it tells the changes of. */
  readonly known: number;
}

export function withChanges(objects: ObjectSource, before: Oid | undefined, after: Oid | undefined): SourceWithChanges {
  const changes = new Map<Oid, TreeChange>();
  const walk = (base: Oid | undefined, oid: Oid | undefined): void => {
    if (base === undefined || oid === undefined || base === oid) return;
    const [left, right] = [objects.read(base), objects.read(oid)];
    if (left?.kind !== "tree" || right?.kind !== "tree") return;
    const reduced = reduceTrees(objects.format, left.data, right.data);
    if (reduced !== undefined) changes.set(oid, { base, ...reduced });
    const old = new Map(parseTree(objects.format, left.data).map((entry) => [entry.name, entry]));
    for (const { name, mode, oid: child } of parseTree(objects.format, right.data)) {
      const from = old.get(name);
      if (mode === MODE.tree && from?.mode === MODE.tree) walk(from.oid, child);
    }
  };
  walk(before, after);
  return {
    format: objects.format,
    known: changes.size,
    has: (oid) => objects.has(oid),
    read(oid): GitObject | undefined {
      const object = objects.read(oid);
      return object && { ...object, change: changes.get(oid) };
    },
  };
}
