/**
 * A repository that was restored from a backup lacks what was acknowledged since, and the mirror has it. Here that is brought back before
 * anything else is accepted: else the next write would begin a second history. Only what follows from what is here is taken, and only
 * after the audit that any clone can make; until then it is in a quarantine, which is thrown away if this is broken off.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../errors.ts";
import { systemDisk } from "../../gitwire/disk.ts";
import type { Oid } from "../../gitwire/object/oid.ts";
import { randomSuffix } from "../../gitwire/pack/temp-file.ts";
import { createRepository } from "../../gitwire/repo/init.ts";
import { openRepository, type Repository } from "../../gitwire/repo.ts";
import { Quarantine } from "../../gitwire/store/quarantine.ts";
import { audit } from "../../kv/audit.ts";
import { classifyRef, namespaceRefs } from "../../kv/namespace.ts";
import { ProgressMeter } from "../../kv/progress-meter.ts";
import { readState } from "../../kv/state.ts";
import type { RefStanding } from "../../kv/sync-report.ts";
import { Workspace } from "../../kv/workspace.ts";
import type { Gate } from "../gate.ts";
import { LOOK, stargateDir } from "../settings.ts";
import type { MirrorRemote } from "./mirror-remote.ts";
import { ancestryIn, type IsAncestor, refStandings } from "./ref-standing.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** Transactions that were taken over, by KV-Seq. */
export interface CaughtUp {
  readonly ns: string;
  readonly from: number;
  readonly to: number;
}

/** What stands around a catch-up. */
export interface CatchUpAround {
  readonly env: Env;
  readonly signal: AbortSignal;
  /** A line that says how far it is; "" takes it away. */
  readonly progress: (text: string) => void;
}

/** Whether the mirror shows a ledger or a policy that is not here. */
export async function hasStrangers({ repo }: Gate, remote: MirrorRemote, signal?: AbortSignal): Promise<boolean> {
  const { refs } = await remote.refs(["refs/kv"], signal);
  return refs.some(({ name, oid }) => isTaken(name) && !repo.objects.has(oid));
}

/**
 * Takes over what the mirror has beyond this repository, namespace by namespace; where it has diverged it is left alone. Throws CORRUPT,
 * and takes nothing, where something does not verify; NETWORK and so on, and what the signal is aborted with.
 */
export async function catchUp(gate: Gate, remote: MirrorRemote, around: CatchUpAround): Promise<CaughtUp[]> {
  const { repo, journal } = gate;
  const { signal, progress } = around;
  const local = new Map(repo.refs.snapshot(["refs/kv"]).map(({ name, oid }) => [name, oid]));
  const there = new Map((await remote.refs(["refs/kv"], signal)).refs.map(({ name, oid }) => [name, oid]));
  const strange = [...new Set(there.values())].filter((oid) => !repo.objects.has(oid));
  const quarantine = Quarantine.create(repo.objectsDir);
  let aside: Repository | undefined;
  try {
    aside = await scratch(repo, quarantine.dir, around.env);
    if (strange.length > 0) {
      const { format, objects, gitDir } = aside;
      const meter = new ProgressMeter("fetching from the mirror", progress, () => performance.now());
      const destination = { format, objects, objectsDir: quarantine.dir, commonDir: gitDir };
      const onBytes = (bytes: number): void => meter.tell(bytes, undefined);
      await remote.fetchAside(strange, [...local.values()], destination, { signal, onBytes });
      meter.end();
    }
    const sides = { local, remote: there, publishBranch: false };
    const isAncestor = ancestryIn(aside.objects);
    const ahead = aheadOf(await refStandings(sides, isAncestor));
    const zero = repo.format.zeroOid;
    const moves = ahead.map(({ ref, here, there }) => ({ name: ref, oldOid: here ?? zero, newOid: there! }));
    if (moves.length > 0) await verified(aside, gate, local, moves, around);
    // Before the refs move: whatever ends this here, no transaction of the ledger is one that nobody knows.
    const ledgers = moves.length > 0 ? aside : repo;
    for (const { name } of ledgers.refs.snapshot(["refs/kv/"])) {
      const is = classifyRef(name);
      if (is?.kind !== "ledger") continue;
      const isInJournal = (txn: string): boolean => journal.find("txn", is.ns, txn) !== undefined;
      await journal.earlier.learnPassedBy(ledgers, is.ns, isInJournal, signal);
    }
    signal.throwIfAborted();
    const wants = [...new Set(moves.map(({ newOid }) => newOid))].filter((oid) => !repo.objects.has(oid));
    const move = (): Promise<void> => repo.refs.update(moves);
    if (await leadToAll(wants, strange, isAncestor)) {
      quarantine.migrate(repo.objects, { keep: true });
      await move();
    } else if (moves.length > 0) {
      // What is left alone does not come along.
      await remote.fetch(wants, [...local.values()], move, signal);
    }
    const namespaces = [...new Set(ahead.map(({ ns }) => ns))].filter((ns) => ns !== "");
    return namespaces.map((ns) => ({ ns, from: seqAt(repo, local, ns) + 1, to: seqAt(repo, there, ns) }));
  } finally {
    progress("");
    aside?.close();
    if (aside !== undefined) fs.rmSync(aside.gitDir, { recursive: true, force: true });
    quarantine.discard();
  }
}

