/**
 * The refs of one repository: read without locks (ref-reader.ts), moved in transactions (ref-transaction.ts). What moves them is
 * loaded by the first move, so that a command that only reads does without (docs/design/120-cold-code.md).
 */

import type { LockSet } from "./lock-set.ts";
import { checkRefName } from "./ref-name.ts";
import { RefReader } from "./ref-reader.ts";
import type { RefChange, RefTransaction, TransactionOptions } from "./ref-transaction.ts";

export class RefStore extends RefReader {
  /** Whether what dead processes left has been cleared away. */
  #swept = false;

  /** A transaction of `changes`; nothing is touched before its `prepare()`. Throws REF_INVALID. */
  async begin(changes: readonly RefChange[], options: TransactionOptions = {}): Promise<RefTransaction> {
    const { RefTransaction } = await import("./ref-transaction.ts");
    return new RefTransaction(this, await this.#newLocks(options.wait), changes, options);
  }

  /** Makes `changes`, all or none. Throws CAS_CONFLICT, LOCKED, REF_INVALID, STORAGE, IO. */
  async update(changes: readonly RefChange[], options: TransactionOptions = {}): Promise<void> {
    const transaction = await this.begin(changes, options);
    await transaction.prepare();
    transaction.commit();
  }

  /** Makes `name` (HEAD, or a ref) point at the ref `target`. Throws LOCKED, REF_INVALID. */
  async setSymbolic(name: string, target: string): Promise<void> {
    checkRefName(target);
    const file = this.path(name);
    const locks = await this.#newLocks();
    try {
      await locks.acquire([file]);
      locks.stage(file, Buffer.from(`ref: ${target}\n`));
      locks.publish(file);
    } finally {
      locks.release();
    }
  }

  /**
   * Clears away what transactions of dead processes left behind (their locks, mainly) and returns how many there were.
   * Every first transaction does so by itself; a server calls it at start-up. `alone`: see {@link LockSet.sweep}.
   */
  async recover(alone = false): Promise<number> {
    const locks = await this.#newLocks();
    try {
      return locks.sweep(alone);
    } finally {
      locks.release();
    }
  }

  async #newLocks(wait = this.options.lockWait): Promise<LockSet> {
    const { hasAbandonedLocks, LockSet } = await import("./lock-set.ts");
    const { identity } = this.options;
    const sweep = !this.#swept || hasAbandonedLocks();
    this.#swept = true;
    return new LockSet({
      sweep,
      disk: this.disk,
      home: this.commonDir,
      ...(wait === undefined ? {} : { wait }),
      ...(identity === undefined ? {} : { identity }),
    });
  }
}
