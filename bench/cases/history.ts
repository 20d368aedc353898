/**
 * Looking back in a ledger of many transactions: the revisions of a key, a key as it was at a date, the differences of two states. Beside
 * it what `git log -- path` takes for the same key in the same repository, with and without its filters of changed paths. The first use
 * reads the ledger once; it stands by itself.
 */

import { growLedger, PROBE, timeOf } from "../long-ledger.ts";
import { compareRuns, median } from "../measure.ts";
import { atMost, type Row, timesOther } from "../table.ts";
import type { Case } from "./case.ts";
import { pathOf } from "./get.ts";

const REVISIONS = 20;
/** Transactions between the two states that are compared. */
const APART = 100;
/** Keys for each transaction of the ledger. */
const KEYS_PER_TRANSACTION = 10;
/**
 * What git took for this many commits where the aim of 15 ms for a history was set, without filters and with them. As ratios the aim holds on
 * slower machines too.
 */
const AIM = { commits: 50_000, plain: 15 / 300, filtered: 15 / 24 };

export const history: Case = async ({ scratch, stores, runs, keys }) => {
  const dir = "history";
  scratch.git("", "init", "-q", "-b", "main", dir);
  scratch.shareObjects(`${stores.ours()}/.git/objects`, `${dir}/.git/objects`);
  for (const ref of ["refs/kv/main", "refs/kv-index/main"]) {
    scratch.git(dir, "update-ref", ref, scratch.git(stores.ours(), "rev-parse", ref));
  }
  const transactions = keys / KEYS_PER_TRANSACTION;
  await growLedger(scratch.path(dir, ".git"), { keys, transactions, revisions: REVISIONS });
  const count = (n: number): string => n.toLocaleString("en");
  const name = `of ${count(transactions)} transactions`;
  const run = (...args: string[]): { ms: number; lines: number } => {
    const { ms, stdout } = scratch.run(dir, [scratch.gitKv, ...args]);
    return { ms, lines: stdout.toString().split("\n").length - 1 };
  };
  // A key may have been changed twice.
  const demand = (found: { ms: number; lines: number }, lines: number): number => {
    if (found.lines > lines || found.lines < lines * 0.9) throw new Error(`${found.lines} lines instead of ${lines}`);
    return found.ms;
  };
  const first = demand(run("history", PROBE), REVISIONS + 1);
  const compact = run("compact").ms;
  const date = new Date(timeOf(transactions / 3) * 1000).toISOString();
  const path = pathOf(scratch, dir, PROBE);
  const half = transactions / 2;
  const gitLog = (tip: string): number => scratch.run(dir, ["git", "log", "--format=%h", tip, "--", path]).ms;
  const [stock, stockHalf] = ["refs/kv/main", `refs/kv/main~${half}`].map((tip) =>
    median(Array.from({ length: runs.long }, () => gitLog(tip))),
  ) as [number, number];
  scratch.git(dir, "commit-graph", "write", "--reachable", "--changed-paths");
  const ms = compareRuns(runs.short, {
    get: () => run("get", PROBE).ms,
    history: () => demand(run("history", PROBE), REVISIONS + 1),
    at: () => run("get", PROBE, "--at", date).ms,
    diff: () => demand(run("diff", `-${APART}`), APART),
    filtered: () => gitLog("refs/kv/main"),
    filteredHalf: () => gitLog(`refs/kv/main~${half}`),
  });
  const other = { name: "git kv get", value: ms.get };
  const besideGit = (what: string, value: number, aim?: number): Row => ({
    name: `history of ${REVISIONS} revisions`,
    unit: "ms",
    ours: ms.history,
    other: { name: what, value },
    ...(aim !== undefined && { target: timesOther(aim) }),
  });
  const rows: Row[] = [
    { name: `history, first use, ${name}`, unit: "ms", ours: first, extra: "the ledger is read once" },
    { name: `compact ${name}`, unit: "ms", ours: compact, extra: "what each one changed is written down" },
    { name: `history of ${REVISIONS} revisions, ${name}`, unit: "ms", ours: ms.history, other, target: atMost(15) },
    besideGit("git log -- path", stock),
    besideGit("the same with filters", ms.filtered),
    besideGit(`git log of ${count(half)} commits`, stockHalf, half === AIM.commits ? AIM.plain : undefined),
    besideGit("the same with filters", ms.filteredHalf, half === AIM.commits ? AIM.filtered : undefined),
    { name: `get --at a date, ${name}`, unit: "ms", ours: ms.at, other, target: atMost(15) },
    { name: `diff of ${APART} transactions`, unit: "ms", ours: ms.diff, other, target: atMost(20) },
  ];
  return rows;
};
