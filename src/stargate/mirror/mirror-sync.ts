/**
 * `stargate sync`: says how every kv ref of the mirror stands, and brings in order what may be. A repair is the worker's own
 * work, out of its turn; only `force` overwrites anything, and what it overwrites is what was read just before.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { type Code, KvError, toKvError } from "../../errors.ts";
import type { Oid } from "../../gitwire/object/oid.ts";
import { randomSuffix } from "../../gitwire/pack/temp-file.ts";
import { ObjectStore } from "../../gitwire/store/object-store.ts";
import {
  isOverwrite,
  type RefStanding,
  type SyncedRef,
  type SyncMode,
  type SyncReport,
  type SyncRequest,
} from "../../kv/sync-report.ts";
import type { Gate } from "../gate.ts";
import { LOOK, stargateDir } from "../settings.ts";
import { allows, type Identity, type Scope } from "../tokens.ts";
import type { MirrorRemote } from "./mirror-remote.ts";
import type { MirrorWorker } from "./mirror-worker.ts";
import { ancestryIn, isForeign, MIRRORED_PREFIXES, refStandings } from "./ref-standing.ts";

const NEEDED: Readonly<Record<SyncMode, Scope>> = { "dry-run": "read", repair: "write", force: "admin", fork: "admin" };

/** Throws FORBIDDEN where `who` may not do that. */
export function requireSyncScope({ mode, ns }: SyncRequest, { name, scope, namespaces }: Identity): void {
  const needed = NEEDED[mode];
  if (!allows(scope, needed)) {
    throw new KvError("FORBIDDEN", `'${name}' may ${scope}; sync --${mode} needs ${needed}`);
  }
  if (mode === "dry-run" || namespaces === undefined || (ns !== undefined && namespaces.includes(ns))) return;
  throw new KvError("FORBIDDEN", `'${name}' may write to the namespaces ${namespaces.join(", ")} and nothing else`, {
    hint: "name one of them with --ns",
  });
}

/** Syncs. Throws what keeps the mirror from being read. */
export async function syncMirror(
  gate: Gate,
  remote: MirrorRemote,
  worker: MirrorWorker,
  { mode, ns }: SyncRequest,
  who: Identity,
): Promise<SyncReport> {
  const isAsked = (standing: RefStanding): boolean => ns === undefined || standing.ns === ns;
  const before = (await standings(gate, remote).catch(goOnBlind(gate, mode))).filter(isAsked);
  if (mode === "dry-run") return { mode, remote: remote.url, refs: before.map(planned) };
  if (mode === "fork") {
    gate.fence.choose(before.filter(isForeign), ns === undefined, who);
    return { mode, remote: remote.url, refs: before.map(leftToItself) };
  }
  const overwritten = mode === "force" ? before.filter(({ standing }) => isOverwrite(standing)) : [];
  for (const standing of overwritten) {
    const { ref, here, there } = standing;
    gate.fence.overwritten(standing, who);
    gate.log("warn", "mirror", { doing: "force", ref, old: there, new: here, who: who.name });
  }
  await worker.bring({ ns, force: mode === "force" });
  const after = new Map((await standings(gate, remote)).map((standing) => [standing.ref, standing]));
  const stuck = new Map(worker.report().stuck.map((lane) => [lane.ns, lane.error]));
  const refs = before.map((was): SyncedRef => outcome(was, after.get(was.ref), stuck.get(was.ns)));
  return { mode, remote: remote.url, refs };
}

/** After a restore somebody may decide to go on although the mirror cannot be seen. */
function goOnBlind({ fence, log }: Gate, mode: SyncMode): (error: unknown) => RefStanding[] {
  return (error) => {
    if (mode !== "fork" || !fence.isBlind) throw error;
    const { code, message } = toKvError(error);
    log("warn", "mirror", { code, message, doing: "fork" });
    return [];
  };
}

function leftToItself(standing: RefStanding): SyncedRef {
  return { ...standing, action: isForeign(standing) || isOverwrite(standing.standing) ? "forked" : "none" };
}

function planned(standing: RefStanding): SyncedRef {
  if (standing.standing === "behind" || standing.standing === "missing") return { ...standing, action: "planned" };
  return { ...standing, action: isOverwrite(standing.standing) ? "left" : "none" };
}

/** What became of a ref, by what the mirror has afterwards. */
function outcome(was: RefStanding, is: RefStanding | undefined, reason: string | undefined): SyncedRef {
  if (was.standing === "equal" || was.standing === "extra") return { ...was, action: "none" };
  // Transactions that came meanwhile are no failure.
  const isDone = is?.standing === "equal" || (is?.standing === "behind" && is.there !== was.there);
  if (isDone) return { ...was, action: isOverwrite(was.standing) ? "forced" : "pushed" };
  const why = reason === undefined ? {} : { reason };
  return { ...was, action: isOverwrite(was.standing) ? "left" : "refused", ...why };
}

async function standings(gate: Gate, remote: MirrorRemote): Promise<RefStanding[]> {
  const found = await compare(gate, remote);
  gate.fence.seen(found.filter(isForeign));
  return found;
}

async function compare(gate: Gate, remote: MirrorRemote): Promise<RefStanding[]> {
  const { refs } = await remote.refs(MIRRORED_PREFIXES);
  const local = new Map(gate.repo.refs.snapshot(["refs/kv"]).map(({ name, oid }) => [name, oid]));
  const sides = {
    local,
    remote: new Map(refs.map(({ name, oid }) => [name, oid])),
    publishBranch: gate.policy()?.policy.publishBranch ?? false,
  };
  const strange = [...new Set(sides.remote.values())].filter((oid) => !gate.repo.objects.has(oid));
  const byOurs = (): Promise<RefStanding[]> => refStandings(sides, ancestryIn(gate.repo.objects));
  if (strange.length === 0) return byOurs();
  try {
    return await withStrangers(gate, remote, strange, (objects) => refStandings(sides, ancestryIn(objects)));
  } catch (error) {
    const { code, message } = toKvError(error);
    if (!UNFIT.includes(code)) throw error;
    // Whatever it is, it does not follow from ours.
    gate.log("warn", "mirror", { code, message, doing: "look at what the mirror has" });
    return byOurs();
  }
}

/** What the mirror has cannot be used, however often it is asked for. */
const UNFIT: readonly Code[] = ["BAD_PACK", "BAD_OBJECT", "LIMIT_EXCEEDED", "REMOTE_REJECTED"];

/** Looks at commits of the mirror that are not ours, without taking them over: they go to a folder that is thrown away. */
async function withStrangers<T>(
  gate: Gate,
  remote: MirrorRemote,
  wants: readonly Oid[],
  look: (objects: ObjectStore) => Promise<T>,
): Promise<T> {
  const { repo } = gate;
  const dir = path.join(stargateDir(repo.gitDir), LOOK + randomSuffix(6));
  const objectsDir = path.join(dir, "objects");
  fs.mkdirSync(path.join(objectsDir, "pack"), { recursive: true, mode: 0o700 });
  const objects = new ObjectStore(objectsDir, repo.format, { alternates: [repo.objectsDir] });
  try {
    const haves = repo.refs.snapshot(["refs/kv"]).map(({ oid }) => oid);
    await remote.fetchAside(wants, haves, { format: repo.format, objectsDir, objects, commonDir: dir });
    return await look(objects);
  } finally {
    objects.close();
    fs.rmSync(dir, { recursive: true, force: true });
  }
}
