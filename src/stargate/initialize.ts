/**
 * Sets a Stargate up: repository, config, settings, hooks, what the mirror has, a first policy (docs/stargate.md). Every step looks
 * at what is there first, so that it may be run again.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import type { Clock } from "../clock.ts";
import { KvError, toKvError } from "../errors.ts";
import { replaceConfig } from "../gitwire/config/config-edit.ts";
import { readFileIfThere, systemDisk } from "../gitwire/disk.ts";
import { identFor } from "../gitwire/ident.ts";
import { commitLinks, encodeCommit } from "../gitwire/object/commit.ts";
import { fileAt } from "../gitwire/object/file-at.ts";
import { readAs } from "../gitwire/object/object.ts";
import type { ObjectFormat, Oid } from "../gitwire/object/oid.ts";
import { parseSshKeyLine } from "../gitwire/object/ssh-key.ts";
import { encodeTree, findEntry, MODE, parseTree, sortEntries } from "../gitwire/object/tree.ts";
import { initRepository } from "../gitwire/repo/init.ts";
import { openRepository, type Repository } from "../gitwire/repo.ts";
import { writeLoose } from "../gitwire/store/object-writer.ts";
import { POLICY_REF } from "../kv/namespace.ts";
import { namespacePolicy, POLICY_FILE } from "../kv/policy.ts";
import { requireSoundPolicy } from "../kv/policy-check.ts";
import { newUlid } from "../kv/ulid.ts";
import { Gate } from "./gate.ts";
import { installHooks } from "./hooks.ts";
import { silentLog } from "./log.ts";
import { LOOK_PREFIXES, mirrorLook, refreshBranches } from "./mirror/branch-copies.ts";
import { type CaughtUp, catchUp, hasStrangers } from "./mirror/catch-up.ts";
import { MIRROR_REMOTE, MirrorLink } from "./mirror/mirror-link.ts";
import { restoreKvRefs } from "./mirror/restore.ts";
import { type PolicyChoices, stargatePolicy } from "./policy-scaffold.ts";
import { loadSettings, SETTINGS_FILE } from "./settings.ts";

export interface InitOptions extends PolicyChoices {
  /** Absolute. */
  readonly dir: string;
  readonly mirrorUrl: string | undefined;
  /** Of a new repository; undefined: GIT_DEFAULT_HASH, else sha1. */
  readonly format: ObjectFormat | undefined;
  /** Whether what the mirror has beyond this repository is taken over. */
  readonly catchUp?: boolean;
  /** Whether hooks of somebody else are moved away for ours. */
  readonly replaceHooks?: boolean;
  /** Command line of this program, for the hooks. */
  readonly program: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
  /** A line that says how far it is; "" takes it away. */
  readonly progress?: (text: string) => void;
}

/** What was done, and what a person should know. */
export interface InitReport {
  readonly gitDir: string;
  /** Whether the repository was made now. */
  readonly isNew: boolean;
  /** Where the policy on the default branch comes from. */
  readonly policy: "written" | "found";
  /** Whether the namespace asks for signed transactions. */
  readonly signaturesRequired: boolean;
  /** The mirror's address; undefined without a mirror. */
  readonly mirror: string | undefined;
  /** What was taken over from the mirror beyond what was here. */
  readonly caughtUp: readonly CaughtUp[];
  /** Whether the mirror has what is not here. */
  readonly mirrorHasMore: boolean;
  /** Why the mirror could not be brought up to date; the daemon goes on trying. */
  readonly mirrorError: string | undefined;
}

const SETTINGS_TEXT = `# Settings of this repository's Stargate (docs/stargate.md). Flags and STARGATE_* variables win over it.
# listen: 127.0.0.1:8418
# anonymous_read: false
# mirror:
#   remote: mirror          # a remote of this repository's git config, or an address
#   burst: 5                # pushes that may follow each other at once ...
#   interval: 10s           # ... and how long until one more is allowed
`;

/** Sets up. Throws LOCKED where a daemon serves the repository, CONFIG for a policy that is not valid, and so on. */
export async function initialize(options: InitOptions): Promise<InitReport> {
  const { dir, env } = options;
  const isNew = !fs.existsSync(path.join(dir, "HEAD"));
  const repo = isNew
    ? initRepository(dir, { bare: true, ...(options.format && { format: options.format }) }, env)
    : openRepository(dir, env);
  const { gitDir } = repo;
  if (!repo.bare) {
    throw new KvError("UNSUPPORTED", `${dir} is no bare repository`, {
      hint: "a Stargate serves a bare repository of its own",
    });
  }
  if (options.mirrorUrl !== undefined) replaceConfig(repo.configFile, `remote.${MIRROR_REMOTE}.url`, options.mirrorUrl);
  const { config } = repo;
  repo.close();
  const settingsFile = path.join(gitDir, SETTINGS_FILE);
  if (!fs.existsSync(settingsFile)) systemDisk.create(settingsFile, Buffer.from(SETTINGS_TEXT), true);
  // In a repository made now nothing is somebody's, but the user's settings may send git elsewhere.
  installHooks(gitDir, options.program, { config, replace: isNew || options.replaceHooks === true });
  systemDisk.syncDir(gitDir);
  const gate = await openGate(gitDir, options);
  try {
    return { gitDir, isNew, ...(await fill(gate, options)) };
  } finally {
    gate.close();
  }
}

