/**
 * The part of an audit that concerns values in pieces (docs/verify.md): each transaction's chunk commit, found by its KV-Txn, and
 * the pieces behind each new manifest.
 *
 * A clone that writes through a Stargate keeps no chunk ref, so there a value is read where all its pieces happen to be here; how many
 * were not is counted. Where the pieces must be, in a Stargate's repository and in local mode, one that is missing is a finding.
 */

import { KvError } from "../errors.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { type LedgerCommit, parseLedgerCommit } from "./attestation.ts";
import type { Claim } from "./check-attestation.ts";
import { ChunkHistory, type ChunkLink } from "./chunk-history.ts";
import { streamValue } from "./chunked-value.ts";
import { KnownGroups } from "./known-groups.ts";
import { type PieceRules, replayChunks } from "./replay-chunks.ts";
import { type NewManifest, readManifest } from "./stored-manifest.ts";

/** Where an audit finds the pieces of a namespace. */
export interface ChunkStore {
  /** The commit at the chunk ref of an epoch, or undefined. */
  tip(epoch: string): Oid | undefined;
  /** Whether all pieces must be here. */
  readonly isComplete: boolean;
  /** Commits that a shallow repository has without those before them; default: none. */
  readonly ends?: ReadonlySet<Oid>;
}

export interface ChunkAuditOptions {
  readonly store: ChunkStore;
  /** The trusted ledger commit the audit begins after; undefined: it begins with the first. */
  readonly since: Oid | undefined;
  readonly signal: AbortSignal;
  readonly found: (oid: Oid, error: KvError) => void;
}

const NO_ENDS: ReadonlySet<Oid> = new Set();

/** An epoch's chunk commits so far. */
interface Epoch {
  /** Undefined where there are none here. */
  readonly history: ChunkHistory | undefined;
  /** The newest that a transaction has taken. */
  tip: ChunkLink | undefined;
  /** A chunk commit was not here: nobody can tell any more what the tree holds. */
  isBlind: boolean;
}

/** What a transaction did, as far as it can be seen. */
export interface ChunkStep {
  readonly before: ChunkLink | undefined;
  readonly link: ChunkLink | undefined;
  readonly isBlind: boolean;
}

export class ChunkAudit {
  /** New values in pieces, and those of them whose pieces were not looked at. */
  values = 0;
  unread = 0;
  readonly #objects: ObjectSource;
  readonly #options: ChunkAuditOptions;
  readonly #epochs = new Map<string, Epoch>();
  readonly #known = new KnownGroups();

  constructor(objects: ObjectSource, options: ChunkAuditOptions) {
    this.#objects = objects;
    this.#options = options;
  }

  /**
   * What to hold the chunk part of a ledger commit's attestation against, and what {@link replay} is to be told; the commits of a
   * ledger come in their order.
   */
  async claim(ledger: LedgerCommit): Promise<{ readonly chunks: Claim["chunks"]; readonly step: ChunkStep }> {
    const epoch = await this.#epoch(ledger.epoch);
    const before = epoch.tip;
    const link = epoch.history?.take(ledger.txn);
    const isMissing = link === undefined && ledger.chunksTree !== undefined;
    if (isMissing && !this.#options.store.isComplete) epoch.isBlind = true;
    if (link !== undefined) epoch.tip = link;
    const step = { before, link, isBlind: epoch.isBlind };
    if (epoch.isBlind && (isMissing || (link !== undefined && before === undefined))) return { chunks: "unseen", step };
    return { chunks: link && { commit: link.commit, tip: before?.commit }, step };
  }

  /** Looks at the pieces of the transaction that did `step`. Rejects as replayChunks. */
  async replay(
    { before, link, isBlind }: ChunkStep,
    manifests: readonly NewManifest[],
    rules: PieceRules,
  ): Promise<void> {
    this.values += manifests.length;
    const { signal } = this.#options;
    if (isBlind) await this.#readHere(manifests);
    else {
      const known = this.#known;
      await replayChunks(this.#objects, { before: before?.tree, added: link?.tree, manifests, rules, known, signal });
    }
  }

  /** Reads values whose pieces are all here, though nobody can tell what the chunk tree holds. Rejects with CORRUPT, CHUNK_MISMATCH. */
  async #readHere(manifests: readonly NewManifest[]): Promise<void> {
    const objects = this.#objects;
    for (const { key, oid } of manifests) {
      const manifest = readManifest(objects, key, oid);
      if (manifest.chunks.every((piece) => objects.has(piece.oid))) {
        await streamValue(objects, manifest, { start: 0, end: manifest.size }, () => {}, this.#options.signal);
      } else this.unread++;
    }
  }

  /** Tells of chunk commits that belong to no transaction. */
  finish(): void {
    const { since, store, found } = this.#options;
    if (since !== undefined || !store.isComplete) return;
    for (const { history } of this.#epochs.values()) {
      for (const { commit } of history?.left() ?? []) {
        found(commit, new KvError("CHUNK_MISMATCH", "the chunk commit belongs to no transaction of the ledger"));
      }
    }
  }

  async #epoch(label: string): Promise<Epoch> {
    const known = this.#epochs.get(label);
    if (known !== undefined) return known;
    const { store, signal, found, since } = this.#options;
    const tip = store.tip(label);
    const history = tip === undefined ? undefined : await ChunkHistory.read(this.#objects, tip, signal, store.ends);
    if (history?.problem !== undefined) found(history.problem.oid, history.problem.error);
    const epoch: Epoch = { history, tip: undefined, isBlind: false };
    if (since !== undefined && this.#epochs.size === 0) this.#resume(epoch, since, label);
    this.#epochs.set(label, epoch);
    return epoch;
  }

  /** Takes what transactions up to `since` have added. */
  #resume(epoch: Epoch, since: Oid, label: string): void {
    const { isComplete, ends = NO_ENDS } = this.#options.store;
    for (let at: Oid | undefined = since; at !== undefined; ) {
      const ledger: LedgerCommit = parseLedgerCommit(this.#objects.format, at, readAs(this.#objects, at, "commit"));
      if (ledger.epoch !== label) return;
      if (ledger.chunksTree !== undefined) {
        epoch.tip = epoch.history?.take(ledger.txn);
        epoch.isBlind = epoch.tip === undefined && (!isComplete || epoch.history?.isCut === true);
        return;
      }
      if (ends.has(at)) {
        epoch.isBlind = true;
        return;
      }
      at = ledger.parent;
    }
  }
}
