/** The thousand keys of a prefix out of many, and all of them. */

import type { GitObject, ObjectSource } from "../../src/gitwire/object/object.ts";
import type { ObjectKind, Oid } from "../../src/gitwire/object/oid.ts";
import { openRepository } from "../../src/gitwire/repo.ts";
import { listIndex } from "../../src/kv/index-list.ts";
import { keyName } from "../../src/kv/key.ts";
import { readState } from "../../src/kv/state.ts";
import { compareRuns } from "../measure.ts";
import type { Scratch } from "../scratch.ts";
import { countSyscalls, showCounts } from "../syscalls.ts";
import { atMost, type Row, timesOther } from "../table.ts";
import type { Case } from "./case.ts";

const PREFIX = "user:0001";
/** Milliseconds. */
const MOST_FOR_A_MILLION = 1_500;

export const list: Case = async ({ scratch, stores, runs, keys, etcd }) => {
  const dir = stores.ours();
  const stock = await stores.stock("full");
  const server = await etcd();
  const lines = ({ ms, stdout }: { ms: number; stdout: Buffer }, expected = 1_000): number => {
    const found = stdout.toString().trimEnd().split("\n").length;
    if (found !== expected) throw new Error(`${found} keys listed, not ${expected}`);
    return ms;
  };
  const command = [scratch.gitKv, "list", "--prefix", PREFIX];
  const index = "refs/kv-index/main";
  const tree = treeOf(scratch, dir, index);
  const ms = compareRuns(runs.short, {
    ours: () => lines(scratch.run(dir, command)),
    same: () => lines(scratch.run(dir, ["git", "ls-tree", "-r", "--name-only", index, "--", `${tree}/`])),
    stock: () => lines(scratch.run(stock, ["git", "ls-tree", "-r", "--name-only", "main", "index/user%3A000/1/"])),
    etcd: () =>
      server === undefined ? Number.NaN : lines(blankless(server.ctl("get", "--prefix", "--keys-only", PREFIX))),
  });
  const counts = countSyscalls(scratch.root, command, { cwd: scratch.path(dir), env: scratch.env });
  const reads = countReads(scratch.path(dir, ".git"));
  const row = { name: "list 1,000 keys", unit: "ms", ours: ms.ours } as const;
  const rows: Row[] = [
    {
      ...row,
      other: { name: "git ls-tree -r, our store", value: ms.same },
      target: atMost(20),
      extra: `${reads.blob} blobs and ${reads.tree} trees read; ${showCounts(counts)}; git is given the path`,
    },
    { ...row, other: { name: "git ls-tree -r, stock layout", value: ms.stock } },
  ];
  if (server !== undefined) {
    const other = { name: "etcdctl get --prefix --keys-only", value: ms.etcd };
    rows.push({ ...row, other, target: timesOther(1) });
  }
  const whole = compareRuns(runs.long, {
    ours: () => lines(scratch.run(dir, [scratch.gitKv, "list"]), keys),
    same: () => scratch.run(dir, ["git", "ls-tree", "-r", "--name-only", index]).ms,
  });
  rows.push({
    name: "list of all keys",
    unit: "ms",
    ours: whole.ours,
    other: { name: "git ls-tree -r, our store", value: whole.same },
    target: atMost((MOST_FOR_A_MILLION * keys) / 1_000_000),
    extra: "git prints paths, not keys",
  });
  return rows;
};

/** Path of the directory that holds the keys of the prefix and no others: nobody could type it. */
function treeOf(scratch: Scratch, dir: string, index: string): string {
  const path: string[] = [];
  for (;;) {
    const found = path.map((name) => name.slice(0, -1)).join("");
    if (found === keyName(PREFIX)) return path.join("/");
    const names = scratch.git(dir, "ls-tree", "--name-only", `${index}:${path.join("/")}`).split("\n");
    const below = names.find((name) => name.endsWith("~") && keyName(PREFIX).startsWith(found + name.slice(0, -1)));
    if (below === undefined) throw new Error(`no directory of ${index} is that of ${PREFIX}`);
    path.push(below);
  }
}

/** etcdctl puts an empty line after every key. */
function blankless({ ms, stdout }: { ms: number; stdout: Buffer }): { ms: number; stdout: Buffer } {
  return { ms, stdout: Buffer.from(stdout.toString().replace(/\n\n/g, "\n")) };
}

/** How many objects of each kind a listing reads. */
function countReads(gitDir: string): Record<ObjectKind, number> {
  const repo = openRepository(gitDir, {});
  const reads: Record<ObjectKind, number> = { blob: 0, tree: 0, commit: 0, tag: 0 };
  const counting: ObjectSource = {
    format: repo.format,
    has: (oid: Oid) => repo.objects.has(oid),
    read: (oid: Oid): GitObject | undefined => {
      const object = repo.objects.read(oid);
      if (object !== undefined) reads[object.kind]++;
      return object;
    },
  };
  const state = readState(repo.objects, repo.refs, "main")!;
  const found = [...listIndex(counting, state.ledger.indexTree, { prefix: PREFIX })].length;
  repo.close();
  if (found !== 1_000) throw new Error(`${found} keys listed in process`);
  return reads;
}
