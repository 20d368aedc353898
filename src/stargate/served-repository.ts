/** One repository of a daemon: its gate, its mirror and its upkeep, started, set up anew and stopped together. */

import type { Clock } from "../clock.ts";
import type { KvError } from "../errors.ts";
import { openRepository } from "../gitwire/repo.ts";
import type { Combine } from "../gitwire/store/combine.ts";
import { Gate, type Stage } from "./gate.ts";
import type { Log } from "./log.ts";
import { MirrorLink } from "./mirror/mirror-link.ts";
import { storingHost } from "./ordinary-host.ts";
import { logDrift } from "./policy-drift.ts";
import type { OrdinaryHost } from "./push-host.ts";
import type { RepositorySpec } from "./registry.ts";
import type { Served } from "./service.ts";
import { loadSettings, type SettingFlags, type Settings } from "./settings.ts";
import type { TurnTimes } from "./turns.ts";
import { Upkeep } from "./upkeep.ts";
import type { Webhooks } from "./webhooks/webhooks.ts";

export interface ServeOptions {
  readonly flags: SettingFlags;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly log: Log;
  /** The storage of a repository can no longer be trusted: end the process. */
  readonly onFailure: (error: KvError) => void;
  readonly onStage?: (stage: Stage) => void;
  readonly turnTimes?: TurnTimes;
  /** Who combines packs. Default: this thread. */
  readonly combine?: Combine;
}

/** Settings that hold from the start of the process to its end. */
const FIXED = ["listen", "socket", "adminListen"] as const;

export class ServedRepository implements Served {
  readonly name: string;
  readonly gate: Gate;
  readonly #options: ServeOptions;
  readonly #upkeep: Upkeep;
  #link: MirrorLink | undefined;
  #ordinary: OrdinaryHost;
  #webhooks: Webhooks | undefined;
  #isStarted = false;

  private constructor(name: string, gate: Gate, options: ServeOptions) {
    this.name = name;
    this.gate = gate;
    this.#options = options;
    this.#link = MirrorLink.of(gate, options.env);
    this.#ordinary = this.#link?.relay ?? storingHost(gate);
    this.#upkeep = new Upkeep(gate, { combine: options.combine });
    logDrift(gate);
  }

  /** Takes the lead of the repository. Throws LOCKED, CONFIG, NOT_A_REPOSITORY ... */
  static async open({ name, dir }: RepositorySpec, options: ServeOptions): Promise<ServedRepository> {
    const { flags, env, clock, log, onFailure, onStage, turnTimes } = options;
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
      ...(turnTimes !== undefined && { turnTimes }),
    });
    try {
      return new ServedRepository(name, gate, options);
    } catch (error) {
      gate.close();
      throw error;
    }
  }

  get settings(): Settings {
    return this.gate.settings;
  }

  get ordinary(): OrdinaryHost {
    return this.#ordinary;
  }

  get mirror(): MirrorLink | undefined {
    return this.#link;
  }

  get webhooks(): Webhooks | undefined {
    return this.#webhooks;
  }

  /** Begins what goes on by itself. */
  async start(): Promise<void> {
    this.#isStarted = true;
    this.#link?.start();
    await this.#startWebhooks();
  }

  /**
   * Reads the settings and git's config again and goes on with them. Returns the settings that a restart would change. Throws
   * CONFIG where they are not sound; then nothing has changed. Throws CORRUPT where the tokens, which are read at each request, are.
   */
  async reload(): Promise<string[]> {
    const { flags, env } = this.#options;
    const settings = loadSettings(this.gate.repo.gitDir, flags, env);
    const before = this.gate.settings;
    this.gate.tokens.list();
    const takeBack = this.gate.repo.reloadConfig();
    this.gate.settings = settings;
    let link: MirrorLink | undefined;
    try {
      link = MirrorLink.of(this.gate, env);
    } catch (error) {
      this.gate.settings = before;
      takeBack();
      throw error;
    }
    const old = this.#link;
    this.#link = link;
    this.#ordinary = link?.relay ?? storingHost(this.gate);
    await old?.stop();
    await this.#webhooks?.stop();
    if (this.#isStarted) await this.start();
    logDrift(this.gate);
    return FIXED.filter((name) => JSON.stringify(settings[name]) !== JSON.stringify(before[name]));
  }

  /** Ends what goes on by itself, and lets go of the repository. */
  async stop(): Promise<void> {
    await Promise.all([this.#link?.stop(), this.#webhooks?.stop(), this.#upkeep.stop()]);
    this.gate.close();
  }

  async #startWebhooks(): Promise<void> {
    const { webhooks } = this.settings;
    this.#webhooks = undefined;
    if (webhooks.length === 0) return;
    // Most Stargates have none.
    const { Webhooks } = await import("./webhooks/webhooks.ts");
    this.#webhooks = new Webhooks(this.gate, this.name, webhooks, this.#options.env);
  }
}
