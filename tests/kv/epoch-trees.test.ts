/** The start of an epoch: its trees are those the format's text makes of the keys that go on, and nothing else is taken for one. */

import { describe, expect, test } from "bun:test";
import { utf8ToByteString } from "../../src/bytes.ts";
import { KvError } from "../../src/errors.ts";
import { encodeCommit, parseCommit, parseIdent } from "../../src/gitwire/object/commit.ts";
import { SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import { checkEpochStart, checkLeftOut, replayEpoch } from "../../src/kv/check-epoch.ts";
import { draftEpoch } from "../../src/kv/epoch-plan.ts";
import { indexFileName } from "../../src/kv/index-file.ts";
import { keyName } from "../../src/kv/key.ts";
import type { Operation } from "../../src/kv/operation.ts";
import { ledgerContains, type NamespaceState, stateAt } from "../../src/kv/state.ts";
import type { Watch } from "../../src/kv/workspace.ts";
import { type OracleFile, oracleIndex, oracleTrie } from "../support/format-oracle.ts";
import { KvModel } from "../support/kv-model.ts";
import { type Random, random } from "../support/random.ts";
import { replay } from "../support/replay-fixture.ts";

const NOW = 1_800_000_000;
const WHO = { name: "Admin", email: "admin@example.com", seconds: NOW, offset: 0 };
let count = 0;

async function begin(model: KvModel, label: string, seconds = NOW, watch: Watch = {}) {
  const base = model.state!;
  const { draft, trees } = await draftEpoch(model.objects, model.objects, {
    base,
    ns: "main",
    label,
    epochRoot: base.ledger.parentEpoch && base.ledger.oid,
    policy: undefined,
    txn: `01JBAXF5Z8J8M7R2TE${String(++count).padStart(8, "0")}`,
    message: undefined,
    author: { ...WHO, seconds },
    committer: { ...WHO, seconds },
    watch,
  });
  const plan = draft.finish();
  const move = (group: string): string | undefined =>
    plan.moves.find(({ ref }) => ref.startsWith(`refs/${group}/`))?.newOid;
  const next = stateAt(model.objects, plan.ledger, move("kv-index"));
  return { base, next, plan, trees, chunks: move("kv-chunks") };
}

/** Checks everything that a Stargate checks. */
async function judge(model: KvModel, base: NamespaceState, next: NamespaceState, chunks?: string): Promise<void> {
  const { oid } = next.ledger;
  checkEpochStart(model.objects, { ns: "main", base, ledger: oid, index: next.index!, policy: undefined, chunks });
  await replayEpoch(model.objects, base, next);
}

type Keys = Map<string, { expires: number | undefined } | "deleted">;

/** Keys below few roots, so that nodes of the kv-index split, and fold again when keys go. */
function randomRound(rng: Random, model: KvModel, keys: Keys): Operation[] {
  const roots = ["user:", "cfg/", "x".repeat(90), `${"é".repeat(20)}/`, "k".repeat(250)];
  const chosen = new Set<string>();
  for (let i = rng.int(400); i >= 0; i--) chosen.add(`${rng.pick(roots)}${rng.int(900).toString(36)}`);
  const operations: Operation[] = [];
  for (const key of chosen) {
    const known = keys.get(key);
    if (known !== undefined && known !== "deleted" && rng.int(3) > 0) {
      operations.push(model.del(key));
      keys.set(key, "deleted");
    } else {
      const expires = rng.pick([undefined, NOW - 1 - rng.int(1000), NOW, NOW + 1 + rng.int(1000)]);
      operations.push(model.set(key, `${rng.int(1e9)}`, expires === undefined ? {} : { expires }));
      keys.set(key, { expires });
    }
  }
  return operations;
}

function expectTrees(model: KvModel, next: NamespaceState, keys: Keys): void {
  const named = (root: string | undefined): Map<string, string> =>
    new Map([...model.files(root)].map(([path, oid]) => [path.split("/").at(-1)!, oid]));
  const [data, meta, index] = [named(next.data), named(next.meta), named(next.ledger.indexTree)];
  const files: Record<"data" | "meta" | "index", OracleFile[]> = { data: [], meta: [], index: [] };
  for (const [text, what] of keys) {
    if (what === "deleted" || (what.expires !== undefined && what.expires <= NOW)) continue;
    const key = utf8ToByteString(text);
    const name = keyName(key);
    files.data.push({ key, fileName: name, oid: data.get(name)! });
    files.meta.push({ key, fileName: `${name}.meta`, oid: meta.get(`${name}.meta`)! });
    const fileName = indexFileName(name, { kind: "live", expires: what.expires });
    files.index.push({ key, fileName, oid: index.get(fileName)! });
  }
  expect(next.data).toBe(oracleTrie(model.objects, files.data));
  expect(next.meta).toBe(oracleTrie(model.objects, files.meta));
  expect(next.ledger.indexTree).toBe(oracleIndex(model.objects, files.index));
}

describe.each([SHA1, SHA256])("the start of an epoch, $name", (format) => {
  test("holds just the keys that go on, in the form of the format, and the ledger goes on after it", async () => {
    const rng = random("epoch-trees");
    for (let run = 0; run < 6; run++) {
      const model = new KvModel(format);
      const keys: Keys = new Map();
      for (let label = 2; label < 5; label++) {
        for (let round = 1 + rng.int(4); round > 0; round--) model.commit(randomRound(rng, model, keys));
        const { base, next, trees, plan } = await begin(model, `e${label}`);
        await judge(model, base, next);
        expectTrees(model, next, keys);
        const states = [...keys.values()];
        expect(trees.tombstones).toBe(states.filter((one) => one === "deleted").length);
        expect(next.ledger).toMatchObject({
          seq: base.ledger.seq + 1,
          keysSet: 0,
          keysDel: trees.expired,
          parent: undefined,
          baseTree: base.ledger.tree,
          parentEpoch: { label: base.ledger.epoch, ledger: base.ledger.oid },
        });
        expect(plan.moves.map(({ ref }) => ref)).toEqual([
          "refs/kv/main",
          "refs/kv-index/main",
          "refs/kv-epoch/main",
          `refs/kv-archive/main@${base.ledger.epoch}`,
          `refs/kv-index-archive/main@${base.ledger.epoch}`,
        ]);
        for (const [key, what] of keys) {
          if (what === "deleted" || (what.expires !== undefined && what.expires <= NOW)) keys.delete(key);
        }
        model.state = next;
        // The next transaction is one like any other.
        model.commit([model.set(`after ${label}`, "1")]);
        keys.set(`after ${label}`, { expires: undefined });
        expect(replay(model, next, model.state)).toEqual([`set after ${label} 1`]);
        expect(ledgerContains(model.objects, model.state.ledger, base.ledger)).toBe(true);
        expect(ledgerContains(model.objects, base.ledger, model.state.ledger)).toBe(false);
      }
    }
  });

  test("takes the very trees of the state before where nothing is left behind", async () => {
    const model = new KvModel(format);
    model.commit(Array.from({ length: 700 }, (_, i) => model.set(`key ${i}`, "1", { expires: NOW + 1 })));
    const { base, next, trees } = await begin(model, "e2");
    await judge(model, base, next);
    expect(next.ledger.tree).toBe(base.ledger.tree);
    expect(next.ledger.indexTree).toBe(base.ledger.indexTree);
    expect(trees).toMatchObject({ live: 700, expired: 0, tombstones: 0, pieces: 0, chunks: undefined });
  });

  test("tells who waits how far it is, and can be broken off in each of its steps", async () => {
    const model = new KvModel();
    model.commit(Array.from({ length: 20_000 }, (_, i) => model.set(`k${i}`, "x")));
    model.commit([model.del("k7")]);
    const told: string[] = [];
    await begin(model, "e2", NOW, { progress: (text) => void told.push(text) });
    expect(told.at(-1)).toBe("");
    const steps = [/^looking for what is left behind: \d+ keys$/, /^making the kv-index of 19999 keys$/];
    for (const step of steps) {
      expect(told.some((text) => step.test(text))).toBe(true);
      const abort = new AbortController();
      const progress = (text: string): void => void (step.test(text) && abort.abort(new Error("broken off")));
      const begun = begin(model, "e2", NOW, { signal: abort.signal, progress });
      expect(await begun.catch((error: Error) => error.message)).toBe("broken off");
    }
  }, 60_000);

  test("lets others run while what it leaves out is looked at", async () => {
    const model = new KvModel(format);
    model.commit(Array.from({ length: 20_000 }, (_, i) => model.set(`k${i}`, "x", { expires: NOW })));
    const { base, next } = await begin(model, "e2");
    const abort = new AbortController();
    setImmediate(() => abort.abort(new Error("broken off")));
    await expect(checkLeftOut(model.objects, base, next, abort.signal)).rejects.toThrow("broken off");
    await checkLeftOut(model.objects, base, next);
  }, 60_000);

  test("is empty where all keys have gone", async () => {
    const model = new KvModel(format);
    model.commit([model.set("a", "1"), model.set("b", "2", { expires: NOW })]);
    model.commit([model.del("a")]);
    const { base, next } = await begin(model, "e2");
    await judge(model, base, next);
    expect([next.data, next.meta, next.ledger.indexTree]).toEqual([undefined, undefined, format.emptyTree]);
  });

  test("is refused where it loses, keeps, changes or makes a key, or names another state", async () => {
    const model = new KvModel(format);
    model.commit([model.set("a", "1"), model.set("b", "2", { expires: NOW }), model.set("c", "3")]);
    const { base, next } = await begin(model, "e2");
    const refused = async (code: string, forged: NamespaceState, on = base): Promise<string> => {
      const error = await judge(model, on, forged).then(
        () => undefined,
        (thrown: KvError) => thrown,
      );
      expect([error instanceof KvError && error.code, error?.message]).toEqual([code, expect.anything()]);
      return error!.message;
    };
    /** The ledger commit with its trailers and tree changed, and a kv-index commit that fits. */
    const forge = (edit: (text: string) => string): NamespaceState => {
      const text = model.objects.read(next.ledger.oid)!.data.toString();
      const ledger = model.objects.write("commit", Buffer.from(edit(text)));
      return { ...stateAt(model.objects, ledger, next.index) };
    };
    /** As if the tree of an epoch were that of a state with other keys. */
    const holding = async (operations: Operation[], left: number): Promise<NamespaceState> => {
      const other = new KvModel(format);
      Object.assign(other, { objects: model.objects, state: base });
      const plan = other.plan(operations);
      if (plan.kind !== "planned") throw new Error("nothing changes");
      const made = stateAt(model.objects, plan.ledger);
      const forged = forge((text) =>
        text
          .replaceAll(next.ledger.tree, made.ledger.tree)
          .replaceAll(next.ledger.indexTree, made.ledger.indexTree)
          .replace(/Keys-Del: \d+/, `Keys-Del: ${left}`),
      );
      const indexText = model.objects.read(next.index!)!.data.toString();
      const index = indexText
        .replaceAll(next.ledger.tree, made.ledger.tree)
        .replaceAll(next.ledger.indexTree, made.ledger.indexTree);
      return stateAt(model.objects, forged.ledger.oid, model.objects.write("commit", Buffer.from(index)));
    };
    expect(await refused("REPLAY_MISMATCH", await holding([model.del("a"), model.del("b")], 2))).toContain(
      'the key "a"',
    );
    expect(await refused("REPLAY_MISMATCH", await holding([model.set("a", "x"), model.del("b")], 1))).toContain(
      "another one",
    );
    expect(await refused("REPLAY_MISMATCH", await holding([model.set("z", "x"), model.del("b")], 1))).toContain("new");
    expect(await refused("REPLAY_MISMATCH", await holding([model.del("b")], 2))).toContain("Keys-Del");
    // Right but for the tombstone in its kv-index.
    expect(await refused("REPLAY_MISMATCH", await holding([model.del("b")], 1))).toContain("kv-index");
    const early = await begin(model, "e2", NOW - 1);
    const kept = forge((text) =>
      text.replaceAll(next.ledger.tree, early.next.ledger.tree).replace("Keys-Del: 1", "Keys-Del: 0"),
    );
    await checkLeftOut(model.objects, base, kept);
    await expect(replayEpoch(model.objects, base, kept)).rejects.toThrow("data/");
    await refused(
      "ATTESTATION_MISSING",
      forge((text) => text.replace(/Parent-Epoch: .*\n/, "")),
    );
    await refused(
      "ATTESTATION_MISMATCH",
      forge((text) => text.replace("Parent-Epoch: e1", "Parent-Epoch: e0")),
    );
    await refused(
      "ATTESTATION_MISMATCH",
      forge((text) => text.replace("Epoch: e2", "Epoch: e1")),
    );
    await refused(
      "ATTESTATION_MISMATCH",
      forge((text) => text.replace("Epoch: e2", "Epoch: e2..lock")),
    );
    await refused(
      "ATTESTATION_MISMATCH",
      forge((text) => text.replace("Keys-Set: 0", "Keys-Set: 1")),
    );
    await refused(
      "ATTESTATION_MISMATCH",
      forge((text) => text.replace("KV-Seq: 2", "KV-Seq: 3")),
    );
    await refused(
      "ATTESTATION_MISMATCH",
      forge((text) => text.replace(/Base-Tree: .*/, "Base-Tree: -")),
    );
    await refused(
      "NOT_LINEAR",
      forge((text) => text.replace("\nauthor", `\nparent ${base.ledger.oid}\nauthor`)),
    );
    // On another state than the one it names.
    model.commit([model.set("d", "4")]);
    await refused("ATTESTATION_MISMATCH", next, model.state!);
  });

  test("writes no tree of the kv-index that was there before", async () => {
    const model = new KvModel(format);
    model.commit(Array.from({ length: 3000 }, (_, i) => model.set(`${i % 30}:${i}`, "1")));
    model.commit([model.del("7:7")]);
    const written: string[] = [];
    const sink = {
      format,
      write: (kind: "tree" | "blob" | "commit" | "tag", bytes: Uint8Array) => {
        const oid = model.objects.write(kind, bytes);
        written.push(`${kind} ${oid}`);
        return oid;
      },
      writeDelta: () => {
        throw new Error("no delta");
      },
    };
    const { trees } = await draftEpoch(model.objects, sink, {
      ...{ base: model.state!, ns: "main", label: "e2", epochRoot: undefined, policy: undefined, message: undefined },
      ...{ txn: "01JBAXF5Z8J8M7R2TK00000001", author: WHO, committer: WHO },
    });
    expect(trees.tombstones).toBe(1);
    // The root, the group of 7, and the ledger's root.
    expect(written.filter((one) => one.startsWith("tree")).length).toBe(3);
  });
});

test("the commits of an epoch's start are these, byte for byte", async () => {
  const model = new KvModel(SHA1);
  model.commit([model.set("a", "1"), model.set("b", "2", { expires: NOW })]);
  const { next, plan } = await begin(model, "e2");
  const { tree, message, committer } = parseCommit(SHA1, model.objects.read(plan.ledger)!.data);
  expect(parseIdent(committer).seconds).toBe(NOW);
  expect(encodeCommit({ tree, parents: [], author: WHO, committer: WHO, message })).toEqual(
    model.objects.read(plan.ledger)!.data,
  );
  const said = (text: string): string => text.replace(plan.txn, "TXN");
  expect(said(message)).toBe(LEDGER_MESSAGE);
  expect(said(model.objects.read(next.index!)!.data.toString())).toBe(INDEX_COMMIT);
});

const LEDGER_MESSAGE = `epoch e2

KV-NS: main
KV-Txn: TXN
KV-Seq: 2
Base-Tree: 0aa50344dc65bdafeca516f5186a7447987f8bec
KV-Index-Tree: f2f9d47c37ab8537800d5508c9c4564e0d402388
KV-Chunks-Tree: -
KV-Policy: -
Epoch: e2
Keys-Set: 0
Keys-Del: 1
Parent-Epoch: e1 e270cd40ea50085b022eca39c83aa88b58e6039a
`;

const INDEX_COMMIT = `tree f2f9d47c37ab8537800d5508c9c4564e0d402388
author Admin <admin@example.com> 1800000000 +0000
committer Admin <admin@example.com> 1800000000 +0000

kv-index: epoch e2

KV-NS: main
KV-Txn: TXN
KV-Seq: 2
KV-Ledger-Tree: be87596c98ae9d4de62a8ba509f55aeda0f35292
`;
