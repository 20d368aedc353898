/** Transactions taken apart and put together wrongly, and what is in a repository before and after they are refused. */

import * as fs from "node:fs";
import * as path from "node:path";
import { hashObject, type Oid } from "../../src/gitwire/object/oid.ts";
import { PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import { git } from "./git.ts";
import type { Planned, TestClient } from "./stargate.ts";

/** Everything stored and every ref, to see that a refused push has left nothing. */
export function contents(dir: string): string {
  const objects = git(dir, "cat-file", "--batch-all-objects", "--batch-check", "--unordered").split("\n").sort();
  const files = fs.readdirSync(path.join(dir, "objects")).filter((name) => /^\.?tmp[-_]/.test(name));
  return [...objects, ...files, git(dir, "for-each-ref")].join("\n");
}

/** Rewrites the ledger commit's message, headers or parents, with the kv-index commit left as it is. */
export function withLedger(client: TestClient, planned: Planned, edit: (text: string) => string): Planned {
  const pack = new PackBuilder(client.repo.format);
  const objects = new Map(planned.objects);
  const text = objects.get(planned.ledger)!.data.toString("utf8");
  objects.delete(planned.ledger);
  const data = Buffer.from(edit(text));
  const ledger = hashObject(client.repo.format, "commit", data);
  objects.set(ledger, { kind: "commit", data });
  for (const object of objects.values()) pack.write(object.kind, object.data);
  return {
    ...planned,
    ledger,
    pack,
    objects,
    commands: planned.commands.map((c) => (c.newOid === planned.ledger ? { ...c, newOid: ledger } : c)),
  };
}

/** Objects of the planned pack, or of the repository. */
export function reader(client: TestClient, planned: Planned): (oid: Oid) => Buffer {
  return (oid) => (planned.objects.get(oid) ?? client.repo.objects.read(oid)!).data;
}

/** Writes every object of the planned pack into `pack`. */
export function copyAll(planned: Planned, pack: PackBuilder): void {
  for (const { kind, data } of planned.objects.values()) pack.write(kind, data);
}
