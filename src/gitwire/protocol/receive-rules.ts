/**
 * What an ordinary repository's config has against single ref updates, in git's words (git: builtin/receive-pack.c, update();
 * config `receive.deny*`, `receive.hideRefs`, `transfer.hideRefs`).
 */

import type { GitConfig } from "../config.ts";
import type { Repository } from "../repo.ts";
import type { Worktree } from "../worktree/update-worktree.ts";
import { checkedOutBranches } from "./checked-out.ts";
import { CommitGraph } from "./commit-graph.ts";
import { hiddenRefs } from "./hidden-refs.ts";
import type { PushHooks } from "./push-hooks.ts";
import type { PushCommand } from "./receive-commands.ts";
import type { Push } from "./receive-pack-host.ts";
import { isReachable } from "./revision-range.ts";

type Action = "ignore" | "warn" | "refuse" | "update" | "default";

/** Sends text to the person who pushes. */
export type Say = (text: string) => void;

export class ReceiveRules {
  readonly #repo: Repository;
  /** True for refs that are hidden; undefined where none is. */
  readonly hides: ((ref: string) => boolean) | undefined;
  /** undefined where the repository's hooks are not run. */
  readonly #hooks: PushHooks | undefined;
  #checkedOut: ReadonlyMap<string, Worktree> | undefined;
  readonly #denyCurrentBranch: Action;
  readonly #denyDeleteCurrent: Action;
  readonly #denyDeletes: boolean;
  readonly #denyNonFastForwards: boolean;
  readonly #procReceiveRefs: readonly ProcReceivePattern[];

  /** Throws CONFIG: a rule that cannot be read might have been one against the push. */
  constructor(repo: Repository, hooks: PushHooks | undefined) {
    this.#repo = repo;
    this.#hooks = hooks;
    const { config } = repo;
    this.hides = hiddenRefs(config, "receive");
    this.#denyCurrentBranch = actionOf(config, "receive.denyCurrentBranch");
    this.#denyDeleteCurrent = actionOf(config, "receive.denyDeleteCurrent");
    this.#denyDeletes = config.getBool("receive.denyDeletes") === true;
    this.#denyNonFastForwards = config.getBool("receive.denyNonFastForwards") === true;
    this.#procReceiveRefs = config.getAll("receive.procReceiveRefs").map(procReceivePattern);
  }

