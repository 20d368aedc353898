/**
 * Ordinary refs where there is a mirror: the push is passed on to it in the same session, its answer for each ref is handed back,
 * and what it took is stored here. The host stays the authority for branches: its rules, its merges, its CI.
 */

import { toKvError } from "../../errors.ts";
import type { Oid } from "../../gitwire/object/oid.ts";
import { CommitGraph } from "../../gitwire/protocol/commit-graph.ts";
import type { PushCommand } from "../../gitwire/protocol/receive-commands.ts";
import type { Push, PushIntent } from "../../gitwire/protocol/receive-pack-host.ts";
import type { RefResult } from "../../gitwire/protocol/report-status.ts";
import { isReachable } from "../../gitwire/protocol/revision-range.ts";
import { ObjectStore } from "../../gitwire/store/object-store.ts";
import type { Gate } from "../gate.ts";
import { refuseMirrorBranches } from "../ordinary-host.ts";
import type { OrdinaryHost } from "../push-host.ts";
import type { MirrorRemote, PushSession } from "./mirror-remote.ts";
import { type PackToSend, packFor } from "./pack-source.ts";
import { type WorkerTimers, withPatience } from "./timers.ts";

/** What becomes of one command. */
type Passage =
  | { readonly kind: "pass"; readonly command: PushCommand }
  /** The mirror has it already. */
  | { readonly kind: "there"; readonly command: PushCommand }
  | { readonly kind: "refuse"; readonly command: PushCommand; readonly reason: string };

export class Relay implements OrdinaryHost {
  readonly refusal = "REMOTE_REJECTED";
  readonly #gate: Gate;
  readonly #remote: MirrorRemote;
  readonly #timers: WorkerTimers;
  /** Our copies of the mirror's branches turned out to be old. */
  readonly #onStale: () => void;

  constructor(gate: Gate, remote: MirrorRemote, timers: WorkerTimers, onStale: () => void) {
    this.#gate = gate;
    this.#remote = remote;
    this.#timers = timers;
    this.#onStale = onStale;
  }

  async preflight(push: PushIntent): Promise<readonly RefResult[] | undefined> {
    refuseMirrorBranches(this.#gate, push);
    return undefined;
  }

  apply(push: Push): Promise<readonly RefResult[]> {
    return this.#gate.mutexes.run("refs/heads", () => this.#relay(push));
  }

  async #relay(push: Push): Promise<readonly RefResult[]> {
    const { mirrorTimeout } = this.#gate.settings;
    const never = new AbortController().signal;
    // Others wait for their turn: a host that says nothing is not waited for for ever.
    const results = await withPatience(this.#timers, mirrorTimeout, never, (signal, moved) =>
      this.#remote.pushSession((session) => this.#pass(push, session, moved), signal),
    );
    const taken = push.commands.filter(({ ref }) => results.some((one) => one.ref === ref && one.status === "ok"));
    if (taken.length > 0) await this.#store(push, taken);
    return results;
  }

  async #pass(push: Push, session: PushSession, moved: () => void): Promise<RefResult[]> {
    const passages: Passage[] = [];
    for (const command of push.commands) passages.push(await this.#passage(push, session, command));
    const isRefused = passages.some(({ kind }) => kind === "refuse");
    if (isRefused) this.#onStale();
    if (isRefused && push.atomic) {
      return passages.map((passage) =>
        ng(passage.command.ref, passage.kind === "refuse" ? passage.reason : "atomic push failure"),
      );
    }
    const commands = passages.flatMap((passage) => (passage.kind === "pass" ? [passage.command] : []));
    const answers =
      commands.length === 0 ? new Map<string, RefResult>() : await this.#send(push, session, commands, moved);
    return passages.map(({ kind, command: { ref }, ...more }) => {
      if (kind === "pass") return answers.get(ref)!;
      return kind === "there" ? { ref, status: "ok" } : ng(ref, (more as { reason: string }).reason);
    });
  }

  /**
   * Our copy of a branch may be older than the mirror's, and so what the client built on. A push that contains what the mirror has
   * by now is passed on as a fast-forward of that; any other one is for the client to sort out.
   */
  async #passage(push: Push, session: PushSession, command: PushCommand): Promise<Passage> {
    const { zeroOid } = this.#gate.repo.format;
    const there = session.advertised.refs.find(command.ref)?.oid ?? zeroOid;
    if (there === command.oldOid) return { kind: "pass", command };
    if (there === command.newOid) return { kind: "there", command };
    if (there === zeroOid) return { kind: "pass", command: { ...command, oldOid: zeroOid } };
    const graph = new CommitGraph(push.objects);
    const [from, to] = [graph.find(there), command.newOid === zeroOid ? -1 : graph.find(command.newOid)];
    if (from >= 0 && to >= 0 && (await isReachable(graph, from, to))) {
      return { kind: "pass", command: { ...command, oldOid: there } };
    }
    return { kind: "refuse", command, reason: "fetch first" };
  }

  async #send(
    push: Push,
    session: PushSession,
    commands: readonly PushCommand[],
    moved: () => void,
  ): Promise<Map<string, RefResult>> {
    const { zeroOid } = this.#gate.repo.format;
    const { capabilities, refs } = session.advertised;
    const wants = commands.map(({ newOid }) => newOid).filter((oid) => oid !== zeroOid);
    const store = this.#objects(push);
    let pack: PackToSend | undefined;
    try {
      if (wants.length > 0) pack = await packFor(store, wants, haves(refs), !capabilities.has("no-thin"));
      const result = await session.push({
        commands,
        pack,
        atomic: push.atomic,
        pushOptions: capabilities.has("push-options") ? push.pushOptions : [],
        progress: (text) => {
          moved();
          push.progress(text);
        },
        moved,
      });
      const failed = result.unpack === "ok" ? undefined : result.unpack;
      return new Map(
        commands.map(({ ref }) => {
          const outcome = result.refs.get(ref);
          if (outcome?.ok === true) return [ref, { ref, status: "ok" }];
          return [ref, ng(ref, outcome?.reason ?? failed ?? "the mirror did not report on it")];
        }),
      );
    } finally {
      pack?.dispose();
      if (store !== this.#gate.repo.objects) store.close();
    }
  }

  /** New objects and old ones in one store, so that stored deltas can be passed on as they are. */
  #objects(push: Push): ObjectStore {
    const { repo } = this.#gate;
    if (push.quarantine === undefined) return repo.objects;
    return new ObjectStore(push.quarantine.dir, repo.format, { alternates: [repo.objectsDir] });
  }

  /** Stores what the mirror took. It is done whatever happens here; a copy that is missing comes with the next look at the mirror. */
  async #store(push: Push, commands: readonly PushCommand[]): Promise<void> {
    const { repo } = this.#gate;
    const changes = commands.map(({ ref, newOid }) => ({ name: ref, newOid }));
    try {
      const transaction = await repo.refs.begin(changes, { objects: push.objects });
      await transaction.prepare();
      try {
        push.quarantine?.migrate(repo.objects, { keep: true });
      } catch (error) {
        transaction.abort();
        throw error;
      }
      transaction.commit();
    } catch (error) {
      const { code, message } = toKvError(error);
      this.#gate.log("error", "relay", { code, message });
      push.progress("warning: the mirror took the push; this Stargate could not store its own copy yet\n");
      this.#onStale();
    }
  }
}

function haves(refs: Iterable<{ readonly oid: Oid }>): Oid[] {
  return Array.from(refs, ({ oid }) => oid);
}

function ng(ref: string, reason: string): RefResult {
  return { ref, status: "ng", reason };
}
