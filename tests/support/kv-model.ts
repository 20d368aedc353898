/** A namespace in memory: applies operations through the real planner and keeps a plain map of what must come out. */

import { utf8ToByteString } from "../../src/bytes.ts";
import type { Ident } from "../../src/gitwire/object/commit.ts";
import type { ObjectFormat, Oid } from "../../src/gitwire/object/oid.ts";
import { parseTree } from "../../src/gitwire/object/tree.ts";
import { etagOf } from "../../src/kv/etag.ts";
import { indexFileName } from "../../src/kv/index-file.ts";
import { type Key, keyName } from "../../src/kv/key.ts";
import type { Operation } from "../../src/kv/operation.ts";
import { type NamespaceState, stateAt } from "../../src/kv/state.ts";
import { type ChunkInput, type Plan, planTransaction } from "../../src/kv/transaction.ts";
import { MemoryObjects } from "./memory-objects.ts";

const WHO: Ident = { name: "Test", email: "test@example.com", seconds: 1_767_322_800, offset: 0 };

export class KvModel {
  readonly objects: MemoryObjects;
  state: NamespaceState | undefined;
  /** When the next transactions are made, Unix seconds. */
  at = WHO.seconds;
  #count = 0;

  constructor(format?: ObjectFormat) {
    this.objects = new MemoryObjects(format);
  }

  set(
    key: string,
    value: string,
    extra: { expires?: number; ctype?: string; labels?: Record<string, string> } = {},
  ): Operation {
    const data = Buffer.from(value);
    const bytes = utf8ToByteString(key);
    return {
      kind: "set",
      key: bytes,
      value: {
        type: "inline",
        oid: this.objects.write("blob", data),
        size: data.length,
        etag: etagOf(data),
        ctype: extra.ctype ?? "application/octet-stream",
      },
      expires: extra.expires,
      labels: extra.labels,
    };
  }

  del(key: string, ignoreMissing = false): Operation {
    const bytes = utf8ToByteString(key);
    return { kind: "del", key: bytes, ignoreMissing };
  }

  plan(operations: readonly Operation[], message?: string, chunks?: ChunkInput): Plan {
    const txn = `01JBAXF5Z8J8M7R2TK${String(++this.#count).padStart(8, "0")}`;
    return planTransaction(this.objects, this.objects, {
      base: this.state,
      ns: "main",
      epoch: "e1",
      policy: undefined,
      txn,
      operations,
      message,
      author: { ...WHO, seconds: this.at },
      committer: { ...WHO, seconds: this.at },
      chunks,
    });
  }

  commit(operations: readonly Operation[], message?: string, chunks?: ChunkInput): Plan {
    const plan = this.plan(operations, message, chunks);
    if (plan.kind === "planned") this.state = stateAt(this.objects, plan.ledger, plan.moves[1]!.newOid);
    return plan;
  }

  /** Every path below `root` with its blob. */
  files(root: Oid | undefined): Map<string, Oid> {
    const found = new Map<string, Oid>();
    const walk = (oid: Oid, path: string): void => {
      for (const entry of parseTree(this.objects.format, this.objects.read(oid)!.data)) {
        if (entry.mode === 0o40000) walk(entry.oid, `${path}${entry.name}/`);
        else found.set(path + entry.name, entry.oid);
      }
    };
    if (root !== undefined) walk(root, "");
    return found;
  }
}

/** The kv-index file of a live key. */
export function liveFile(key: Key): string {
  return indexFileName(keyName(key), { kind: "live", expires: undefined });
}
