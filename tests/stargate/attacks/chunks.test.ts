/**
 * Attacks through values in pieces, signed by a writer: manifests that lie, pieces that are borrowed, swapped or smuggled in, chunk
 * commits that take away or belong elsewhere.
 */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { parseChunkCommit } from "../../../src/kv/attestation.ts";
import { encodeManifest, type Manifest } from "../../../src/kv/manifest.ts";
import { Arena } from "../../support/arena.ts";
import { type ChunkedSet, chunkedSet, KIBIBYTES, sha256Of } from "../../support/chunked.ts";
import { type TreeForgery, withTrees } from "../../support/forged-trees.ts";
import { git } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { large, type Planned, policyPush, type TestValue, verdict } from "../../support/stargate.ts";

setDefaultTimeout(60_000);

const rng = random("attacks/chunks");
let arena: Arena;
/** Values over 2 KiB go into pieces of 1 KiB. */
const RULES = ", max_value_inline: 2KiB, max_value_total: 1MiB, chunking: { mode: fixed, size: 1KiB }";
const data = Buffer.from(rng.bytes(5 * 1_024));

beforeAll(async () => {
  arena = await Arena.start();
  const { http } = arena;
  await putInForce(arena.policy(RULES));
  expect(verdict(await http.push(arena.sign({ "cfg:large": large(data, KIBIBYTES) })))).toBe("ok");
});
afterAll(() => arena.stop());

/** Signed by the admin. */
async function putInForce(text: string): Promise<void> {
  const { office, admin } = arena;
  const planned = policyPush(office, text, undefined, (commit) => admin.signCommit(commit, signatureHeader()));
  expect(verdict(await office.push(planned))).toBe("ok");
}

const signatureHeader = (): string => (arena.http.repo.format.name === "sha1" ? "gpgsig" : "gpgsig-sha256");

const bytes = (size: number): Buffer => Buffer.from(rng.bytes(size));
const parts = (value: Buffer): Buffer[] => {
  const count = Math.ceil(value.length / 1_024);
  return Array.from({ length: count }, (_, i) => value.subarray(i * 1_024, (i + 1) * 1_024));
};

/** Pushes a key whose manifest, and what the chunk commit adds, have been changed. */
async function refused(
  code: string,
  forge: (set: ChunkedSet) => Partial<ChunkedSet> & { text?: string },
): Promise<string> {
  const value: TestValue = (sink, key) => {
    const set = chunkedSet(sink, key, parts(bytes(5_000)));
    const { manifest = set.manifest, pieces = set.pieces, text } = forge(set);
    const oid = sink.write("blob", text === undefined ? encodeManifest(manifest) : Buffer.from(text));
    const { size, etag } = manifest;
    const operation = { ...set.operation, value: { ...set.operation.value, oid, size, etag } };
    return { manifest, operation, pieces };
  };
  return arena.refused(arena.sign({ "cfg:x": value }), code);
}

const json = ({ manifest }: ChunkedSet): string => encodeManifest(manifest).toString();
const withPieces = ({ manifest }: ChunkedSet, edit: (chunks: Manifest["chunks"]) => Manifest["chunks"]) => ({
  manifest: { ...manifest, chunks: edit(manifest.chunks) },
});

