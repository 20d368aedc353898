/**
 * What a push is, by the refs it names (docs/stargate.md, "Which refs"): a transaction of one namespace, a change of the policy,
 * or a push of ordinary refs. Everything else is refused before a byte of its pack is read.
 */

import { KvError, toKvError } from "../errors.ts";
import type { ObjectFormat } from "../gitwire/object/oid.ts";
import type { PushCommand } from "../gitwire/protocol/receive-commands.ts";
import type { RefStore } from "../gitwire/refs/ref-store.ts";
import { classifyRef, type KvRef, POLICY_REF } from "../kv/namespace.ts";

/** A push that may go on. */
export type PushKind =
  | {
      readonly kind: "transaction";
      readonly ns: string;
      readonly ledger: PushCommand;
      readonly index: PushCommand;
      /** The chunk ref, where the transaction adds pieces, and the epoch it is of. */
      readonly chunks: PushCommand | undefined;
      readonly epoch: string | undefined;
      /** The refs that move besides where the transaction begins an epoch, and the label of the one that it closes. */
      readonly begins: EpochCommands | undefined;
    }
  | { readonly kind: "policy"; readonly command: PushCommand }
  | { readonly kind: "ordinary"; readonly commands: readonly PushCommand[] };

/** The commands by which an epoch begins. */
export interface EpochCommands {
  readonly root: PushCommand;
  readonly archive: PushCommand;
  readonly indexArchive: PushCommand;
  readonly closes: string;
}

interface KvCommand {
  readonly command: PushCommand;
  readonly is: KvRef;
}

/** A namespace's transaction. */
export type Transaction = Extract<PushKind, { kind: "transaction" }>;

/** Says what kind of push `commands` (at least one) are. Throws REF_FORBIDDEN. */
export function classifyPush(commands: readonly PushCommand[], format: ObjectFormat): PushKind {
  const kv: KvCommand[] = [];
  for (const command of commands) {
    const is = classifyRef(command.ref);
    if (is !== undefined) kv.push({ command, is });
    else if (/^refs\/pull(?:\/|$)/i.test(command.ref)) throw forbidden(`${command.ref} belongs to the host`);
  }
  if (kv.length === 0) return { kind: "ordinary", commands };
  if (kv.length < commands.length) {
    throw forbidden(
      "refs of git-kv and other refs cannot be moved in one push",
      "push them apart: two authorities cannot be atomic",
    );
  }
  for (const { command, is } of kv) checkAllowed(command, is, format);
  const [first] = kv;
  if (kv.length === 1 && first!.is.kind === "policy") return { kind: "policy", command: first!.command };
  return transaction(kv);
}

/**
 * Ordinary refs are moved as git moves them, which follows a symbolic ref: one that its owner made and that leads to a ref of ours must
 * not be a way around the checks. Throws REF_FORBIDDEN.
 */
export function refuseAliases(push: PushKind, refs: Pick<RefStore, "follow">): void {
  if (push.kind !== "ordinary") return;
  for (const { ref } of push.commands) {
    const target = endOf(ref, refs);
    if (target === ref || classifyRef(target) === undefined) continue;
    throw forbidden(`${ref} is a symbolic ref to ${target}, which only transactions move`);
  }
}

function endOf(ref: string, refs: Pick<RefStore, "follow">): string {
  try {
    return refs.follow(ref).name;
  } catch (error) {
    // A damaged ref leads nowhere: its own update fails.
    if (toKvError(error).code === "CORRUPT") return ref;
    throw error;
  }
}

function checkAllowed({ ref, newOid }: PushCommand, is: KvRef, format: ObjectFormat): void {
  if (newOid === format.zeroOid) throw forbidden(`${ref} cannot be deleted`);
  switch (is.kind) {
    case "ledger":
    case "index":
    case "chunks":
    case "policy":
      return;
    case "mirror":
      throw forbidden(`${ref} is a watermark, which only a Stargate writes`);
    case "epoch":
    case "archive":
    case "index-archive":
      return;
    case "reserved":
      throw forbidden(`${ref} has no meaning in git-kv's format`, "names under refs/kv are git-kv's own");
  }
}

