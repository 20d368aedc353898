/** The daemon: gates, doors and mirrors of the repositories it serves, started and stopped together. */

import { KvError, toKvError } from "../errors.ts";
import { HttpDoor } from "./http-door.ts";
import { LoginThrottle } from "./login-throttle.ts";
import { Registry, type RepositorySpec } from "./registry.ts";
import { ServedRepository, type ServeOptions } from "./served-repository.ts";
import { parseListen } from "./settings.ts";
import { SocketDoor } from "./socket-door.ts";

export interface DaemonOptions extends ServeOptions {
  readonly repositories: readonly RepositorySpec[];
  /** Something a person should know, though the work goes on. */
  readonly warn: (text: string) => void;
}

/** Milliseconds for what is under way when the daemon is told to stop. */
const DRAIN = 60_000;

/** Longest path of a unix socket, with the byte that ends it (unix(7), macOS being the shorter). */
const SOCKET_PATH_MAX = process.platform === "darwin" ? 104 : 108;

/** What the daemon needs of the listener for operators, which is loaded where one is wanted. */
interface Ops {
  readonly url: string;
  drain(): void;
  close(): Promise<void>;
}

export class Daemon {
  /** One line for each listener: `http://127.0.0.1:8418`, `unix:/srv/kv.git/stargate/socket`. */
  readonly listeners: string[] = [];
  readonly registry = new Registry();
  readonly #repositories: ServedRepository[] = [];
  readonly #http: HttpDoor[] = [];
  readonly #sockets: SocketDoor[] = [];
  readonly #ops: Ops[] = [];
  readonly #throttle = new LoginThrottle();
  readonly #options: DaemonOptions;
  /** The last reload; one follows the other. */
  #reloading = Promise.resolve();

  private constructor(options: DaemonOptions) {
    this.#options = options;
  }

  /** Opens everything, or nothing. Throws LOCKED, CONFIG, NOT_A_REPOSITORY, IO ... */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const daemon = new Daemon(options);
    try {
      for (const spec of options.repositories) {
        const repository = await ServedRepository.open(spec, options);
        daemon.#repositories.push(repository);
        daemon.registry.add(repository);
      }
      await daemon.#listen();
      await daemon.#listenForOperators();
      for (const repository of daemon.#repositories) await repository.start();
      return daemon;
    } catch (error) {
      await daemon.stop(0);
      throw error;
    }
  }

  /**
   * Reads settings, git's config and tokens again and goes on with them. What is not sound is logged, and the repository goes on
   * as before; so are settings that only a restart changes.
   */
  reload(): Promise<void> {
    this.#reloading = this.#reloading.then(() => this.#reloadAll());
    return this.#reloading;
  }

  async #reloadAll(): Promise<void> {
    for (const repository of this.#repositories) {
      const { name: repo } = repository;
      try {
        const restart = await repository.reload();
        this.#options.log("info", "daemon", { repo, result: "reloaded", ...(restart.length > 0 && { restart }) });
      } catch (error) {
        const { code, message } = toKvError(error);
        this.#options.log("error", "daemon", { repo, result: "not reloaded", code, message });
      }
    }
  }

  /** Takes nothing new, finishes what is under way and lets go of everything. */
  async stop(drain = DRAIN): Promise<void> {
    for (const ops of this.#ops) ops.drain();
    await this.#reloading;
    for (const { gate } of this.#repositories) gate.turns.close();
    await Promise.all([...this.#http, ...this.#sockets].map((door) => door.close(drain)));
    for (const repository of this.#repositories) await repository.stop();
    this.#repositories.length = 0;
    await Promise.all(this.#ops.map((ops) => ops.close()));
  }

  async #listen(): Promise<void> {
    const { registry } = this;
    const { clock, log, flags, env } = this.#options;
    const addresses = new Set(this.#repositories.map(({ settings }) => settings.listen));
    for (const address of addresses) {
      const common = { registry, log, now: () => clock.now(), throttle: this.#throttle };
      const door = new HttpDoor({ ...parseListen(address), ...common });
      this.#http.push(door);
      this.listeners.push(door.url);
    }
    const named = (flags.socket ?? env.STARGATE_SOCKET) !== undefined;
    for (const path of new Set(this.#repositories.map(({ settings }) => settings.socket))) {
      if (Buffer.byteLength(path) >= SOCKET_PATH_MAX) this.#socketTooLong(path, named);
      else {
        this.#sockets.push(await SocketDoor.listen(path, registry, clock, log));
        this.listeners.push(`unix:${path}`);
      }
    }
  }

  async #listenForOperators(): Promise<void> {
    const wanted = new Map(
      this.#repositories.map(({ settings }) => [settings.adminListen.address, settings.adminListen]),
    );
    for (const { address, isDefault } of wanted.values()) {
      if (address === undefined) continue;
      const { openOps } = await import("./ops/open.ts");
      const { clock, log } = this.#options;
      const options = { ...parseListen(address), now: () => clock.now(), log, throttle: this.#throttle };
      const sources = this.#repositories.filter(({ settings }) => settings.adminListen.address === address);
      try {
        const ops = openOps(sources, options);
        this.#ops.push(ops);
        this.listeners.push(ops.url);
      } catch (error) {
        // Nobody asked for this one: another Stargate on this machine may have it.
        if (!isDefault) throw error;
        const { message } = toKvError(error);
        this.#options.warn(`no status page: ${message}; give --admin-listen HOST:PORT, or 'off'`);
      }
    }
  }

  #socketTooLong(path: string, named: boolean): void {
    const hint = "give a shorter one with --socket or in stargate.yaml";
    const message = `the path of the socket is longer than the system allows: ${path}`;
    if (named) throw new KvError("CONFIG", message, { hint });
    this.#options.warn(`${message}; ${hint}, or there is no way in over SSH`);
  }
}
