/**
 * The policies of a clone as their files were read, written down: loading YAML and the schema, and parsing, take as long as the whole of a
 * brief verb (docs/design/283). Whoever judges for others (the Stargate, the audit) reads the objects (read-policy.ts).
 *
 *   kv/policies/<policy commit> = "KVPOL " build " " check "\n" JSON
 *
 * `build` is a hash of the program's sources: another one may read the file in another way. `check` is the CRC-32 of the policy commit and the
 * JSON, in hex. What does not fit is read anew and written over; so a write that was cut short costs nothing but time.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { SOURCES } from "../build-id.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { Repository } from "../gitwire/repo.ts";
import type { Reach } from "./history.ts";
import { type Policy, policyOf } from "./policy.ts";

/** Policies that are kept. */
const KEPT = 64;
/** Folders that are full and in which this process has put one in the place of the oldest: more would only chase each other out. */
const REPLACED = new Set<string>();

const READ = new WeakMap<Repository, Map<Oid, Promise<Policy>>>();

/** The policy in the commit `oid`, read once; `reach` brings its objects where they are not here. Throws POLICY_UNTRUSTED, CONFIG. */
export function cachedPolicy(repo: Repository, oid: Oid, reach?: Reach): Promise<Policy> {
  let all = READ.get(repo);
  if (all === undefined) {
    all = new Map();
    READ.set(repo, all);
  }
  let policy = all.get(oid);
  if (policy === undefined) {
    policy = readKnown(repo, oid, reach);
    all.set(oid, policy);
    // What failed may be there the next time; the error is met where it is waited for.
    policy.catch(() => all.delete(oid));
  }
  return policy;
}

async function readKnown(
  { commonDir, objects }: Repository,
  oid: Oid,
  reach: Reach = (work) => work(),
): Promise<Policy> {
  const folder = path.join(commonDir, "kv", "policies");
  const stored = SOURCES === undefined ? undefined : load(path.join(folder, oid), oid, SOURCES);
  if (stored !== undefined) return stored;
  const { policyAt } = await import("./read-policy.ts");
  const policy = await reach(() => policyAt(objects, oid));
  if (SOURCES !== undefined) savePolicy(folder, oid, encodePolicy(policy, oid, SOURCES));
  return policy;
}

function load(file: string, oid: Oid, build: string): Policy | undefined {
  try {
    return decodePolicy(fs.readFileSync(file, "utf8"), oid, build);
  } catch {
    // Mostly it is there; else the objects tell.
    return undefined;
  }
}

/** Writes the file of the policy in the commit `oid`, where there is room or nobody made any yet. Exported for its test. */
export function savePolicy(folder: string, oid: Oid, text: string): void {
  try {
    fs.mkdirSync(folder, { recursive: true });
    const names = fs.readdirSync(folder);
    if (names.length >= KEPT && !names.includes(oid)) {
      if (REPLACED.has(folder)) return;
      REPLACED.add(folder);
      fs.rmSync(oldestOf(folder, names), { force: true });
    }
    fs.writeFileSync(path.join(folder, oid), text);
  } catch {
    // A clone that cannot be written to is read all the same.
  }
}

function oldestOf(folder: string, names: readonly string[]): string {
  const files = names.map((name) => path.join(folder, name));
  const times = new Map(files.map((file) => [file, fs.statSync(file).mtimeMs]));
  return files.sort((a, b) => times.get(a)! - times.get(b)!)[0]!;
}

/** The file of the policy in the commit `oid`, for the program `build`. Exported for its test. */
export function encodePolicy({ file }: Policy, oid: Oid, build: string): string {
  const json = JSON.stringify(file);
  return `KVPOL ${build} ${checkOf(oid, json)}\n${json}`;
}

/** The policy that a file holds; undefined where it is not that of `oid`, of another program, or damaged. Exported for its test. */
export function decodePolicy(text: string, oid: Oid, build: string): Policy | undefined {
  const end = text.indexOf("\n");
  const json = text.slice(end + 1);
  if (text.slice(0, end) !== `KVPOL ${build} ${checkOf(oid, json)}`) return undefined;
  return policyOf(JSON.parse(json));
}

function checkOf(oid: Oid, json: string): string {
  return Bun.hash.crc32(`${oid}\n${json}`).toString(16);
}
