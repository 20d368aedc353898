/**
 * Looks at another repository's refs again and again, kindly: over one connection, where that shows them as they are (greeting.ts,
 * tellsRefsAnew), and with growing pauses.
 */

import { AGENT } from "../agent.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { lsRefs } from "../gitwire/protocol/fetch-pack.ts";
import { tellsRefsAnew } from "../gitwire/protocol/greeting.ts";
import type { Transport } from "../gitwire/protocol/transport.ts";
import { namingAddress, openConnection } from "./remote-session.ts";
import { ServerWords } from "./server-words.ts";
import type { Workspace } from "./workspace.ts";

export class RefPoller {
  readonly #workspace: Workspace;
  readonly #url: string;
  readonly #prefixes: readonly string[];
  #transport: Transport | undefined;

  /** Polls the refs at `url` that begin with one of `prefixes`. */
  constructor(workspace: Workspace, url: string, prefixes: readonly string[]) {
    this.#workspace = workspace;
    this.#url = url;
    this.#prefixes = prefixes;
  }

  /** The refs as they are now. Throws NETWORK and so on; the next look makes a new connection then. */
  async look(): Promise<ReadonlyMap<string, Oid>> {
    const { repo, around } = this.#workspace;
    try {
      this.#transport ??= await openConnection(repo, around, this.#url, "git-upload-pack", new ServerWords(around, ""));
      const { refs } = await lsRefs(this.#transport, this.#prefixes, { agent: AGENT });
      if (!(await tellsRefsAnew(this.#transport))) await this.close();
      return new Map(refs.map(({ name, oid }) => [name, oid]));
    } catch (error) {
      const { url } = this.#transport ?? { url: "" };
      await this.close();
      throw namingAddress(url, error);
    }
  }

  /** Lets go of the connection. */
  async close(): Promise<void> {
    const transport = this.#transport;
    this.#transport = undefined;
    await transport?.close();
  }
}

/** Growing pauses with some jitter: half a second is soon for a person and late for a host. */
export class Pauses {
  readonly #first: number;
  readonly #most: number;
  readonly #random: () => number;
  #next: number;

  /** Milliseconds; `random` gives numbers in [0, 1]. */
  constructor(first: number, most: number, random: () => number) {
    this.#first = first;
    this.#most = most;
    this.#random = random;
    this.#next = first;
  }

  /** The next pause. */
  next(): number {
    const pause = this.#next * (0.75 + this.#random() * 0.5);
    this.#next = Math.min(this.#most, this.#next * 1.5);
    return pause;
  }

  /** Something has happened: more may follow soon. */
  restart(): void {
    this.#next = this.#first;
  }
}
