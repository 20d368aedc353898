/**
 * The server's side of a push (git: gitprotocol-pack "Pushing Data To a Server"), protocol v0 and v1.
 *
 *     server: advertisement; client: commands, capabilities, push options, pack; server: report-status
 *
 * The pack goes into a quarantine while it streams in; its objects are checked and walked there, and only the host brings
 * them into the repository. A refusal is a report (`unpack ok`, `ng <ref> <reason>`) wherever the client can read one.
 */

import { KvError, toKvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { collectGarbage } from "../../memory.ts";
import type { ObjectFormat, Oid } from "../object/oid.ts";
import { type IndexedPack, indexPack } from "../pack/index-pack.ts";
import { isValidRefName } from "../refs/ref-name.ts";
import { refuseCollisions } from "../store/collision.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { Quarantine } from "../store/quarantine.ts";
import type { ByteSink, ByteSource, Duplex } from "./byte-stream.ts";
import { agentToken, type Capabilities, type CapabilityEntry, capabilities, capabilityValue } from "./capabilities.ts";
import { writeChunks } from "./chunk-writer.ts";
import { type ConnectivityView, describeDisconnection, findDisconnection, unconnectedTips } from "./connectivity.ts";
import { PktReader, pktLine } from "./pkt-line.ts";
import { type PushCommand, type PushLimits, type PushRequest, readPushRequest, sendsPack } from "./receive-commands.ts";
import type { Push, PushIntent, ReceivePackHost } from "./receive-pack-host.ts";
import type { ReceiveSettings } from "./receive-settings.ts";
import { encodeRefAdvertisement, encodeServiceLine } from "./ref-advertisement.ts";
import { encodeReport, type RefResult } from "./report-status.ts";
import { SidebandWriter, sidebandLimit } from "./sideband-writer.ts";

/** Bytes of a push's objects that are kept in memory, for each that the store keeps of what is read: all of a transaction of 15,000 keys among a million. */
const SEEN_SHARE = 1.5;

/** Limits a server may set lower than LIMITS. */
export interface ReceiveLimits extends PushLimits {
  readonly packBytes: number;
  readonly packObjects: number;
  readonly objectBytes: number;
  readonly deltaDepth: number;
}

export interface ReceivePackOptions {
  /** Where objects are kept; a Repository will do. */
  readonly repo: {
    readonly format: ObjectFormat;
    readonly objectsDir: string;
    readonly objects: ObjectStore;
  };
  readonly host: ReceivePackHost;
  /** Request and response (HTTP) rather than one connection. With `advertise: "only"` the service line comes first. */
  readonly stateless: boolean;
  /** Advertise and end; take a push without advertising (HTTP's POST); or both (SSH, pipes). */
  readonly advertise: "only" | "skip" | "both";
  readonly version: 0 | 1;
  /** What we call ourselves. */
  readonly agent: string;
  readonly limits?: ReceiveLimits;
}

/**
 * Serves one push. Resolves when it is answered, accepted or not. Rejects where no report could be given: the client has
 * been told then if the connection allowed it; the caller ends the connection and logs the error.
 */
export async function receivePack(duplex: Duplex, options: ReceivePackOptions): Promise<void> {
  if (options.advertise !== "skip") await advertise(duplex, options);
  if (options.advertise === "only") return;
  const reader = new PktReader(duplex.input);
  let request: PushRequest | undefined;
  try {
    request = await readPushRequest(reader, options.repo.format, options.limits);
  } catch (error) {
    // No capabilities are known yet, so the plain error line is all the client can read.
    await duplex.output.write(pktLine(`ERR ${toKvError(error).message.slice(0, 900)}\n`)).catch(() => {});
    throw error;
  }
  if (request === undefined) return;
  await new ReceiveSession(options, request, duplex.output).run(reader.rest());
}

async function advertise(duplex: Duplex, options: ReceivePackOptions): Promise<void> {
  const { format } = options.repo;
  if (options.stateless) await duplex.output.write(encodeServiceLine("git-receive-pack"));
  const refs = options.host.refs();
  const chunks = encodeRefAdvertisement({
    version: options.version,
    format,
    capabilities: ourCapabilities(format, options.agent, options.host.settings),
    // A push never moves HEAD, so git does not advertise it here.
    refs: [],
    listed: refs.cursor(false),
    haves: refs.withoutTips([...(options.host.haves?.() ?? [])]),
    shallow: options.host.shallow?.() ?? [],
  });
  await writeChunks(duplex.output, chunks);
}

function ourCapabilities(format: ObjectFormat, agent: string, settings: ReceiveSettings): Capabilities {
  const entries: CapabilityEntry[] = [
    ["report-status"],
    ["report-status-v2"],
    ["delete-refs"],
    ["side-band-64k"],
    ["quiet"],
  ];
  if (settings.advertiseAtomic) entries.push(["atomic"]);
  if (settings.advertiseOfsDelta) entries.push(["ofs-delta"]);
  if (settings.advertisePushOptions) entries.push(["push-options"]);
  entries.push(["object-format", format.name], ["agent", agentToken(agent)]);
  return capabilities(...entries);
}

/** What the session answers, and whether the pack is still to be read over. */
interface Outcome {
  readonly unpack: string;
  readonly refs: readonly RefResult[];
  readonly drain: boolean;
}

/** What the check of the new tips found, those apart that it refused. */
interface Connection {
  /** Where the history of a ref has to be cut off, by ref. */
  readonly shallow: ReadonlyMap<string, readonly Oid[]>;
  /** Whether a tip is in the pack. */
  readonly needsPack: boolean;
}

class ReceiveSession {
  readonly #options: ReceivePackOptions;
  readonly #limits: ReceiveLimits;
  readonly #request: PushRequest;
  readonly #reply: SidebandWriter;
  /** Why a command cannot be done, by ref. */
  readonly #refused = new Map<string, string>();
  /** Objects that came. */
  #received = 0;

  constructor(options: ReceivePackOptions, request: PushRequest, output: ByteSink) {
    this.#options = options;
    const limits = options.limits ?? LIMITS;
    const { packBytes, keepAlive } = options.host.settings;
    this.#limits = packBytes < limits.packBytes ? { ...limits, packBytes } : limits;
    this.#request = request;
    this.#reply = new SidebandWriter(output, sidebandLimit(request.capabilities), keepAlive);
  }

  async run(input: ByteSource): Promise<void> {
    let outcome: Outcome;
    try {
      outcome = await this.#push(input);
    } catch (error) {
      await this.#reply.fatal("internal error");
      throw error;
    }
    const v2 = this.#request.capabilities.has("report-status-v2");
    if (v2 || this.#request.capabilities.has("report-status")) await this.#reply.write(encodeReport(outcome, v2));
    await this.#tellHost(outcome.refs);
    await this.#reply.end();
    if (outcome.drain) await drain(input, this.#limits.packBytes);
    // What a large push leaves would lie beside all that the next one brings.
    collectGarbage(this.#received);
  }

  /** The report is out: what the host does now changes nothing of it, and cannot fail the push. */
  async #tellHost(results: readonly RefResult[]): Promise<void> {
    const { host } = this.#options;
    const done = this.#request.commands.filter((_, i) => results[i]?.status === "ok");
    if (host.after === undefined || done.length === 0) return;
    try {
      await host.after(this.#intent(), done);
    } catch (error) {
      this.#reply.progress(`error: ${toKvError(error).message}\n`);
    }
  }

  async #push(input: ByteSource): Promise<Outcome> {
    const { host, repo } = this.#options;
    const { commands } = this.#request;
    const drain = sendsPack(commands, repo.format);
    const { refusal } = this.#request;
    if (refusal !== undefined) return { unpack: "ok", refs: this.#refuseAll(refusal), drain };
    this.#refuseOddCommands();
    const intent = this.#intent();
    if (intent.commands.length === 0) return { unpack: "ok", refs: this.#results([]), drain };
    const early = await host.preflight?.(intent);
    if (early !== undefined) return { unpack: "ok", refs: this.#results(early), drain };
    if (!drain) return this.#apply(intent, undefined);
    const { objectsDir, objects } = repo;
    const quarantine = Quarantine.prepare(objectsDir, { seenBytes: SEEN_SHARE * objects.cacheBytes });
    try {
      let indexed: IndexedPack | undefined;
      try {
        indexed = await this.#index(input, intent, quarantine);
        if (indexed !== undefined) {
          this.#received = indexed.objectCount;
          quarantine.hold(indexed);
          await refuseCollisions(indexed, objects);
        }
      } catch (error) {
        return this.#unpackFailed(error);
      }
      return await this.#apply(intent, quarantine, indexed);
    } finally {
      quarantine.discard();
    }
  }

  #index(input: ByteSource, intent: PushIntent, quarantine: Quarantine): Promise<IndexedPack | undefined> {
    const { host, repo } = this.#options;
    const mostHeld = host.mostHeld?.(intent) ?? 0;
    if (mostHeld === 0) quarantine.makeFolder();
    return indexPack(input, {
      format: repo.format,
      dir: quarantine.packDir,
      makeDir: () => quarantine.makeFolder(),
      mostHeld,
      bases: repo.objects,
      limits: this.#limits,
      seen: quarantine.seen,
      seesBlobs: host.readsBlobs?.(intent) === true,
      unique: true,
    });
  }

  #refuseAll(refusal: KvError): readonly RefResult[] {
    const { code, message } = refusal;
    this.#options.host.refused?.(this.#request.commands, refusal);
    return this.#request.commands.map(({ ref }) => ({ ref, status: "ng", reason: `${code}: ${message}` }));
  }

  /** Names no ref can have, and refs named twice. */
  #refuseOddCommands(): void {
    const seen = new Set<string>();
    for (const { ref } of this.#request.commands) {
      if (!ref.startsWith("refs/") || !isValidRefName(ref)) {
        this.#reply.progress(`error: refusing to create funny ref '${ref}' remotely\n`);
        this.#refused.set(ref, "funny refname");
      } else if (seen.has(ref)) {
        this.#refused.set(ref, `multiple updates for ref '${ref}' not allowed`);
      }
      seen.add(ref);
    }
  }

  /** The commands still to be done; none where one is refused of an atomic push. */
  #viable(commands: readonly PushCommand[]): PushCommand[] {
    if (this.#isAtomic() && this.#refused.size > 0) return [];
    return commands.filter(({ ref }) => !this.#refused.has(ref));
  }

  #isAtomic(): boolean {
    return this.#request.capabilities.has("atomic");
  }

  #intent(): PushIntent {
    const { commands, capabilities: list, pushOptions } = this.#request;
    return {
      commands: this.#viable(commands),
      atomic: this.#isAtomic(),
      pushOptions,
      agent: capabilityValue(list, "agent"),
      capabilities: list,
      progress: (text) => this.#reply.progress(text),
    };
  }

  #unpackFailed(error: unknown): Outcome {
    const failure = toKvError(error);
    if (failure.code === "BUG") throw error;
    this.#options.host.refused?.(this.#request.commands, failure);
    const refs = this.#request.commands.map(({ ref }): RefResult => ({ ref, status: "ng", reason: "unpacker error" }));
    return { unpack: `${failure.code}: ${failure.message}`, refs, drain: failure.code !== "NETWORK" };
  }

  /**
   * Checks that the new objects are sound and the new tips complete, then lets the host decide about the rest. As with git, an
   * object that is not sound is a pack that cannot be unpacked, and an object that is not there concerns its refs alone.
   */
  async #apply(intent: PushIntent, quarantine: Quarantine | undefined, arrived?: IndexedPack): Promise<Outcome> {
    const { repo } = this.#options;
    const objects = quarantine === undefined ? repo.objects : quarantine.source(repo.objects);
    let found: Connection;
    try {
      found = await this.#refuseDisconnected(intent.commands, objects, arrived);
    } catch (error) {
      const outcome = this.#unpackFailed(error);
      this.#reply.progress(`error: ${toKvError(error).message}\n`);
      return { ...outcome, drain: false };
    }
    const commands = this.#viable(intent.commands);
    if (!found.needsPack) quarantine?.empty();
    const push = { ...intent, commands, objects, quarantine, shallow: found.shallow };
    const refs = commands.length === 0 ? [] : await this.#decide(push);
    return { unpack: "ok", refs: this.#results(refs), drain: false };
  }

  async #decide(push: Push): Promise<readonly RefResult[]> {
    try {
      return await this.#options.host.apply(push);
    } catch (error) {
      const failure = toKvError(error);
      if (failure.code === "BUG") throw error;
      if (failure.hint !== undefined) this.#reply.progress(`hint: ${failure.hint}\n`);
      const reason = `${failure.code}: ${failure.message}`;
      return push.commands.map(({ ref }) => ({ ref, status: "ng", reason }));
    }
  }

  /**
   * Refuses what is not complete. Throws BAD_OBJECT where the pack is needed and holds more that is not: it must not be stored, or a
   * later push could build on it (git: index-pack --strict).
   */
  async #refuseDisconnected(
    commands: readonly PushCommand[],
    objects: Push["objects"],
    arrived: IndexedPack | undefined,
  ): Promise<Connection> {
    const { repo, host } = this.#options;
    const tips = commands.filter(({ newOid }) => newOid !== repo.format.zeroOid);
    const { fsck, shallowUpdate } = host.settings;
    const view = {
      objects,
      newKind: (bytes: Buffer, at: number) => arrived?.objects.kindOf(bytes, at),
      oldKind: (oid: Oid) => repo.objects.kind(oid),
      fsck,
      shallow: new Set(this.#request.shallow),
      cuts: new Set<Oid>(),
    };
    const gap = await findDisconnection(view, oidsOf(tips), arrived?.objects);
    const reasons = gap === undefined ? new Map<Oid, string>() : await unconnectedTips(view, oidsOf(tips));
    const shallow = view.cuts.size === 0 ? new Map<string, Oid[]>() : await cutsOf(view, tips);
    for (const { ref, newOid } of tips) {
      if (reasons.has(newOid)) this.#refused.set(ref, "missing necessary objects");
      else if (shallow.has(ref) && !shallowUpdate) this.#refused.set(ref, "shallow update not allowed");
    }
    for (const reason of reasons.values()) this.#reply.progress(`error: ${reason}\n`);
    const [reason] = reasons.values();
    if (reason !== undefined) host.refused?.(tips, new KvError("BAD_OBJECT", reason));
    const left = this.#viable(tips);
    const needsPack = left.some(({ newOid }) => arrived?.objects.kindOf(Buffer.from(newOid, "hex"), 0) !== undefined);
    if (needsPack && (gap !== undefined || left.length < tips.length)) {
      const other = await findDisconnection(view, oidsOf(left), arrived?.objects);
      if (other !== undefined) throw new KvError("BAD_OBJECT", describeDisconnection(other));
    }
    return { shallow, needsPack };
  }

  /** One result for every command, in the order of the commands. */
  #results(results: readonly RefResult[]): RefResult[] {
    const byRef = new Map(results.map((result) => [result.ref, result]));
    return this.#request.commands.map(({ ref }): RefResult => {
      const refusal = this.#refused.get(ref);
      if (refusal !== undefined) return { ref, status: "ng", reason: refusal };
      const reason = this.#isAtomic() ? "atomic push failure" : "internal error";
      return byRef.get(ref) ?? { ref, status: "ng", reason };
    });
  }
}

function oidsOf(commands: readonly PushCommand[]): Oid[] {
  return commands.map(({ newOid }) => newOid);
}

/** Where the history of each ref is cut off for want of more. */
async function cutsOf(view: ConnectivityView, tips: readonly PushCommand[]): Promise<Map<string, Oid[]>> {
  const byRef = new Map<string, Oid[]>();
  for (const { ref, newOid } of tips) {
    const cuts = new Set<Oid>();
    await unconnectedTips({ ...view, cuts }, [newOid]);
    if (cuts.size > 0) byRef.set(ref, [...cuts]);
  }
  return byRef;
}

/** Reads over what the client still sends, `most` bytes at the most, so that it gets to read our answer. */
async function drain(input: ByteSource, most: number): Promise<void> {
  let left = most;
  try {
    while (left > 0) {
      const chunk = await input.read();
      if (chunk === undefined) return;
      left -= chunk.length;
    }
  } catch {
    // The client went away, which ends it too.
  }
}
