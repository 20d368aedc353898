/** Objects in memory, as source and sink of a transaction; counts what was read and how deltas were made. */

import type { GitObject, ObjectSink, ObjectSource } from "../../src/gitwire/object/object.ts";
import { hashObject, type ObjectFormat, type ObjectKind, type Oid } from "../../src/gitwire/object/oid.ts";
import { applyDelta } from "../../src/gitwire/pack/delta.ts";
import { TEST_FORMAT } from "./test-format.ts";

export class MemoryObjects implements ObjectSource, ObjectSink {
  readonly format: ObjectFormat;
  readonly objects = new Map<Oid, GitObject>();
  reads: Record<ObjectKind, number> = { blob: 0, tree: 0, commit: 0, tag: 0 };
  deltas = 0;

  constructor(format: ObjectFormat = TEST_FORMAT) {
    this.format = format;
  }

  read(oid: Oid): GitObject | undefined {
    const object =
      this.objects.get(oid) ??
      (oid === this.format.emptyTree ? { kind: "tree" as const, data: Buffer.alloc(0) } : undefined);
    if (object !== undefined) this.reads[object.kind]++;
    return object;
  }

  has(oid: Oid): boolean {
    return this.objects.has(oid);
  }

  write(kind: ObjectKind, data: Uint8Array): Oid {
    const oid = hashObject(this.format, kind, data);
    this.objects.set(oid, { kind, data: Buffer.from(data) });
    return oid;
  }

  /** Checks that the delta really makes `data` from the base. */
  writeDelta(kind: ObjectKind, data: Uint8Array, base: Oid, delta: Uint8Array): Oid {
    const from = this.objects.get(base);
    if (from === undefined || from.kind !== kind) throw new Error(`delta base ${base} is no ${kind} here`);
    if (!applyDelta(from.data, Buffer.from(delta)).equals(Buffer.from(data)))
      throw new Error("the delta does not make the data");
    if (hashObject(this.format, kind, data) === base) throw new Error("an object cannot be its own base");
    this.deltas++;
    return this.write(kind, data);
  }
}
