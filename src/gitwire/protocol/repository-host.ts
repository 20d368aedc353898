/**
 * The host of an ordinary repository: what `git receive-pack` itself allows and refuses, in its words (git:
 * builtin/receive-pack.c; config `receive.*`, `transfer.hideRefs`).
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { type KvError, toKvError } from "../../errors.ts";
import type { Oid } from "../object/oid.ts";
import type { RefTransaction } from "../refs/ref-transaction.ts";
import type { Repository } from "../repo.ts";
import { checkedOutBranches } from "./checked-out.ts";
import { CommitGraph } from "./commit-graph.ts";
import { hiddenRefPatterns, isHidden } from "./hidden-refs.ts";
import type { PushCommand } from "./receive-commands.ts";
import type { AdvertisedRef, Push, PushIntent, ReceivePackHost } from "./receive-pack-host.ts";
import type { RefResult } from "./report-status.ts";
import { isReachable } from "./revision-range.ts";

type Action = "ignore" | "warn" | "refuse" | "default";

/** Hooks that may refuse a push. This host runs none, so a repository that has one takes no push through it. */
const GUARDS = ["pre-receive", "update", "reference-transaction"];

export interface RepositoryHostOptions {
  /** The caller has seen to what the repository's hooks are there for, so that they keep no push out. */
  readonly hooksSatisfied?: boolean;
}

/** The host of `repo`. */
export function repositoryHost(repo: Repository, options: RepositoryHostOptions = {}): ReceivePackHost {
  return new RepositoryHost(repo, options.hooksSatisfied ?? false);
}

class RepositoryHost implements ReceivePackHost {
  readonly #repo: Repository;
  readonly #hidden: readonly string[];
  readonly #hooksSatisfied: boolean;
  #checkedOut: ReadonlySet<string> | undefined;

  constructor(repo: Repository, hooksSatisfied: boolean) {
    this.#repo = repo;
    this.#hooksSatisfied = hooksSatisfied;
    this.#hidden = hiddenRefPatterns(repo.config, "receive");
  }

  refs(): AdvertisedRef[] {
    return this.#repo.refs.snapshot().filter(({ name }) => !isHidden(name, this.#hidden));
  }

  /** Refuses before the pack is read where that alone decides about the whole push. */
  async preflight(push: PushIntent): Promise<readonly RefResult[] | undefined> {
    const refusals = new Map<string, string>();
    const said: string[] = [];
    for (const command of push.commands) {
      const refusal = this.#refusal(command, (text) => said.push(text));
      if (refusal !== undefined) refusals.set(command.ref, refusal);
    }
    if (refusals.size === 0 || (!push.atomic && refusals.size < push.commands.length)) return undefined;
    for (const text of said) push.progress(text);
    return ngResults(push.commands, refusals);
  }

