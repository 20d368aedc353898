/**
 * The figures of `/metrics`, in Prometheus' text format: the one door to the package `prom-client`. Labels are bounded: the
 * names of repositories and webhooks come from the configuration, codes from the table of errors, and namespaces are those that
 * exist, the first hundred; the rest count as `other`.
 */

import * as fs from "node:fs";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Code } from "../../errors.ts";
import { namespaceRefs } from "../../kv/namespace.ts";
import { AGENT } from "../agent.ts";
import type { GateEvent } from "../events.ts";
import type { Gate } from "../gate.ts";
import { policyDrift } from "../policy-drift.ts";
import { backlogOf, freeSpace } from "./health.ts";
import type { Unit } from "./unit.ts";

const LATENCY_MS = [1, 2, 5, 10, 15, 25, 50, 75, 100, 150, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];
const LAG_SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3_600];
const MOST_NAMESPACES = 100;
/** Codes of refusals that alerts watch for (packaging/prometheus). */
const ALERTING: readonly Code[] = [
  "STORAGE",
  "BAD_SIGNATURE",
  "ATTESTATION_MISMATCH",
  "REPLAY_MISMATCH",
  "CHUNK_MISMATCH",
];

export class Metrics {
  readonly #registry = new Registry();
  readonly #started = Date.now() / 1000 - process.uptime();

