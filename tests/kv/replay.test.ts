/** The replay check against forged records, counts and kv-index entries: each is refused, with the code that says why. */

import { describe, expect, test } from "bun:test";
import { utf8ToByteString } from "../../src/bytes.ts";
import { SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import { etagOf } from "../../src/kv/etag.ts";
import { keyDigits, keyName } from "../../src/kv/key.ts";
import type { SetOperation } from "../../src/kv/operation.ts";
import { encodeMetadata } from "../../src/kv/record.ts";
import { type Files, filesOf, forge } from "../support/forge.ts";
import { KvModel } from "../support/kv-model.ts";
import { random } from "../support/random.ts";
import { replay, replayFixture } from "../support/replay-fixture.ts";

describe.each([SHA1, SHA256])("in a $name repository", (format) => {
  const { model, objects, base, honest, dataPath, metaPath, blob, text, file, forged, forgedIndex, metadata } =
    replayFixture(format);

  test("the honest transaction passes, and so does its forgery that changes nothing", () => {
    expect(replay(model, base, honest)).toEqual(["set key 1"]);
    expect(forged(() => {})).toEqual(["set key 1"]);
    expect(forgedIndex(() => {})).toEqual(["set key 1"]);
  });

  test("entries of the kv-index hidden, invented, misplaced, renamed or altered", () => {
    const refOf = (files: Files, key: string): string =>
      [...files.keys()].find((path) => path.split("/").at(-1)!.startsWith(`${key}`) && path.includes(`${key}`))!;
    const moved = (from: string, to: (path: string) => string) => (files: Files) => {
      const path = refOf(files, from);
      const entry = files.get(path)!;
      files.delete(path);
      files.set(to(path), entry);
    };
    expect(forgedIndex((files) => files.delete(refOf(files, "key@")))).toBe("REPLAY_MISMATCH");
    expect(forgedIndex((files) => files.delete(refOf(files, "k299.del")))).toBe("REPLAY_MISMATCH");
    expect(forgedIndex((files) => files.delete(refOf(files, "k1.ref")))).toBe("REPLAY_MISMATCH");
    expect(forgedIndex((files) => files.set("new.ref", file(blob("{}"))))).toBe("REPLAY_MISMATCH");
    expect(forgedIndex(moved("k1.ref", () => "k1.ref"))).toBe("REPLAY_MISMATCH");
    expect(forgedIndex(moved("key@", (path) => path.replace("@1800000000", "")))).toBe("REPLAY_MISMATCH");
    expect(forgedIndex(moved("key@", (path) => path.replace("@1800000000", "@1900000000")))).toBe("REPLAY_MISMATCH");
    expect(forgedIndex(moved("key@", (path) => path.replace(".ref", ".del")))).toBe("REPLAY_MISMATCH");
    const altered = (files: Files): void => {
      const path = refOf(files, "key@");
      files.set(path, file(blob(text(files.get(path)!.oid).replace('"rev":1', '"rev":2'))));
    };
    expect(forgedIndex(altered)).toBe("REPLAY_MISMATCH");
    const unread = forge(objects, base, { tree: honest.ledger.tree, indexTree: blob("no tree") });
    expect(replay(model, base, unread)).toBe("REPLAY_MISMATCH");
  });

  test("metadata that says something else, or says it otherwise", () => {
    const other = objects.format.hexSize === 40 ? "1".repeat(40) : "1".repeat(64);
    const changes: [string, (json: string) => string][] = [
      ["size", (json) => json.replace('"size":5', '"size":6')],
      ["etag", (json) => json.replace(/blake3:./, "blake3:g")],
      ["etag of something else", (json) => json.replace(/blake3:[0-9a-f]{64}/, etagOf(Buffer.from("other")))],
      ["rev", (json) => json.replace('"rev":1', '"rev":7')],
      ["base", (json) => json.replace(/"base":"[0-9a-f]+"/, `"base":"${other}"`)],
      ["no base", (json) => json.replace(/"base":"[0-9a-f]+",/, "")],
      ["key", (json) => json.replace('"key":"key"', '"key":"kez"')],
      ["version", (json) => json.replace('"v":1', '"v":2')],
      ["type", (json) => json.replace('"inline"', '"outline"')],
      ["media type", (json) => json.replace("text/plain", "text")],
      ["long media type", (json) => json.replace("text/plain", `text/${"x".repeat(300)}`)],
      ["labels in a list", (json) => json.replace('{"a":"b"}', '["b"]')],
      ["labels that are none", (json) => json.replace('{"a":"b"}', '{"a":1}')],
      ["empty labels", (json) => json.replace('{"a":"b"}', "{}")],
      ["long label", (json) => json.replace('"b"', `"${"b".repeat(2000)}"`)],
      ["expires", (json) => json.replace("1800000000", "1800000001")],
      ["expires past all time", (json) => json.replace("1800000000", "9007199254740991")],
      ["negative expires", (json) => json.replace("1800000000", "-1")],
      ["a space", (json) => json.replace(",", ", ")],
      ["a newline", (json) => `${json}\n`],
      ["an escape", (json) => json.replace('"text/plain"', '"text\\/plain"')],
      ["another order", (json) => json.replace('"v":1,"key":"key"', '"key":"key","v":1')],
      ["another field", (json) => json.replace('"v":1', '"v":1,"w":1')],
      ["a field twice", (json) => json.replace('"v":1', '"v":1,"v":1')],
      ["no JSON", (json) => json.slice(1)],
      ["no object", () => "[]"],
      ["nothing", () => ""],
    ];
    for (const [what, change] of changes) {
      expect([what, forged(metadata(change))]).toEqual([what, "REPLAY_MISMATCH"]);
    }
    expect(forged(metadata((json) => json.replace('"inline"', '"chunked"')))).toBe("REPLAY_MISMATCH");
  });

  test("values and metadata that do not belong together", () => {
    const value = (files: Files): void => void files.set(dataPath, file(blob("other")));
    expect(forged(value)).toBe("REPLAY_MISMATCH");
    expect(forged((files) => files.delete(dataPath))).toBe("REPLAY_MISMATCH");
    expect(forged((files) => files.delete(metaPath))).toBe("REPLAY_MISMATCH");
    const first = [...filesOf(objects, base.ledger.tree).keys()].find((path) => path.startsWith("data/"))!;
    expect(forged((files) => files.set(first, file(blob("touched"))))).toBe("REPLAY_MISMATCH");
    expect(forged((files) => files.delete(first))).toBe("REPLAY_MISMATCH");
    const manifest = (files: Files): void => void files.set(`${dataPath}.manifest.json`, file(blob("{}")));
    expect(forged(manifest)).toBe("REPLAY_MISMATCH");
    const onlyManifest = (files: Files): void => {
      files.delete(dataPath);
      manifest(files);
    };
    expect(forged(onlyManifest)).toBe("REPLAY_MISMATCH");
    const large = Buffer.alloc(5000, "x");
    const replaced = (files: Files): void => {
      files.set(dataPath, file(blob(large)));
      metadata((json) => json.replace('"size":5', '"size":5000').replace(/blake3:\w+/, etagOf(large)))(files);
    };
    expect(forged(replaced)).toBe("VALUE_TOO_LARGE");
  });

  test("counts that are not the ones of the changes", () => {
    for (const claims of [{ keysSet: 0 }, { keysSet: 2 }, { keysDel: 1 }]) {
      expect([claims, forged(() => {}, claims)]).toEqual([claims, "REPLAY_MISMATCH"]);
    }
    const deleted = (files: Files): void => {
      for (const path of files.keys()) if (/\/k7(\.meta)?$/.test(path)) files.delete(path);
    };
    expect(forged(deleted)).toBe("REPLAY_MISMATCH");
  });

  test("a writer that lies everywhere alike", () => {
    const lie = (change: Partial<Omit<SetOperation, "value">> & { value?: object }, key = "lie"): string | string[] => {
      const liar = new KvModel(format);
      for (const [oid, object] of objects.objects) liar.objects.objects.set(oid, object);
      liar.state = base;
      const operation = liar.set(key, "value") as SetOperation;
      liar.commit([{ ...operation, ...change, value: { ...operation.value, ...change.value } }]);
      return replay(liar, base, liar.state!);
    };
    expect(lie({})).toEqual(["set lie 1"]);
    expect(lie({ expires: 253_402_300_799 })).toEqual(["set lie 1"]);
    const lies: [Parameters<typeof lie>[0], string][] = [
      [{ value: { size: 6 } }, "REPLAY_MISMATCH"],
      [{ value: { etag: etagOf(Buffer.from("other")) } }, "REPLAY_MISMATCH"],
      [{ value: { ctype: "none" } }, "REPLAY_MISMATCH"],
      [{ value: { ctype: "" } }, "REPLAY_MISMATCH"],
      [{ value: { type: "chunked" } }, "CHUNK_MISMATCH"],
      [{ value: { oid: blob("x".repeat(5000)) } }, "VALUE_TOO_LARGE"],
      [{ value: { oid: base.ledger.tree } }, "BAD_OBJECT"],
      [{ expires: 253_402_300_800 }, "REPLAY_MISMATCH"],
      [{ expires: Number.MAX_SAFE_INTEGER }, "REPLAY_MISMATCH"],
      [{ labels: { a: "v".repeat(1025) } }, "REPLAY_MISMATCH"],
      [{ labels: { "": "v" } }, "REPLAY_MISMATCH"],
    ];
    for (const [change, code] of lies) expect([change, lie(change)]).toEqual([change, code]);
    for (const key of ["x".repeat(1025), "x\u0001", "\u007f"])
      expect([key, lie({}, key)]).toEqual([key, "KEY_INVALID"]);
  });

  test("a value set anew without a change", () => {
    const again = (files: Files): void => {
      const json = text(files.get(metaPath)!.oid).replace('"rev":1', '"rev":2');
      files.set(metaPath, file(blob(json.replace(/"base":"[0-9a-f]+"/, `"base":"${honest.ledger.oid}"`))));
    };
    expect(forged(again, {}, honest)).toBe("REPLAY_MISMATCH");
  });

  test("long names whose keys are no keys, or other keys", () => {
    const place = (key: string, name = keyName(key), digits = keyDigits(key)): string | string[] =>
      forged(
        (files) => {
          const fields = {
            type: "inline",
            size: 1,
            etag: etagOf(Buffer.from("x")),
            ctype: "text/plain",
            rev: 1,
          } as const;
          files.set(`data/${digits[0]}/${name}`, file(blob("x")));
          const json = encodeMetadata(key, { ...fields, base: base.ledger.oid });
          files.set(`meta/${digits[0]}/${name}.meta`, file(blob(typeof json === "string" ? json : json.join(""))));
        },
        { keysSet: 2 },
      );
    const good = "x".repeat(1000);
    // The kv-index is the one without it: the key itself is fine.
    expect(place(good)).toBe("REPLAY_MISMATCH");
    expect(place("x".repeat(1025))).toBe("KEY_INVALID");
    expect(place(`${"x".repeat(300)}\n`)).toBe("KEY_INVALID");
    expect(place(good, keyName(good).replace("x", "y"))).toBe("REPLAY_MISMATCH");
    const other = "y".repeat(1000);
    expect(place(good, keyName(other), keyDigits(other))).toBe("REPLAY_MISMATCH");
  });

  test("honest histories replay to what they changed", () => {
    const rng = random("replay");
    const history = new KvModel(format);
    const keys = Array.from({ length: 700 }, (_, i) => `${rng.pick(["user:", "", `${"p".repeat(80)}/`])}${i}`);
    const live = new Set<string>();
    for (let round = 0; round < 25; round++) {
      const before = history.state;
      const picked = rng.shuffle(keys).slice(0, rng.pick([1, 2, 50, 400]));
      const operations = picked.map((key) => {
        if (live.has(key) && rng.int(2) === 0) {
          live.delete(key);
          return history.del(key);
        }
        live.add(key);
        const expires = rng.int(4) === 0 ? 1_700_000_000 + rng.int(10) : undefined;
        const labels = rng.int(4) === 0 ? { l: String(rng.int(3)) } : undefined;
        return history.set(key, `v${rng.int(4)}`, { ...(expires && { expires }), ...(labels && { labels }) });
      });
      const plan = history.commit(operations);
      if (plan.kind === "unchanged") continue;
      const expected = plan.changes.map(({ kind, key, rev }) => `${kind} ${key} ${rev}`);
      expect(replay(history, before, history.state!)).toEqual(expected);
      expect(expected.length).toBeLessThanOrEqual(new Set(picked.map(utf8ToByteString)).size);
    }
  });
});
