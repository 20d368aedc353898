/** Metadata made on another thread: the same commits, whatever becomes of the thread. */

import { expect, test } from "bun:test";
import { PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import type { WriteLine } from "../../src/kv/batch.ts";
import { commit } from "../../src/kv/commit.ts";
import { etagOf } from "../../src/kv/etag.ts";
import { MetaHelper, type MetaHelperOptions } from "../../src/kv/meta-helper.ts";
import { NodeWriter } from "../../src/kv/node-writer.ts";
import { encodeMetadata } from "../../src/kv/record.ts";
import type { Workspace } from "../../src/kv/workspace.ts";
import { inSlices } from "../../src/time-slice.ts";
import { git } from "../support/git.ts";
import { random } from "../support/random.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { complaints, newRepository, workspaceAt } from "../support/workspace.ts";

/** A thread is called however little there is to do. */
const ALWAYS: MetaHelperOptions = { many: 1, processors: 2 };
/** Some leaves of the tries, so that they split and fold. */
const KEYS = 700;

const helperOf = ({ repo }: Workspace, options: MetaHelperOptions, copiesBases = true): MetaHelper =>
  new MetaHelper({ objects: repo.objects.place, copiesBases }, options);

/** Sets and deletions of odd and plain keys, with all that metadata can say. */
function linesOf(seed: string, round: number): WriteLine[] {
  const { int, pick } = random(seed);
  const lines: WriteLine[] = [];
  for (let i = 0; i < KEYS; i++) {
    const key = i % 50 === 0 ? `${"k\xc3\xa9y ".repeat(40)}${i}` : `user:${i}:"profile"`;
    if (int(3) === 0) continue;
    if (round > 0 && (round === 2 ? i % 10 > 0 : int(4) === 0)) {
      lines.push({ op: "del", key, condition: undefined });
      continue;
    }
    const options = {
      ctype: pick([undefined, "text/plain", 'a/b; c="d e"']),
      expires: pick([undefined, "never", 1_900_000_000] as const),
      labels: pick([undefined, {}, { "2": "x", team: "é😀", __proto__x: "\u0001\u0000" }]),
    };
    const data = Buffer.from(`value ${int(100)} of ${round}`);
    lines.push({ op: "set", key, value: { kind: "bytes", data }, options, condition: undefined });
  }
  return lines;
}

const ROUNDS = [0, 1, 2].map((round) => linesOf(`metadata ${round}`, round));

/** Commits three transactions; returns their ledger commits, and how many a thread had a part in. */
async function commitAll(
  options: MetaHelperOptions | undefined,
  copiesBases = true,
): Promise<{ refs: string; made: number; dir: string }> {
  const dir = newRepository(TEST_FORMAT);
  const workspace = workspaceAt(dir);
  const metas = options && helperOf(workspace, options, copiesBases);
  await commit(workspace, { create: { epoch: "e1" } }, () => {});
  for (const lines of ROUNDS) {
    await commit(workspace, { metas, ignoreMissing: true }, (use) => {
      for (const line of lines) void use(line);
    });
  }
  await metas?.close();
  return { refs: git(dir, "for-each-ref"), made: metas?.made ?? 0, dir };
}

test("the commits are those of one thread, whether there is another, it cannot be started, or nobody has time for it", async () => {
  const alone = await commitAll(undefined);
  for (const copiesBases of [true, false]) {
    const helped = await commitAll(ALWAYS, copiesBases);
    expect(helped.made).toBe(3);
    expect(helped.refs).toBe(alone.refs);
    expect(complaints(helped.dir)).toBe("");
  }
  for (const options of [
    { ...ALWAYS, worker: new URL("file:///nowhere/meta-worker.ts") },
    { ...ALWAYS, processors: 1 },
  ]) {
    const without = await commitAll(options);
    expect(without.made).toBe(0);
    expect(without.refs).toBe(alone.refs);
    expect(complaints(without.dir)).toBe("");
  }
}, 60_000);

test("few keys are not worth a thread", async () => {
  const { made } = await commitAll({ processors: 2 });
  expect(made).toBe(0);
});

test("a value that is the metadata of a key set beside it is stored once", async () => {
  const dir = newRepository(TEST_FORMAT);
  const workspace = workspaceAt(dir);
  await commit(workspace, { create: { epoch: "e1" } }, () => {});
  const data = Buffer.from("x");
  const fields = { type: "inline", size: 1, etag: etagOf(data), ctype: "a/b", rev: 1 } as const;
  const record = encodeMetadata("k", { ...fields, base: workspace.requireState().ledger.oid });
  const metas = helperOf(workspace, ALWAYS);
  const options = { ctype: "a/b", expires: undefined, labels: undefined };
  await commit(workspace, { metas }, (use) => {
    for (const [key, value] of [
      ["k", data],
      ["twin", Buffer.from(record.join(""))],
    ] as const) {
      void use({ op: "set", key, value: { kind: "bytes", data: value }, options, condition: undefined });
    }
  });
  await metas.close();
  expect(metas.made).toBe(0);
  expect(complaints(dir)).toBe("");
  const names = git(dir, "ls-tree", "-r", "--name-only", "refs/kv/main").split("\n");
  expect(names.filter((name) => name.startsWith("meta/"))).toHaveLength(2);
});

test("the answer to a transaction that was given up is not taken for that of the next", async () => {
  const dir = newRepository(TEST_FORMAT);
  const workspace = workspaceAt(dir);
  const helper = helperOf(workspace, ALWAYS);
  const fields = (text: string) =>
    ({ type: "inline", size: 1, etag: etagOf(Buffer.from(text)), ctype: "a/b", rev: 1 }) as const;
  const roots: (string | undefined)[] = [];
  for (const isGivenUp of [false, true]) {
    const builder = new PackBuilder(TEST_FORMAT);
    const writer = new NodeWriter(workspace.repo.objects, builder);
    if (isGivenUp) {
      const first = helper.begin(2, builder)!;
      first.add("other", fields("other"));
      first.finish(undefined, writer);
    }
    const job = helper.begin(2, builder)!;
    job.add("k", fields("x"));
    roots.push(await inSlices(job.finish(undefined, writer)));
    builder.dispose();
  }
  await helper.close();
  expect(roots[0]).toBeString();
  expect(roots[1]).toBe(roots[0]);
  expect(helper.made).toBe(2);
});
