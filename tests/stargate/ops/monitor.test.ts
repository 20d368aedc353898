/** What the status page knows after a restart: the journal has the hour before, latencies included, and the day. */

import { expect, test } from "bun:test";
import { GateEvents } from "../../../src/stargate/events.ts";
import { Journal, type NewEntry } from "../../../src/stargate/journal.ts";
import { Monitor } from "../../../src/stargate/ops/monitor.ts";
import { tempDir } from "../../support/temp.ts";
import { countingClock } from "../../support/workspace.ts";

const OID = "1".repeat(40);

test("latency and lag of the past hour are there again after a restart", () => {
  const dir = tempDir("journal");
  const clock = countingClock();
  const journal = new Journal(dir);
  const row = (seq: number, more: Partial<NewEntry>): number =>
    journal.append({
      kind: "txn",
      ns: "main",
      txn: `T${seq}`,
      seq,
      oid: OID,
      updates: [{ ref: "refs/kv/main", oldOid: OID, newOid: OID }],
      who: "ci",
      door: "http",
      signer: undefined,
      keysSet: 1,
      keysDel: 0,
      acceptedAt: clock.at,
      quarantine: undefined,
      ...more,
    });
  const minutes = 60_000;
  journal.finish(row(1, { acceptedAt: clock.at - 61 * minutes }), 9_999);
  for (let i = 2; i <= 11; i++) journal.finish(row(i, { acceptedAt: clock.at - 30 * minutes }), 20);
  // Of a process that was killed before it wrote the mark nobody knows.
  journal.finish(row(12, { acceptedAt: clock.at - 10 * minutes }));
  journal.record({ ...journal.newest(1)[0]!, kind: "branch", txn: "B", acceptedAt: clock.at });
  journal.markMirrored("txn", "main", 11, clock.at - 30 * minutes + 500);
  journal.close();
  const again = new Journal(dir);
  const report = new Monitor({ journal: again, clock, events: new GateEvents() }).report(clock.at);
  again.close();
  const [accept, lag] = report.objectives;
  expect(accept).toMatchObject({ name: "accept p95", samples: 10, ok: true });
  expect(Math.abs(accept!.value! - 20)).toBeLessThan(1);
  expect(lag).toMatchObject({ name: "mirror lag p95", samples: 10, ok: true });
  expect(Math.abs(lag!.value! - 500)).toBeLessThan(25);
  expect(report.accept.filter(({ count }) => count > 0).map(({ count }) => count)).toEqual([10]);
  expect(report.recent.map(({ kind, ms }) => [kind, ms]).slice(0, 2)).toEqual([
    ["accepted", 0],
    ["accepted", 20],
  ]);
});

test("what the mirror does not take counts with its age so far", () => {
  const journal = new Journal(tempDir("journal"));
  const events = new GateEvents();
  const clock = countingClock();
  const monitor = new Monitor({ journal, clock, events });
  events.emit({ kind: "mirrored", at: clock.at, ns: "main", lags: Array.from({ length: 90 }, () => 20) });
  const [, p95, p99] = monitor.report(clock.at).objectives;
  expect([p95!.ok, p99!.ok, p95!.samples]).toEqual([true, true, 90]);
  const waiting = Array.from({ length: 10 }, () => clock.at - 60_000);
  const { objectives, lag } = monitor.report(clock.at, waiting);
  expect(objectives.slice(1, 3)).toMatchObject([
    { name: "mirror lag p95", ok: false, samples: 100 },
    { name: "mirror lag p99", ok: false, samples: 100 },
  ]);
  expect(Math.abs(objectives[1]!.value! - 60_000)).toBeLessThan(3_000);
  expect(lag.at(-1)).toMatchObject({ count: 100 });
  // They are no part of what is kept.
  expect(monitor.report(clock.at).objectives[1]).toMatchObject({ ok: true, samples: 90 });
  journal.close();
});

test("refusals and tries at the mirror of the past day are there again after a restart", () => {
  const dir = tempDir("journal");
  const clock = countingClock();
  const hour = 60 * 60_000;
  const journal = new Journal(dir);
  const refuse = (code: "CAS_CONFLICT" | "UNSIGNED", at: number): void =>
    journal.reject({ at, ns: "main", code, message: "no", who: "ci", door: "http" });
  refuse("UNSIGNED", clock.at - 25 * hour);
  journal.count("mirror failed", clock.at - 25 * hour);
  for (let i = 0; i < 3; i++) refuse("CAS_CONFLICT", clock.at - 2 * hour);
  refuse("UNSIGNED", clock.at);
  for (let i = 0; i < 8; i++) journal.count("mirror ok", clock.at - i * hour);
  for (const result of ["failed", "refused"]) journal.count(`mirror ${result}`, clock.at);
  journal.close();
  const again = new Journal(dir);
  const events = new GateEvents();
  const monitor = new Monitor({ journal: again, clock, events });
  again.close();
  const success = (): unknown => monitor.report(clock.at).objectives.find(({ name }) => name === "mirror success");
  expect(monitor.report(clock.at).rejections).toEqual({ CAS_CONFLICT: 3, UNSIGNED: 1 });
  expect(success()).toMatchObject({ value: 0.8, samples: 10, ok: false, window: 86_400 });
  events.emit({ kind: "mirror try", at: clock.at, result: "ok" });
  events.emit({ kind: "rejected", at: clock.at, ns: "", code: "UNSIGNED", message: "", who: "ci", ms: 1 });
  expect(success()).toMatchObject({ value: 9 / 11, samples: 11 });
  expect(monitor.report(clock.at).rejections).toEqual({ CAS_CONFLICT: 3, UNSIGNED: 2 });
});