/** Takes the lead. Throws LOCKED where a daemon has it, whose hooks are right by now: that is what init is run for beside one. */
async function openGate(gitDir: string, { env, clock }: InitOptions): Promise<Gate> {
  try {
    const settings = loadSettings(gitDir, {}, env);
    return await Gate.open({ dir: gitDir, settings, env, clock, log: silentLog, role: "init" });
  } catch (error) {
    if (!(error instanceof KvError) || error.code !== "LOCKED") throw error;
    throw new KvError("LOCKED", `the hooks are in order; ${error.message}, so that nothing else was looked at`, {
      hint: "for the rest of init stop that one first",
      ...(error.data && { data: error.data }),
      cause: error,
    });
  }
}

async function fill(gate: Gate, options: InitOptions): Promise<Omit<InitReport, "gitDir" | "isNew">> {
  const { signal = new AbortController().signal } = options;
  const link = MirrorLink.of(gate, options.env);
  signal.addEventListener("abort", () => void link?.worker.stop(), { once: true });
  let mirrorError: string | undefined;
  const withMirror = async (act: (link: MirrorLink) => Promise<void>): Promise<void> => {
    if (link === undefined || mirrorError !== undefined) return;
    try {
      await act(link);
    } catch (error) {
      signal.throwIfAborted();
      mirrorError = toKvError(error).message;
    }
    signal.throwIfAborted();
  };
  await withMirror(async ({ remote }) => {
    const look = mirrorLook(await remote.refs(LOOK_PREFIXES, signal));
    await refreshBranches(gate, remote, look, undefined, signal);
    await adoptHead(gate.repo, look.head);
    await restoreKvRefs(gate, remote, signal);
  });
  const { caughtUp, mirrorHasMore } = await lookForMore(gate, link, { ...options, signal }, mirrorError);
  const policy = await ensurePolicyFile(gate, options, link !== undefined);
  await ensurePolicyRef(gate);
  await withMirror(({ worker }) => worker.syncOnce());
  return {
    policy,
    signaturesRequired: namespacePolicy(gate.policy()?.policy, options.ns).requireSignedCommits,
    mirror: link?.remote.url,
    caughtUp,
    mirrorHasMore,
    mirrorError,
  };
}

async function lookForMore(
  gate: Gate,
  link: MirrorLink | undefined,
  { catchUp: isWanted = false, env, signal, progress = () => {} }: InitOptions & { readonly signal: AbortSignal },
  mirrorError: string | undefined,
): Promise<Pick<InitReport, "caughtUp" | "mirrorHasMore">> {
  if (isWanted && (link === undefined || mirrorError !== undefined)) {
    throw new KvError("CONFIG", `nothing can be caught up with: ${mirrorError ?? "there is no mirror"}`, {
      hint: "name it with --mirror-remote",
    });
  }
  const caughtUp = isWanted ? await catchUp(gate, link!.remote, { env, signal, progress }) : [];
  const isSeen = link !== undefined && mirrorError === undefined;
  const mirrorHasMore = isSeen && (await hasStrangers(gate, link.remote, signal));
  return { caughtUp, mirrorHasMore };
}

/** The mirror's default branch becomes ours, while ours has no commit. */
async function adoptHead(repo: Repository, branch: string | undefined): Promise<void> {
  const head = repo.refs.head();
  if (branch === undefined || head.kind !== "branch" || head.oid !== undefined || head.ref === branch) return;
  if (branch.startsWith("refs/heads/")) await repo.refs.setSymbolic("HEAD", branch);
}

