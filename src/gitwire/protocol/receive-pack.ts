/**
 * The server's side of a push (git: gitprotocol-pack "Pushing Data To a Server"), protocol v0 and v1.
 *
 *     server: advertisement; client: commands, capabilities, push options, pack; server: report-status
 *
 * The pack goes into a quarantine while it streams in; its objects are checked and walked there, and only the host brings
 * them into the repository. A refusal is a report (`unpack ok`, `ng <ref> <reason>`) wherever the client can read one.
 */

import { type KvError, toKvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import type { ObjectFormat, ObjectKind, Oid } from "../object/oid.ts";
import { type IndexedPack, indexPack } from "../pack/index-pack.ts";
import { Pack } from "../pack/pack-reader.ts";
import { isValidRefName } from "../refs/ref-name.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { Quarantine } from "../store/quarantine.ts";
import type { ByteSink, ByteSource, Duplex } from "./byte-stream.ts";
import { agentToken, type Capabilities, capabilities, capabilityValue } from "./capabilities.ts";
import { writeChunks } from "./chunk-writer.ts";
import { unconnectedTips } from "./connectivity.ts";
import { PktReader, pktLine } from "./pkt-line.ts";
import { type PushCommand, type PushLimits, type PushRequest, readPushRequest, sendsPack } from "./receive-commands.ts";
import type { Push, PushIntent, ReceivePackHost } from "./receive-pack-host.ts";
import { encodeRefAdvertisement, encodeServiceLine } from "./ref-advertisement.ts";
import { encodeReport, type RefResult } from "./report-status.ts";
import { SidebandWriter, sidebandLimit } from "./sideband-writer.ts";

/** Limits a server may set lower than LIMITS. */
export interface ReceiveLimits extends PushLimits {
  readonly packBytes: number;
  readonly packObjects: number;
  readonly objectBytes: number;
  readonly deltaDepth: number;
}

export interface ReceivePackOptions {
  /** Where objects are kept; a Repository will do. */
  readonly repo: { readonly format: ObjectFormat; readonly objectsDir: string; readonly objects: ObjectStore };
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
  const refs = await options.host.refs();
  const chunks = encodeRefAdvertisement({
    version: options.version,
    format,
    capabilities: ourCapabilities(format, options.agent),
    refs: onlyRefs(refs),
  });
  await writeChunks(duplex.output, chunks);
}

/** A push never moves HEAD, so git does not advertise it here. */
function* onlyRefs(refs: Iterable<{ name: string; oid: Oid }>): Generator<{ name: string; oid: Oid }> {
  for (const { name, oid } of refs) {
    if (name.startsWith("refs/")) yield { name, oid };
  }
}

function ourCapabilities(format: ObjectFormat, agent: string): Capabilities {
  return capabilities(
    ["report-status"],
    ["report-status-v2"],
    ["delete-refs"],
    ["side-band-64k"],
    ["quiet"],
    ["atomic"],
    ["ofs-delta"],
    ["push-options"],
    ["object-format", format.name],
    ["agent", agentToken(agent)],
  );
}

/** What the session answers, and whether the pack is still to be read over. */
interface Outcome {
  readonly unpack: string;
  readonly refs: readonly RefResult[];
  readonly drain: boolean;
}

class ReceiveSession {
  readonly #options: ReceivePackOptions;
  readonly #limits: ReceiveLimits;
  readonly #request: PushRequest;
  readonly #reply: SidebandWriter;
  /** Why a command cannot be done, by ref. */
  readonly #refused = new Map<string, string>();

  constructor(options: ReceivePackOptions, request: PushRequest, output: ByteSink) {
    this.#options = options;
    this.#limits = options.limits ?? LIMITS;
    this.#request = request;
    this.#reply = new SidebandWriter(output, sidebandLimit(request.capabilities));
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
    await this.#reply.end();
    if (outcome.drain) await drain(input, this.#limits.packBytes);
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
    if (!drain) return { unpack: "ok", refs: await this.#apply(intent, undefined), drain };
    const quarantine = Quarantine.create(repo.objectsDir);
    try {
      let pack: IndexedPack | undefined;
      try {
        pack = await indexPack(input, {
          format: repo.format,
          dir: quarantine.packDir,
          bases: repo.objects,
          limits: this.#limits,
        });
      } catch (error) {
        return this.#unpackFailed(error);
      }
      return { unpack: "ok", refs: await this.#apply(intent, pack && { pack, quarantine }), drain: false };
    } finally {
      quarantine.discard();
    }
  }

  #refuseAll({ code, message }: KvError): readonly RefResult[] {
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
      progress: (text) => this.#reply.progress(text),
    };
  }

  #unpackFailed(error: unknown): Outcome {
    const failure = toKvError(error);
    if (failure.code === "BUG") throw error;
    const refs = this.#request.commands.map(({ ref }): RefResult => ({ ref, status: "ng", reason: "unpacker error" }));
    return { unpack: `${failure.code}: ${failure.message}`, refs, drain: failure.code !== "NETWORK" };
  }

  /** Checks that the new tips are complete, then lets the host decide about the rest. */
  async #apply(
    intent: PushIntent,
    arrived: { readonly pack: IndexedPack; readonly quarantine: Quarantine } | undefined,
  ): Promise<readonly RefResult[]> {
    const { repo, host } = this.#options;
    const objects = arrived === undefined ? repo.objects : arrived.quarantine.source(repo.objects);
    const pack = arrived === undefined ? undefined : new Pack(arrived.pack.packPath, repo.format);
    try {
      await this.#refuseDisconnected(intent.commands, objects, pack);
    } finally {
      pack?.close();
    }
    const commands = this.#viable(intent.commands);
    if (commands.length === 0) return this.#results([]);
    const push: Push = { ...intent, commands, objects, quarantine: arrived?.quarantine };
    try {
      return this.#results(await host.apply(push));
    } catch (error) {
      const failure = toKvError(error);
      if (failure.code === "BUG") throw error;
      if (failure.hint !== undefined) this.#reply.progress(`hint: ${failure.hint}\n`);
      const reason = `${failure.code}: ${failure.message}`;
      return this.#results(commands.map(({ ref }) => ({ ref, status: "ng", reason })));
    }
  }

  async #refuseDisconnected(
    commands: readonly PushCommand[],
    objects: Push["objects"],
    pack: Pack | undefined,
  ): Promise<void> {
    const { repo } = this.#options;
    const newKind = (oid: Oid): ObjectKind | undefined => {
      const offset = pack?.find(oid) ?? -1;
      return offset < 0 ? undefined : pack?.kind(offset);
    };
    const tips = commands.filter(({ newOid }) => newOid !== repo.format.zeroOid);
    const reasons = await unconnectedTips(
      { objects, newKind, oldKind: (oid) => repo.objects.kind(oid), fsck: true },
      tips.map(({ newOid }) => newOid),
    );
    for (const { ref, newOid } of tips) {
      if (reasons.has(newOid)) this.#refused.set(ref, "missing necessary objects");
    }
    for (const reason of reasons.values()) this.#reply.progress(`error: ${reason}\n`);
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