  async apply(push: Push): Promise<readonly RefResult[]> {
    const refusals = new Map<string, string>();
    for (const command of push.commands) {
      const refusal =
        this.#refusal(command, (text) => push.progress(text)) ?? (await this.#nonFastForward(command, push));
      if (refusal !== undefined) refusals.set(command.ref, refusal);
    }
    if (push.atomic && refusals.size > 0) return ngResults(push.commands, refusals);
    const bringIn = once(() => push.quarantine?.migrate(this.#repo.objects));
    if (push.atomic) return this.#move(push, push.commands, "atomic transaction failed", bringIn);
    const results: RefResult[] = [];
    for (const command of push.commands) {
      const refusal = refusals.get(command.ref);
      if (refusal !== undefined) results.push({ ref: command.ref, status: "ng", reason: refusal });
      else results.push(...(await this.#move(push, [command], "failed to update ref", bringIn)));
    }
    return results;
  }

  /** Moves refs together: locks first, so that objects only come in where the refs can move. */
  async #move(push: Push, commands: readonly PushCommand[], reason: string, bringIn: () => void): Promise<RefResult[]> {
    const changes = commands.map(({ ref, oldOid, newOid }) => ({ name: ref, oldOid, newOid }));
    let transaction: RefTransaction | undefined;
    let text = reason;
    try {
      transaction = this.#repo.refs.begin(changes, { objects: push.objects, message: "push" });
      await transaction.prepare();
      text = "unable to migrate objects to permanent storage";
      bringIn();
      text = reason;
      transaction.commit();
      return commands.map(({ ref }) => ({ ref, status: "ok" }));
    } catch (error) {
      transaction?.abort();
      const failure = toKvError(error);
      if (failure.code === "BUG") throw error;
      push.progress(`error: ${lockError(failure)}\n`);
      return commands.map(({ ref }) => ({ ref, status: "ng", reason: text }));
    }
  }

  /** Why the command is refused without a look at its objects, or undefined. */
  #refusal(command: PushCommand, say: (text: string) => void): string | undefined {
    const { ref } = command;
    const isDelete = command.newOid === this.#repo.format.zeroOid;
    if (isHidden(ref, this.#hidden)) return isDelete ? "deny deleting a hidden ref" : "deny updating a hidden ref";
    if (!ref.includes("/", "refs/".length)) {
      say(`error: refusing to create funny ref '${ref}' remotely\n`);
      return "funny refname";
    }
    const guard = this.#guard();
    if (guard !== undefined) {
      say(`error: the hook '${guard}' of this repository is not run by this server, so it takes no push\n`);
      return "hook declined";
    }
    if (!isDelete) return this.#checkedOutRefusal(ref, say);
    return this.#checkedOutRefusal(ref, say) ?? this.#deleteRefusal(ref, say);
  }

  #checkedOutRefusal(ref: string, say: (text: string) => void): string | undefined {
    if (!this.#checkedOutBranches().has(ref)) return undefined;
    const action = this.#action("receive.denyCurrentBranch");
    if (action === "ignore") return undefined;
    if (action === "warn") {
      say("warning: updating the current branch\n");
      return undefined;
    }
    say(`error: refusing to update checked out branch: ${ref}\n`);
    if (action === "default") say(DENY_CURRENT_BRANCH);
    return "branch is currently checked out";
  }

  #deleteRefusal(ref: string, say: (text: string) => void): string | undefined {
    if (ref.startsWith("refs/heads/") && this.#repo.config.getBool("receive.denyDeletes") === true) {
      say(`error: denying ref deletion for ${ref}\n`);
      return "deletion prohibited";
    }
    const head = this.#repo.refs.head();
    const isCurrent = head.kind === "branch" && head.ref === ref;
    if (!isCurrent && !this.#checkedOutBranches().has(ref)) return undefined;
    const action = this.#action("receive.denyDeleteCurrent");
    if (action === "ignore") return undefined;
    if (action === "warn") {
      say("warning: deleting the current branch\n");
      return undefined;
    }
    if (action === "default") say(DENY_DELETE_CURRENT);
    say(`error: refusing to delete the current branch: ${ref}\n`);
    return "deletion of the current branch prohibited";
  }

  async #nonFastForward({ ref, oldOid, newOid }: PushCommand, push: Push): Promise<string | undefined> {
    const { zeroOid } = this.#repo.format;
    if (oldOid === zeroOid || newOid === zeroOid || !ref.startsWith("refs/heads/")) return undefined;
    if (this.#repo.config.getBool("receive.denyNonFastForwards") !== true) return undefined;
    const graph = new CommitGraph(push.objects);
    const [from, to] = [graph.find(oldOid), graph.find(newOid)];
    if (from < 0 || to < 0) return "bad ref";
    if (await isReachable(graph, from, to)) return undefined;
    push.progress(`error: denying non-fast-forward ${ref} (you should pull first)\n`);
    return "non-fast-forward";
  }

  #action(name: string): Action {
    const value = this.#repo.config.get(name)?.toLowerCase();
    if (value === undefined) return "default";
    if (value === "ignore" || value === "warn" || value === "refuse") return value;
    // A change of the checked-out files is nothing this host makes, so it is refused.
    if (value === "updateinstead") return "refuse";
    return this.#repo.config.getBool(name) === true ? "refuse" : "ignore";
  }

  #checkedOutBranches(): ReadonlySet<string> {
    this.#checkedOut ??= checkedOutBranches(this.#repo);
    return this.#checkedOut;
  }

  /** A hook that could refuse a push, where there is one. */
  #guard(): string | undefined {
    if (this.#hooksSatisfied) return undefined;
    const { config, gitDir, commonDir, worktree } = this.#repo;
    const configured = config.getPath("core.hooksPath");
    const hooks =
      configured === undefined ? path.join(commonDir, "hooks") : path.resolve(worktree ?? gitDir, configured);
    return GUARDS.find((name) => isExecutable(path.join(hooks, name)));
  }
}

/** `run`, done at the first call that succeeds. */
function once(run: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) run();
    isDone = true;
  };
}

/** Results of a push of which nothing is done. */
function ngResults(commands: readonly PushCommand[], reasons: ReadonlyMap<string, string>): RefResult[] {
  return commands.map(({ ref }) => ({ ref, status: "ng", reason: reasons.get(ref) ?? "atomic push failure" }));
}

/** What git says where a ref cannot be locked for an update. */
function lockError(error: KvError): string {
  const { ref, expected, actual } = (error.data ?? {}) as { ref?: string; expected?: Oid; actual?: Oid };
  if (error.code !== "CAS_CONFLICT" || ref === undefined) return error.message;
  const isZero = (oid: Oid | undefined): boolean => oid === undefined || /^0+$/.test(oid);
  if (isZero(actual)) return `cannot lock ref '${ref}': unable to resolve reference '${ref}'`;
  if (isZero(expected)) return `cannot lock ref '${ref}': reference already exists`;
  return `cannot lock ref '${ref}': is at ${actual} but expected ${expected}`;
}

function isExecutable(file: string): boolean {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

const DENY_CURRENT_BRANCH = `error: By default, updating the current branch in a non-bare repository
is denied, because it will make the index and work tree inconsistent
with what you pushed, and will require 'git reset --hard' to match
the work tree to HEAD.

You can set the 'receive.denyCurrentBranch' configuration variable
to 'ignore' or 'warn' in the remote repository to allow pushing into
its current branch; however, this is not recommended unless you
arranged to update its work tree to match what you pushed in some
other way.

To squelch this message and still keep the default behaviour, set
'receive.denyCurrentBranch' configuration variable to 'refuse'.
`;

const DENY_DELETE_CURRENT = `error: By default, deleting the current branch is denied, because the next
'git clone' won't result in any file checked out, causing confusion.

You can set 'receive.denyDeleteCurrent' configuration variable to
'warn' or 'ignore' in the remote repository to allow deleting the
current branch, with or without a warning message.

To squelch this message, you can set it to 'refuse'.
`;
