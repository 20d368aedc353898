/**
 * Checking transactions of 1 to 100,000 operations, in this process: what the commits attest (the same for all) and the whole
 * replay (in proportion). Each time in a repository that was just opened, so that nothing is cached but the files.
 */

import * as path from "node:path";
import { utf8ToByteString } from "../../src/bytes.ts";
import { PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import { openRepository, type Repository } from "../../src/gitwire/repo.ts";
import { writePack } from "../../src/gitwire/store/object-writer.ts";
import { checkAttestation } from "../../src/kv/check-attestation.ts";
import { etagHasher } from "../../src/kv/etag.ts";
import type { Operation } from "../../src/kv/operation.ts";
import { replayTransaction } from "../../src/kv/replay.ts";
import { type NamespaceState, readState, stateAt } from "../../src/kv/state.ts";
import { draftTransaction } from "../../src/kv/transaction.ts";
import { keyOf } from "../data.ts";
import { median, timed } from "../measure.ts";
import type { Row } from "../table.ts";
import type { Case } from "./case.ts";

const SIZES = [1, 100, 10_000, 100_000];
const WHO = { name: "Bench", email: "bench@example.com", seconds: 1_767_322_800, offset: 0 };

export const attestation: Case = async ({ scratch, stores, runs, keys }) => {
  const dir = "attestation.git";
  scratch.git("", "init", "-q", "--bare", dir);
  scratch.shareObjects(`${stores.ours()}/.git/objects`, `${dir}/objects`);
  for (const ref of ["refs/kv/main", "refs/kv-index/main"]) {
    scratch.git(dir, "update-ref", ref, scratch.git(stores.ours(), "rev-parse", ref));
  }
  const rows: Row[] = [];
  let smallest: number | undefined;
  for (const size of SIZES.filter((size) => size <= keys)) {
    const { state: next } = await storeTransaction(scratch.path(dir), size, keys);
    const hasher = await etagHasher(Number.POSITIVE_INFINITY);
    const check = measure(scratch.path(dir), runs.short, (repo, base) => {
      const claim = { ns: "main", base, ledger: next.ledger.oid, index: next.index!, policy: undefined };
      checkAttestation(repo.objects, claim);
    });
    const replay = measure(scratch.path(dir), runs.long, (repo, base) => {
      replayTransaction(repo.objects, base, next, hasher, { maxKeys: size, maxInline: 1 << 20 });
    });
    smallest ??= check;
    rows.push({
      name: `attestation check, ${size.toLocaleString("en")} operations`,
      unit: "ms",
      ours: check,
      other: { name: "that of 1 operation", value: smallest },
      extra: `whole replay: ${replay.toFixed(1)} ms`,
    });
  }
  return rows;
};

/** A transaction whose objects are stored, and the pack a client would push it in. */
export interface StoredTransaction {
  readonly state: NamespaceState;
  readonly pack: Buffer;
}

/** Plans a transaction that changes `size` keys spread over the store, signs it where `sign` does, and stores its objects. */
export async function storeTransaction(
  dir: string,
  size: number,
  keys: number,
  sign?: (commit: Buffer) => Buffer,
): Promise<StoredTransaction> {
  const repo = openRepository(dir, {});
  const { objects, refs, format } = repo;
  const builder = new PackBuilder(format, { dir: path.join(dir, "objects", "pack") });
  const etagOf = await etagHasher(Number.POSITIVE_INFINITY);
  try {
    const operations = Array.from({ length: size }, (_, i): Operation => {
      const key = utf8ToByteString(keyOf(Math.floor((i * keys) / size)));
      const data = Buffer.from(`checked ${i} of ${size}`);
      const oid = builder.write("blob", data);
      const value = { type: "inline", oid, size: data.length, etag: etagOf(data), ctype: "text/plain" } as const;
      return { kind: "set", key, value, expires: undefined, labels: undefined };
    });
    const draft = draftTransaction(objects, builder, {
      base: readState(objects, refs, "main"),
      ns: "main",
      epoch: "e1",
      policy: undefined,
      txn: `01JBAXF5Z8J8M7R2TK${String(size).padStart(8, "0")}`,
      operations,
      message: undefined,
      author: WHO,
      committer: WHO,
    });
    if (draft.kind === "unchanged") throw new Error("nothing changes");
    const plan = draft.finish(sign?.(draft.ledgerCommit));
    const pack = builder.finish();
    writePack(objects, pack);
    return { state: stateAt(objects, plan.ledger, plan.moves[1]!.newOid), pack: Buffer.concat([...pack.chunks()]) };
  } finally {
    builder.dispose();
    repo.close();
  }
}

function measure(dir: string, runs: number, check: (repo: Repository, base: NamespaceState) => void): number {
  const samples: number[] = [];
  for (let run = -1; run < runs; run++) {
    const repo = openRepository(dir, {});
    const base = readState(repo.objects, repo.refs, "main")!;
    const ms = timed(() => check(repo, base));
    if (run >= 0) samples.push(ms);
    repo.close();
  }
  return median(samples);
}
