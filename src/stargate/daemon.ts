/** The daemon: gates, doors and mirrors of the repositories it serves, started and stopped together. */

import type { Clock } from "../clock.ts";
import { KvError, toKvError } from "../errors.ts";
import { openRepository } from "../gitwire/repo.ts";
import { Gate, type Stage } from "./gate.ts";
import { HttpDoor } from "./http-door.ts";
import type { Log } from "./log.ts";
import { MirrorLink } from "./mirror/mirror-link.ts";
import { storingHost } from "./ordinary-host.ts";
import { logDrift } from "./policy-drift.ts";
import { Registry, type RepositorySpec } from "./registry.ts";
import type { Served } from "./service.ts";
import { loadSettings, parseListen, type SettingFlags, type Settings } from "./settings.ts";
import { SocketDoor } from "./socket-door.ts";
import { Upkeep } from "./upkeep.ts";

export interface DaemonOptions {
  readonly repositories: readonly RepositorySpec[];
  readonly flags: SettingFlags;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly log: Log;
  /** Something a person should know, though the work goes on. */
  readonly warn: (text: string) => void;
  /** The storage of a repository can no longer be trusted: end the process. */
  readonly onFailure: (error: KvError) => void;
  readonly onStage?: (stage: Stage) => void;
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

interface Unit {
  readonly served: Served;
  readonly settings: Settings;
  readonly link: MirrorLink | undefined;
  readonly upkeep: Upkeep;
}

export class Daemon {
  /** One line for each listener: `http://127.0.0.1:8418`, `unix:/srv/kv.git/stargate/socket`. */
  readonly listeners: string[] = [];
  readonly registry = new Registry();
  readonly #units: Unit[] = [];
  readonly #http: HttpDoor[] = [];
  readonly #sockets: SocketDoor[] = [];
  readonly #ops: Ops[] = [];
  readonly #options: DaemonOptions;

  private constructor(options: DaemonOptions) {
    this.#options = options;
  }

  /** Opens everything, or nothing. Throws LOCKED, CONFIG, NOT_A_REPOSITORY, IO ... */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const daemon = new Daemon(options);
    try {
      for (const spec of options.repositories) await daemon.#open(spec);
      await daemon.#listen();
      await daemon.#listenForOperators();
      for (const { link } of daemon.#units) link?.start();
      return daemon;
    } catch (error) {
      await daemon.stop(0);
      throw error;
    }
  }

  /** Takes nothing new, finishes what is under way and lets go of everything. */
  async stop(drain = DRAIN): Promise<void> {
    for (const ops of this.#ops) ops.drain();
    await Promise.all([...this.#http, ...this.#sockets].map((door) => door.close(drain)));
    for (const { served, link, upkeep } of this.#units) {
      await Promise.all([link?.stop(), upkeep.stop()]);
      served.gate.close();
    }
    this.#units.length = 0;
    await Promise.all(this.#ops.map((ops) => ops.close()));
  }

  async #open({ name, dir }: RepositorySpec): Promise<void> {
    const { flags, env, clock, log, onFailure, onStage } = this.#options;
    const repo = openRepository(dir, env);
    const settings = loadSettings(repo.gitDir, flags, env);
    repo.close();
    const gate = await Gate.open({
      dir,
      settings,
      env,
      clock,
      log: (level, component, fields) => log(level, component, { repo: name, ...fields }),
      role: "serve",
      onFailure,
      ...(onStage !== undefined && { onStage }),
    });
    try {
      const link = MirrorLink.of(gate, env);
      const served: Served = { name, gate, ordinary: link?.relay ?? storingHost(gate), mirror: link };
      this.registry.add(served);
      this.#units.push({ served, settings, link, upkeep: new Upkeep(gate) });
      logDrift(gate);
    } catch (error) {
      gate.close();
      throw error;
    }
  }

  async #listen(): Promise<void> {
    const { registry } = this;
    const { clock, log, flags, env } = this.#options;
    const addresses = new Set(this.#units.map(({ settings }) => settings.listen));
    for (const address of addresses) {
      const door = new HttpDoor({ ...parseListen(address), registry, log, now: () => clock.now() });
      this.#http.push(door);
      this.listeners.push(door.url);
    }
    const named = (flags.socket ?? env.STARGATE_SOCKET) !== undefined;
    for (const path of new Set(this.#units.map(({ settings }) => settings.socket))) {
      if (Buffer.byteLength(path) >= SOCKET_PATH_MAX) this.#socketTooLong(path, named);
      else {
        this.#sockets.push(await SocketDoor.listen(path, registry, clock, log));
        this.listeners.push(`unix:${path}`);
      }
    }
  }

  async #listenForOperators(): Promise<void> {
    const wanted = new Map(this.#units.map(({ settings }) => [settings.adminListen.address, settings.adminListen]));
    for (const { address, isDefault } of wanted.values()) {
      if (address === undefined) continue;
      const { openOps } = await import("./ops/open.ts");
      const { clock, log } = this.#options;
      const options = { ...parseListen(address), now: () => clock.now(), log };
      const units = this.#units.filter(({ settings }) => settings.adminListen.address === address);
      try {
        const ops = openOps(units, options);
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
