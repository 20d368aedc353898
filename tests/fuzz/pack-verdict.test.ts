/**
 * Changed packs, held against `git index-pack --strict`: both take them or both refuse them. Where we alone refuse, the reason
 * is one of STRICTER.
 *
 * Our verdict is that of a push: the pack is indexed, each object keeps git's rules, and whatever it links to is there.
 */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../src/errors.ts";
import { commitLinks } from "../../src/gitwire/object/commit.ts";
import { objectFault } from "../../src/gitwire/object/fsck.ts";
import { hashBytes, type ObjectKind, type Oid } from "../../src/gitwire/object/oid.ts";
import { tagTarget } from "../../src/gitwire/object/tag.ts";
import { MODE, parseTree } from "../../src/gitwire/object/tree.ts";
import { createDelta } from "../../src/gitwire/pack/delta-search.ts";
import { indexPack } from "../../src/gitwire/pack/index-pack.ts";
import { ENTRY } from "../../src/gitwire/pack/pack-entry.ts";
import { bytesSource } from "../../src/gitwire/protocol/byte-stream.ts";
import { ObjectStore } from "../../src/gitwire/store/object-store.ts";
import { encodeEntry, type HandEntry, handPack } from "../gitwire/pack/fixtures.ts";
import { git, tryGit } from "../support/git.ts";
import { random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { keep, kept } from "./corpus.ts";
import { mutate } from "./mutate.ts";
import { sealed } from "./pack-targets.ts";

const TIMES = Number(process.env.GIT_KV_FUZZ ?? 1);
const ROUNDS = 120;
const LIMITS = { packBytes: 1 << 22, packObjects: 10_000, objectBytes: 1 << 22, packInflatedBytes: 1 << 26 };

/** What we refuse and git takes. */
const STRICTER: readonly { readonly reason: RegExp; readonly why: string }[] = [
  { reason: /LIMIT_EXCEEDED/, why: "a limit of ours; git has none unless receive.maxInputSize is set" },
];

interface Link {
  readonly oid: Oid;
  readonly kind: ObjectKind;
}

function links(kind: ObjectKind, data: Buffer): Link[] {
  if (kind === "commit") {
    const { tree, parents } = commitLinks(TEST_FORMAT, data);
    return [{ oid: tree, kind: "tree" }, ...parents.map((oid): Link => ({ oid, kind: "commit" }))];
  }
  if (kind === "tag") return [tagTarget(TEST_FORMAT, data)];
  if (kind !== "tree") return [];
  const entries = parseTree(TEST_FORMAT, data).filter(({ mode }) => mode !== MODE.gitlink);
  return entries.map(({ oid, mode }): Link => ({ oid, kind: mode === MODE.tree ? "tree" : "blob" }));
}

/** Why we refuse the pack, or "taken". */
async function ours(pack: Buffer): Promise<string> {
  const dir = tempDir("verdict");
  const packDir = path.join(dir, "pack");
  fs.mkdirSync(packDir);
  const store = new ObjectStore(dir, TEST_FORMAT);
  try {
    const found = await indexPack(bytesSource(pack), {
      format: TEST_FORMAT,
      dir: packDir,
      bases: undefined,
      limits: LIMITS,
      unique: true,
    });
    if (found === undefined) return "taken";
    const { index } = store.addPack(found);
    const ids = index.loadIds();
    for (let at = 0; at < ids.length; at += TEST_FORMAT.rawSize) {
      const oid = ids.hexSlice(at, at + TEST_FORMAT.rawSize);
      const { kind, data } = store.read(oid)!;
      const fault = objectFault(TEST_FORMAT, kind, data);
      if (fault !== undefined) return `fsck: ${kind} ${oid}: ${fault}`;
      for (const link of links(kind, data)) {
        if (store.kind(link.oid) !== link.kind) return `link: ${oid} names ${link.kind} ${link.oid}`;
      }
    }
    return "taken";
  } catch (error) {
    if (error instanceof KvError) return `${error.code}: ${error.message}`;
    throw error;
  } finally {
    store.close();
    fs.rmSync(dir, { recursive: true });
  }
}

let repository: string | undefined;

/** Why git refuses the pack, or "taken". Its object folder is empty each time. */
function gits(pack: Buffer): string {
  if (repository === undefined) {
    repository = tempDir("verdict-git");
    git(repository, "init", "-q", "--bare", ".");
  }
  const run = tryGit(repository, ["index-pack", "--strict", "--stdin"], { input: pack });
  const packs = path.join(repository, "objects", "pack");
  for (const name of fs.readdirSync(packs)) fs.rmSync(path.join(packs, name), { force: true });
  return run.status === 0 ? "taken" : run.stderr.trim();
}

async function compare(pack: Buffer): Promise<"both take" | "both refuse" | "stricter"> {
  const [we, they] = [await ours(pack), gits(pack)];
  if (we === "taken" && they === "taken") return "both take";
  if (we !== "taken" && they !== "taken") return "both refuse";
  if (we !== "taken" && STRICTER.some(({ reason }) => reason.test(we))) return "stricter";
  const file = keep("pack-verdict", "crash", Buffer.concat([Buffer.from([1]), pack]));
  throw new Error(`${file}: we say '${we}', git says '${they}'`);
}

const blob = Buffer.from("some text, some text, some text, some text, some text");

/** Packs whose entries, not their bytes, are changed: deltas of each kind, objects that come twice, no base. */
function handMade(rng: ReturnType<typeof random>): Buffer {
  const entries: HandEntry[] = [{ type: ENTRY.blob, data: blob }];
  const ids = [hashBytes(TEST_FORMAT, Buffer.concat([Buffer.from(`blob ${blob.length}\0`), blob])).toString("hex")];
  const offsets = [0];
  let at = encodeEntry(entries[0]!).length;
  let last = blob;
  for (let more = 1 + rng.int(6); more > 0; more--) {
    const next = Buffer.concat([last, Buffer.from(` and ${rng.int(3)}`)]);
    const delta = createDelta(last, next)!;
    const entry = rng.pick<HandEntry>([
      { type: ENTRY.ofsDelta, data: delta, base: at - offsets.at(-1)! },
      { type: ENTRY.refDelta, data: delta, base: ids.at(-1)! },
      { type: ENTRY.blob, data: next },
      { type: ENTRY.blob, data: last },
      {
        type: ENTRY.tree,
        data: rng.pick([Buffer.alloc(0), Buffer.from(`100644 a\0${"x".repeat(TEST_FORMAT.rawSize)}`)]),
      },
      { type: ENTRY.refDelta, data: delta, base: rng.pick([...ids, "1".repeat(TEST_FORMAT.hexSize)]) },
    ]);
    offsets.push(at);
    entries.push(entry);
    at += encodeEntry(entry).length;
    const isNext = entry.data === delta || entry.data === next;
    if (isNext) last = next;
    ids.push(hashBytes(TEST_FORMAT, Buffer.concat([Buffer.from(`blob ${last.length}\0`), last])).toString("hex"));
  }
  const count = rng.int(20) === 0 ? entries.length + rng.int(3) - 1 : entries.length;
  return handPack(TEST_FORMAT, rng.int(3) === 0 ? rng.shuffle(entries) : entries, count);
}

test(
  "git index-pack --strict says the same",
  async () => {
    const rng = random("pack-verdict");
    const seeds = [...kept("pack"), ...kept("pack-verdict")].map(({ bytes }) => bytes);
    const met = new Map<string, number>();
    const count = (verdict: string): void => void met.set(verdict, (met.get(verdict) ?? 0) + 1);
    for (const bytes of seeds) count(await compare(bytes.subarray(1)));
    for (let round = 0; round < ROUNDS * TIMES; round++) {
      if (round % 3 === 0) count(await compare(handMade(rng)));
      else count(await compare(sealed(mutate(rng.pick(seeds).subarray(1), rng, seeds))));
    }
    expect(met.get("both take")).toBeGreaterThan(1);
    expect(met.get("both refuse")).toBeGreaterThan(1);
  },
  60_000 * Math.max(1, TIMES),
);
