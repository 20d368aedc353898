/** The mirror as a git remote: its refs, pushes to it, fetches from it. One connection a call. */

import type { Oid } from "../../gitwire/object/oid.ts";
import { type FetchDestination, fetchPack, lsRefs, type RemoteRefs } from "../../gitwire/protocol/fetch-pack.ts";
import type { PushCommand } from "../../gitwire/protocol/receive-commands.ts";
import type { RefAdvertisement, Service } from "../../gitwire/protocol/ref-advertisement.ts";
import { type PushResult, readPushAdvertisement, sendPack } from "../../gitwire/protocol/send-pack.ts";
import type { Transport } from "../../gitwire/protocol/transport.ts";
import type { Repository } from "../../gitwire/repo.ts";
import { whileKept } from "../../gitwire/store/pack-keep.ts";
import { connect } from "../../gitwire/transport/connect.ts";
import { findRemote, type Remote } from "../../gitwire/transport/remote.ts";
import { parseUrl, redactUrl } from "../../gitwire/transport/url.ts";
import { AGENT } from "../agent.ts";
import type { PackToSend } from "./pack-source.ts";

export interface MirrorPush {
  readonly commands: readonly PushCommand[];
  readonly pack: PackToSend | undefined;
  readonly atomic: boolean;
  readonly pushOptions?: readonly string[];
  readonly progress?: (text: string) => void;
  /** Called when a piece of the pack has left. */
  readonly moved?: () => void;
}

/** A connection on which the mirror has said what refs it has. */
export interface PushSession {
  readonly advertised: RefAdvertisement;
  push(push: MirrorPush): Promise<PushResult>;
}

/** What the worker needs of a mirror. */
export type MirrorPort = Pick<MirrorRemote, "url" | "refs" | "push" | "pushSession">;

export class MirrorRemote {
  /** The address without its password. */
  readonly url: string;
  /** A repository on this machine: no host asks for a slower pace. */
  readonly isLocal: boolean;
  readonly #repo: Repository;
  readonly #remote: Remote;
  readonly #env: Readonly<Record<string, string | undefined>>;

  /** `nameOrUrl`: a remote of the repository's config or an address. Throws INPUT_INVALID, UNSUPPORTED for a bad address. */
  constructor(repo: Repository, nameOrUrl: string, env: Readonly<Record<string, string | undefined>>) {
    this.#repo = repo;
    this.#remote = findRemote(repo.config, nameOrUrl);
    // Nobody is there to answer a question.
    this.#env = { ...env, GIT_TERMINAL_PROMPT: "0" };
    this.url = redactUrl(this.#pushUrl);
    this.isLocal = parseUrl(this.#pushUrl).kind === "local";
  }

  /** The mirror's refs that begin with one of `prefixes`. */
  async refs(prefixes: readonly string[], signal?: AbortSignal): Promise<RemoteRefs> {
    return this.#with("git-upload-pack", signal, (transport) => lsRefs(transport, prefixes, { agent: AGENT }));
  }

  /**
   * Fetches `wants` and all they need into the repository; `haves` are values of refs we have. What arrives is safe from a `git gc`
   * in another process until `move`, which moves the refs, has ended.
   */
  async fetch(
    wants: readonly Oid[],
    haves: Iterable<Oid>,
    move: () => Promise<void>,
    signal?: AbortSignal,
  ): Promise<void> {
    await whileKept(async (keeps) => {
      await this.#with("git-upload-pack", signal, (transport) =>
        fetchPack(transport, { wants, haves, destination: this.#repo, agent: AGENT, keeps }),
      );
      await move();
    });
  }

  /** Fetches into another place than the repository; `onBytes` is told how many bytes of the pack have arrived. */
  async fetchAside(
    wants: readonly Oid[],
    haves: Iterable<Oid>,
    destination: FetchDestination,
    { signal, onBytes = () => {} }: { readonly signal?: AbortSignal; readonly onBytes?: (bytes: number) => void } = {},
  ): Promise<void> {
    await this.#with("git-upload-pack", signal, (transport) =>
      fetchPack(transport, { wants, haves, destination, agent: AGENT, onBytes, signal }),
    );
  }

  /** Pushes without asking for the mirror's refs first, where the transport can do without. */
  async push(push: MirrorPush, signal?: AbortSignal): Promise<PushResult> {
    return this.#with("git-receive-pack", signal, (transport) => this.#send(transport, push, false));
  }

  /** Reads the mirror's refs, and lets `act` push on the same connection. */
  async pushSession<T>(act: (session: PushSession) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#with("git-receive-pack", signal, async (transport) => {
      const advertised = await readPushAdvertisement(transport);
      return act({ advertised, push: (push) => this.#send(transport, push, true) });
    });
  }

  get #pushUrl(): string {
    return this.#remote.pushUrls[0] ?? this.#remote.name;
  }

  #send(transport: Transport, push: MirrorPush, useAdvertisement: boolean): Promise<PushResult> {
    const { commands, pack, atomic, pushOptions = [], progress, moved } = push;
    const { format } = this.#repo;
    return sendPack(transport, {
      commands,
      pack: pack && moved ? watched(pack, moved) : pack,
      format,
      atomic,
      pushOptions,
      useAdvertisement,
      agent: AGENT,
      progress,
    });
  }

  async #with<T>(
    service: Service,
    signal: AbortSignal | undefined,
    act: (transport: Transport) => Promise<T>,
  ): Promise<T> {
    const { urls, uploadPack, receivePack, proxy, proxyAuthMethod, name } = this.#remote;
    const isPush = service === "git-receive-pack";
    const transport = await connect(isPush ? this.#pushUrl : (urls[0] ?? name), service, {
      config: this.#repo.config,
      env: this.#env,
      agent: AGENT,
      program: isPush ? receivePack : uploadPack,
      proxy,
      proxyAuthMethod,
      cwd: this.#repo.gitDir,
      // What ssh says stands in the error; our stderr is the log.
      onMessage: () => {},
      ...(signal !== undefined && { signal }),
    });
    try {
      return await act(transport);
    } finally {
      await transport.close();
    }
  }
}

/** The pack, told about as it leaves. */
function watched(pack: PackToSend, moved: () => void): PackToSend {
  return {
    thin: pack.thin,
    byteLength: pack.byteLength,
    *chunks() {
      for (const chunk of pack.chunks()) {
        moved();
        yield chunk;
      }
    },
    dispose: () => pack.dispose(),
  };
}
