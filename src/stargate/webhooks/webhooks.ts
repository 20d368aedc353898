/** The webhooks of one repository. */

import type { Gate } from "../gate.ts";
import { systemTimers } from "../mirror/timers.ts";
import type { WebhookSettings } from "../settings.ts";
import { type WebhookTimers, WebhookWorker } from "./webhook-worker.ts";

export class Webhooks {
  readonly #workers: readonly WebhookWorker[];
  readonly #unlisten: () => void;

  /** Starts them. */
  constructor(
    gate: Gate,
    repo: string,
    hooks: readonly WebhookSettings[],
    env: Readonly<Record<string, string | undefined>>,
    timers: WebhookTimers = systemTimers,
  ) {
    this.#workers = hooks.map((hook) => new WebhookWorker(gate, repo, hook, env, timers));
    this.#unlisten = gate.events.listen(({ kind }) => {
      if (kind === "accepted") for (const worker of this.#workers) worker.wake();
    });
  }

  /** Transactions the slowest of them has not been told of. */
  backlog(): number {
    return Math.max(...this.#workers.map((worker) => worker.backlog()));
  }

  async stop(): Promise<void> {
    this.#unlisten();
    await Promise.all(this.#workers.map((worker) => worker.stop()));
  }
}
