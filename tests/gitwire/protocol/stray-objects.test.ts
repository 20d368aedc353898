/**
 * Objects of a push that none of its refs needs. They are held to the same as the others: once stored, an object counts as complete
 * and sound, and the next push may build on it.
 */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { hashObject, type ObjectKind, type Oid } from "../../../src/gitwire/object/oid.ts";
import { openRepository } from "../../../src/gitwire/repo.ts";
import { fsck, git, gitInput } from "../../support/git.ts";
import { handPack, packOf } from "../../support/hand-pack.ts";
import { newServer } from "../../support/served.ts";
import { push } from "../../support/sessions.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

setDefaultTimeout(60_000);

const ZERO = TEST_FORMAT.zeroOid;
const NOWHERE = "2".repeat(TEST_FORMAT.hexSize);

type Piece = readonly [ObjectKind, Buffer];

const tree = (mode: string, name: string, oid: Oid): Piece => [
  "tree",
  Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(oid, "hex")]),
];
const commit = (treeOid: Oid, ...parents: Oid[]): Piece => {
  const person = "A <a@b> 1 +0000";
  const lines = parents.map((parent) => `parent ${parent}\n`).join("");
  return ["commit", Buffer.from(`tree ${treeOid}\n${lines}author ${person}\ncommitter ${person}\n\nx\n`)];
};
const oidOf = ([kind, data]: Piece): Oid => hashObject(TEST_FORMAT, kind, data);

function setup() {
  const server = newServer();
  const base = git(server, "commit-tree", "-m", "base", gitInput(server, "", "mktree"));
  git(server, "update-ref", "refs/heads/main", base);
  const repo = openRepository(server);
  const create = async (ref: string, newOid: Oid, pieces: readonly Piece[]) =>
    (await push(repo, [{ ref, oldOid: ZERO, newOid }], handPack(pieces))).report;
  const objects = (): number => (fs.readdirSync(`${server}/objects`, { recursive: true }) as string[]).length;
  return { server, base, repo, create, objects };
}

test("one that is not complete or not sound does not get in beside a good one, and nothing can build on it", async () => {
  const { server, base, create, objects } = setup();
  const before = objects();
  const good = commit(git(server, "rev-parse", `${base}^{tree}`), base);
  const secret = tree("100644", ".git", gitInput(server, "x", "hash-object", "-w", "--stdin"));
  for (const [stray, words] of [
    [tree("100644", "f", NOWHERE), `missing blob ${NOWHERE}`],
    [tree("40000", "f", NOWHERE), `missing tree ${NOWHERE}`],
    [commit(NOWHERE, base), `missing tree ${NOWHERE}`],
    [commit(git(server, "rev-parse", `${base}^{tree}`), NOWHERE), `missing commit ${NOWHERE}`],
    [tree("100644", "f", base), `${base} is a commit, not a blob`],
    [["tag", Buffer.from(`object ${NOWHERE}\ntype commit\ntag x\ntagger A <a@b> 1 +0000\n\nx\n`)], "missing commit"],
    [secret, "hasDotgit"],
  ] as const) {
    const first = await create("refs/heads/good", oidOf(good), [good, stray]);
    expect(first.unpack).toStartWith("BAD_OBJECT: ");
    expect(first.unpack).toContain(words);
    expect(first.refs).toEqual([{ ref: "refs/heads/good", status: "ng", reason: "unpacker error" }]);
    if (stray[0] !== "tree") continue;
    const on = commit(oidOf(stray), base);
    expect((await create("refs/heads/bad", oidOf(on), [on])).refs[0]?.status).toBe("ng");
  }
  expect(objects()).toBeLessThanOrEqual(before + 2);
  expect(fsck(server)).toBe("");
});

