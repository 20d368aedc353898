/**
 * The host of an ordinary repository: what `git receive-pack` itself does, in its order and its words (git:
 * builtin/receive-pack.c; githooks). The rules of its config come from receive-rules.ts, its hooks from push-hooks.ts.
 */

import { systemClock } from "../../clock.ts";
import { KvError, toKvError } from "../../errors.ts";
import type { Oid } from "../object/oid.ts";
import type { RefTransaction } from "../refs/ref-transaction.ts";
import type { Repository } from "../repo.ts";
import { alternateTips } from "../store/alternate-tips.ts";
import { readShallow, updateShallow } from "../store/shallow-file.ts";
import { tidyStore } from "../store/tidy-store.ts";
import { aliasedUpdates } from "./aliased-updates.ts";
import { PushHooks } from "./push-hooks.ts";
import type { PushCommand } from "./receive-commands.ts";
import type { Push, PushIntent, ReceivePackHost } from "./receive-pack-host.ts";
import { ReceiveRules } from "./receive-rules.ts";
import { type ReceiveSettings, receiveSettings, STRICT_SETTINGS } from "./receive-settings.ts";
import type { RefResult } from "./report-status.ts";
import { VisibleRefs } from "./visible-refs.ts";

export interface RepositoryHostOptions {
  /** The caller has seen to what the repository's hooks are there for: they are not run. Objects are held to every rule. */
  readonly hooksSatisfied?: boolean;
}

/** The host of `repo`. Throws CONFIG. */
export function repositoryHost(repo: Repository, options: RepositoryHostOptions = {}): ReceivePackHost {
  return new RepositoryHost(repo, options.hooksSatisfied ?? false);
}

class RepositoryHost implements ReceivePackHost {
  readonly settings: ReceiveSettings;
  readonly #repo: Repository;
  readonly #hooks: PushHooks | undefined;
  readonly #rules: ReceiveRules;
  /** Deletions of refs that were not there: reported as done, and no news to a hook. */
  readonly #absent = new Set<string>();

  constructor(repo: Repository, hooksSatisfied: boolean) {
    this.#repo = repo;
    this.settings = hooksSatisfied ? STRICT_SETTINGS : receiveSettings(repo.config);
    this.#hooks = hooksSatisfied ? undefined : new PushHooks(repo);
    this.#rules = new ReceiveRules(repo, this.#hooks);
  }

