/**
 * Keys over HTTP to programs on this machine: `git kv serve` beside etcd's HTTP door (its gRPC gateway), over one connection after
 * the other and over sixteen at a time.
 */

import { keyOf, profileOf } from "../data.ts";
import { median } from "../measure.ts";
import { type Row, timesOther } from "../table.ts";
import type { Case } from "./case.ts";

const TOGETHER = 16;

type Ask = (i: number) => Promise<string>;

export const serve: Case = async ({ scratch, stores, runs, etcd }) => {
  const server = await etcd();
  if (server === undefined) return [];
  const child = Bun.spawn([scratch.gitKv, "serve", "--listen", "127.0.0.1:0", "--read-from", "local"], {
    cwd: scratch.path(stores.ours()),
    env: scratch.env as Record<string, string>,
    stdout: "ignore",
    stderr: "pipe",
  });
  scratch.onEnd(() => child.kill());
  const { value } = await child.stderr.getReader().read();
  const url = /http:\S+/.exec(Buffer.from(value ?? []).toString())?.[0];
  if (url === undefined) throw new Error("git kv serve does not listen");
  const ours: Ask = async (i) => (await fetch(`${url}/v1/kv/${encodeURIComponent(keyOf(i))}`)).text();
  const theirs: Ask = async (i) => {
    const body = JSON.stringify({ key: btoa(keyOf(i)) });
    const answer = (await (await fetch(`${server.url}/v3/kv/range`, { method: "POST", body })).json()) as {
      kvs: { value: string }[];
    };
    return atob(answer.kvs[0]!.value);
  };
  const requests = runs.short * 50;
  const one = { ours: [] as number[], theirs: [] as number[] };
  const many = { ours: 0, theirs: 0 };
  for (const [name, ask] of [
    ["ours", ours],
    ["theirs", theirs],
    ["ours", ours],
    ["theirs", theirs],
  ] as const) {
    one[name] = [];
    for (let n = 0; n < requests; n++) one[name].push(await timedAsk(ask, n));
    const started = performance.now();
    await Promise.all(
      Array.from({ length: TOGETHER }, async (_, lane) => {
        for (let n = 0; n < requests / TOGETHER; n++) await timedAsk(ask, lane * 1_000 + n);
      }),
    );
    many[name] = (requests / (performance.now() - started)) * 1000;
  }
  child.kill("SIGTERM");
  await child.exited;
  const other = `etcd's gateway (${server.version})`;
  const rows: Row[] = [
    {
      name: "GET of a key over HTTP",
      unit: "ms",
      ours: median(one.ours),
      other: { name: other, value: median(one.theirs) },
      target: timesOther(1),
    },
    {
      name: `the same, ${TOGETHER} at a time`,
      unit: "per second",
      ours: many.ours,
      other: { name: other, value: many.theirs },
    },
  ];
  return rows;
};

async function timedAsk(ask: Ask, n: number): Promise<number> {
  const i = (n * 7_919) % 100_000;
  const started = performance.now();
  const value = await ask(i);
  const ms = performance.now() - started;
  if (value !== profileOf(i)) throw new Error(`not the value of ${keyOf(i)}`);
  return ms;
}
