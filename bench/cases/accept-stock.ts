/**
 * The alternative to a Stargate: stock `git push --atomic` to `git http-backend`, whose pre-receive hook checks the transaction. What
 * is pushed are transactions of our own planner, signed by the writer that the policy names; they are ready before the clock starts, and each
 * writer has a namespace of its own, so that nobody meets anybody. Ours plans, signs and, where writers share a namespace, meets within its time.
 */

import { writePack } from "../../src/gitwire/store/object-writer.ts";
import { withLedger } from "../../tests/support/forged.ts";
import { startHttpBackend } from "../../tests/support/http-backend.ts";
import { type Planned, TestClient } from "../../tests/support/stargate.ts";
import type { TestKey } from "../../tests/support/test-key.ts";
import { runBeside } from "../measure.ts";
import type { Scratch } from "../scratch.ts";
import { installEquivalentHook, installLightHook } from "../shell-hook.ts";
import { atLeastTimes, plural, type Row } from "../table.ts";
import { showPercentiles } from "../writers.ts";

const CLIENT = "accept-client.git";
/** Keys of a namespace before its writer begins. */
const KEYS = 100;

/** The hooks, each in a repository of its own. */
const HOOKS = [
  { name: "an equivalent hook", dir: "accept-equivalent.git", isTarget: true },
  { name: "a hook that knows no format", dir: "accept-light.git", isTarget: false },
];

/** A transaction whose objects are in {@link CLIENT}. */
interface Ready {
  readonly ledger: string;
  readonly index: string;
  readonly ns: string;
}

/**
 * Transactions a second, ours (`perSecond`, by numbers of writers and of namespaces) and those of stock git, `each` of each writer. Throws
 * where the equivalent hook takes a transaction that a Stargate refuses.
 */
export async function stockRows(
  scratch: Scratch,
  key: TestKey,
  each: number,
  perSecond: ReadonlyMap<string, number>,
): Promise<Row[]> {
  scratch.git("", "init", "-q", "--bare", CLIENT);
  const client = new TestClient(scratch.path(CLIENT), "");
  client.sign = (commit) => Buffer.from(key.signCommit(commit.toString(), "gpgsig"));
  const counts = [1, 8];
  const namespaces = counts.flatMap((writers) => Array.from({ length: writers }, (_, i) => `w${writers}-${i}`));
  const values = Object.fromEntries(Array.from({ length: KEYS }, (_, i) => [`user:${i}`, "value"]));
  for (const ns of namespaces) store(scratch, client, ns, client.plan(values, ns));
  for (const { dir, isTarget } of HOOKS) {
    scratch.git("", "init", "-q", "--bare", dir);
    scratch.git(dir, "fetch", "-q", scratch.path(CLIENT), "refs/*:refs/*");
    if (isTarget) installEquivalentHook(scratch.path(dir), [key.line]);
    else installLightHook(scratch.path(dir));
  }
  const ready = new Map(
    namespaces.map((ns) => [
      ns,
      Array.from({ length: each }, (_, i) =>
        store(scratch, client, ns, client.plan({ [`user:${i % KEYS}`]: `value ${i} ${ns}` }, ns)),
      ),
    ]),
  );
  const forged = store(scratch, client, "w1-0", forge(client, "w1-0"));
  client.repo.close();
  scratch.git(CLIENT, "repack", "-adq");
  const backend = startHttpBackend(scratch.root);
  scratch.onEnd(() => backend.stop());

  const rows: Row[] = [];
  for (const writers of counts) {
    for (const { name, dir, isTarget } of HOOKS) {
      const push = (one: Ready): Promise<void> => {
        const refs = [`${one.ledger}:refs/kv/${one.ns}`, `${one.index}:refs/kv-index/${one.ns}`];
        return runBeside(["git", "push", "-q", "--atomic", `${backend.url}/${dir}`, ...refs], {
          cwd: scratch.path(CLIENT),
          env: scratch.env,
        });
      };
      const ms: number[] = [];
      scratch.settle();
      const started = performance.now();
      await Promise.all(
        Array.from({ length: writers }, async (_, writer) => {
          for (const one of ready.get(`w${writers}-${writer}`)!) {
            const pushed = performance.now();
            await push(one);
            ms.push(performance.now() - pushed);
          }
        }),
      );
      const theirs = (writers * each) / ((performance.now() - started) / 1000);
      if (isTarget && writers === 1) await mustRefuse(() => push(forged));
      for (const namespaces of new Set([1, writers])) {
        const ours = perSecond.get(`${writers} ${namespaces}`)!;
        rows.push({
          name: `transactions a second, ${plural(writers, "writer")}, ${plural(namespaces, "namespace")}`,
          unit: "per second",
          ours,
          other: { name: `git push, a namespace each, ${name}`, value: theirs },
          ...(isTarget && { target: atLeastTimes(10) }),
          extra: `git push: ${showPercentiles(ms)}`,
        });
      }
    }
  }
  return rows;
}

/** Stores a transaction and moves the refs of {@link CLIENT}. */
function store(scratch: Scratch, client: TestClient, ns: string, planned: Planned): Ready {
  writePack(client.repo.objects, planned.pack.finish());
  for (const { ref, newOid } of planned.commands) scratch.git(CLIENT, "update-ref", ref, newOid);
  const [ledger, index] = planned.commands;
  return { ledger: ledger!.newOid, index: index!.newOid, ns };
}

/** A transaction that says one key more than it sets, signed by a writer. */
function forge(client: TestClient, ns: string): Planned {
  const sign = client.sign!;
  client.sign = undefined;
  const planned = client.plan({ "user:1": "forged" }, ns);
  return withLedger(client, planned, (text) =>
    sign(Buffer.from(text.replace("Keys-Set: 1", "Keys-Set: 2"))).toString(),
  );
}

async function mustRefuse(push: () => Promise<void>): Promise<void> {
  const refused = await push().then(
    () => false,
    () => true,
  );
  if (!refused) throw new Error("the equivalent hook let a forged transaction in");
}