  refs(): VisibleRefs {
    return new VisibleRefs(this.#repo.refs.view(), undefined, this.#rules.hides);
  }

  haves(): Oid[] {
    return alternateTips(this.#repo);
  }

  shallow(): readonly Oid[] {
    return readShallow(this.#repo.commonDir, this.#repo.format);
  }

  /** Refuses before the pack is read where that alone decides about the whole push. */
  async preflight(push: PushIntent): Promise<readonly RefResult[] | undefined> {
    // Git runs the hook before it looks at the refs.
    if (this.#hooks?.has("pre-receive") === true) return undefined;
    const refusals = new Map<string, string>();
    const said: string[] = [];
    for (const command of push.commands) {
      const refusal = this.#rules.refusal(command, (text) => said.push(text));
      if (refusal === undefined) continue;
      refusals.set(command.ref, refusal);
      if (push.atomic) break;
    }
    if (refusals.size === 0 || (!push.atomic && refusals.size < push.commands.length)) return undefined;
    for (const text of said) push.progress(text);
    return ngResults(push.commands, refusals);
  }

  async apply(push: Push): Promise<readonly RefResult[]> {
    if (this.#hooks !== undefined && !(await this.#hooks.preReceive(push, push.quarantine))) {
      return refuseAll(push.commands, "pre-receive hook declined");
    }
    const bringIn = once(() => push.quarantine?.migrate(this.#repo.objects, { keep: true }));
    if (this.#hooks?.has("update") === true || this.#hooks?.has("reference-transaction") === true) {
      // These hooks look for the objects in the repository.
      try {
        bringIn();
      } catch (error) {
        return refuseAll(push.commands, this.#said(push, error, MIGRATION));
      }
    }
    const aliased = aliasedUpdates(this.#repo.refs, push.commands, (text) => push.progress(text));
    if (push.atomic && aliased.refused.size > 0) return ngResults(push.commands, aliased.refused);
    const commands = push.commands.filter(({ ref }) => !aliased.refused.has(ref) && !aliased.targets.has(ref));
    const left = { ...push, commands };
    const results = await (push.atomic ? this.#applyTogether(left, bringIn) : this.#applyEach(left, bringIn));
    const byRef = new Map(results.map((result) => [result.ref, result]));
    for (const [ref, reason] of aliased.refused) byRef.set(ref, { ref, status: "ng", reason });
    for (const [ref, target] of aliased.targets) byRef.set(ref, { ...byRef.get(target)!, ref });
    return [...byRef.values()];
  }

  async after(push: PushIntent, done: readonly PushCommand[]): Promise<void> {
    if (this.#hooks === undefined) return;
    await this.#hooks.after(
      push,
      done.filter(({ ref }) => !this.#absent.has(ref)),
    );
    await this.#tidy();
  }

  /** What is due in the object folder (receive.autogc): every push leaves a pack. A failure is the next one's to meet. */
  async #tidy(): Promise<void> {
    const { config } = this.#repo;
    if (config.getBool("receive.autogc") === false || !this.#repo.isAutoMaintained) return;
    const packs = config.getInt("gc.autoPackLimit") ?? PACK_LIMIT;
    const maxPacks = packs > 0 ? packs : Number.POSITIVE_INFINITY;
    await tidyStore(this.#repo, { maxPacks, now: systemClock.now() }).catch(() => {});
  }

  async #applyTogether(push: Push, bringIn: () => void): Promise<readonly RefResult[]> {
    for (const command of push.commands) {
      const refusal = await this.#judge(command, push, bringIn);
      if (refusal !== undefined) return ngResults(push.commands, new Map([[command.ref, refusal]]));
    }
    return this.#move(push, push.commands, "atomic transaction failed", bringIn);
  }

  async #applyEach(push: Push, bringIn: () => void): Promise<readonly RefResult[]> {
    const results: RefResult[] = [];
    const waiting: PushCommand[] = [];
    const isMany = this.#mayWait(push);
    for (const command of push.commands) {
      const refusal = await this.#judge(command, push, bringIn);
      if (refusal !== undefined) results.push({ ref: command.ref, status: "ng", reason: refusal });
      else if (isMany) waiting.push(command);
      else results.push(...(await this.#moveOne(push, command, bringIn)));
    }
    return [...results, ...(await this.#moveMany(push, waiting, bringIn))];
  }

  /** Whether so many refs move that they had better move together, and nobody is asked or told of each. */
  #mayWait({ commands }: Push): boolean {
    if (commands.length < MANY || this.#hooks?.has("update") === true) return false;
    if (this.#hooks?.has("reference-transaction") === true) return false;
    return commands.every((command) => this.#rules.worktreeToUpdate(command) === undefined);
  }

  /** Moves refs that do not depend on each other: in one go where that works, else one by one. */
  async #moveMany(push: Push, commands: readonly PushCommand[], bringIn: () => void): Promise<RefResult[]> {
    if (commands.length === 0) return [];
    const said: (string | Uint8Array)[] = [];
    const trial = { ...push, progress: (text: string | Uint8Array) => void said.push(text) };
    const results = await this.#move(trial, commands, "failed to update ref", bringIn);
    if (results.every(({ status }) => status === "ok")) {
      for (const text of said) push.progress(text);
      return results;
    }
    const each: RefResult[] = [];
    for (const command of commands) each.push(...(await this.#moveOne(push, command, bringIn)));
    return each;
  }

  #moveOne(push: Push, command: PushCommand, bringIn: () => void): Promise<RefResult[]> {
    return this.#move(push, [command], "failed to update ref", bringIn);
  }

  /** Why one command is refused, or undefined. */
  async #judge(command: PushCommand, push: Push, bringIn: () => void): Promise<string | undefined> {
    const { ref, newOid } = command;
    const refusal =
      this.#rules.refusal(command, (text) => push.progress(text)) ?? (await this.#rules.nonFastForward(command, push));
    if (refusal !== undefined) return refusal;
    if (this.#hooks !== undefined && !(await this.#hooks.update(push, command))) {
      push.progress(`error: hook declined to update ${ref}\n`);
      return "hook declined";
    }
    const worktree = this.#rules.worktreeToUpdate(command);
    if (worktree === undefined) return undefined;
    bringIn();
    if (this.#hooks?.has("push-to-checkout") === true) {
      return (await this.#hooks.pushToCheckout(push, newOid, worktree)) ? undefined : "push-to-checkout hook declined";
    }
    const { updateWorktree } = await import("../worktree/update-worktree.ts");
    const from = this.#repo.refs.resolve(ref);
    return updateWorktree(this.#repo, { worktree, from, to: newOid, say: (line) => push.progress(`${line}\n`) });
  }

  /** Moves refs together: locks first, so that objects only come in where the refs can move. */
  async #move(push: Push, commands: readonly PushCommand[], reason: string, bringIn: () => void): Promise<RefResult[]> {
    let real: readonly PushCommand[] = [];
    let transaction: RefTransaction | undefined;
    let text = reason;
    try {
      real = commands.filter((command) => !this.#isAbsent(command, push));
      if (real.length === 0) return acceptAll(commands);
      const changes = real.map((command) => ({
        name: command.ref,
        oldOid: this.#expected(command, push),
        newOid: command.newOid,
      }));
      transaction = await this.#repo.refs.begin(changes, { objects: push.objects, message: "push" });
      await transaction.prepare();
      await this.#requireConsent(push, real);
      text = MIGRATION;
      bringIn();
      text = "shallow error";
      await this.#addShallow(push, real);
      text = reason;
      transaction.commit();
    } catch (error) {
      transaction?.abort();
      return refuseAll(commands, this.#said(push, error, text));
    }
    await this.#hooks?.referenceTransaction(push, "committed", real);
    return acceptAll(commands);
  }

  /** Asks the reference-transaction hook. Throws FORBIDDEN where it says no. */
  async #requireConsent(push: Push, commands: readonly PushCommand[]): Promise<void> {
    if (this.#hooks === undefined) return;
    if (await this.#hooks.referenceTransaction(push, "prepared", commands)) return;
    await this.#hooks.referenceTransaction(push, "aborted", commands);
    throw new KvError("FORBIDDEN", "ref updates aborted by hook");
  }

  /** Cuts the history off where the client's ends, before a ref points at it. */
  async #addShallow(push: Push, commands: readonly PushCommand[]): Promise<void> {
    const cuts = commands.flatMap(({ ref }) => push.shallow?.get(ref) ?? []);
    if (cuts.length === 0) return;
    const { commonDir, format } = this.#repo;
    await updateShallow(commonDir, format, (shallow) => [...shallow, ...cuts]);
  }

  /** Whether the command deletes what is not there, which is as good as done. */
  #isAbsent({ ref, oldOid, newOid }: PushCommand, push: Push): boolean {
    if (newOid !== this.#repo.format.zeroOid) return false;
    if (this.#repo.refs.resolve(ref) !== undefined || push.objects.has(oldOid)) return false;
    push.progress("warning: deleting a non-existent ref\n");
    this.#absent.add(ref);
    return true;
  }

  /** What the ref must be; undefined for the deletion of a ref whose object is lost. */
  #expected({ oldOid, newOid }: PushCommand, push: Push): Oid | undefined {
    if (newOid !== this.#repo.format.zeroOid || push.objects.has(oldOid)) return oldOid;
    push.progress("warning: allowing deletion of corrupt ref\n");
    return undefined;
  }

  /** Says what went wrong; returns the reason for the report. Throws what is a bug of ours. */
  #said(push: Push, error: unknown, reason: string): string {
    const failure = toKvError(error);
    if (failure.code === "BUG") throw error;
    push.progress(`error: ${lockError(failure)}\n`);
    return reason;
  }
}

/** Packs that may lie side by side, unless gc.autoPackLimit says otherwise (as git). */
const PACK_LIMIT = 50;

/** Refs from which on a push moves them together: each by itself waits for the disk twice. */
const MANY = 32;

const MIGRATION = "unable to migrate objects to permanent storage";

/** `run`, done at the first call that succeeds. */
function once(run: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) run();
    isDone = true;
  };
}

function acceptAll(commands: readonly PushCommand[]): RefResult[] {
  return commands.map(({ ref }) => ({ ref, status: "ok" }));
}

function refuseAll(commands: readonly PushCommand[], reason: string): RefResult[] {
  return commands.map(({ ref }) => ({ ref, status: "ng", reason }));
}

/** Results of a push of which nothing is done. */
function ngResults(commands: readonly PushCommand[], reasons: ReadonlyMap<string, string>): RefResult[] {
  return commands.map(({ ref }) => ({ ref, status: "ng", reason: reasons.get(ref) ?? "atomic push failure" }));
}

/** What git says where a ref cannot be locked for an update. */
function lockError(error: KvError): string {
  const { ref, expected, actual, existing, other } = (error.data ?? {}) as Readonly<Record<string, string | undefined>>;
  if (error.code === "REF_INVALID" && ref !== undefined && other !== undefined) {
    return `cannot lock ref '${ref}': cannot process '${ref}' and '${other}' at the same time`;
  }
  if (error.code === "REF_INVALID" && ref !== undefined && existing !== undefined) {
    return `cannot lock ref '${ref}': '${existing}' exists; cannot create '${ref}'`;
  }
  if (error.code !== "CAS_CONFLICT" || ref === undefined) return error.message;
  const isZero = (oid: Oid | undefined): boolean => oid === undefined || /^0+$/.test(oid);
  if (isZero(actual)) return `cannot lock ref '${ref}': unable to resolve reference '${ref}'`;
  if (isZero(expected)) return `cannot lock ref '${ref}': reference already exists`;
  return `cannot lock ref '${ref}': is at ${actual} but expected ${expected}`;
}