/** Whether everything that was fetched is part of what is wanted. */
async function leadToAll(wants: readonly Oid[], fetched: readonly Oid[], isAncestor: IsAncestor): Promise<boolean> {
  for (const oid of fetched) {
    let isPart = wants.includes(oid);
    for (const want of wants) isPart ||= await isAncestor(oid, want);
    if (!isPart) return false;
  }
  return wants.length > 0;
}

/** Whether the ref is one that a Stargate keeps; the watermark is the mirror's alone. */
function isTaken(ref: string): boolean {
  const is = classifyRef(ref);
  return is !== undefined && is.kind !== "mirror" && is.kind !== "reserved";
}

/** The refs to move: of namespaces (and the policy) of which the mirror has all that is here and more. */
function aheadOf(standings: readonly RefStanding[]): RefStanding[] {
  const groups = Map.groupBy(
    standings.filter(({ there }) => there !== undefined),
    ({ ns }) => ns,
  );
  const lacking = new Set(
    standings.filter(({ ref, there }) => there === undefined && isTaken(ref)).map(({ ns }) => ns),
  );
  return [...groups].flatMap(([ns, refs]) => {
    const follows = refs.every(({ standing }) => standing !== "behind" && standing !== "diverged");
    if (!follows || lacking.has(ns) || !refs.some(({ standing }) => standing === "ahead")) return [];
    return refs.filter(({ ref, standing }) => isTaken(ref) && standing !== "equal");
  });
}

/** An empty repository that sees our objects and those in `objectsDir`. */
async function scratch(repo: Repository, objectsDir: string, env: Env): Promise<Repository> {
  const dir = path.join(stargateDir(repo.gitDir), LOOK + randomSuffix(6));
  createRepository(dir, { bare: true, format: repo.format });
  const alternates = `${objectsDir}\n${repo.objectsDir}\n`;
  systemDisk.create(path.join(dir, "objects/info/alternates"), Buffer.from(alternates), false);
  return openRepository(dir, env);
}

/** Audits what `moves` add, in `aside`. Throws CORRUPT. */
async function verified(
  aside: Repository,
  { clock }: Gate,
  local: ReadonlyMap<string, Oid>,
  moves: readonly { readonly name: string; readonly newOid: Oid }[],
  { signal, progress }: CatchUpAround,
): Promise<void> {
  const oldOid = aside.format.zeroOid;
  const refs = new Map([...local, ...moves.map(({ name, newOid }) => [name, newOid] as const)]);
  await aside.refs.update([...refs].map(([name, newOid]) => ({ name, oldOid, newOid })));
  const around = { env: aside.env, clock, signal, progress, warn: () => {} };
  let fault: string | undefined;
  for (const [name, since] of local) {
    const is = classifyRef(name);
    if (is?.kind !== "ledger") continue;
    await audit(new Workspace(aside, is.ns, around), {
      all: false,
      since,
      keepRoot: false,
      progress,
      found: ({ seq, code, message }) => {
        fault ??= `${seq === undefined ? `'${is.ns}'` : `transaction ${seq} of '${is.ns}'`}: ${code}: ${message}`;
      },
    });
  }
  if (fault === undefined) return;
  throw new KvError("CORRUPT", `what the mirror has beyond this repository does not verify: ${fault}`, {
    hint: "nothing of it was taken; 'git-kv-stargate sync --force' overwrites it with what is here",
  });
}

function seqAt(repo: Repository, refs: ReadonlyMap<string, Oid>, ns: string): number {
  const { ledger } = namespaceRefs(ns);
  return (
    readState(repo.objects, { resolve: (ref) => (ref === ledger ? refs.get(ref) : undefined) }, ns)?.ledger.seq ?? 0
  );
}
