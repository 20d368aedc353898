/** Takes lines of work to a committed transaction: values into blobs, then planned, offered and kept. */

import * as path from "node:path";
import type { Oid } from "../gitwire/object/oid.ts";
import { PackBuilder } from "../gitwire/pack/pack-builder.ts";
import { LIMITS } from "../limits.ts";
import { collectGarbage } from "../memory.ts";
import type { BatchLine } from "./batch.ts";
import { etagHasher } from "./etag.ts";
import { localAcceptor } from "./local-acceptor.ts";
import type { Operation } from "./operation.ts";
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
  /** Makes the namespace; it is an error where it exists. */
  readonly create?: { readonly epoch: string };
}

/** Commits the lines that `feed` hands on, all in one transaction. Throws what {@link writeTransaction} throws. */
export async function commit(
  workspace: Workspace,
  options: CommitOptions,
  feed: (use: (line: BatchLine) => void) => Promise<void> | void,
): Promise<WriteOutcome> {
  const { repo } = workspace;
  const builder = new PackBuilder(repo.format, { dir: path.join(repo.objectsDir, "pack") });
  try {
    const rules = { maxInline: LIMITS.inlineValue, ignoreMissing: options.ignoreMissing ?? false };
    const values = new ValueStore(builder, await etagHasher(options.bytes ?? 0), rules);
    const operations: Operation[] = [];
    await feed((line) => operations.push(values.operation(line)));
    collectGarbage(operations.length);
    return await writeTransaction(workspace, await acceptorOf(workspace), {
      builder,
      operations,
      message: options.message,
      expectTree: options.expectTree,
      namespace: options.create !== undefined ? "create" : workspace.hasStargate ? "either" : "required",
      ...(options.create !== undefined && { epoch: options.create.epoch }),
    });
  } finally {
    builder.dispose();
  }
}

/** Who decides: the Stargate where one is set up, else this repository. */
async function acceptorOf(workspace: Workspace): Promise<Acceptor> {
  if (!workspace.hasStargate) {
    workspace.requireLocalMode();
    return localAcceptor(workspace.repo);
  }
  return (await import("./stargate-acceptor.ts")).stargateAcceptor(workspace);
}