  /** Why the command is refused without a look at its objects, or undefined. */
  refusal(command: PushCommand, say: Say): string | undefined {
    const { ref } = command;
    const isDelete = command.newOid === this.#repo.format.zeroOid;
    if (this.hides?.(ref) === true) return isDelete ? "deny deleting a hidden ref" : "deny updating a hidden ref";
    if (!ref.includes("/", "refs/".length)) {
      say(`error: refusing to create funny ref '${ref}' remotely\n`);
      return "funny refname";
    }
    if (this.#hooks !== undefined && this.#isForProcReceive(command)) {
      if (!this.#hooks.has("proc-receive")) {
        say("error: cannot find hook 'proc-receive'\n");
        return "fail to run proc-receive hook";
      }
      say("error: receive.procReceiveRefs is set, and this server does not run the hook 'proc-receive'\n");
      return "proc-receive hook is not run here";
    }
    const refusal = this.#checkedOutRefusal(ref, isDelete, say);
    return refusal ?? (isDelete ? this.#deleteRefusal(ref, say) : undefined);
  }

  /** The worktree whose files have to follow an update of `ref` (receive.denyCurrentBranch = updateInstead). */
  worktreeToUpdate({ ref, newOid }: PushCommand): Worktree | undefined {
    if (newOid === this.#repo.format.zeroOid || this.#denyCurrentBranch !== "update") return undefined;
    return this.#checkedOutBranches().get(ref);
  }

  /** "non-fast-forward" where that is denied and the update is none; needs the objects. */
  async nonFastForward({ ref, oldOid, newOid }: PushCommand, push: Push): Promise<string | undefined> {
    const { zeroOid } = this.#repo.format;
    if (oldOid === zeroOid || newOid === zeroOid || !ref.startsWith("refs/heads/")) return undefined;
    if (!this.#denyNonFastForwards) return undefined;
    const graph = new CommitGraph(push.objects);
    const [from, to] = [graph.find(oldOid), graph.find(newOid)];
    if (from < 0 || to < 0) return "bad ref";
    if (await isReachable(graph, from, to)) return undefined;
    push.progress(`error: denying non-fast-forward ${ref} (you should pull first)\n`);
    return "non-fast-forward";
  }

  #checkedOutRefusal(ref: string, isDelete: boolean, say: Say): string | undefined {
    if (!this.#checkedOutBranches().has(ref)) return undefined;
    const action = this.#denyCurrentBranch;
    if (action === "ignore") return undefined;
    if (action === "warn") {
      say("warning: updating the current branch\n");
      return undefined;
    }
    if (action === "update") {
      if (isDelete || this.#hooks !== undefined) return undefined;
      say(NO_UPDATE_INSTEAD);
    }
    say(`error: refusing to update checked out branch: ${ref}\n`);
    if (action === "default") say(DENY_CURRENT_BRANCH);
    return "branch is currently checked out";
  }

  #deleteRefusal(ref: string, say: Say): string | undefined {
    if (ref.startsWith("refs/heads/") && this.#denyDeletes) {
      say(`error: denying ref deletion for ${ref}\n`);
      return "deletion prohibited";
    }
    const head = this.#repo.refs.head();
    const isCurrent = head.kind === "branch" && head.ref === ref;
    if (!isCurrent && !this.#checkedOutBranches().has(ref)) return undefined;
    const action = this.#denyDeleteCurrent;
    if (action === "ignore") return undefined;
    if (action === "warn") {
      say("warning: deleting the current branch\n");
      return undefined;
    }
    if (action === "default") say(DENY_DELETE_CURRENT);
    say(`error: refusing to delete the current branch: ${ref}\n`);
    return "deletion of the current branch prohibited";
  }

  /** Whether git would leave the command to a hook that moves refs itself. */
  #isForProcReceive({ ref, oldOid, newOid }: PushCommand): boolean {
    const { zeroOid } = this.#repo.format;
    const kind = oldOid === zeroOid ? "a" : newOid === zeroOid ? "d" : "m";
    return this.#procReceiveRefs.some(({ kinds, isNegative, prefix }) => {
      if (!kinds.includes(kind)) return false;
      return (ref === prefix || ref.startsWith(`${prefix}/`)) !== isNegative;
    });
  }

  #checkedOutBranches(): ReadonlyMap<string, Worktree> {
    this.#checkedOut ??= checkedOutBranches(this.#repo);
    return this.#checkedOut;
  }
}

function actionOf(config: GitConfig, name: string): Action {
  const value = config.get(name)?.toLowerCase();
  if (value === undefined) return "default";
  if (value === "ignore" || value === "warn" || value === "refuse") return value;
  if (value === "updateinstead") return "update";
  return config.getBool(name) === true ? "refuse" : "ignore";
}

/** Commands that are left to the hook proc-receive. */
interface ProcReceivePattern {
  /** Out of "a" (a new ref), "d" (deleted) and "m" (moved). */
  readonly kinds: string;
  readonly isNegative: boolean;
  readonly prefix: string;
}

/** `[flags ":"] prefix`, the flags out of "a", "d", "m" and "!"; without one of the first three all of them are meant. */
function procReceivePattern(text: string): ProcReceivePattern {
  const [, flags = "", prefix = ""] = /^(?:([^:]*):)?(.*)$/s.exec(text)!;
  const kinds = flags.replace(/[^adm]/g, "");
  return { kinds: kinds === "" ? "adm" : kinds, isNegative: flags.includes("!"), prefix: prefix.replace(/\/+$/, "") };
}

const NO_UPDATE_INSTEAD =
  "error: receive.denyCurrentBranch is 'updateInstead', and a Stargate changes no checked-out files\n";

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