/** Commits a first policy file to the default branch where it has none. */
async function ensurePolicyFile(gate: Gate, options: InitOptions, hasMirror: boolean): Promise<"written" | "found"> {
  const { repo, settings } = gate;
  const head = repo.refs.head();
  const tip = head.oid;
  const found = tip === undefined ? undefined : fileAt(repo.objects, tip, settings.policyPath);
  if (found !== undefined) {
    await requireSoundPolicy(found.toString("utf8"), settings.policyPath);
    return "found";
  }
  if (head.kind !== "branch") throw new KvError("UNSUPPORTED", "HEAD of the repository is not on a branch");
  const text = stargatePolicy(options);
  await requireSoundPolicy(text, settings.policyPath);
  const root = tip === undefined ? undefined : commitLinks(repo.format, readAs(repo.objects, tip, "commit")).tree;
  const blob = writeLoose(repo.objects, "blob", Buffer.from(text));
  const tree = withFile(repo, root, settings.policyPath.split("/"), blob);
  const oid = writeCommit(gate, options, tree, tip, "Add the first git-kv policy\n");
  await repo.refs.update([{ name: head.ref, oldOid: tip ?? repo.format.zeroOid, newOid: oid }]);
  if (hasMirror) journalRef(gate, options.clock, { ref: head.ref, oldOid: tip ?? repo.format.zeroOid, newOid: oid });
  return "written";
}

/** The mirror gets the branch with the worker's first round. */
function journalRef(gate: Gate, clock: Clock, update: { ref: string; oldOid: Oid; newOid: Oid }): void {
  const { newOid: oid } = update;
  const acceptedAt = clock.now();
  const row = {
    kind: "ref",
    ns: "",
    txn: newUlid(clock),
    seq: 0,
    oid,
    updates: [update],
    who: "init",
    door: undefined,
    signer: undefined,
    keysSet: 0,
    keysDel: 0,
    acceptedAt,
    quarantine: undefined,
  } as const;
  gate.journal.finish(gate.journal.append(row));
}

/** Begins the chain of refs/kv-policy/current from the file on the default branch, where there is none yet. */
async function ensurePolicyRef(gate: Gate): Promise<void> {
  const { repo, settings, clock } = gate;
  if (repo.refs.resolve(POLICY_REF) !== undefined) return;
  const tip = repo.refs.resolve("HEAD");
  const text = tip === undefined ? undefined : fileAt(repo.objects, tip, settings.policyPath);
  if (text === undefined) throw new KvError("CONFIG", `there is no ${settings.policyPath} on the default branch`);
  const blob = writeLoose(repo.objects, "blob", text);
  const tree = writeLoose(
    repo.objects,
    "tree",
    encodeTree(repo.format, [{ mode: MODE.file, name: POLICY_FILE, oid: blob }]),
  );
  const oid = writeCommit(gate, { env: {}, clock }, tree, undefined, "Begin the policy of this Stargate\n");
  const { zeroOid } = repo.format;
  await repo.refs.update([{ name: POLICY_REF, oldOid: zeroOid, newOid: oid }]);
}

function writeCommit(
  gate: Gate,
  { env, clock }: Pick<InitOptions, "env" | "clock">,
  tree: Oid,
  parent: Oid | undefined,
  message: string,
): Oid {
  const { config, objects } = gate.repo;
  const author = identFor("author", config, env, clock);
  const committer = identFor("committer", config, env, clock);
  return writeLoose(
    objects,
    "commit",
    encodeCommit({ tree, parents: parent === undefined ? [] : [parent], author, committer, message }),
  );
}

/** The tree `root` with the blob at `path`; all that is new is written. */
function withFile(repo: Repository, root: Oid | undefined, path: readonly string[], blob: Oid): Oid {
  const [name, ...rest] = path;
  const { format, objects } = repo;
  const data = root === undefined ? Buffer.alloc(0) : readAs(objects, root, "tree");
  const below = findEntry(format, data, name!);
  const subtree = below?.mode === MODE.tree ? below.oid : undefined;
  const entry =
    rest.length === 0
      ? { mode: MODE.file, name: name!, oid: blob }
      : { mode: MODE.tree, name: name!, oid: withFile(repo, subtree, rest, blob) };
  const others = parseTree(format, data).filter((other) => other.name !== name);
  return writeLoose(objects, "tree", encodeTree(format, sortEntries([...others, entry])));
}

/** The admin's public key in `file`. Throws INPUT_INVALID, IO. */
export function readAdminKey(file: string): string {
  const text = readFileIfThere(file)?.toString("utf8").trim();
  if (text === undefined) throw new KvError("INPUT_INVALID", `there is no file '${file}'`);
  if (/PRIVATE KEY/.test(text)) {
    throw new KvError("INPUT_INVALID", `'${file}' is a private key`, {
      hint: "give the public one, which ends in .pub",
    });
  }
  const [line] = text.split("\n");
  try {
    parseSshKeyLine(line ?? "");
  } catch (cause) {
    throw new KvError("INPUT_INVALID", `'${file}' holds no SSH public key: ${toKvError(cause).message}`, { cause });
  }
  return line!.trim();
}