test("a pack that no ref needs is not kept, whatever is in it", async () => {
  const { server, base, create, objects } = setup();
  const before = objects();
  const stray = tree("100644", "f", NOWHERE);
  expect((await create("refs/heads/other", base, [stray])).refs[0]?.status).toBe("ok");
  expect(objects()).toBe(before);
  const on = commit(oidOf(stray), base);
  expect((await create("refs/heads/bad", oidOf(on), [on])).refs).toEqual([
    { ref: "refs/heads/bad", status: "ng", reason: "missing necessary objects" },
  ]);
  expect(fsck(server)).toBe("");
});

test("complete ones are stored, and those that are here already may come again", async () => {
  const { server, base, create } = setup();
  const empty = git(server, "rev-parse", `${base}^{tree}`);
  const good = commit(empty, base);
  const blob: Piece = ["blob", Buffer.from("stray\n")];
  const stray = tree("100644", "f", oidOf(blob));
  const known = packOf(server, ["main"]);
  expect(known.readUInt32BE(8)).toBe(2);
  const again: Piece[] = [
    ["commit", Buffer.from(`${git(server, "cat-file", "commit", base)}\n`)],
    ["tree", Buffer.alloc(0)],
  ];
  expect(oidOf(again[0]!)).toBe(base);
  const report = await create("refs/heads/good", oidOf(good), [good, stray, blob, ...again]);
  expect(report).toEqual({ unpack: "ok", refs: [{ ref: "refs/heads/good", status: "ok" }] });
  const on = commit(oidOf(stray), base);
  expect((await create("refs/heads/on", oidOf(on), [on])).refs[0]?.status).toBe("ok");
  expect(fsck(server)).toBe("");
});

test("what a refused ref brings has to be complete where another ref needs the pack", async () => {
  const { server, base, repo } = setup();
  const empty = git(server, "rev-parse", `${base}^{tree}`);
  const [good, bad] = [commit(empty, base), commit(oidOf(tree("100644", "f", NOWHERE)), base)];
  const commands = [good, bad].map((piece, i) => ({ ref: `refs/heads/r${i}`, oldOid: ZERO, newOid: oidOf(piece) }));
  const both = await push(repo, commands, handPack([good, bad, tree("100644", "f", NOWHERE)]));
  expect(both.report.unpack).toBe(`BAD_OBJECT: missing blob ${NOWHERE}`);
  // Alone it is refused by its ref.
  const alone = await push(repo, [commands[1]!], handPack([bad, tree("100644", "f", NOWHERE)]));
  expect(alone.report).toEqual({
    unpack: "ok",
    refs: [{ ref: "refs/heads/r1", status: "ng", reason: "missing necessary objects" }],
  });
  // A name that no ref can have takes nothing from the others.
  const [first] = commands;
  const funny = { ...first!, ref: "refs/heads/a..b" };
  const named = await push(repo, [first!, { ...funny, newOid: oidOf(commit(empty, base, base)) }], handPack([good]));
  expect(named.report.refs.map(({ status }) => status)).toEqual(["ok", "ng"]);
  expect(fsck(server)).toBe("");
});

test("a cut that no ref leads to is a gap", async () => {
  const { server, base, repo } = setup();
  git(server, "config", "receive.shallowUpdate", "true");
  const open = openRepository(server);
  const empty = git(server, "rev-parse", `${base}^{tree}`);
  const [good, cut] = [commit(empty, base), commit(empty, NOWHERE)];
  const request = (pieces: readonly Piece[], tip: Piece) =>
    push(open, [{ ref: "refs/heads/x", oldOid: ZERO, newOid: oidOf(tip) }], handPack(pieces), {
      shallow: [oidOf(cut)],
    });
  expect((await request([good, cut], good)).report.unpack).toBe(`BAD_OBJECT: missing commit ${NOWHERE}`);
  expect((await request([cut], cut)).report.refs[0]?.status).toBe("ok");
  expect(fs.readFileSync(`${server}/shallow`, "utf8")).toBe(`${oidOf(cut)}\n`);
  repo.close();
});
