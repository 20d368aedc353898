/**
 * A push that a stock `git receive-pack` has read, decided by the process that leads the repository, with the code that decides
 * about every other push (docs/design/110-stock-receive-pack.md).
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../errors.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { fsyncDir } from "../gitwire/pack/temp-file.ts";
import { ObjectStore } from "../gitwire/store/object-store.ts";
import { parseChunkCommit } from "../kv/attestation.ts";
import { classifyRef } from "../kv/namespace.ts";
import type { Gate } from "./gate.ts";
import type { HookAnswer, HookRequest } from "./hook-call.ts";
import { judgingHost, pushHost } from "./push-host.ts";
import { asRejection, noteRejection, rejectAll } from "./rejection.ts";
import type { Served } from "./service.ts";
import type { Identity } from "./tokens.ts";

/** Answers a hook. Throws bugs, and CORRUPT where something stored is damaged; everything else is a refusal. */
export async function answerHook(served: Served, who: Identity, request: HookRequest): Promise<HookAnswer> {
  let said = "";
  const started = served.gate.clock.now();
  try {
    return await decide(served, who, request);
  } catch (thrown) {
    const error = asRejection(thrown);
    noteRejection(served.gate, who, request.commands, error, started);
    const results = rejectAll(request.commands, error, (text) => {
      said += text;
    });
    return { results, said };
  }
}

async function decide({ gate, ordinary }: Served, who: Identity, request: HookRequest): Promise<HookAnswer> {
  let said = "";
  const { commands, options: pushOptions } = request;
  const progress = (text: string): void => {
    said += text;
  };
  // Stock git moves refs one by one unless asked; what comes this way is moved in one step.
  const intent = { commands, pushOptions, atomic: true, agent: undefined, capabilities: new Map(), progress } as const;
  if (request.phase === "moved") return { results: [], said: strangers(gate, request) };
  if (request.phase === "accept") {
    const { objects, objectsDir } = gate.repo;
    syncFolders(objectsDir);
    const host = pushHost(gate, who, ordinary);
    const early = await host.preflight?.(intent);
    const results = early ?? (await host.apply({ ...intent, quarantine: undefined, objects }));
    return { results, said };
  }
  const store = quarantined(gate, request.quarantine);
  try {
    const objects: ObjectSource = store ?? gate.repo.objects;
    const results = await judgingHost(gate, who, ordinary).judge({ ...intent, quarantine: undefined, objects });
    if (request.quarantine !== undefined && results.every(({ status }) => status === "ok"))
      syncTree(request.quarantine);
    return { results, said };
  } finally {
    store?.close();
  }
}

/** The objects of git's quarantine over the repository's; git names the folder as we do. */
function quarantined({ repo }: Gate, given: string | undefined): ObjectStore | undefined {
  if (given === undefined) return undefined;
  // git says <repository>/./objects/...
  const dir = path.resolve(given);
  const isOurs = path.dirname(dir) === repo.objectsDir && /^(?:tmp_objdir-)?incoming-\w+$/.test(path.basename(dir));
  if (!isOurs) throw new KvError("PROTOCOL", `'${dir}' is no quarantine of '${repo.objectsDir}'`);
  return new ObjectStore(dir, repo.format, { alternates: [repo.objectsDir] });
}

/** Brings what is in a quarantine to disk: git moves it into place afterwards without doing so for every kind of file. */
function syncTree(dir: string): void {
  for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
    const file = path.join(dir, entry.name);
    if (entry.isDirectory()) syncTree(file);
    else if (entry.isFile()) syncFile(file);
  }
}

function syncFile(file: string): void {
  const fd = fs.openSync(file, "r");
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Makes the names last that git has just given to packs and loose objects. */
function syncFolders(objectsDir: string): void {
  for (const name of fs.readdirSync(objectsDir)) {
    if (name === "pack" || /^[0-9a-f]{2}$/.test(name)) fsyncDir(path.join(objectsDir, name));
  }
  fsyncDir(objectsDir);
}

/** Refs of ours that git has moved without the Stargate: the hooks before this one did not run. */
function strangers(gate: Gate, { commands }: HookRequest): string {
  const { journal, log } = gate;
  const moved = commands.filter(({ ref, newOid }) => {
    const is = classifyRef(ref);
    if (is === undefined || is.kind === "index" || is.kind === "index-archive") return false;
    if (is.kind === "ledger" || is.kind === "epoch" || is.kind === "archive") return !journal.isAccepted(is.ns, newOid);
    if (is.kind === "chunks") return !isAcceptedChunk(gate, is.ns, newOid);
    return is.kind !== "policy" || journal.find("policy", "", newOid) === undefined;
  });
  if (moved.length === 0) return "";
  const refs = moved.map(({ ref }) => ref).join(", ");
  log("error", "hooks", { message: "refs were moved past the Stargate", refs });
  return `error: ${refs} moved without the Stargate's consent; run 'git-kv-stargate init' to repair the hooks\n`;
}

/** Whether the chunk commit came with a transaction that was accepted. */
function isAcceptedChunk({ repo, journal }: Gate, ns: string, oid: Oid): boolean {
  try {
    const { txn } = parseChunkCommit(repo.format, oid, readAs(repo.objects, oid, "commit"));
    return journal.find("txn", ns, txn)?.updates.some(({ newOid }) => newOid === oid) === true;
  } catch (error) {
    if (error instanceof KvError) return false;
    throw error;
  }
}
