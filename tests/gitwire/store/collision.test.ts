/** Objects that arrive again are compared with what is there, many at a time and in whatever order they lie. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { deflateSync } from "node:zlib";
import type { ObjectFormat } from "../../../src/gitwire/object/oid.ts";
import { ArrivedObjects } from "../../../src/gitwire/pack/arrived-objects.ts";
import { kindType } from "../../../src/gitwire/pack/pack-entry.ts";
import { Pack } from "../../../src/gitwire/pack/pack-reader.ts";
import { openRepository } from "../../../src/gitwire/repo.ts";
import { refuseCollisions } from "../../../src/gitwire/store/collision.ts";
import { failureOf } from "../../support/failure.ts";
import { git, gitInput } from "../../support/git.ts";
import { newServer } from "../../support/served.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

// Many processes of git, on machines that may be busy.
setDefaultTimeout(60_000);

/** A repository with these blobs loose, and a pack of them elsewhere. */
function known(blobs: readonly string[]): { dir: string; oids: string[]; pack: string } {
  const dir = newServer();
  const oids = blobs.map((blob) => gitInput(dir, blob, "hash-object", "-w", "--stdin"));
  const name = gitInput(dir, `${oids.join("\n")}\n`, "pack-objects", "-q", path.join(dir, "arrived"));
  return { dir, oids, pack: path.join(dir, `arrived-${name}.pack`) };
}

/** Compares the first `received` objects of the pack. */
async function check(dir: string, file: string, received?: number): Promise<void> {
  const repo = openRepository(dir);
  try {
    await refuseCollisions({ packPath: file, objects: arrived(file, repo.format, received) }, repo.objects);
  } finally {
    repo.close();
  }
}

/** What is known of a pack once it has arrived. */
function arrived(file: string, format: ObjectFormat, received?: number): ArrivedObjects {
  const pack = new Pack(file, format);
  const order = pack.order();
  const ids = Buffer.concat([...order.offsets].map((offset) => Buffer.from(pack.oidAt(offset), "hex")));
  const types = Uint8Array.from(order.offsets, (offset) => kindType(pack.kind(offset)));
  const { count } = pack;
  const end = fs.statSync(file).size - format.rawSize;
  pack.close();
  return new ArrivedObjects({ format, ids, types, offsets: order.offsets, count }, received ?? count, end);
}

function replaceLoose(dir: string, oid: string, content: string): void {
  const file = path.join(dir, "objects", oid.slice(0, 2), oid.slice(2));
  fs.rmSync(file);
  fs.writeFileSync(file, deflateSync(content));
}

test("more bytes than are held at a time, loose and packed, and one of them another", async () => {
  const blobs = Array.from({ length: 30 }, (_, i) => `${i} `.repeat(i % 10 === 0 ? 1_000_000 : 10));
  const { dir, oids, pack } = known(blobs);
  await check(dir, pack);
  gitInput(dir, `${oids.slice(0, 15).join("\n")}\n`, "pack-objects", "-q", path.join(dir, "objects/pack/pack"));
  git(dir, "prune-packed");
  await check(dir, pack);
  replaceLoose(dir, oids[25]!, "blob 4\0evil");
  const { code, message } = await failureOf(check(dir, pack));
  expect([code, message]).toEqual(["BAD_OBJECT", expect.stringContaining(`another object ${oids[25]} `)]);
  // What lies behind the end was not received: it was added to complete the pack.
  const { ids } = arrived(pack, TEST_FORMAT);
  await check(dir, pack, ids.find(Buffer.from(oids[25]!, "hex"), 0));
});

test("a known object that is damaged says nothing", async () => {
  const { dir, oids, pack } = known(["a", "b", "c"]);
  replaceLoose(dir, oids[1]!, "blob 99\0short");
  await check(dir, pack);
});

test("entries that are stored in another way are read and compared", async () => {
  const blobs = Array.from({ length: 40 }, (_, i) => `${"the same start ".repeat(20)}${i}`);
  const { dir, oids, pack } = known(blobs);
  // Deltas there, and other levels of compression, where the pack that arrives has whole entries, and the other way round.
  for (const [i, options] of [["--depth=50"], ["--depth=0", "--compression=0"]].entries()) {
    gitInput(dir, `${oids.join("\n")}\n`, "pack-objects", "-q", ...options, path.join(dir, `objects/pack/pack-${i}`));
    git(dir, "prune-packed");
    await check(dir, pack);
  }
  const whole = gitInput(dir, `${oids.join("\n")}\n`, "pack-objects", "-q", "--depth=0", path.join(dir, "whole"));
  await check(dir, path.join(dir, `whole-${whole}.pack`));
});

test("objects that lie in more packs than are open at a time", async () => {
  const { dir, oids, pack } = known(Array.from({ length: 300 }, (_, i) => `in a pack of its own ${i}`));
  for (const oid of oids) gitInput(dir, `${oid}\n`, "pack-objects", "-q", path.join(dir, "objects/pack/pack"));
  git(dir, "prune-packed");
  const before = fs.readdirSync("/proc/self/fd").length;
  const repo = openRepository(dir);
  await refuseCollisions({ packPath: pack, objects: arrived(pack, repo.format) }, repo.objects);
  expect([...repo.objects.locateAll(oids).keys()]).toEqual(oids);
  // Of 300 packs 200 are kept open, and their indexes are small.
  expect(fs.readdirSync("/proc/self/fd").length - before).toBeLessThan(210);
  repo.close();
});

test("another entry of the same length under the same id is told apart", async () => {
  const { dir, oids } = known(["aaaa", "bbbb"]);
  const packOf = (oid: string, name: string): string =>
    path.join(dir, `${name}-${gitInput(dir, `${oid}\n`, "pack-objects", "-q", path.join(dir, name))}.pack`);
  const first = packOf(oids[0]!, "objects/pack/pack");
  git(dir, "prune-packed");
  const second = packOf(oids[1]!, "second");
  // The other object under the id of the first: as if somebody had made two contents with one id.
  const forged = arrived(second, TEST_FORMAT);
  Buffer.from(oids[0]!, "hex").copy(forged.ids.raw);
  const lie = {
    packPath: second,
    objects: new ArrivedObjects({ ...columnsOf(forged), types: Uint8Array.of(3) }, 1, forged.end(0)),
  };
  const repo = openRepository(dir);
  expect((await failureOf(refuseCollisions(lie, repo.objects))).code).toBe("BAD_OBJECT");
  repo.close();
  expect(fs.existsSync(first)).toBe(true);
});

function columnsOf(objects: ArrivedObjects): {
  format: ObjectFormat;
  ids: Buffer;
  offsets: Float64Array;
  count: number;
} {
  const offsets = Float64Array.from({ length: objects.count }, (_, i) => objects.offset(i));
  return { format: objects.ids.format, ids: objects.ids.raw, offsets, count: objects.count };
}
