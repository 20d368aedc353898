/**
 * What the Stargate adds to indexing a pack: the whole admission of a signed transaction (attestation, signature, replay, sample or
 * neither), in a repository that was just opened, its pack being indexed as it would be there; and how many signed transactions a second `git kv verify` checks in a
 * clone.
 */

import { generateKeyPairSync, sign } from "node:crypto";
import * as os from "node:os";
import { utf8ToByteString } from "../../src/bytes.ts";
import { joinSignature } from "../../src/gitwire/object/commit-signature.ts";
import { type GitObject, type ObjectSink, type ObjectSource, readAs } from "../../src/gitwire/object/object.ts";
import { hashObject, type ObjectKind, type Oid, SHA1 } from "../../src/gitwire/object/oid.ts";
import { encodeSshKey } from "../../src/gitwire/object/ssh-key.ts";
import { sshString } from "../../src/gitwire/object/ssh-wire.ts";
import { armorSshsig, encodeSshsig, sshsigMessage } from "../../src/gitwire/object/sshsig.ts";
import { indexPack } from "../../src/gitwire/pack/index-pack.ts";
import { PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import { bytesSource } from "../../src/gitwire/protocol/byte-stream.ts";
import { openRepository } from "../../src/gitwire/repo.ts";
import { writePack } from "../../src/gitwire/store/object-writer.ts";
import { Quarantine } from "../../src/gitwire/store/quarantine.ts";
import { etagHasher } from "../../src/kv/etag.ts";
import { judgeSignature } from "../../src/kv/judge-signature.ts";
import { namespacePolicy } from "../../src/kv/policy.ts";
import { parsePolicy } from "../../src/kv/read-policy.ts";
import { type NamespaceState, readState, stateAt } from "../../src/kv/state.ts";
import { planTransaction } from "../../src/kv/transaction.ts";
import { LIMITS } from "../../src/limits.ts";
import { admit } from "../../src/stargate/admission.ts";
import { median } from "../measure.ts";
import type { Scratch } from "../scratch.ts";
import { atMost, type Row } from "../table.ts";
import { storeTransaction } from "./attestation.ts";
import type { Case } from "./case.ts";

const TRANSACTIONS = 10_000;
/** Keys of the ledger that is verified. */
const KEYS = 5_000;
const WHO = { name: "Bench", email: "bench@example.com", seconds: 1_767_322_800, offset: 0 };

const { publicKey, privateKey } = generateKeyPairSync("ed25519");
const blob = encodeSshKey(publicKey)!;

function signed(commit: Buffer): Buffer {
  const signature = Buffer.concat([
    sshString("ssh-ed25519"),
    sshString(sign(null, sshsigMessage(commit, "sha512"), privateKey)),
  ]);
  return joinSignature(SHA1, commit, armorSshsig(encodeSshsig(blob, "sha512", signature)));
}

const policyOf = (verify: string) =>
  parsePolicy(
    `version: 1\nnamespaces: { main: { require_signed_commits: true, verify: "${verify}", writers: ["ssh-ed25519 ${blob.toString("base64")} bench"] } }\n`,
  );

export const admission: Case = async ({ scratch, stores, runs, keys }) => {
  const dir = "admission.git";
  cloneOf(scratch, stores.ours(), dir);
  const rows: Row[] = [];
  const targets: Readonly<Record<string, number>> = {
    "1 replay": 5,
    "15000 replay": 500,
    "1 attested": 2,
    "15000 attested": 2,
  };
  for (const size of [1, 15_000]) {
    const pushes = await pushesOf(scratch, cloneOf(scratch, stores.ours(), `admission-${size}.git`), size, keys);
    const measure = (push: PushedTransaction, verify: string): Promise<number> =>
      admitted(scratch.path(dir), push, verify, size === 1 ? runs.short : runs.long);
    for (const verify of ["replay", "sample:32", "attested"]) {
      const ours = await measure(pushes.ours, verify);
      const most = targets[`${size} ${verify}`];
      const target = most === undefined ? {} : { target: atMost(most) };
      const byGit = verify === "replay" ? (await measure(pushes.gits, verify)).toFixed(1) : undefined;
      const extra = byGit === undefined ? {} : { extra: `in a pack that git made: ${byGit} ms` };
      rows.push({
        name: `admission, ${size.toLocaleString("en")} operations, ${verify}`,
        unit: "ms",
        ours,
        ...target,
        ...extra,
      });
    }
  }
  return rows;
};

/** A transaction as it arrives. */
interface PushedTransaction {
  readonly ledger: Oid;
  readonly index: Oid;
  readonly pack: Buffer;
}

/** A bare repository with the store's objects and refs. */
function cloneOf(scratch: Scratch, store: string, dir: string): string {
  scratch.git("", "init", "-q", "--bare", dir);
  scratch.shareObjects(`${store}/.git/objects`, `${dir}/objects`);
  for (const ref of ["refs/kv/main", "refs/kv-index/main"]) {
    scratch.git(dir, "update-ref", ref, scratch.git(store, "rev-parse", ref));
  }
  return dir;
}

/** A signed transaction of `size` operations, planned in the repository `dir`, in the pack that `git kv` pushes and in the one `git push` does. */
async function pushesOf(
  scratch: Scratch,
  dir: string,
  size: number,
  keys: number,
): Promise<{ readonly ours: PushedTransaction; readonly gits: PushedTransaction }> {
  const { state, pack } = await storeTransaction(scratch.path(dir), size, keys, signed);
  const commits = { ledger: state.ledger.oid, index: state.index! };
  const revs = `${commits.ledger}\n${commits.index}\n^refs/kv/main\n^refs/kv-index/main\n`;
  const script = `printf '${revs}' | git pack-objects --revs --stdout --thin --delta-base-offset -q`;
  const gits = scratch.run(dir, ["sh", "-c", script]).stdout;
  return { ours: { ...commits, pack }, gits: { ...commits, pack: gits } };
}

export const verification: Case = async ({ scratch }) => [await verifying(scratch)];

/** Milliseconds of one admission, after the pack has been indexed as a Stargate does it, which is not counted. */
async function admitted(dir: string, push: PushedTransaction, verify: string, runs: number): Promise<number> {
  const { ledger, index, pack } = push;
  const policy = policyOf(verify);
  const samples: number[] = [];
  for (let run = -1; run < runs; run++) {
    const repo = openRepository(dir, {});
    repo.objectCacheBytes = LIMITS.serverObjectCache;
    const { refs, format } = repo;
    const quarantine = Quarantine.create(repo.objectsDir, { seenBytes: 1.5 * LIMITS.serverObjectCache });
    await indexPack(bytesSource(pack), {
      format,
      dir: quarantine.packDir,
      bases: repo.objects,
      seen: quarantine.seen,
      seesBlobs: verify !== "attested",
    });
    const objects = quarantine.source(repo.objects);
    const base = readState(objects, refs, "main");
    const started = performance.now();
    const data = readAs(objects, ledger, "commit");
    const { ledger: commit } = stateAt(objects, ledger);
    const judged = judgeSignature(format, data, policy, "main", Date.now());
    const rules = namespacePolicy(policy, "main");
    const claim = { objects, ns: "main", base, ledger, index, commit, policy: undefined, rules };
    await admit({
      ...claim,
      signature: () => judged,
      expectations: [],
      chunks: undefined,
      chunkTip: undefined,
      beginsEpoch: false,
      now: Date.now(),
      isUsedLabel: () => false,
      seen: () => undefined,
    });
    if (run >= 0) samples.push(performance.now() - started);
    quarantine.discard();
    repo.close();
  }
  return median(samples);
}

/** Objects in memory, written as they are planned. */
class Memory implements ObjectSource, ObjectSink {
  readonly format = SHA1;
  readonly objects = new Map<Oid, GitObject>();

  read(oid: Oid): GitObject | undefined {
    return this.objects.get(oid) ?? (oid === SHA1.emptyTree ? { kind: "tree", data: Buffer.alloc(0) } : undefined);
  }

  has(oid: Oid): boolean {
    return this.objects.has(oid);
  }

  write(kind: ObjectKind, data: Uint8Array): Oid {
    const oid = hashObject(SHA1, kind, data);
    this.objects.set(oid, { kind, data: Buffer.from(data) });
    return oid;
  }

  writeDelta(kind: ObjectKind, data: Uint8Array): Oid {
    return this.write(kind, data);
  }
}

/** Transactions a second in a clone that was just fetched. */
async function verifying(scratch: Scratch): Promise<Row> {
  const memory = new Memory();
  const etagOf = await etagHasher(Number.POSITIVE_INFINITY);
  let tip: NamespaceState | undefined;
  for (let i = 0; i < TRANSACTIONS; i++) {
    const data = Buffer.from(`value ${i}`);
    const value = {
      type: "inline",
      oid: memory.write("blob", data),
      size: data.length,
      etag: etagOf(data),
      ctype: "text/plain",
    } as const;
    const key = utf8ToByteString(`user:${(i * 7_919) % KEYS}`);
    const plan = planTransaction(memory, memory, {
      base: tip,
      ns: "main",
      epoch: "e1",
      policy: undefined,
      txn: `01JBAXF5Z8J8M7R2TK${String(i).padStart(8, "0")}`,
      operations: [{ kind: "set", key, value, expires: undefined, labels: undefined }],
      message: undefined,
      author: WHO,
      committer: WHO,
    });
    if (plan.kind !== "planned") throw new Error("nothing changes");
    const ledger = memory.write("commit", signed(readAs(memory, plan.ledger, "commit")));
    tip = stateAt(memory, ledger, plan.moves[1]!.newOid);
  }
  const dir = "audited";
  store(scratch, dir, memory, tip!);
  scratch.settle();
  const run = scratch.run(dir, [scratch.gitKv, "verify"]);
  const others = os.availableParallelism() - 1;
  return {
    name: `verify, ${TRANSACTIONS.toLocaleString("en")} signed transactions`,
    unit: "per second",
    ours: TRANSACTIONS / (run.ms / 1_000),
    extra: `the whole command, ${others} threads besides the first; to reach: 2,000`,
  };
}

/** Stores the ledger as a clone of its mirror has it: in one pack that git made, versions of a directory being deltas of each other. */
function store(scratch: Scratch, dir: string, memory: Memory, tip: NamespaceState): void {
  scratch.git("", "init", "-q", dir);
  const repo = openRepository(scratch.path(dir), {});
  const pack = new PackBuilder(repo.format);
  for (const { kind, data } of memory.objects.values()) pack.write(kind, data);
  writePack(repo.objects, pack.finish());
  repo.close();
  scratch.git(dir, "update-ref", "refs/kv/main", tip.ledger.oid);
  scratch.git(dir, "update-ref", "refs/kv-index/main", tip.index!);
  scratch.git(dir, "repack", "-adfq");
}