describe("a manifest", () => {
  test("with gaps, a wrong sum, sizes of 64 bits, or that is no manifest", async () => {
    await refused("CHUNK_MISMATCH", (set) => withPieces(set, (list) => list.filter((_, i) => i !== 1)));
    await refused("CHUNK_MISMATCH", (set) => ({ text: json(set).replace('"size":5000', '"size":5001') }));
    for (const size of ["18446744073709551615", "9007199254740993", "-1", "1e3", '"1024"', "1024.5"])
      await refused("CHUNK_MISMATCH", (set) => ({
        text: json(set).replace('"size":1024,"sha', `"size":${size},"sha`),
      }));
    await refused("CHUNK_MISMATCH", (set) => ({ text: json(set).replace(",", ", ") }));
    await refused("CHUNK_MISMATCH", () => ({ text: "" }));
    await refused("CHUNK_MISMATCH", (set) => ({ text: json(set).replace('"key":"cfg:x"', '"key":"cfg:y"') }));
  });

  test("of an enormous number of pieces, or of enormous size", async () => {
    const piece = JSON.stringify({ size: 1_024, sha256: sha256Of(data.subarray(0, 1_024)), oid: "1".repeat(40) });
    const many = (set: ChunkedSet, count: number): string =>
      json(set).replace(/"chunks":\[.*\]/, `"chunks":[${`${piece},`.repeat(count - 1)}${piece}]`);
    const said = await refused("CHUNK_MISMATCH", (set) => ({ text: many(set, 300_000) }));
    expect(said).toContain("at most 4194304 are allowed");
    await refused("CHUNK_MISMATCH", (set) => ({ text: many(set, 20_000) }));
    // The same piece over and over: a value of 2 MiB out of 1 KiB.
    const same = await refused("VALUE_TOO_LARGE", ({ manifest }) => {
      const chunks = Array<Manifest["chunks"][number]>(2_048).fill(manifest.chunks[0]!);
      return { manifest: { ...manifest, size: 2_048 * 1_024, chunks } };
    });
    expect(same).toContain('"cfg:x"');
    expect(same).toContain("max_value_total");
  });

  test("cut otherwise than the policy says, or although the value is small", async () => {
    const other: TestValue = large(bytes(8_000), { mode: "fixed", size: 4_096 });
    await arena.refused(arena.sign({ "cfg:x": other }), "CHUNK_MISMATCH");
    const small: TestValue = large(bytes(2_048), KIBIBYTES);
    await arena.refused(arena.sign({ "cfg:x": small }), "CHUNK_MISMATCH");
    await arena.refused(arena.sign({ "cfg:x": bytes(2_100).toString("latin1").slice(0, 2_100) }), "VALUE_TOO_LARGE");
  });

  test("with pieces in another order, of other bytes, or of another etag", async () => {
    const said = await refused("CHUNK_MISMATCH", (set) => withPieces(set, ([a, b, ...rest]) => [b!, a!, ...rest]));
    expect(said).toContain('the etag of "cfg:x"');
    await refused("CHUNK_MISMATCH", (set) => ({ manifest: { ...set.manifest, etag: `blake3:${"0".repeat(64)}` } }));
    await refused("CHUNK_MISMATCH", (set) =>
      withPieces(set, ([a, ...rest]) => [{ ...a!, sha256: rest[0]!.sha256 }, ...rest]),
    );
    await refused("CHUNK_MISMATCH", (set) =>
      withPieces(set, ([a, ...rest]) => [{ ...a!, oid: rest[0]!.oid }, ...rest]),
    );
  });
});