function transaction(kv: readonly KvCommand[]): PushKind {
  const { is } = kv[0]!;
  if (kv.some(({ is: other }) => other.kind === "policy")) {
    throw forbidden(`${POLICY_REF} is pushed alone`);
  }
  const ns = "ns" in is ? is.ns : "";
  if (kv.some(({ is: other }) => !("ns" in other) || other.ns !== ns)) {
    throw forbidden("a transaction moves the refs of one namespace", "push each namespace apart");
  }
  const begins = epochCommands(kv);
  const ledger = kv.find(({ is: other }) => other.kind === "ledger")?.command;
  const index = kv.find(({ is: other }) => other.kind === "index")?.command;
  if (begins !== undefined) checkEpoch(begins, ledger, index);
  if (ledger === undefined || index === undefined) {
    throw forbidden(`a transaction moves refs/kv/${ns} and refs/kv-index/${ns} together`);
  }
  const [chunks, ...more] = kv.filter(({ is: other }) => other.kind === "chunks");
  if (more.length > 0) throw forbidden(`a transaction adds pieces in one epoch, not to ${more[0]!.command.ref} too`);
  const epoch = chunks?.is.kind === "chunks" ? chunks.is.epoch : undefined;
  return { kind: "transaction", ns, ledger, index, chunks: chunks?.command, epoch, begins };
}

/** The commands of an epoch's start among `kv`. Throws REF_FORBIDDEN where they are not all there, each once. */
function epochCommands(kv: readonly KvCommand[]): EpochCommands | undefined {
  const pick = (kind: KvRef["kind"]): readonly KvCommand[] => kv.filter(({ is }) => is.kind === kind);
  const [roots, archives, indexes] = [pick("epoch"), pick("archive"), pick("index-archive")];
  const all = [...roots, ...archives, ...indexes];
  if (all.length === 0) return undefined;
  const [root, archive, index] = [roots[0], archives[0], indexes[0]];
  const isWhole = all.length === 3 && root !== undefined && archive !== undefined && index !== undefined;
  if (!isWhole || archive.is.kind !== "archive" || index.is.kind !== "index-archive") throw onlyByEpochs(all.at(-1)!);
  if (archive.is.epoch !== index.is.epoch) throw onlyByEpochs(index);
  return {
    root: root.command,
    archive: archive.command,
    indexArchive: index.command,
    closes: archive.is.epoch,
  };
}

function onlyByEpochs({ command }: KvCommand): KvError {
  return forbidden(`${command.ref} moves only when a new epoch begins`, "push all refs of its start together");
}

/** The epoch begins with the new ledger commit, and what is archived is what was there before. */
function checkEpoch(
  { root, archive, indexArchive }: EpochCommands,
  ledger: PushCommand | undefined,
  index: PushCommand | undefined,
): void {
  if (ledger === undefined || index === undefined) throw forbidden(`${root.ref} moves only when a new epoch begins`);
  if (root.newOid !== ledger.newOid) throw forbidden(`${root.ref} must move to the new ${ledger.ref}`);
  if (archive.newOid !== ledger.oldOid) throw forbidden(`${archive.ref} must be the ${ledger.ref} that is closed`);
  if (indexArchive.newOid !== index.oldOid)
    throw forbidden(`${indexArchive.ref} must be the ${index.ref} that is closed`);
}

/** The commands of a transaction. */
export function transactionCommands({
  ledger,
  index,
  chunks,
  begins,
}: Extract<PushKind, { kind: "transaction" }>): PushCommand[] {
  const commands = chunks === undefined ? [ledger, index] : [ledger, index, chunks];
  return begins === undefined ? commands : [...commands, begins.root, begins.archive, begins.indexArchive];
}

function forbidden(message: string, hint?: string): KvError {
  return new KvError("REF_FORBIDDEN", message, hint === undefined ? {} : { hint });
}

/**
 * Pieces are added in the epoch that the ledger is in, of all that a client may know of; the start of another closes this one. `named`
 * is what the ledger commit calls its epoch, once that is read. Throws REF_FORBIDDEN.
 */
export function requireEpoch(
  { ns, chunks, epoch, begins }: Transaction,
  current: string | undefined,
  named?: string,
): void {
  if (current === undefined) return;
  const refuse = (ref: string): KvError =>
    new KvError("REF_FORBIDDEN", `${ref} cannot be pushed: '${ns}' is in the epoch ${current}`);
  if (begins === undefined) {
    if (chunks !== undefined && epoch !== current) throw refuse(chunks.ref);
    return;
  }
  if (begins.closes !== current) throw refuse(begins.archive.ref);
  if (chunks === undefined) return;
  if (epoch === current) throw refuse(chunks.ref);
  if (named !== undefined && epoch !== named)
    throw new KvError("REF_FORBIDDEN", `${chunks.ref} cannot be pushed: the epoch that begins is ${named}`);
}
