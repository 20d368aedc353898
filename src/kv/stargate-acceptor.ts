/** Accepts transactions through a Stargate: one push decides, and what it accepted is then stored here. */

import { AGENT } from "../agent.ts";
import { type Code, KvError } from "../errors.ts";
import { readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { FinishedPack } from "../gitwire/pack/pack-builder.ts";
import type { PushCommand } from "../gitwire/protocol/receive-commands.ts";
import { type PushResult, sendPack } from "../gitwire/protocol/send-pack.ts";
import type { RequestBody } from "../gitwire/protocol/transport.ts";
import { LIMITS } from "../limits.ts";
import { type LedgerCommit, parseLedgerCommit } from "./attestation.ts";
import type { OpenChunks } from "./chunk-trees.ts";
import { fetchAccepted } from "./fetch.ts";
import { storeTransaction } from "./local-acceptor.ts";
import { epochRef, namespaceRefs } from "./namespace.ts";
import { pushUrl, withConnection } from "./remote-session.ts";
import { codedRefusal, type ServerWords } from "./server-words.ts";
import { type NamespaceState, readState } from "./state.ts";
import type { RefMove } from "./transaction.ts";
import { takeOffer, turnFeature } from "./turn-words.ts";
import type { Surroundings, Workspace } from "./workspace.ts";
import type { Acceptor, Proposal } from "./write.ts";

/** An acceptor that pushes to the workspace's push URL. */
export function stargateAcceptor(workspace: Workspace): Acceptor {
  /** By epoch, until the next refresh. */
  const tips = new Map<string, Promise<OpenChunks | undefined>>();
  /** All that were asked for. */
  const asked: Promise<OpenChunks | undefined>[] = [];
  /** Our place among those who write the namespace, where the Stargate has given us one. */
  let ticket: string | undefined;
  return {
    decidesHere: false,
    accept: async (proposal) => {
      try {
        await push(workspace, proposal, ticket);
      } catch (error) {
        ticket = ticketOf(error) ?? ticket;
        throw error;
      }
      await keep(workspace, proposal);
    },
    refresh: async (txn, since) => {
      tips.clear();
      const state = await fetchAccepted(workspace);
      return state === undefined ? undefined : findTransaction(workspace, state, txn, since?.ledger.seq ?? 0);
    },
    chunkTip: async (_ns, epoch) => {
      // Loaded here: a write of small values does without it.
      const { fetchChunkTip } = await import("./chunk-trees.ts");
      const before = tips.get(epoch);
      if (before !== undefined) return before;
      const known = fetchChunkTip(workspace, epoch);
      tips.set(epoch, known);
      asked.push(known);
      return known;
    },
    close: async () => {
      for (const known of await Promise.allSettled(asked)) if (known.status === "fulfilled") known.value?.close();
    },
    leave: async () => {
      if (ticket !== undefined) await leaveTurn(workspace, ticket);
    },
  };
}

/** Lets others have the turn that is kept for us: a push that changes nothing. It would lapse by itself a little later. */
async function leaveTurn(workspace: Workspace, ticket: string): Promise<void> {
  const { repo, around, ns } = workspace;
  const state = readState(repo.objects, repo.refs, ns);
  if (state?.index === undefined) return;
  const names = namespaceRefs(ns);
  const unmoved = (ref: string, oid: Oid): PushCommand => ({ ref, oldOid: oid, newOid: oid });
  const commands = [unmoved(names.ledger, state.ledger.oid), unmoved(names.index, state.index)];
  try {
    await withConnection(repo, around, pushUrl(workspace), "git-receive-pack", (transport) =>
      sendPack(transport, {
        commands,
        pack: undefined,
        format: repo.format,
        atomic: true,
        pushOptions: [],
        useAdvertisement: false,
        agent: AGENT,
        features: [turnFeature(ticket)],
      }),
    );
  } catch {
    // As above: it lapses.
  }
}

function ticketOf(error: unknown): string | undefined {
  const ticket = error instanceof KvError ? error.data?.place : undefined;
  return typeof ticket === "string" ? ticket : undefined;
}

async function push(
  workspace: Workspace,
  { plan, pack, expectTree }: Proposal,
  ticket: string | undefined,
): Promise<void> {
  const { repo, around } = workspace;
  const { zeroOid } = repo.format;
  const url = pushUrl(workspace);
  await withConnection(repo, around, url, "git-receive-pack", async (transport, words) => {
    const result = await sendPack(transport, {
      commands: plan.moves.map(({ ref, oldOid, newOid }) => ({ ref, oldOid: oldOid ?? zeroOid, newOid })),
      pack: await metered(around, pack),
      format: repo.format,
      atomic: true,
      pushOptions: expectTree === undefined ? [] : [`expect-tree=${expectTree}`],
      useAdvertisement: false,
      agent: AGENT,
      // Where a certain tree is expected, there is no second try.
      features: expectTree === undefined ? [turnFeature(ticket)] : [],
      progress: words.hear,
    });
    throwRefusal(result, url, words);
  });
}

/** Packs of fewer bytes are sent in a moment. */
const METERED = 4 * 1024 * 1024;

/** The pack; where it is large, it is told how much of it is sent. */
async function metered(
  { progress, clock }: Surroundings,
  pack: FinishedPack,
): Promise<RequestBody & { thin: boolean }> {
  if (pack.byteLength < METERED) return pack;
  const { ProgressMeter } = await import("./progress-meter.ts");
  const { byteLength, thin } = pack;
  return {
    byteLength,
    thin,
    *chunks() {
      const meter = new ProgressMeter("sending", progress, () => clock.now());
      let sent = 0;
      for (const chunk of pack.chunks()) {
        yield chunk;
        sent += chunk.length;
        meter.tell(sent, byteLength);
      }
      meter.end();
    },
  };
}

/** What git's own servers say of a ref that is not where the push expected it. */
const STALE =
  /fetch first|non-fast-forward|stale info|incorrect old value|already exists|failed to (?:lock|update ref)/;

/** What they say of every ref of an atomic push: either another ref has the reason, or only the words beside the report. */
const ATOMIC = /^atomic (?:push failure|transaction failed)$/;
/** What they report where a hook said no, which has said why. */
const DECLINED = /^(?:pre-receive hook|hook) declined$/;
const STALE_WORDS =
  /^cannot lock ref '.*': (?:is at [0-9a-f]+ but expected|reference already exists|unable to resolve reference|reference is missing|Unable to create '.*\.lock': File exists)/;

/** Throws what the server's report means; all refs of a push share one answer. Its way out is among the words it said. */
export function throwRefusal({ unpack, refs }: PushResult, url: string, words: ServerWords): void {
  if (unpack !== "ok")
    throw (
      coded(unpack, words) ??
      new KvError("REMOTE_REJECTED", `the server did not take the objects: ${unpack}`, { data: { url } })
    );
  const refused = [...refs].flatMap(([ref, outcome]) => (outcome.ok ? [] : [{ ref, reason: outcome.reason }]));
  const first = refused.find(({ reason }) => !ATOMIC.test(reason)) ?? refused[0];
  if (first === undefined) return;
  const { ref, reason } = first;
  throw (
    coded(reason, words) ??
    stale(ref, reason, words) ??
    declined(reason, words) ??
    new KvError("REMOTE_REJECTED", `${ref} was rejected: ${reason}`, { data: { url } })
  );
}

/** The write is tried again, or says so itself: the server's errors are not shown besides. */
function stale(ref: string, reason: string, words: ServerWords): KvError | undefined {
  const said = ATOMIC.test(reason) ? words.errors().find((error) => STALE_WORDS.test(error)) : undefined;
  if (said === undefined && !STALE.test(reason)) return undefined;
  words.takeHint();
  return new KvError("CAS_CONFLICT", `${ref} has moved: ${said ?? reason}`);
}

function coded(reason: string, words: ServerWords): KvError | undefined {
  const refusal = codedRefusal(reason);
  return refusal && refused(refusal, words);
}

/** A Stargate's hook behind git's own server. */
function declined(reason: string, words: ServerWords): KvError | undefined {
  if (!DECLINED.test(reason) && !ATOMIC.test(reason)) return undefined;
  const refusal = words.refusal();
  return refusal && refused(refusal, words);
}

function refused({ code, message: sentence }: { code: Code; message: string }, words: ServerWords): KvError {
  const hint = words.takeHint();
  const { message, ticket } = takeOffer(sentence);
  // Or whoever reads it looks at the disk of this machine.
  return new KvError(code, code === "STORAGE" ? `the server could not store it: ${message}` : message, {
    ...(hint !== undefined && { hint }),
    ...(ticket !== undefined && { data: { place: ticket } }),
  });
}

/**
 * Keeps an accepted transaction here. The Stargate has it, so a failure is repaired by the next fetch and must not look like
 * a refusal. The accepted refs may be behind the base, which can have come from the mirror, or ahead of the transaction,
 * when another process was faster: they move forward only.
 */
async function keep({ repo, ns, around }: Workspace, proposal: Proposal): Promise<void> {
  try {
    for (let attempt = 1; ; attempt++) {
      const own = readState(repo.objects, repo.refs, ns);
      const epochRoot = repo.refs.resolve(epochRef(ns));
      if (own !== undefined && own.ledger.seq >= proposal.plan.seq) return;
      const moves = movesFrom(own, epochRoot, proposal, ns);
      try {
        await storeTransaction(repo, { ...proposal, plan: { ...proposal.plan, moves } });
        return;
      } catch (error) {
        if (!isConflict(error) || attempt === LIMITS.conflictRetries) throw error;
      }
    }
  } catch (error) {
    around.warn(`the transaction is accepted, but could not be kept here: ${(error as Error).message}`);
  }
}

/**
 * The moves of an accepted transaction from `own`: where the refs are read anew, they may be ahead by then. The chunk ref is not
 * kept here: its tree names pieces that this clone does not have; nor is the archive of an epoch that this one closed.
 */
function movesFrom(
  own: NamespaceState | undefined,
  epochRoot: Oid | undefined,
  { plan }: Proposal,
  ns: string,
): readonly RefMove[] {
  const { ledger, index } = namespaceRefs(ns);
  return plan.moves.flatMap((move) => {
    if (move.ref === ledger) return { ...move, oldOid: own?.ledger.oid };
    if (move.ref === epochRef(ns)) return { ...move, oldOid: epochRoot };
    return move.ref === index ? { ...move, oldOid: own?.index } : [];
  });
}

const isConflict = (error: unknown): boolean => error instanceof KvError && error.code === "CAS_CONFLICT";

/** The ledger commit of `txn` among those after `seq`, in epochs closed meanwhile too. */
async function findTransaction(
  workspace: Workspace,
  state: NamespaceState,
  txn: string,
  seq: number,
): Promise<LedgerCommit | undefined> {
  const { objects, format } = workspace.repo;
  let { ledger } = state;
  while (ledger.txn !== txn) {
    if (ledger.seq - 1 <= seq) return undefined;
    const before = ledger.parent ?? ledger.parentEpoch?.ledger;
    if (before === undefined) return undefined;
    if (ledger.parent === undefined && !objects.has(before)) {
      await (await import("./epochs.ts")).fetchArchive(workspace, ledger.parentEpoch!);
    }
    ledger = parseLedgerCommit(format, before, readAs(objects, before, "commit"));
  }
  return ledger;
}