describe("a piece", () => {
  test("of another namespace cannot be borrowed, whoever knows its digest and id", async () => {
    const secret = bytes(3 * 1_024);
    const { http } = arena;
    const text = arena
      .policy(RULES)
      .replace(
        "namespaces: {",
        `namespaces: { other: { max_value_inline: 2KiB, chunking: { mode: fixed, size: 1KiB } },`,
      );
    await putInForce(text);
    expect(verdict(await http.push(http.plan({ secret: large(secret, KIBIBYTES) }, "other")))).toBe("ok");
    const thief: TestValue = (sink, key) => ({ ...chunkedSet(sink, key, parts(secret)), pieces: [] });
    const planned = arena.sign({ "cfg:x": thief });
    expect(planned.commands.length).toBe(2);
    expect(await arena.refused(planned, "CHUNK_MISMATCH")).toContain("is not in the namespace's chunk tree");
  });

  test("that is in the repository, and in no chunk tree, cannot be borrowed either", async () => {
    const oid = git(arena.stargate.dir, "rev-parse", "refs/kv-policy/current:policy.yaml");
    const policy = Buffer.from(git(arena.stargate.dir, "cat-file", "blob", oid));
    await refused("CHUNK_MISMATCH", (set) =>
      withPieces(set, ([a, ...rest]) => [{ ...a!, oid, sha256: sha256Of(policy) }, ...rest]),
    );
  });

  test("that no manifest names, or under a name that is not its digest, does not get in", async () => {
    const junk: TestValue = (sink, key) => {
      const set = chunkedSet(sink, key, parts(bytes(3_000)));
      const more = bytes(1_024);
      const piece = { size: 1_024, sha256: sha256Of(more), oid: sink.write("blob", more) };
      return { ...set, pieces: [...set.pieces, piece] };
    };
    expect(await arena.refused(arena.sign({ "cfg:x": junk }), "CHUNK_MISMATCH")).toContain(
      "which no manifest of it names",
    );
    const misnamed: TestValue = (sink, key) => {
      const set = chunkedSet(sink, key, parts(bytes(3_000)));
      const pieces = set.pieces.map((piece, i) => (i === 0 ? { ...piece, sha256: "0".repeat(64) } : piece));
      return { ...chunkedSet(sink, key, [], { ...set.manifest, chunks: pieces }), pieces };
    };
    expect(await arena.refused(arena.sign({ "cfg:x": misnamed }), "CHUNK_MISMATCH")).toContain(
      "does not have that SHA-256",
    );
  });

  test("that is a Git LFS pointer is refused like any other value", async () => {
    const rules = RULES.replace("max_value_inline: 2KiB", "max_value_inline: 16");
    await putInForce(arena.policy(rules));
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"a".repeat(64)}\nsize 12345\n`;
    await arena.refused(arena.sign({ "cfg:x": large(Buffer.from(pointer), KIBIBYTES) }), "LFS_FORBIDDEN");
    await putInForce(arena.policy(RULES));
  });
});

describe("the chunk commit", () => {
  const sign = (commit: string): string => arena.alice.signCommit(commit, signatureHeader());
  const plan = (): Planned => arena.http.plan({ "cfg:x": large(bytes(5_000), KIBIBYTES) });
  const forged = (forgery: TreeForgery, code: string): Promise<string> =>
    arena.refused(withTrees(arena.http, plan(), { text: sign, ...forgery }), code);

  test("the forger's tools change nothing by themselves", async () => {
    expect(verdict(await arena.http.push(withTrees(arena.http, plan(), { text: sign })))).toBe("ok");
  });

  test("takes pieces away, replaces one, or holds what is no piece", async () => {
    const old = sha256Of(data.subarray(0, 1_024));
    await forged({ chunks: (files) => files.delete(old) }, "CHUNK_MISMATCH");
    await forged({ chunks: (files) => files.set(old, [...files.values()].at(-1)!) }, "CHUNK_MISMATCH");
    const blob = (write: (text: string) => string) => ({ mode: 0o100644, oid: write("hidden") });
    await forged({ chunks: (files, write) => files.set("README", blob(write)) }, "CHUNK_MISMATCH");
    await forged({ chunks: (files, write) => files.set(`0/${"0".repeat(64)}`, blob(write)) }, "CHUNK_MISMATCH");
    const run = (write: (text: string) => string) => ({ mode: 0o100755, oid: write("hidden") });
    await forged({ chunks: (files, write) => files.set("f".repeat(64), run(write)) }, "CHUNK_MISMATCH");
  });

  test("says something else than the ledger commit, or does not follow the tip", async () => {
    await forged({ chunkText: (text) => text.replace("KV-NS: main", "KV-NS: other") }, "ATTESTATION_MISMATCH");
    await forged({ chunkText: (text) => text.replace(/KV-Txn: .{5}/, "KV-Txn: 00000") }, "ATTESTATION_MISMATCH");
    await forged({ chunkText: (text) => text.replace("Epoch: e1", "Epoch: e2") }, "ATTESTATION_MISMATCH");
    await forged({ chunkText: (text) => `${text.split("\n\nKV-")[0]}\n` }, "ATTESTATION_MISSING");
    await forged({ chunkText: (text) => text.replace(/parent .*\n/, "") }, "NOT_FAST_FORWARD");
    await forged({ chunkText: (text) => text.replace(/parent (.*)\n/, `parent ${arena.tip}\n`) }, "NOT_FAST_FORWARD");
    await forged(
      { chunkText: (text) => text.replace(/parent (.*)\n/, `parent $1\nparent ${arena.tip}\n`) },
      "NOT_LINEAR",
    );
    await forged({ chunkText: (text) => text.replace(/(\ncommitter .*)/, "$1\nencoding x") }, "ATTESTATION_MISMATCH");
    const none = (text: string): string => sign(text.replace(/KV-Chunks-Tree: .*/, "KV-Chunks-Tree: -"));
    await forged({ text: none }, "ATTESTATION_MISMATCH");
  });

  test("is left out, or is that of a transaction before", async () => {
    const planned = sign2(plan());
    const [ledger, index, chunks] = planned.commands;
    await arena.refused({ ...planned, commands: [ledger!, index!] }, "ATTESTATION_MISMATCH");
    const back = { ...chunks!, newOid: chunks!.oldOid };
    await arena.refused({ ...planned, commands: [ledger!, index!, back] }, "NOT_FAST_FORWARD");
    const stale = { ...chunks!, oldOid: arena.http.repo.format.zeroOid };
    await arena.refused({ ...planned, commands: [ledger!, index!, stale] }, "CAS_CONFLICT");
    const gone = { ...chunks!, newOid: arena.http.repo.format.zeroOid };
    await arena.refused({ ...planned, commands: [ledger!, index!, gone] }, "REF_FORBIDDEN");
    const elsewhere = { ...chunks!, ref: "refs/kv-chunks/main@e2", oldOid: arena.http.repo.format.zeroOid };
    await arena.refused({ ...planned, commands: [ledger!, index!, elsewhere] }, "REF_FORBIDDEN");
  });

  function sign2(planned: Planned): Planned {
    return arena.alice.signed(arena.http, planned);
  }

  test("a whole one, and the same push again, are taken, once", async () => {
    const planned = sign2(plan());
    const count = (): string => git(arena.stargate.dir, "rev-list", "--count", "refs/kv-chunks/main@e1");
    const before = Number(count());
    for (const client of [arena.http, arena.ssh, arena.http]) expect(verdict(await client.push(planned))).toBe("ok");
    expect(Number(count())).toBe(before + 1);
    const tip = git(arena.stargate.dir, "rev-parse", "refs/kv-chunks/main@e1");
    const { repo } = arena.http;
    expect(parseChunkCommit(repo.format, tip, repo.objects.read(tip)!.data).txn).toBe(planned.txn);
    // Seen before is the whole of it: without its chunk commit it is another push.
    const [ledger, index] = planned.commands;
    expect(verdict(await arena.http.push({ ...planned, commands: [ledger!, index!] }))).toBe("CAS_CONFLICT");
  });
});
