/**
 * What an epoch saves whoever clones: 10,000 keys, one signed transaction for every ten keys of the run, then `git kv epoch new`.
 * Stock git fetches all refs, and those a clone of git-kv asks for, from the repository's folder.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { keyOf } from "../data.ts";
import { growLedger } from "../long-ledger.ts";
import { median } from "../measure.ts";
import type { Row } from "../table.ts";
import type { Case } from "./case.ts";

const KEYS = 10_000;
const CURRENT = ["kv", "kv-index", "kv-epoch"].map((group) => `+refs/${group}/*:refs/${group}/*`);

export const epoch: Case = async ({ scratch, keys, runs }) => {
  const transactions = Math.max(1_000, Math.floor(keys / 10));
  const dir = scratch.path("epochs.git");
  scratch.git("", "init", "-q", "--bare", dir);
  const kv = (...args: string[]): void => void scratch.run("epochs.git", [scratch.gitKv, ...args]);
  kv("init");
  const batch = scratch.path("epochs.jsonl");
  const lines = Array.from({ length: KEYS }, (_, i) => keyOf(i)).map(
    (key) => `${JSON.stringify({ op: "set", key, value: "1" })}\n`,
  );
  fs.writeFileSync(batch, lines.join(""));
  kv("mset", "--file", batch);
  await growLedger(dir, { keys: KEYS, transactions, revisions: 20 });
  const began = performance.now();
  kv("epoch", "new", "--label", "e2");
  const beginning = performance.now() - began;
  const samples = { full: [] as number[], current: [] as number[] };
  let bytes = { full: 0, current: 0 };
  for (let run = 0; run < runs.long; run++) {
    for (const which of ["full", "current"] as const) {
      const into = `epochs-${which}.git`;
      fs.rmSync(scratch.path(into), { recursive: true, force: true });
      scratch.git("", "init", "-q", "--bare", into);
      const specs = which === "full" ? ["+refs/*:refs/*"] : CURRENT;
      const started = performance.now();
      scratch.git(into, "fetch", "-q", `file://${dir}`, ...specs);
      samples[which].push(performance.now() - started);
      bytes = { ...bytes, [which]: packed(scratch.path(into)) };
    }
  }
  const count = `${transactions.toLocaleString("en")} transactions`;
  return [
    {
      name: `clone after an epoch, ${count}`,
      unit: "ms",
      ours: median(samples.current),
      other: { name: "all epochs", value: median(samples.full) },
      extra: `'epoch new' itself: ${Math.round(beginning)} ms`,
    },
    {
      name: `packs of that clone, ${count}`,
      unit: "bytes",
      ours: bytes.current,
      other: { name: "all epochs", value: bytes.full },
    },
  ] satisfies Row[];
};

/** Bytes of the packs of a repository. */
function packed(dir: string): number {
  const folder = path.join(dir, "objects", "pack");
  return fs.readdirSync(folder).reduce((sum, name) => sum + fs.statSync(path.join(folder, name)).size, 0);
}
