/**
 * 10,000 sets and 5,000 deletions in one transaction through a Stargate, the whole command. Stock git makes its commit with
 * `git fast-import`, its fastest way, from a stream that is ready, and pushes it by path, its fastest transport.
 */

import * as fs from "node:fs";
import { writeBatch } from "../data.ts";
import { median } from "../measure.ts";
import type { Site, Verify } from "../site.ts";
import { fastImport, type Layout, pushedBytes, writeFastImport } from "../stock-git.ts";
import { type Row, timesOther } from "../table.ts";
import type { Case, Setting } from "./case.ts";

export const mset: Case = async (setting) => {
  const { scratch, stores, runs } = setting;
  const contenders = {
    replay: await ours(setting, "replay"),
    attested: await ours(setting, "attested"),
    full: await stock(setting, "full"),
    values: await stock(setting, "values"),
  };
  const rounds: Record<keyof typeof contenders, Round[]> = { replay: [], attested: [], full: [], values: [] };
  for (let n = 0; n < runs.long; n++) {
    const batch = stores.batch(n);
    writeBatch(scratch.path("batch.jsonl"), batch);
    for (const layout of ["full", "values"] as const) {
      await writeFastImport(scratch.path(`batch-${layout}.stream`), layout, batch, 2);
    }
    for (const name of Object.keys(contenders) as (keyof typeof contenders)[]) {
      scratch.settle();
      rounds[name].push(contenders[name]());
    }
  }
  const middle = (name: keyof typeof contenders, of: (round: Round) => number): number => median(rounds[name].map(of));
  const total = (name: keyof typeof contenders): number => middle(name, (round) => round.ms);
  const gitExtra = `git: fast-import ${middle("full", (r) => r.firstMs).toFixed(0)} ms + push ${middle("full", (r) => r.ms - r.firstMs).toFixed(0)} ms`;
  const row = (name: Verify, other: Layout, target?: Row["target"]): Row => ({
    name: `mset 10,000 + 5,000 (${name})`,
    unit: "ms",
    ours: total(name),
    other: { name: `git, ${other} layout`, value: total(other) },
    ...(target !== undefined && { target }),
    extra:
      other === "full"
        ? `${middle(name, (r) => r.ms - r.firstMs).toFixed(0)} ms of it in the Stargate; ${gitExtra}; RSS ${middle(name, (r) => r.rss / 1e6).toFixed(0)} MB`
        : "git without metadata and listing",
  });
  const bytes = await pushed(setting);
  const bytesRow = { name: "mset, bytes pushed", unit: "bytes", ours: bytes } as const;
  return [
    row("replay", "full", timesOther(0.25)),
    row("attested", "full", timesOther(0.25)),
    row("replay", "values"),
    {
      ...bytesRow,
      other: { name: "git, full layout", value: middle("full", (r) => r.bytes) },
      target: timesOther(1 / 3),
    },
    { ...bytesRow, other: { name: "git, values layout", value: middle("values", (r) => r.bytes) } },
  ];
};

interface Round {
  readonly ms: number;
  /** The part of it before the push (git), or outside the Stargate (ours). */
  readonly firstMs: number;
  readonly rss: number;
  readonly bytes: number;
}

async function ours({ stores, scratch }: Setting, verify: Verify): Promise<() => Round> {
  const site: Site = await stores.site(verify);
  return () => {
    const { ms, rss } = site.runPeak("mset", "--file", scratch.path("batch.jsonl"));
    return { ms, firstMs: ms - site.serverMs().at(-1)!, rss, bytes: 0 };
  };
}

async function stock({ stores, scratch }: Setting, layout: Layout): Promise<() => Round> {
  const { client, server } = await stores.stockPair(layout);
  return () => {
    const made = fastImport(scratch, client, scratch.path(`batch-${layout}.stream`));
    const bytes = pushedBytes(scratch, client);
    const push = scratch.runPeak(client, ["git", "push", "-q", scratch.path(server), "refs/heads/main"]);
    return { ms: made.ms + push.ms, firstMs: made.ms, rss: push.rss, bytes };
  };
}

/** Bytes of the pack that a batch pushes. */
async function pushed({ stores, scratch, runs }: Setting): Promise<number> {
  const site = await stores.site("attested");
  const file = scratch.path("batch.jsonl");
  writeBatch(file, stores.batch(runs.long));
  const { pack } = await site.count("mset", "--file", file);
  fs.rmSync(file);
  return pack;
}
