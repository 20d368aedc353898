/**
 * One key through a Stargate, the whole command: plan, push, admission with replay, and keeping the result in the clone. Stock git
 * is given its commit for nothing: only its push is held against us.
 */

import { compareRuns, median } from "../measure.ts";
import { fastImport, pushedBytes, writeFastImport } from "../stock-git.ts";
import { countSyscalls, countSyscallsOf, showCounts } from "../syscalls.ts";
import { atMost, timesOther } from "../table.ts";
import type { Case, Setting } from "./case.ts";

export const set: Case = async (setting) => {
  const { scratch, stores, runs } = setting;
  const site = await stores.site("replay");
  const push = await stockPush(setting);
  scratch.settle();
  const change = (): string[] => ["set", stores.spareKey(), `set ${Math.random()}`];
  const before = site.serverMs().length;
  const ms = compareRuns(runs.middle, {
    ours: () => site.run(...change()).ms,
    stock: () => push.next(),
  });
  const inServer = median(site.serverMs().slice(before));
  const traffic = await site.count(...change());
  const place = { cwd: scratch.path(site.clone), env: scratch.env };
  const client = countSyscalls(scratch.root, [scratch.gitKv, ...change()], place);
  const server = await countSyscallsOf(scratch.root, site.pid, () => void site.run(...change()));
  const bytes = push.prepare();
  const stock = countSyscalls(scratch.root, push.command, { cwd: scratch.path(push.dir), env: scratch.env });
  return [
    {
      name: "set",
      unit: "ms",
      ours: ms.ours,
      other: { name: "git push of a ready commit", value: ms.stock },
      target: timesOther(1),
      extra: `${inServer.toFixed(0)} ms of it in the Stargate; client ${showCounts(client)}; Stargate ${showCounts(server)}; git ${showCounts(stock)}`,
    },
    {
      name: "set, bytes pushed",
      unit: "bytes",
      ours: traffic.pack,
      other: { name: "pack of git push", value: bytes },
      target: atMost(2_048),
      extra: `${traffic.requests} requests on ${traffic.connections} connections, ${traffic.sent} bytes out in all, ${traffic.received} in`,
    },
  ];
};

interface StockPush {
  /** Commits one change, then pushes; milliseconds of the push. */
  next(): number;
  /** Commits one change, which {@link command} then pushes; bytes of its pack. */
  prepare(): number;
  readonly dir: string;
  /** Pushes. */
  readonly command: readonly string[];
}

async function stockPush({ scratch, stores, runs }: Setting): Promise<StockPush> {
  const { client, server } = await stores.stockPair("full");
  const stream = (n: number): string => scratch.path(`set-${n}.stream`);
  // One more than the turns of compareRuns, for the count of system calls.
  for (let n = 0; n < runs.middle + 2; n++) {
    await writeFastImport(stream(n), "full", [[stores.spareKey(), `set ${Math.random()}`]], 2);
  }
  const command = ["git", "push", "-q", scratch.path(server), "refs/heads/main"];
  let n = 0;
  const commit = (): void => void fastImport(scratch, client, stream(n++));
  return {
    next: () => {
      commit();
      return scratch.run(client, command).ms;
    },
    prepare: () => {
      commit();
      return pushedBytes(scratch, client);
    },
    dir: client,
    command,
  };
}
