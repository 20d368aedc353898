/** One key out of many. */

import { readAs } from "../../src/gitwire/object/object.ts";
import { openRepository } from "../../src/gitwire/repo.ts";
import { keyDigits } from "../../src/kv/key.ts";
import { dataFileNames, findInTrie } from "../../src/kv/ledger-trie.ts";
import { readState } from "../../src/kv/state.ts";
import { keyOf, profileOf } from "../data.ts";
import { compareRuns } from "../measure.ts";
import type { Scratch } from "../scratch.ts";
import { valuePath } from "../stock-git.ts";
import { countSyscalls, showCounts } from "../syscalls.ts";
import { atMost, type Row, timesOther } from "../table.ts";
import type { Case } from "./case.ts";

export const get: Case = async ({ scratch, stores, runs, keys, etcd }) => {
  const dir = stores.ours();
  const stock = await stores.stock("values");
  const server = await etcd();
  let turn = 0;
  // Another key each time, from all over the store; the few that etcd holds among them.
  const next = (): number => (turn = (turn + 7_919) % Math.min(keys, 100_000));
  const check = (i: number, { ms, stdout }: { ms: number; stdout: Buffer }): number => {
    if (stdout.toString().trimEnd() !== profileOf(i)) throw new Error(`not the value of ${keyOf(i)}`);
    return ms;
  };
  const stockGet = (i: number): number =>
    check(i, scratch.run(stock, ["git", "cat-file", "blob", `main:${valuePath(keyOf(i))}`]));
  const ms = compareRuns(runs.short, {
    ours: () => {
      const i = next();
      return check(i, scratch.run(dir, [scratch.gitKv, "get", keyOf(i)]));
    },
    same: () => {
      const path = pathOf(scratch, dir, keyOf(turn));
      return check(turn, scratch.run(dir, ["git", "cat-file", "blob", `refs/kv/main:${path}`]));
    },
    stock: () => stockGet(turn),
    etcd: () => (server === undefined ? Number.NaN : check(turn, server.ctl("get", "--print-value-only", keyOf(turn)))),
  });
  const counts = countSyscalls(scratch.root, [scratch.gitKv, "get", keyOf(1)], {
    cwd: scratch.path(dir),
    env: scratch.env,
  });
  const row = { name: "get", unit: "ms", ours: ms.ours } as const;
  const rows: Row[] = [
    {
      ...row,
      other: { name: "git cat-file, our store", value: ms.same },
      target: atMost(8),
      extra: `${showCounts(counts)}; git is given the path`,
    },
    { ...row, other: { name: "git cat-file, stock layout", value: ms.stock } },
  ];
  if (server !== undefined) {
    const other = { name: `etcdctl get (${server.version})`, value: ms.etcd };
    rows.push({ ...row, other, target: timesOther(1) });
  }
  return rows;
};

/** Where the value of a key is in our store: nobody could type it. */
export function pathOf(scratch: Scratch, dir: string, key: string): string {
  const repo = openRepository(scratch.path(dir, ".git"), scratch.env);
  try {
    const state = readState(repo.objects, repo.refs, "main")!;
    const digits = keyDigits(key);
    const oid = findInTrie(repo.objects, state.data!, digits, dataFileNames(key, digits))!.oid;
    const path = ["data"];
    // Deeper by one digit until the file is there, as the format has it.
    for (let tree = state.data!, depth = 0; ; depth++) {
      const text = readAs(repo.objects, tree, "tree");
      if (text.includes(Buffer.from(oid, "hex"))) break;
      const below = text.indexOf(`40000 ${digits[depth]}\0`, 0, "latin1");
      tree = text.subarray(below + 8, below + 28).toString("hex");
      path.push(digits[depth]!);
    }
    return `${path.join("/")}/${dataFileNames(key, digits)[0]}`;
  } finally {
    repo.close();
  }
}
