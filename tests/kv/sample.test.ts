/** The check of a sample: what it finds for certain, what only in the keys it looks at, and that it looks at random. */

import { describe, expect, test } from "bun:test";
import { KvError } from "../../src/errors.ts";
import { SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import { etagOf } from "../../src/kv/etag.ts";
import type { ReplayLimits } from "../../src/kv/replay.ts";
import { sampleTransaction } from "../../src/kv/sample.ts";
import type { NamespaceState } from "../../src/kv/state.ts";
import { type Files, filesOf, forge, treeOf } from "../support/forge.ts";
import { KvModel } from "../support/kv-model.ts";
import { random } from "../support/random.ts";

const LIMITS: ReplayLimits = { maxKeys: 1000, maxInline: 4096 };

describe.each([SHA1, SHA256])("in a $name repository", (format) => {
  const model = new KvModel(format);
  const { objects } = model;
  model.commit(Array.from({ length: 300 }, (_, i) => model.set(`k${i}`, `v${i}`)));
  model.commit([model.del("k299")]);
  const base = model.state!;
  model.commit([
    ...Array.from({ length: 40 }, (_, i) => model.set(`k${i}`, `new ${i}`)),
    ...Array.from({ length: 9 }, (_, i) => model.del(`k${100 + i}`)),
    model.set("long".repeat(80), "of a long name"),
  ]);
  const honest = model.state!;
  const counts = { keysSet: 41, keysDel: 9 };
  const CHANGED = 50;

  function check(
    next: NamespaceState,
    count: number,
    pick = (_bound: number): number => 0,
    limits = LIMITS,
  ): number | string {
    try {
      return sampleTransaction(objects, base, next, etagOf, limits, { count, pick }).keys;
    } catch (error) {
      if (error instanceof KvError) return error.code;
      throw error;
    }
  }

  function forged(change: (files: Files) => void, claims = {}): NamespaceState {
    const files = filesOf(objects, honest.ledger.tree);
    change(files);
    return forge(objects, base, {
      tree: treeOf(objects, files),
      indexTree: honest.ledger.indexTree,
      ...counts,
      ...claims,
    });
  }

  const pathOf = (files: Files, end: string): string => [...files.keys()].find((path) => path.endsWith(end))!;
  const blob = (text: string) => ({ mode: 0o100644, oid: objects.write("blob", Buffer.from(text)) });

  /** The metadata of k7 with another etag: only a look at k7 itself can find it. */
  const oneWrong = forged((files) => {
    const path = pathOf(files, "/k7.meta");
    const text = objects.read(files.get(path)!.oid)!.data.toString();
    files.set(path, blob(text.replace(/blake3:.{4}/, "blake3:0000")));
  });

  test("an honest transaction passes at every size of the sample", () => {
    for (const count of [0, 1, 7, CHANGED, 100_000]) expect(check(honest, count)).toBe(CHANGED);
  });

  test("a wrong key is found where it is looked at, and only there", () => {
    expect(check(oneWrong, CHANGED)).toBe("REPLAY_MISMATCH");
    expect(check(oneWrong, 0)).toBe(CHANGED);
    const found = Array.from({ length: CHANGED }, (_, at) => check(oneWrong, 1, () => at)).map(
      (found) => found !== CHANGED,
    );
    expect(found.filter(Boolean)).toHaveLength(1);
  });

  test("with chance it is found as often as the size of the sample says", () => {
    const { int } = random("sample");
    const rounds = 400;
    let found = 0;
    for (let round = 0; round < rounds; round++) if (check(oneWrong, 10, int) !== CHANGED) found++;
    // 10 of 50 keys: 80 expected, standard deviation 8.
    expect(found).toBeGreaterThan(40);
    expect(found).toBeLessThan(120);
  });

  test("found whatever the sample: counts, strangers among the paths, halves of a key, kv.json", () => {
    expect(
      check(
        forged(() => {}, { keysSet: 40 }),
        0,
      ),
    ).toBe("REPLAY_MISMATCH");
    expect(
      check(
        forged(() => {}, { keysSet: 42, keysDel: 8 }),
        0,
      ),
    ).toBe("REPLAY_MISMATCH");
    expect(
      check(
        forged((files) => files.set(pathOf(files, "/k7").replace("k7", "%41"), blob("x"))),
        0,
      ),
    ).toBe("KEY_INVALID");
    expect(
      check(
        forged((files) => files.delete(pathOf(files, "/k7.meta"))),
        0,
      ),
    ).toBe("REPLAY_MISMATCH");
    expect(
      check(
        forged((files) => files.delete(pathOf(files, "/k7"))),
        0,
      ),
    ).toBe("REPLAY_MISMATCH");
    expect(
      check(
        forged((files) => files.set(pathOf(files, "/k200"), blob("no metadata"))),
        0,
      ),
    ).toBe("REPLAY_MISMATCH");
    expect(
      check(
        forged((files) => files.set("kv.json", blob("{}"))),
        0,
      ),
    ).toBe("REPLAY_MISMATCH");
  });

  test("found in the kv-index where the key is looked at", () => {
    const files = filesOf(objects, honest.ledger.indexTree);
    const index = (change: (files: Files) => void): NamespaceState => {
      const copy = new Map(files);
      change(copy);
      return forge(objects, base, { tree: honest.ledger.tree, indexTree: treeOf(objects, copy), ...counts });
    };
    const path = pathOf(files, "k7.ref");
    expect(
      check(
        index((copy) => copy.delete(path)),
        CHANGED,
      ),
    ).toBe("REPLAY_MISMATCH");
    expect(
      check(
        index((copy) => copy.set(path, files.get(pathOf(files, "k8.ref"))!)),
        CHANGED,
      ),
    ).toBe("REPLAY_MISMATCH");
    const noTree = forge(objects, base, { tree: honest.ledger.tree, indexTree: blob("no tree").oid, ...counts });
    expect(check(noTree, 1)).toBe("REPLAY_MISMATCH");
  });

  test("the policy's rules hold for every key, whatever the sample", () => {
    const rules = (more: Partial<ReplayLimits>): number | string => check(honest, 0, undefined, { ...LIMITS, ...more });
    expect(rules({ allowedPrefixes: ["k", "long"] })).toBe(CHANGED);
    expect(rules({ allowedPrefixes: ["k"] })).toBe("PREFIX_NOT_ALLOWED");
    expect(rules({ signer: { name: "ci", prefixes: ["k1", "long"] } })).toBe("PREFIX_NOT_ALLOWED");
    expect(rules({ maxInline: 13 })).toBe("VALUE_TOO_LARGE");
    expect(rules({ maxTotal: 13 })).toBe("VALUE_TOO_LARGE");
    expect(rules({ maxKeys: 49 })).toBe("TXN_TOO_LARGE");
  });
});
