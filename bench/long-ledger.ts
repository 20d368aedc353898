/**
 * A ledger of many signed one-key transactions over a store that is there already, planned in this process and stored a thousand
 * to a pack. Packs are rolled up as in a clone that fetched them so: `git kv fetch` does it where they are more than 16.
 */

import { generateKeyPairSync, sign } from "node:crypto";
import * as path from "node:path";
import { utf8ToByteString } from "../src/bytes.ts";
import { joinSignature } from "../src/gitwire/object/commit-signature.ts";
import type { GitObject, ObjectSink, ObjectSource } from "../src/gitwire/object/object.ts";
import type { ObjectFormat, ObjectKind, Oid } from "../src/gitwire/object/oid.ts";
import { encodeSshKey } from "../src/gitwire/object/ssh-key.ts";
import { sshString } from "../src/gitwire/object/ssh-wire.ts";
import { armorSshsig, encodeSshsig, sshsigMessage } from "../src/gitwire/object/sshsig.ts";
import { PackBuilder } from "../src/gitwire/pack/pack-builder.ts";
import { openRepository, type Repository } from "../src/gitwire/repo.ts";
import { rollUp } from "../src/gitwire/store/maintenance.ts";
import { writePack } from "../src/gitwire/store/object-writer.ts";
import { etagHasher } from "../src/kv/etag.ts";
import { type NamespaceState, readState, stateAt } from "../src/kv/state.ts";
import { draftTransaction } from "../src/kv/transaction.ts";
import { fromSeed } from "../tests/support/random.ts";
import { keyOf } from "./data.ts";

const PACKED = 1_000;
/** Seconds between two transactions. */
const STEP = 60;
const START = 1_767_322_800;

const { publicKey, privateKey } = generateKeyPairSync("ed25519");
const KEY = encodeSshKey(publicKey)!;

/** The key that signed, as a line of a policy. */
export const SIGNER_LINE = `ssh-ed25519 ${KEY.toString("base64")} bench`;

/** The key that has a revision in every `total / revisions`-th transaction. */
export const PROBE = keyOf(0);

/** What a ledger is made of. */
export interface LongLedger {
  readonly keys: number;
  readonly transactions: number;
  /** Revisions that {@link PROBE} gets, evenly spread. */
  readonly revisions: number;
}

/** When transaction `i` of them was made. */
export function timeOf(i: number): number {
  return START + i * STEP;
}

/** New objects go to a pack and stay at hand for the transactions that follow. */
class Growing implements ObjectSource, ObjectSink {
  readonly format: ObjectFormat;
  readonly #repo: Repository;
  #builder: PackBuilder;
  #recent = new Map<Oid, GitObject>();

  constructor(repo: Repository) {
    this.format = repo.format;
    this.#repo = repo;
    this.#builder = this.#newBuilder();
  }

  #newBuilder(): PackBuilder {
    return new PackBuilder(this.format, { dir: path.join(this.#repo.objectsDir, "pack") });
  }

  read(oid: Oid): GitObject | undefined {
    return this.#recent.get(oid) ?? this.#repo.objects.read(oid);
  }

  has(oid: Oid): boolean {
    return this.#recent.has(oid) || this.#repo.objects.has(oid);
  }

  write(kind: ObjectKind, data: Uint8Array): Oid {
    return this.#keep(kind, data, this.#builder.write(kind, data));
  }

  writeDelta(kind: ObjectKind, data: Uint8Array, base: Oid, delta: Uint8Array): Oid {
    return this.#keep(kind, data, this.#builder.writeDelta(kind, data, base, delta));
  }

  #keep(kind: ObjectKind, data: Uint8Array, oid: Oid): Oid {
    this.#recent.set(oid, { kind, data: Buffer.from(data) });
    return oid;
  }

  async flush(): Promise<void> {
    writePack(this.#repo.objects, this.#builder.finish(), { fsync: false });
    this.#builder.dispose();
    this.#builder = this.#newBuilder();
    this.#recent.clear();
    await rollUp(this.#repo.objects);
  }
}

/** Adds the transactions to the namespace `main` of the repository at `dir`. Returns its newest ledger commit. */
export async function growLedger(dir: string, { keys, transactions, revisions }: LongLedger): Promise<Oid> {
  const repo = openRepository(dir, {});
  const objects = new Growing(repo);
  const etagOf = await etagHasher(Number.POSITIVE_INFINITY);
  const random = fromSeed(20_260_102);
  const before = readState(repo.objects, repo.refs, "main")!;
  let tip: NamespaceState = before;
  const every = Math.floor(transactions / revisions);
  for (let i = 0; i < transactions; i++) {
    const key = i % every === 0 ? PROBE : keyOf(1 + random.int(keys - 1));
    tip = addTransaction(objects, tip, { key, value: `value ${i}`, at: timeOf(i), i }, etagOf);
    if (i % PACKED === PACKED - 1) await objects.flush();
  }
  await objects.flush();
  await repo.refs.update([
    { name: "refs/kv/main", oldOid: before.ledger.oid, newOid: tip.ledger.oid },
    { name: "refs/kv-index/main", oldOid: before.index!, newOid: tip.index! },
  ]);
  repo.close();
  return tip.ledger.oid;
}

function addTransaction(
  objects: Growing,
  base: NamespaceState,
  { key, value, at, i }: { readonly key: string; readonly value: string; readonly at: number; readonly i: number },
  etagOf: (data: Buffer) => string,
): NamespaceState {
  const data = Buffer.from(value);
  const who = { name: "Bench", email: "bench@example.com", seconds: at, offset: 0 };
  const stored = { type: "inline", oid: objects.write("blob", data), size: data.length, etag: etagOf(data) } as const;
  const draft = draftTransaction(objects, objects, {
    base,
    ns: "main",
    epoch: "e1",
    policy: undefined,
    txn: `01JBAXF5Z8J8M7R2TK${String(i).padStart(8, "0")}`,
    operations: [
      {
        kind: "set",
        key: utf8ToByteString(key),
        value: { ...stored, ctype: "text/plain; charset=utf-8" },
        expires: undefined,
        labels: undefined,
      },
    ],
    message: undefined,
    author: who,
    committer: who,
  });
  if (draft.kind !== "draft") throw new Error(`transaction ${i} changes nothing`);
  const plan = draft.finish(signed(objects.format, draft.ledgerCommit));
  return stateAt(objects, plan.ledger, plan.moves[1]!.newOid);
}

function signed(format: ObjectFormat, commit: Buffer): Buffer {
  const signature = Buffer.concat([
    sshString("ssh-ed25519"),
    sshString(sign(null, sshsigMessage(commit, "sha512"), privateKey)),
  ]);
  return joinSignature(format, commit, armorSshsig(encodeSshsig(KEY, "sha512", signature)));
}
