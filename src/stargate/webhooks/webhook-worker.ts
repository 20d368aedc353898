/**
 * Tells one webhook of every accepted transaction, in order, for ever. Its place is a row of the journal and is written after each
 * round of deliveries, and how far a round goes before it: a restart loses nothing and makes at most the last round again, under the
 * same ids, whatever was accepted meanwhile. What is accepted while a delivery is under way, or the receiver is away, goes out
 * together; a new webhook begins with what is accepted from then on.
 */

import { KvError, toKvError } from "../../errors.ts";
import { retryAfterSeconds } from "../../gitwire/transport/http-error.ts";
import type { Gate } from "../gate.ts";
import type { JournalEntry } from "../journal.ts";
import type { WorkerTimers } from "../mirror/timers.ts";
import type { WebhookSettings } from "../settings.ts";
import { type Payload, payloadOf } from "./payload.ts";
import { webhookRequest } from "./webhook-request.ts";

/** Transactions told at once. */
const MOST = 100;
/** Milliseconds for one try. */
const PATIENCE = 10_000;
/** Milliseconds of the first wait after a failure, and of the longest. */
const FIRST_WAIT = 1_000;
const LONGEST_WAIT = 15 * 60_000;

/** Time and chance, so that tests need not wait. */
export type WebhookTimers = Pick<WorkerTimers, "random" | "sleep">;

export class WebhookWorker {
  readonly #gate: Gate;
  readonly #repo: string;
  readonly #hook: WebhookSettings;
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #timers: WebhookTimers;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #wake = Promise.withResolvers<void>();
  #position: number;
  /** The last row of the newest round. */
  #begun: number;

  constructor(
    gate: Gate,
    repo: string,
    hook: WebhookSettings,
    env: Readonly<Record<string, string | undefined>>,
    timers: WebhookTimers,
  ) {
    this.#gate = gate;
    this.#repo = repo;
    this.#hook = hook;
    this.#env = env;
    this.#timers = timers;
    this.#position = gate.journal.positions.of(this.#name);
    this.#begun = gate.journal.positions.begun(this.#name) ?? 0;
    this.#running = this.#run();
  }

  /** Something was accepted. */
  wake(): void {
    this.#wake.resolve();
  }

  /** Transactions it has not been told of. */
  backlog(): number {
    return this.#gate.journal.positions.behind(this.#position);
  }

  /** Ends the work; a try under way is broken off, and made again after the next start. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake.resolve();
    await this.#running;
  }

  get #name(): string {
    return `webhook ${this.#hook.name}`;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      this.#wake = Promise.withResolvers();
      let entries: JournalEntry[] = [];
      try {
        entries = this.#next();
      } catch (error) {
        this.#warn(toKvError(error), 0);
        await this.#timers.sleep(LONGEST_WAIT, signal);
        continue;
      }
      if (entries.length === 0) await this.#wake.promise;
      else if (this.#hook.batch !== undefined && entries.length < MOST && !this.#hasWaited) await this.#gather();
      else await this.#tell(entries);
    }
  }

  /** What is to be told now: what was being told when the last process ended, or all that is there. */
  #next(): JournalEntry[] {
    const entries = this.#gate.journal.transactionsAfter(this.#position, MOST);
    const again = entries.filter(({ id }) => id <= this.#begun);
    return again.length > 0 ? again : entries;
  }

  /** Whether what is there has waited for more to come. */
  #hasWaited = false;

  async #gather(): Promise<void> {
    await this.#timers.sleep(this.#hook.batch!, this.#stop.signal);
    this.#hasWaited = true;
  }

  /** Tells of `entries`, one namespace after the other, and moves on behind them. */
  async #tell(entries: readonly JournalEntry[]): Promise<void> {
    this.#hasWaited = false;
    this.#begin(entries.at(-1)!.id);
    const { namespaces } = this.#hook;
    const wanted = entries.filter(({ ns }) => namespaces === undefined || namespaces.includes(ns));
    for (const group of Map.groupBy(wanted, ({ ns }) => ns).values()) {
      if (!(await this.#deliver(group))) return;
    }
    try {
      this.#position = entries.at(-1)!.id;
      this.#gate.journal.positions.set(this.#name, this.#position);
    } catch (error) {
      // It goes on from where it is; only a restart would tell these again.
      this.#warn(toKvError(error), 0);
    }
  }

  #begin(id: number): void {
    if (id <= this.#begun) return;
    this.#begun = id;
    try {
      this.#gate.journal.positions.begin(this.#name, id);
    } catch (error) {
      // After a restart these may go out together with more, under another id.
      this.#warn(toKvError(error), 0);
    }
  }

  /** Tries until it is delivered; false where we are told to stop. */
  async #deliver(entries: readonly JournalEntry[]): Promise<boolean> {
    const { signal } = this.#stop;
    const { clock, repo, events, log } = this.#gate;
    const hook = this.#hook.name;
    let payload: Payload | undefined;
    for (let failures = 0; !signal.aborted; ) {
      try {
        payload ??= payloadOf(repo.objects, this.#repo, entries);
        await this.#post(payload);
        events.emit({ kind: "delivery", at: clock.now(), hook, result: "ok" });
        const { ns, seq } = payload;
        log("info", "webhook", { hook, result: "delivered", ns, seq, transactions: entries.length, failures });
        return true;
      } catch (thrown) {
        if (signal.aborted) return false;
        const error = toKvError(thrown);
        failures++;
        events.emit({ kind: "delivery", at: clock.now(), hook, result: "failed" });
        this.#warn(error, failures);
        const most = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** Math.min(failures, 20));
        const wait = Math.max(FIRST_WAIT / 2, this.#timers.random() * most, Number(error.data?.retryAfter ?? 0) * 1000);
        await this.#timers.sleep(Math.min(wait, LONGEST_WAIT), signal);
      }
    }
    return false;
  }

  async #post(payload: Payload): Promise<void> {
    const { url, headers, body } = webhookRequest(this.#hook, payload, this.#env, this.#gate.clock.now());
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(PATIENCE)]);
    let response: Response;
    try {
      // A redirect would take body and signature to whoever the receiver names.
      response = await fetch(url, { method: "POST", headers, body, redirect: "manual", signal });
    } catch (cause) {
      const isLate = cause instanceof Error && cause.name === "TimeoutError";
      const { code } = cause as { code?: unknown };
      // `ECONNREFUSED`, `ENOTFOUND`, what is wrong with a certificate: the message has the address as well.
      const why = typeof code === "string" ? ` (${code})` : "";
      throw new KvError("NETWORK", isLate ? `no answer in ${PATIENCE / 1000} s` : `cannot be reached${why}`, { cause });
    }
    await response.body?.cancel();
    if (response.ok) return;
    const { status } = response;
    const retryAfter = retryAfterSeconds(response.headers.get("retry-after"));
    const more = status >= 300 && status < 400 ? ": redirects are not followed" : "";
    throw new KvError("NETWORK", `HTTP ${status}${more}`, { data: retryAfter === undefined ? {} : { retryAfter } });
  }

  /** Never the address, which may hold a secret, nor what was sent. */
  #warn({ code, message }: KvError, failures: number): void {
    this.#gate.log("warn", "webhook", { hook: this.#hook.name, result: "failed", code, message, failures });
  }
}
