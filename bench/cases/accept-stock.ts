/**
 * The alternative to a Stargate: stock `git push --atomic` to `git http-backend`, whose pre-receive hook checks the transaction. What
 * is pushed are transactions of our own planner, signed by the writer that the policy names; they are ready before the clock starts, and each
 * writer has a namespace of its own, so that nobody meets anybody. Ours plans and signs within its time. Then eight writers share a namespace, as
 * ours do: they fetch and plan again where another was first.
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
/** Numbers of writers. */
const COUNTS = [1, 8];
/** Pushes after which something else than a conflict is the matter. */
const MOST_TRIES = 200;
/** The namespace in which all of them write. */
const SHARED = "shared";

/** The hooks, each in a repository of its own. */
const HOOKS = [
  { name: "an equivalent hook", dir: "accept-equivalent.git", isTarget: true },
  { name: "a hook that knows no format", dir: "accept-light.git", isTarget: false },
] as const;

/** A transaction whose objects are in the repository that it is pushed from. */
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
  const backend = startHttpBackend(scratch.root);
  scratch.onEnd(() => backend.stop());
  const client = clientAt(scratch, CLIENT, key);
  const namespaces = COUNTS.flatMap((writers) => Array.from({ length: writers }, (_, i) => `w${writers}-${i}`));
  const values = Object.fromEntries(Array.from({ length: KEYS }, (_, i) => [`user:${i}`, "value"]));
  for (const ns of [...namespaces, SHARED]) store(scratch, CLIENT, client, ns, client.plan(values, ns));
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
        store(scratch, CLIENT, client, ns, client.plan({ [`user:${i % KEYS}`]: `value ${i} ${ns}` }, ns)),
      ),
    ]),
  );
  const forged = store(scratch, CLIENT, client, "w1-0", forge(client, "w1-0"));
  client.repo.close();
  scratch.git(CLIENT, "repack", "-adq");

  const rows: Row[] = [];
  const row = (writers: number, namespaces: number, other: Row["other"], extra: string, isTarget: boolean): void => {
    rows.push({
      name: `transactions a second, ${plural(writers, "writer")}, ${plural(namespaces, "namespace")}`,
      unit: "per second",
      ours: perSecond.get(`${writers} ${namespaces}`)!,
      ...(other && { other }),
      ...(isTarget && { target: atLeastTimes(10) }),
      extra,
    });
  };
  for (const writers of COUNTS) {
    for (const { name, dir, isTarget } of HOOKS) {
      const url = `${backend.url}/${dir}`;
      const ms: number[] = [];
      scratch.settle();
      const started = performance.now();
      await Promise.all(
        Array.from({ length: writers }, async (_, writer) => {
          for (const one of ready.get(`w${writers}-${writer}`)!) {
            const pushed = performance.now();
            await push(scratch, CLIENT, url, one);
            ms.push(performance.now() - pushed);
          }
        }),
      );
      const value = (writers * each) / ((performance.now() - started) / 1000);
      if (isTarget && writers === 1) await mustRefuse(() => push(scratch, CLIENT, url, forged));
      const other = { name: `git push, a namespace each, ${name}`, value };
      for (const namespaces of new Set([1, writers])) {
        row(writers, namespaces, other, `git push: ${showPercentiles(ms)}`, isTarget);
      }
    }
  }
  const [{ name, dir }] = HOOKS;
  const writers = COUNTS.at(-1)!;
  const { value, pushes } = await sharing(scratch, key, `${backend.url}/${dir}`, writers, Math.ceil(each / 2));
  const other = { name: `git push, one namespace, fetching and planning again, ${name}`, value };
  row(writers, 1, other, `${pushes.toFixed(1)} pushes of git for each`, true);
  return rows;
}

/**
 * Writers of stock git in one namespace: each plans on what it has fetched, signs, pushes, and does so again where another was first. Returns
 * transactions a second and pushes for each.
 */
async function sharing(
  scratch: Scratch,
  key: TestKey,
  url: string,
  writers: number,
  each: number,
): Promise<{ readonly value: number; readonly pushes: number }> {
  const clones = Array.from({ length: writers }, (_, i) => `accept-clone-${i}.git`);
  const refs = [`refs/kv/${SHARED}`, `refs/kv-index/${SHARED}`];
  const fetch = (dir: string): Promise<void> =>
    runBeside(["git", "fetch", "-q", url, ...refs.map((ref) => `+${ref}:${ref}`)], {
      cwd: scratch.path(dir),
      env: scratch.env,
    });
  const clients = clones.map((dir) => clientAt(scratch, dir, key));
  await Promise.all(clones.map(fetch));
  scratch.settle();
  let pushes = 0;
  const started = performance.now();
  await Promise.all(
    clients.map(async (client, writer) => {
      const dir = clones[writer]!;
      for (let own = 0; own < each; own++) {
        for (let tries = 0; ; tries++) {
          const planned = client.plan({ [`user:${writer}`]: `value ${own} ${tries}` }, SHARED);
          writePack(client.repo.objects, planned.pack.finish());
          pushes++;
          const isIn = await push(scratch, dir, url, readyOf(planned, SHARED)).then(
            () => true,
            () => false,
          );
          await fetch(dir);
          if (isIn) break;
          if (tries === MOST_TRIES) throw new Error(`the hook lets nothing of writer ${writer} in`);
          await Bun.sleep(Math.random() * Math.min(5 * 2 ** tries, 200));
        }
      }
      client.repo.close();
    }),
  );
  const count = writers * each;
  return { value: count / ((performance.now() - started) / 1000), pushes: pushes / count };
}

/** A client that signs, and plans on the bare repository `dir`, which is made. */
function clientAt(scratch: Scratch, dir: string, key: TestKey): TestClient {
  scratch.git("", "init", "-q", "--bare", dir);
  const client = new TestClient(scratch.path(dir), "");
  client.sign = (commit) => Buffer.from(key.signCommit(commit.toString(), "gpgsig"));
  return client;
}

/** Pushes with stock git from the repository `dir`. */
function push(scratch: Scratch, dir: string, url: string, { ledger, index, ns }: Ready): Promise<void> {
  const refs = [`${ledger}:refs/kv/${ns}`, `${index}:refs/kv-index/${ns}`];
  return runBeside(["git", "push", "-q", "--atomic", url, ...refs], { cwd: scratch.path(dir), env: scratch.env });
}

/** Stores a transaction in the repository `dir` and moves its refs. */
function store(scratch: Scratch, dir: string, client: TestClient, ns: string, planned: Planned): Ready {
  writePack(client.repo.objects, planned.pack.finish());
  for (const { ref, newOid } of planned.commands) scratch.git(dir, "update-ref", ref, newOid);
  return readyOf(planned, ns);
}

function readyOf({ commands: [ledger, index] }: Planned, ns: string): Ready {
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
