/** Transactions taken apart and put together wrongly, and what is in a repository before and after they are refused. */

import * as fs from "node:fs";
import * as path from "node:path";
import { hashObject, type Oid } from "../../src/gitwire/object/oid.ts";
import { PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import { git, tryGit } from "./git.ts";
import type { Planned, TestClient } from "./stargate.ts";

/** Everything stored and every ref, to see that a refused push has left nothing. */
export function contents(dir: string): string {
  const objects = git(dir, "cat-file", "--batch-all-objects", "--batch-check", "--unordered").split("\n").sort();
  const files = fs.readdirSync(path.join(dir, "objects")).filter((name) => name.startsWith("tmp"));
  return [...objects, ...files, git(dir, "for-each-ref")].join("\n");
}

/** Rewrites the ledger commit's message or parents, with the kv-index commit left as it is. */
export function withLedger(client: TestClient, planned: Planned, edit: (text: string) => string): Planned {
  const pack = new PackBuilder(client.repo.format);
  const source = reader(client, planned);
  copyAll(planned, pack, source);
  const text = source(planned.ledger).toString("utf8");
  const ledger = pack.write("commit", Buffer.from(edit(text)));
  return {
    ...planned,
    ledger,
    pack,
    commands: planned.commands.map((c) => (c.newOid === planned.ledger ? { ...c, newOid: ledger } : c)),
  };
}

/** Objects of the planned pack, or of the repository. */
export function reader(client: TestClient, planned: Planned): (oid: Oid) => Buffer {
  const repo = client.repo.gitDir;
  const dir = fs.mkdtempSync(path.join(repo, "..", "plan-"));
  git(dir, "init", "-q", "--bare", `--object-format=${client.repo.format.name}`);
  fs.writeFileSync(path.join(dir, "objects/info/alternates"), `${path.join(repo, "objects")}\n`);
  const pack = Buffer.concat([...planned.pack.finish().chunks()]);
  const run = tryGit(dir, ["index-pack", "--stdin", "--fix-thin"], { input: pack });
  if (run.status !== 0) throw new Error(run.stderr);
  return (oid) => {
    const kind = git(dir, "cat-file", "-t", oid);
    return tryGit(dir, ["cat-file", kind, oid]).stdout;
  };
}

/** Writes every object of the planned pack into `pack`. */
export function copyAll(planned: Planned, pack: PackBuilder, read: (oid: Oid) => Buffer): void {
  const { objects } = planned.pack.finish();
  const { format } = pack;
  for (let i = 0; i < objects.count; i++) {
    const oid = Buffer.from(objects.ids).toString("hex", i * format.rawSize, (i + 1) * format.rawSize);
    const data = read(oid);
    for (const kind of ["commit", "tree", "blob"] as const) {
      if (hashObject(format, kind, data) === oid) pack.write(kind, data);
    }
  }
}
