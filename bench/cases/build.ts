/** All keys in one transaction, from an empty repository. */

import { bytesOf, median, type PeakRun } from "../measure.ts";
import type { Layout } from "../stock-git.ts";
import { atMost, type Row, timesOther } from "../table.ts";
import type { Case } from "./case.ts";

export const build: Case = async ({ scratch, stores, runs, keys }) => {
  const rounds: { ours: PeakRun[]; full: PeakRun[]; values: PeakRun[] } = { ours: [], full: [], values: [] };
  for (let n = 0; n < runs.long; n++) {
    rounds.ours.push(stores.buildOurs("ours"));
    rounds.full.push(await stores.buildStock("full"));
    if (n === 0) rounds.values.push(await stores.buildStock("values"));
  }
  const ms = (name: keyof typeof rounds): number => median(rounds[name].map((run) => run.ms));
  const mb = (name: keyof typeof rounds): number => median(rounds[name].map((run) => run.rss / 1e6));
  const packs = (dir: string): number => bytesOf(scratch.path(dir), [".pack"]) / 1e6;
  const name = `mset ${keys.toLocaleString("en")} keys`;
  const against = (layout: Layout): string => `git fast-import, ${layout} layout`;
  const ours = packs("ours/.git/objects/pack");
  const rows: Row[] = [
    { name, unit: "ms", ours: ms("ours"), other: { name: against("full"), value: ms("full") }, target: timesOther(1) },
    { name, unit: "ms", ours: ms("ours"), other: { name: against("values"), value: ms("values") } },
    {
      name: `${name}, memory`,
      unit: "MB",
      ours: mb("ours"),
      other: { name: against("full"), value: mb("full") },
      target: atMost(2_000),
    },
  ];
  for (const layout of ["full", "values"] as const) {
    const value = packs(`${await stores.stock(layout)}/objects/pack`);
    rows.push({ name: `${name}, pack`, unit: "MB", ours, other: { name: against(layout), value } });
  }
  return rows;
};
