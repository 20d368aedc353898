/** All keys out of a store and into an empty one, as JSON lines, and memory at its peak: it must not grow with the keys. */

import * as fs from "node:fs";
import { median } from "../measure.ts";
import { atMost, type Row } from "../table.ts";
import type { Case } from "./case.ts";

/** Milliseconds for a million keys. */
const MOST = 30_000;

export const snapshot: Case = async ({ scratch, stores, runs, keys }) => {
  const store = stores.ours();
  const file = scratch.path("all.jsonl");
  const rounds = { export: [] as { ms: number; rss: number }[], import: [] as { ms: number; rss: number }[] };
  for (let n = 0; n < Math.min(3, runs.long); n++) {
    const target = `imported-${n}`;
    scratch.settle();
    rounds.export.push(scratch.runPeak(store, [scratch.gitKv, "snapshot", "--export", file]));
    fs.mkdirSync(scratch.path(target));
    scratch.run(target, [scratch.gitKv, "init"]);
    scratch.settle();
    rounds.import.push(scratch.runPeak(target, [scratch.gitKv, "import", file]));
    fs.rmSync(scratch.path(target), { recursive: true, force: true });
  }
  fs.rmSync(file, { force: true });
  return (["export", "import"] as const).map((what): Row => {
    const rss = median(rounds[what].map((round) => round.rss)) / 1e6;
    return {
      name: `${what} of all keys`,
      unit: "ms",
      ours: median(rounds[what].map((round) => round.ms)),
      target: atMost((MOST * keys) / 1_000_000),
      extra: `RSS ${rss.toFixed(0)} MB`,
    };
  });
};