  /** Counts for `units` from now on. */
  constructor(units: readonly Unit[], now: () => number) {
    this.#count(units);
    this.#measure(units, now);
    this.#process();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** What events add up to. */
  #count(units: readonly Unit[]): void {
    const registers = [this.#registry];
    const latency = new Histogram({
      name: "stargate_txn_latency_ms",
      help: "Milliseconds from the commands of a push to its answer, of accepted transactions",
      labelNames: ["repo", "ns"],
      buckets: LATENCY_MS,
      registers,
    });
    const transactions = new Counter({
      name: "stargate_txn_total",
      help: "Pushes by result (accepted, rejected) and code; ns is empty where a push was no transaction",
      labelNames: ["repo", "ns", "result", "code"],
      registers,
    });
    const lag = new Histogram({
      name: "stargate_mirror_lag_seconds",
      help: "Seconds from the accept of a transaction until the mirror had it",
      labelNames: ["repo", "ns"],
      buckets: LAG_SECONDS,
      registers,
    });
    const tries = new Counter({
      name: "stargate_mirror_push_total",
      help: "Pushes to the mirror by result: ok, failed (tried again), refused (until somebody acts)",
      labelNames: ["repo", "result"],
      registers,
    });
    const deliveries = new Counter({
      name: "stargate_webhook_total",
      help: "Deliveries to webhooks by result: ok, failed (tried again)",
      labelNames: ["repo", "hook", "result"],
      registers,
    });
    const refusedWatches = new Counter({
      name: "stargate_watch_refused_total",
      help: "Streams of events that were refused because there was no place for them",
      labelNames: ["repo"],
      registers,
    });
    for (const { served } of units) {
      const { gate, name: repo } = served;
      refusedWatches.inc({ repo }, 0);
      // A counter that begins with 1 has not increased: what alerts watch for is there from the start.
      const label = namespaceLabels(gate, (ns) => {
        for (const code of ALERTING) transactions.inc({ repo, ns, result: "rejected", code }, 0);
      });
      for (const result of ["ok", "failed", "refused"]) tries.inc({ repo, result }, 0);
      for (const { name: hook } of gate.settings.webhooks) {
        for (const result of ["ok", "failed"]) deliveries.inc({ repo, hook, result }, 0);
      }
      gate.events.listen((event: GateEvent) => {
        switch (event.kind) {
          case "accepted":
            latency.observe({ repo, ns: label(event.ns) }, event.ms);
            transactions.inc({ repo, ns: label(event.ns), result: "accepted", code: "OK" });
            return;
          case "rejected":
            transactions.inc({ repo, ns: label(event.ns), result: "rejected", code: event.code });
            return;
          case "mirrored":
            for (const ms of event.lags) lag.observe({ repo, ns: label(event.ns) }, ms / 1000);
            return;
          case "mirror try":
            tries.inc({ repo, result: event.result });
            return;
          case "delivery":
            deliveries.inc({ repo, hook: event.hook, result: event.result });
            return;
          case "watch refused":
            refusedWatches.inc({ repo });
        }
      });
    }
  }

  /** What is looked at when somebody asks. */
  #measure(units: readonly Unit[], now: () => number): void {
    const gauge = (name: string, help: string, value: (unit: Unit) => number | undefined): void => {
      new Gauge({
        name,
        help,
        labelNames: ["repo"],
        registers: [this.#registry],
        collect() {
          this.reset();
          for (const unit of units) {
            const measured = known(() => value(unit));
            if (measured !== undefined) this.set({ repo: unit.served.name }, measured);
          }
        },
      });
    };
    const report = ({ served }: Unit) => served.mirror?.report();
    gauge("stargate_ha_role", "1 where this node leads, 0 where it does not", ({ served }) =>
      served.gate.failure === undefined ? 1 : 0,
    );
    gauge("stargate_health_ready", "1 where /readyz would say so, by what is known of the mirror", (unit) =>
      isReady(unit) ? 1 : 0,
    );
    gauge(
      "stargate_mirror_diverged",
      "Namespaces whose ledger on the mirror is not an ancestor of ours",
      (unit) => report(unit)?.diverged.length,
    );
    gauge(
      "stargate_writes_refused",
      "Namespaces that no writes are taken to because the mirror has what is not here; 1 where none are taken at all",
      ({ served }) => served.gate.fence.refused().length,
    );
    gauge("stargate_mirror_blocked", "1 where the mirror refuses pushes until somebody acts", (unit) => {
      const mirror = report(unit);
      return mirror === undefined ? undefined : Number(mirror.state === "blocked");
    });
    gauge("stargate_policy_drift", "1 where the policy file on the default branch is not the one in force", (unit) =>
      Number(policyDrift(unit.served.gate) === "differs"),
    );
    gauge(
      "stargate_disk_free_bytes",
      "Bytes that are free where the repository is",
      ({ served }) => freeSpace(served.gate).bytes,
    );
    gauge(
      "stargate_waiting_pushes",
      "Pushes that wait for their turn in a namespace",
      ({ served }) => served.gate.turns.waiting,
    );
    gauge("stargate_watch_streams", "Streams of events that are open", ({ served }) => served.gate.watching);
    gauge("stargate_webhook_backlog_size", "Transactions the slowest webhook has not been told of", (unit) =>
      unit.webhooks?.backlog(),
    );
    this.#backlog(units, now);
  }

  #backlog(units: readonly Unit[], now: () => number): void {
    const registers = [this.#registry];
    const each = (set: (repo: string, ns: string, backlog: ReturnType<Gate["journal"]["backlog"]>) => void): void => {
      for (const { served } of units) {
        const { gate, name, mirror } = served;
        if (mirror === undefined) continue;
        const namespaces = gate.repo.refs.list("refs/kv/").map((ref) => ref.name.slice("refs/kv/".length));
        for (const ns of namespaces.slice(0, MOST_NAMESPACES)) set(name, ns, gate.journal.backlog(ns));
      }
    };
    new Gauge({
      name: "stargate_mirror_backlog_size",
      help: "Transactions the mirror does not have",
      labelNames: ["repo", "ns"],
      registers,
      collect() {
        this.reset();
        known(() => each((repo, ns, { count }) => this.set({ repo, ns }, count)));
      },
    });
    new Gauge({
      name: "stargate_mirror_backlog_age_seconds",
      help: "Age of the oldest transaction the mirror does not have, 0 where it has all",
      labelNames: ["repo", "ns"],
      registers,
      collect() {
        this.reset();
        known(() =>
          each((repo, ns, { oldest }) =>
            this.set({ repo, ns }, oldest === undefined ? 0 : Math.max(0, now() - oldest) / 1000),
          ),
        );
      },
    });
  }

  /** This process, under the names every Prometheus client uses. */
  #process(): void {
    const started = this.#started;
    const gauge = (name: string, help: string, value: () => number | undefined): void => {
      new Gauge({
        name,
        help,
        registers: [this.#registry],
        collect() {
          const measured = known(value);
          if (measured !== undefined) this.set(measured);
        },
      });
    };
    new Counter({
      name: "process_cpu_seconds_total",
      help: "Seconds of processor time, user and system",
      registers: [this.#registry],
      collect() {
        const { user, system } = process.cpuUsage();
        this.reset();
        this.inc((user + system) / 1e6);
      },
    });
    gauge("process_start_time_seconds", "When the process started, Unix seconds", () => started);
    gauge("process_resident_memory_bytes", "Resident memory", () => process.memoryUsage.rss());
    gauge("process_open_fds", "Open file descriptors", () => fs.readdirSync("/proc/self/fd").length);
    gauge("process_max_fds", "Most file descriptors it may open", openFilesLimit);
    new Gauge({
      name: "stargate_build_info",
      help: "1, with the version in its label",
      labelNames: ["version"],
      registers: [this.#registry],
    }).set({ version: AGENT.replace(/^.*\//, "") }, 1);
  }
}

/** Whether `unit` is ready by what is known without asking anybody. */
function isReady({ served: { gate }, probe }: Unit): boolean {
  if (gate.failure !== undefined || gate.fence.refused().length > 0) return false;
  return probe === undefined || (probe.seemsWell && backlogOf(gate) <= gate.settings.backlogLimit);
}

/** The value, or undefined where it cannot be had now: one figure that fails must not take the others along. */
function known<T>(value: () => T): T | undefined {
  try {
    return value();
  } catch {
    return undefined;
  }
}

function openFilesLimit(): number | undefined {
  const limits = fs.readFileSync("/proc/self/limits", "utf8");
  const found = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
  return found === undefined ? undefined : Number(found);
}

/** The label a namespace counts under; `found` is told of each one that exists. */
function namespaceLabels({ repo }: Gate, found: (ns: string) => void): (ns: string) => string {
  const known = new Set<string>([""]);
  const label = (ns: string): string => {
    if (known.has(ns)) return ns;
    if (known.size > MOST_NAMESPACES || repo.refs.resolve(namespaceRefs(ns).ledger) === undefined) return "other";
    known.add(ns);
    found(ns);
    return ns;
  };
  found("");
  for (const { name } of repo.refs.list("refs/kv/").slice(0, MOST_NAMESPACES)) label(name.slice("refs/kv/".length));
  return label;
}
