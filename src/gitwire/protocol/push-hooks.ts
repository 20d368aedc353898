/**
 * The hooks of a push, as git's receive-pack runs them (git: githooks; git-receive-pack "Quarantine environment"):
 *
 *     pre-receive                  reads old SP new SP ref LF of every command; may refuse all of them
 *     update ref old new           may refuse one
 *     reference-transaction state  reads the same lines; "prepared" may refuse, "committed" and "aborted" are told
 *     post-receive, post-update    are told what has moved, after the client has its report
 */

import { findHook, type HookName, runHook } from "../hook.ts";
import type { Repository } from "../repo.ts";
import type { Quarantine } from "../store/quarantine.ts";
import type { Worktree } from "../worktree/update-worktree.ts";
import type { PushCommand } from "./receive-commands.ts";
import type { PushIntent } from "./receive-pack-host.ts";

export class PushHooks {
  readonly #repo: Repository;
  readonly #found = new Map<HookName, string | undefined>();

  constructor(repo: Repository) {
    this.#repo = repo;
  }

  has(name: HookName): boolean {
    return this.#file(name) !== undefined;
  }

  /** Whether the push may go on. The objects are still in quarantine, where the hook finds them by its environment. */
  preReceive(push: PushIntent, quarantine: Quarantine | undefined): Promise<boolean> {
    const env = { ...optionVariables(push), ...this.#quarantineVariables(quarantine) };
    return this.#run("pre-receive", push, { input: commandLines(push.commands), env });
  }

  /** Whether this ref may move. */
  update(push: PushIntent, { ref, oldOid, newOid }: PushCommand): Promise<boolean> {
    return this.#run("update", push, { args: [ref, oldOid, newOid] });
  }

  /** Tells of a transaction; whether it may be made, for the state "prepared". */
  referenceTransaction(
    push: PushIntent,
    state: "prepared" | "committed" | "aborted",
    commands: readonly PushCommand[],
  ): Promise<boolean> {
    return this.#run("reference-transaction", push, { args: [state], input: commandLines(commands) });
  }

  /** Brings the checked-out files to `commit`, where the owner has a hook for it. */
  pushToCheckout(push: PushIntent, commit: string, worktree: Worktree): Promise<boolean> {
    const env = { GIT_DIR: worktree.admin, GIT_WORK_TREE: worktree.files };
    return this.#run("push-to-checkout", push, { args: [commit], env });
  }

  /** Tells of what has moved. */
  async after(push: PushIntent, moved: readonly PushCommand[]): Promise<void> {
    if (moved.length === 0) return;
    await this.#run("post-receive", push, { input: commandLines(moved), env: optionVariables(push) });
    await this.#run("post-update", push, { args: moved.map(({ ref }) => ref) });
  }

  async #run(name: HookName, push: PushIntent, what: Omit<Parameters<typeof runHook>[2], "said">): Promise<boolean> {
    const file = this.#file(name);
    return file === undefined || runHook(this.#repo, file, { ...what, said: (bytes) => push.progress(bytes) });
  }

  #file(name: HookName): string | undefined {
    if (!this.#found.has(name)) this.#found.set(name, findHook(this.#repo, name));
    return this.#found.get(name);
  }

  #quarantineVariables(quarantine: Quarantine | undefined): Record<string, string> {
    if (quarantine === undefined) return {};
    return {
      GIT_QUARANTINE_PATH: quarantine.dir,
      GIT_OBJECT_DIRECTORY: quarantine.dir,
      GIT_ALTERNATE_OBJECT_DIRECTORIES: this.#repo.objectsDir,
    };
  }
}

function commandLines(commands: readonly PushCommand[]): string {
  return commands.map(({ oldOid, newOid, ref }) => `${oldOid} ${newOid} ${ref}\n`).join("");
}

/** GIT_PUSH_OPTION_COUNT and GIT_PUSH_OPTION_<n>; git sets the count also where there are none. */
function optionVariables({ pushOptions }: PushIntent): Record<string, string> {
  const each = pushOptions.map((option, i) => [`GIT_PUSH_OPTION_${i}`, option] as const);
  return { GIT_PUSH_OPTION_COUNT: String(pushOptions.length), ...Object.fromEntries(each) };
}
