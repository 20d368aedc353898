/**
 * Whether one repository is well (`/healthz`) and whether its node should be given work (`/readyz`); docs/stargate.md says what
 * each check means. A check takes its own time and tells its own error, so that one look says what is wrong.
 */

import * as fs from "node:fs";
import { KvError, toKvError } from "../../errors.ts";
import { GitConfig } from "../../gitwire/config.ts";
import { readAs } from "../../gitwire/object/object.ts";
import type { Gate } from "../gate.ts";
import { hookFaults } from "../hooks.ts";
import type { MirrorProbe } from "./mirror-probe.ts";

const HEALTH_CHECKS = ["repository", "hooks", "journal", "disk"] as const;
export const READY_CHECKS = ["leader", "writes", "mirror", "mirror-backlog"] as const;

/** How one check went. */
export interface Check {
  readonly name: (typeof HEALTH_CHECKS)[number] | (typeof READY_CHECKS)[number];
  readonly ok: boolean;
  /** Milliseconds it took. */
  readonly ms: number;
  readonly error?: string;
}

/** Ledgers whose newest commit is read by a check; there may be thousands. */
const LEDGERS = 16;

/** Whether the repository can be read, is guarded, and can take what comes. */
export async function checkHealth(gate: Gate): Promise<Check[]> {
  return [
    await check("repository", () => readable(gate)),
    await check("hooks", () => hooks(gate)),
    await check("journal", () => writable(gate)),
    await check("disk", () => room(gate)),
  ];
}

/** Whether the node leads, and its mirror follows. */
export async function checkReady(gate: Gate, probe: MirrorProbe | undefined): Promise<Check[]> {
  const leader = await check("leader", () => gate.requireSound());
  const all = [leader, await check("writes", () => writes(gate))];
  if (probe === undefined) return all;
  return [
    ...all,
    await check("mirror", () => probe.check()),
    await check("mirror-backlog", () => {
      const { backlogLimit } = gate.settings;
      const count = backlogOf(gate);
      if (count > backlogLimit) throw new KvError("BUSY", `the mirror is ${count} transactions behind`);
    }),
  ];
}

/** Transactions the mirror does not have, of all namespaces. */
export function backlogOf(gate: Gate): number {
  const ledgers = gate.repo.refs.list("refs/kv/");
  return ledgers.reduce((sum, { name }) => sum + gate.journal.backlog(name.slice("refs/kv/".length)).count, 0);
}

/** Bytes and inodes that are free where the repository is. */
export function freeSpace({ repo }: Gate): { readonly bytes: number; readonly files: number } {
  const { bavail, bsize, ffree, files } = fs.statfsSync(repo.gitDir);
  // Some file systems have no fixed number of inodes and say 0.
  return { bytes: bavail * bsize, files: files === 0 ? Number.POSITIVE_INFINITY : ffree };
}

async function check(name: Check["name"], run: () => void | Promise<void>): Promise<Check> {
  const started = performance.now();
  let error: string | undefined;
  try {
    await run();
  } catch (thrown) {
    error = toKvError(thrown).message;
  }
  const ms = Math.round((performance.now() - started) * 1000) / 1000;
  return { name, ok: error === undefined, ms, ...(error !== undefined && { error }) };
}

function readable({ repo, tokens }: Gate): void {
  tokens.list();
  fs.accessSync(repo.gitDir, fs.constants.R_OK | fs.constants.X_OK);
  for (const { oid } of repo.refs.list("refs/kv/").slice(0, LEDGERS)) readAs(repo.objects, oid, "commit");
}

function hooks({ repo }: Gate): void {
  // What the config says now, not what it said when the daemon started.
  const config = GitConfig.load({ gitDir: repo.gitDir, commonDir: repo.commonDir, env: repo.env });
  const faults = hookFaults(repo.gitDir, config);
  if (faults.length === 0) return;
  throw new KvError(
    "CONFIG",
    `${faults.join("; ")}: 'git-kv-stargate init' puts it right, with --replace-hooks what is not ours`,
  );
}

function writable(gate: Gate): void {
  gate.requireSound();
  gate.journal.probe();
}

function writes({ fence }: Gate): void {
  const [refused, ...more] = fence.refused();
  if (refused === undefined) return;
  const others = more.length === 0 ? "" : `; and ${more.length} more`;
  throw new KvError(
    "DIVERGED",
    `no writes${refused.ns === "" ? "" : ` to '${refused.ns}'`} are taken: ${refused.why}${others}`,
  );
}

function room(gate: Gate): void {
  const { bytes, files } = freeSpace(gate);
  const { minFree } = gate.settings;
  if (bytes < minFree) throw new KvError("STORAGE", `${bytes} bytes are free, ${minFree} are wanted`);
  if (files < 1_000) throw new KvError("STORAGE", `${files} inodes are free`);
}
