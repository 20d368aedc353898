/** Takes lines of work to a committed transaction: values into blobs, then planned, offered and kept. */

import * as path from "node:path";
import type { Oid } from "../gitwire/object/oid.ts";
import { PackBuilder } from "../gitwire/pack/pack-builder.ts";
import { collectGarbage } from "../memory.ts";
import type { WriteLine } from "./batch.ts";
import { etagHasher } from "./etag.ts";
import { localAcceptor } from "./local-acceptor.ts";
import type { MetaHelper } from "./meta-helper.ts";
import { FIRST_EPOCH } from "./namespace.ts";
import type { Operation } from "./operation.ts";
import type { PieceBytes, PieceStore } from "./piece-store.ts";
import type { ProgressMeter } from "./progress-meter.ts";
import { valueRules } from "./value-rules.ts";
import { ValueStore } from "./value-store.ts";
import type { Workspace } from "./workspace.ts";
import { type Acceptor, type WriteOutcome, writeTransaction } from "./write.ts";

export interface CommitOptions {
  readonly message?: string | undefined;
  /** Tree the ledger must be at. */
  readonly expectTree?: Oid | undefined;
  /** Deletions of keys that are not there are left out. */
  readonly ignoreMissing?: boolean;
  /** About how many bytes of values come; decides how they are hashed. */
  readonly bytes?: number;
  /** Makes the metadata of many keys on another thread; whoever gives it closes it. */
  readonly metas?: MetaHelper | undefined;
  /** Makes the namespace; it is an error where it exists. */
  readonly create?: { readonly epoch: string };
}

/** What came of it, and what its large values took, where it had any. */
export type CommitOutcome = WriteOutcome & { readonly bytes?: PieceBytes };

/** Commits the lines that `feed` hands on, all in one transaction. Throws what {@link writeTransaction} throws. */
export async function commit(
  workspace: Workspace,
  options: CommitOptions,
  feed: (use: (line: WriteLine) => void | Promise<void>) => Promise<void> | void,
): Promise<CommitOutcome> {
  const { repo, around } = workspace;
  const acceptor = await acceptorOf(workspace);
  const builder = new PackBuilder(repo.format, {
    dir: path.join(repo.objectsDir, "pack"),
    copiesBases: !workspace.hasStargate,
  });
  let pieces: PieceStore | undefined;
  let meter: ProgressMeter | undefined;
  try {
    const values = new ValueStore({
      sink: builder,
      etagOf: await etagHasher(options.bytes ?? 0),
      book: valueRules(workspace),
      now: workspace.now(),
      ignoreMissing: options.ignoreMissing ?? false,
      signal: around.signal,
      pieces: async () => {
        pieces ??= await openPieces(workspace, acceptor, builder, options.create?.epoch);
        return pieces;
      },
      deltas: async (key, pieces, chunking) => {
        const { previousPieces } = await import("./piece-deltas.ts");
        return previousPieces(repo.objects, workspace.state(), key, pieces, chunking);
      },
      progress: async () => {
        const { ProgressMeter } = await import("./progress-meter.ts");
        meter?.end();
        meter = new ProgressMeter("storing", around.progress, () => around.clock.now());
        return meter;
      },
    });
    const operations = await operationsOf(values, feed);
    meter?.end();
    if (values.setsTimes) await warnOfClock(workspace);
    collectGarbage(operations.length, "little");
    const outcome = await writeTransaction(workspace, acceptor, {
      builder,
      operations,
      pieces,
      metas: options.metas,
      message: options.message,
      expectTree: options.expectTree,
      namespace: options.create !== undefined ? "create" : workspace.hasStargate ? "either" : "required",
      ...(options.create !== undefined && { epoch: options.create.epoch }),
    });
    if (values.expired > 0) around.warn(expiredOnArrival(values.expired));
    return pieces === undefined ? outcome : { ...outcome, bytes: pieces.bytes };
  } finally {
    meter?.end();
    builder.dispose();
    await acceptor.close?.();
  }
}

function expiredOnArrival(keys: number): string {
  const which =
    keys === 1
      ? "the key expires at a time that is past: it is"
      : `${keys} keys expire at times that are past: they are`;
  return `${which} expired on arrival, and not there for readers`;
}

/** Times to live begin by the clock here: says so where it cannot be right. */
async function warnOfClock(workspace: Workspace): Promise<void> {
  const state = workspace.state();
  if (state !== undefined) (await import("./read-expiry.ts")).warnOfLedgerTime(workspace, state);
}

/** The operations of all lines in their order; also of those whose value was still on its way when `feed` was done. */
async function operationsOf(
  values: ValueStore,
  feed: (use: (line: WriteLine) => void | Promise<void>) => Promise<void> | void,
): Promise<readonly Operation[]> {
  const operations: Operation[] = [];
  const underWay = new Set<Promise<void>>();
  const use = (line: WriteLine): Promise<void> | undefined => {
    const operation = values.operation(line);
    const place = operations.length;
    if (!(operation instanceof Promise)) {
      operations.push(operation);
      return undefined;
    }
    operations.length++;
    const done = operation.then((made) => {
      operations[place] = made;
      underWay.delete(done);
    });
    underWay.add(done);
    // Its failure is the transaction's: thrown below, where the caller did not wait for it.
    done.catch(() => {});
    return done;
  };
  try {
    await feed(use);
  } finally {
    // What they write into is disposed of next.
    await Promise.allSettled(underWay);
  }
  await Promise.all(underWay);
  return operations;
}

/** Learns which pieces are there already. */
async function openPieces(
  workspace: Workspace,
  acceptor: Acceptor,
  builder: PackBuilder,
  epoch: string | undefined,
): Promise<PieceStore> {
  const { PieceStore } = await import("./piece-store.ts");
  const tip = await acceptor.chunkTip(workspace.ns, epoch ?? workspace.state()?.ledger.epoch ?? FIRST_EPOCH);
  return new PieceStore(builder, tip);
}

/** Who decides: the Stargate where one is set up, else this repository. */
export async function acceptorOf(workspace: Workspace): Promise<Acceptor> {
  if (!workspace.hasStargate) {
    workspace.requireLocalMode();
    return localAcceptor(workspace.repo, workspace.around.signal);
  }
  return (await import("./stargate-acceptor.ts")).stargateAcceptor(workspace);
}
