/** Where a Kv works: a repository that is open as long as it is used, or a remote, of which each operation opens a copy. */

import * as events from "node:events";
import * as path from "node:path";
import { systemClock } from "../clock.ts";
import { KvError } from "../errors.ts";
import { openRepository, type Repository } from "../gitwire/repo.ts";
import type { OpenKvOptions } from "./user-options.ts";
import { type Surroundings, Workspace } from "./workspace.ts";

const NOTHING = (): void => {};

export class KvPlace {
  readonly #url: string | undefined;
  readonly #ns: string | undefined;
  readonly #around: Surroundings;
  readonly #repo: Repository | undefined;
  /** Of the repository, for operations without a signal of their own. */
  readonly #workspace: Workspace | undefined;

  /** Throws NOT_A_REPOSITORY, NS_INVALID, INPUT_INVALID, CONFIG. */
  constructor({ dir, url, ns, env = process.env, signal, onWarning = NOTHING }: OpenKvOptions) {
    if (dir !== undefined && url !== undefined) throw new KvError("INPUT_INVALID", "dir and url do not go together");
    this.#url = url;
    this.#ns = ns;
    const own = manyListeners(signal ?? new AbortController().signal);
    this.#around = { env, clock: systemClock, signal: own, progress: NOTHING, warn: onWarning };
    if (url !== undefined) return;
    this.#repo = openRepository(path.resolve(dir ?? "."), env);
    this.#workspace = new Workspace(this.#repo, ns, this.#around);
  }

  /** What every operation of the command line can be done in. Throws UNSUPPORTED where there is no clone. */
  clone(signal?: AbortSignal): Workspace {
    if (this.#repo === undefined || this.#workspace === undefined) {
      throw new KvError(
        "UNSUPPORTED",
        "this needs a clone: get, read, stream, list, history, watch and wait do without",
        {
          hint: "cloneKv() makes one",
        },
      );
    }
    return signal === undefined ? this.#workspace : new Workspace(this.#repo, this.#ns, this.#with(signal));
  }

  /**
   * As {@link clone}, by git's settings as they are now: where a Stargate was set up since the repository was opened, what is written must go there.
   * Throws CONFIG too.
   */
  toWrite(signal?: AbortSignal): Workspace {
    const workspace = this.clone(signal);
    workspace.repo.reloadConfig();
    return workspace;
  }

  /** Runs `use`, which reads only. Throws NETWORK and so on where the copy of a remote cannot be had. */
  async reading<T>(signal: AbortSignal | undefined, use: (workspace: Workspace) => Promise<T>): Promise<T> {
    if (this.#url === undefined) return use(this.clone(signal));
    const workspace = await this.#open(this.#url, signal);
    try {
      return await use(workspace);
    } finally {
      await workspace.copy?.close();
    }
  }

  /** As {@link reading}, for what is given one by one. */
  async *each<T>(
    signal: AbortSignal | undefined,
    use: (workspace: Workspace) => AsyncIterable<T>,
  ): AsyncGenerator<T, void, undefined> {
    if (this.#url === undefined) return yield* use(this.clone(signal));
    const workspace = await this.#open(this.#url, signal);
    try {
      yield* use(workspace);
    } finally {
      await workspace.copy?.close();
    }
  }

  /** Closes the files of the repository; they are opened again when something is read. */
  close(): void {
    this.#repo?.close();
  }

  async #open(url: string, signal: AbortSignal | undefined): Promise<Workspace> {
    const { openCopy } = await import("./open-copy.ts");
    const around = signal === undefined ? this.#around : this.#with(signal);
    const copy = await openCopy(url, around);
    return new Workspace(copy.repo, this.#ns, around, copy);
  }

  #with(signal: AbortSignal): Surroundings {
    return { ...this.#around, signal: manyListeners(AbortSignal.any([this.#around.signal, signal])) };
  }
}

/** Each operation that is under way listens: Node.js would warn of more than ten. */
function manyListeners(signal: AbortSignal): AbortSignal {
  events.setMaxListeners(0, signal);
  return signal;
}
