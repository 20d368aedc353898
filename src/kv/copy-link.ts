/**
 * The connection to a remote that is read without a clone, and what is known of that remote.
 *
 * Over HTTP every request of protocol v2 stands alone, and what the greeting says is mostly known: so it is not asked for. A remote that
 * is another than was thought refuses the first request; then it is asked what it is, and the request is made again.
 */

import { AGENT } from "../agent.ts";
import { KvError } from "../errors.ts";
import { objectFormat } from "../gitwire/object/oid.ts";
import { agentToken, capabilities } from "../gitwire/protocol/capabilities.ts";
import { greetingOf, presumeGreeting, tellsRefsAnew } from "../gitwire/protocol/greeting.ts";
import type { Greeting } from "../gitwire/protocol/ref-advertisement.ts";
import type { Transport } from "../gitwire/protocol/transport.ts";
import type { Repository } from "../gitwire/repo.ts";
import { type CacheFolder, type RemoteFacts, writeFacts } from "./cache-folder.ts";
import { namingAddress, openConnection } from "./remote-session.ts";
import { ServerWords } from "./server-words.ts";
import type { Surroundings } from "./workspace.ts";

export class CopyLink {
  /** The address, with its password where it has one. */
  readonly url: string;
  /** Requests made so far. */
  requests = 0;
  readonly #repo: Repository;
  readonly #folder: CacheFolder;
  readonly #around: Surroundings;
  readonly #words: ServerWords;
  #facts: RemoteFacts;
  #isLearned = false;
  #transport: Transport | undefined;
  /** The connection over which refs were told last. */
  #told: Transport | undefined;
  /** Ends when the request before has ended. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(url: string, repo: Repository, folder: CacheFolder, facts: RemoteFacts, around: Surroundings) {
    this.url = url;
    this.#repo = repo;
    this.#folder = folder;
    this.#facts = facts;
    this.#around = around;
    this.#words = new ServerWords(around, "remote: ");
  }

  get facts(): RemoteFacts {
    return this.#facts;
  }

  /** The address as messages may show it. */
  get shown(): string {
    return this.#facts.url;
  }

  /** Takes what the server says while it works. */
  get hear(): (text: string) => void {
    return this.#words.hear;
  }

  /** Nothing is known of the remote but what most are like. */
  get isGuess(): boolean {
    return this.#facts.isGuess === true;
  }

  /** Whether refs can be wanted by their names. */
  get givesRefs(): boolean {
    return this.#facts.features.includes("ref-in-want");
  }

  /** Makes one request, after those before it. Throws NETWORK and so on; the next one has a new connection then. */
  talk<T>(use: (transport: Transport) => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => this.#talk(use));
    this.#last = turn.catch(() => {});
    return turn;
  }

  /** As {@link talk}, for a list of refs: a connection may tell them once only. */
  talkOfRefs<T>(use: (transport: Transport) => Promise<T>): Promise<T> {
    return this.talk(async (transport) => {
      const isGood = this.#told !== transport || (await tellsRefsAnew(transport));
      if (!isGood) await this.hangUp();
      this.#told = isGood ? transport : await this.#open();
      return use(this.#told);
    });
  }

  async #talk<T>(use: (transport: Transport) => Promise<T>): Promise<T> {
    try {
      return await this.#talkOnce(use);
    } catch (error) {
      if (!this.#isPresumed || !isOtherThanThought(error)) throw error;
      const before = this.#facts;
      await this.learn();
      // Then it meant the request and not the way it was made.
      if (isSame(before, this.#facts)) throw error;
      return this.#talkOnce(use);
    }
  }

  /** Asks the remote what it is. Throws NETWORK and so on, UNSUPPORTED where its objects are of another format than the cache's. */
  async learn(): Promise<void> {
    this.#isLearned = true;
    await this.hangUp();
    await this.#talkOnce(greetingOf);
  }

  /** Remembers what the greeting says. Throws UNSUPPORTED where the remote's objects are of another format than the cache's. */
  #take(greeting: Greeting): void {
    const features = greeting.kind === "refs" ? [] : (greeting.capabilities.get("fetch")?.join(" ").split(" ") ?? []);
    const canFilter = takesFilters(features);
    // One that offers filters and was found to take none that serves is not tried again.
    const known = takesFilters(this.#facts.features) ? this.#facts.filters : "deep";
    const facts = {
      ...this.#facts,
      format: greeting.format.name,
      features,
      filters: canFilter ? known : "none",
    } as const;
    if (this.isGuess || !isSame(this.#facts, facts)) this.keep(facts);
    if (greeting.format === this.#repo.format) return;
    throw new KvError("UNSUPPORTED", `${this.shown} is a ${greeting.format.name} repository now`, {
      hint: "try again",
    });
  }

  /** Remembers what was found out, here and for the next time. */
  keep(facts: Partial<RemoteFacts>): void {
    this.#facts = { ...this.#facts, isGuess: false, ...facts };
    writeFacts(this.#folder, this.#facts);
  }

  /** Makes one request over a connection of its own, for which nobody is asked for a password. */
  async aside<T>(use: (transport: Transport) => Promise<T>): Promise<T> {
    const transport = await this.#connect(true);
    try {
      presumeGreeting(transport, this.#presumption());
      this.requests++;
      return await use(transport);
    } finally {
      await transport.close();
    }
  }

  /** Whether requests stand alone, so that several can be made at a time and none needs the greeting. */
  get isStateless(): boolean {
    return /^https?:/i.test(this.url);
  }

  /** Ends the connection. Never throws. */
  async hangUp(): Promise<void> {
    const transport = this.#transport;
    this.#transport = undefined;
    await transport?.close();
    this.#words.end();
  }

  async #talkOnce<T>(use: (transport: Transport) => Promise<T>): Promise<T> {
    this.#around.signal.throwIfAborted();
    try {
      const transport = this.#transport ?? (await this.#open());
      this.requests++;
      return await use(transport);
    } catch (error) {
      const { url } = this.#transport ?? { url: this.shown };
      await this.hangUp();
      throw namingAddress(url, error);
    }
  }

  async #open(): Promise<Transport> {
    const transport = await this.#connect(false);
    this.#transport = transport;
    if (this.#isPresumed) presumeGreeting(transport, this.#presumption());
    // It is read in any case then.
    else this.#take(await greetingOf(transport));
    return transport;
  }

  #connect(anonymous: boolean): Promise<Transport> {
    return openConnection(this.#repo, this.#around, this.url, "git-upload-pack", this.#words, { anonymous });
  }

  get #isPresumed(): boolean {
    return this.isStateless && !this.#isLearned && this.#facts.filters !== "none";
  }

  #presumption(): Greeting {
    const { format, features } = this.#facts;
    const list = capabilities(["agent", agentToken(AGENT)], ["fetch", features.join(" ")], ["object-format", format]);
    return { kind: "capabilities", format: objectFormat(format), capabilities: list };
  }
}

/** Whether the remote may have refused because it was asked in a way it does not know. */
function isOtherThanThought(error: unknown): boolean {
  return error instanceof KvError && ["REMOTE_REJECTED", "UNSUPPORTED", "PROTOCOL", "NETWORK"].includes(error.code);
}

const takesFilters = (features: readonly string[]): boolean =>
  features.includes("filter") && features.includes("shallow");

function isSame(a: RemoteFacts, b: RemoteFacts): boolean {
  return a.format === b.format && a.filters === b.filters && a.features.join(" ") === b.features.join(" ");
}
