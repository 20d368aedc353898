/** The audit of ledgers of several epochs: over their boundaries, and from one alone; what was done to one is found. */

import { describe, expect, test } from "bun:test";
import { type ObjectFormat, type Oid, SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import { draftEpoch } from "../../src/kv/epoch-plan.ts";
import { etagOf } from "../../src/kv/etag.ts";
import type { ClosedEpoch } from "../../src/kv/ledger-line.ts";
import { namespacePolicy } from "../../src/kv/policy.ts";
import { rehashing } from "../../src/kv/rehashing-source.ts";
import { stateAt } from "../../src/kv/state.ts";
import { verifyLedger } from "../../src/kv/verify.ts";
import { KvModel } from "../support/kv-model.ts";

const NOW = 1_800_000_000;
const WHO = { name: "Admin", email: "admin@example.com", seconds: NOW, offset: 0 };
const rules = namespacePolicy(undefined, "main");

/** A ledger of several epochs; remembers what was closed. */
class Ages {
  readonly model: KvModel;
  /** The kv-index commits of what was closed, by the ledger commits. */
  readonly #byLedger = new Map<Oid, Oid>();
  #count = 0;

  constructor(format: ObjectFormat) {
    this.model = new KvModel(format);
  }

  /** Begins an epoch; `forge` changes the three commits' texts. */
  async begin(label: string, forge: (text: string) => string = (text) => text): Promise<void> {
    const { model } = this;
    const base = model.state!;
    const { draft } = await draftEpoch(model.objects, model.objects, {
      ...{ base, ns: "main", label, epochRoot: undefined, policy: undefined, message: undefined },
      ...{ txn: `01JBAXF5Z8J8M7R2TE${String(++this.#count).padStart(8, "0")}`, author: WHO, committer: WHO },
    });
    const { ledger, moves } = draft.finish();
    const index = moves.find(({ ref }) => ref === "refs/kv-index/main")!.newOid;
    const edited = [ledger, index].map((oid) =>
      model.objects.write("commit", Buffer.from(forge(model.objects.read(oid)!.data.toString()))),
    );
    this.#byLedger.set(base.ledger.oid, base.index!);
    model.state = stateAt(model.objects, edited[0]!, edited[1]!);
  }

  async verify(archives = true, since?: Oid) {
    const said: string[] = [];
    const archive = async ({ ledger }: ClosedEpoch): Promise<Oid | undefined> =>
      archives ? this.#byLedger.get(ledger) : undefined;
    const summary = await verifyLedger(rehashing(this.model.objects), {
      ...{ ns: "main", tip: this.model.state!, since, etagOf, archive },
      judge: async () => ({ rules, signer: undefined, problems: [] }),
      chunks: { tip: () => undefined, isComplete: false },
      signal: new AbortController().signal,
      found: ({ seq, code, message }) => said.push(`${seq ?? "-"} ${code}: ${message}`),
      progress: () => {},
    });
    return { said, summary };
  }
}

/** Six transactions of two epochs, and one of a third. */
async function ages(format: ObjectFormat): Promise<Ages> {
  const ages = new Ages(format);
  const { model } = ages;
  model.commit([...Array(300).keys()].map((i) => model.set(`k${i}`, `${i}`)));
  model.commit([
    model.set("soon", "1", { expires: NOW }),
    model.set("later", "1", { expires: NOW + 1 }),
    model.del("k1"),
  ]);
  await ages.begin("e2");
  model.commit([model.del("k2"), model.set("x".repeat(400), "a long key")]);
  await ages.begin("e3");
  model.commit([model.set("k2", "again")]);
  return ages;
}

describe.each([SHA1, SHA256])("the audit of several epochs, $name", (format) => {
  test("goes through all whose archives are here, and else begins with the first that is", async () => {
    const all = await ages(format);
    const over = await all.verify();
    expect(over.said).toEqual([]);
    expect(over.summary).toMatchObject({ seq: 6, firstSeq: 1, epochBefore: undefined, transactions: 6, keysDel: 3 });
    const alone = await all.verify(false);
    expect(alone.said).toEqual([]);
    expect(alone.summary).toMatchObject({ seq: 6, firstSeq: 5, epochBefore: "e2", transactions: 2 });
    const since = await all.verify(true, all.model.state!.ledger.parent);
    expect([since.said, since.summary.transactions]).toEqual([[], 1]);
  });

  test("finds keys that an epoch lost or a kv-index that is not its own, with and without the archive", async () => {
    const made = new Ages(format);
    const { model } = made;
    model.commit([model.set("a", "1"), model.set("b", "2")]);
    model.commit([model.del("b")]);
    const honest = model.state!;
    // The kv-index goes on with its tombstone.
    await made.begin("e2");
    const clean = model.state!.ledger.indexTree;
    model.state = honest;
    await made.begin("e2", (text) => text.replaceAll(clean, honest.ledger.indexTree));
    for (const archives of [true, false]) {
      const { said } = await made.verify(archives);
      expect(said).toEqual([expect.stringMatching(/^3 REPLAY_MISMATCH: the kv-index tree/)]);
    }
    // A key less, as a transaction would have left it.
    model.state = honest;
    const plan = model.plan([model.set("a", "other")]);
    if (plan.kind !== "planned") throw new Error("nothing changes");
    const other = stateAt(model.objects, plan.ledger);
    await made.begin("e2", (text) =>
      text
        .replace(`tree ${honest.ledger.tree}`, `tree ${other.ledger.tree}`)
        .replace(`Ledger-Tree: ${honest.ledger.tree}`, `Ledger-Tree: ${other.ledger.tree}`),
    );
    expect((await made.verify()).said).toEqual([
      expect.stringMatching(/^3 REPLAY_MISMATCH: a\.meta in meta\/ is another one/),
    ]);
    expect((await made.verify(false)).said).toEqual([expect.stringMatching(/^3 REPLAY_MISMATCH: the kv-index tree/)]);
    model.state = honest;
    await made.begin("e2", (text) =>
      text.replace("Parent-Epoch: e1", "Parent-Epoch: e9").replace("KV-Seq: 3", "KV-Seq: 4"),
    );
    expect((await made.verify()).said).toEqual([expect.stringMatching(/^4 ATTESTATION_MISMATCH: Parent-Epoch/)]);
  });
});
