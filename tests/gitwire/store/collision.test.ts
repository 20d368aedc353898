/** Objects that arrive again are compared with what is there, many at a time and in whatever order they lie. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { deflateSync } from "node:zlib";
import { Pack } from "../../../src/gitwire/pack/pack-reader.ts";
import { openRepository } from "../../../src/gitwire/repo.ts";
import { refuseCollisions } from "../../../src/gitwire/store/collision.ts";
import { failureOf } from "../../support/failure.ts";
import { git, gitInput } from "../../support/git.ts";
import { newServer } from "../../support/served.ts";

// Many processes of git, on machines that may be busy.
setDefaultTimeout(60_000);

/** A repository with these blobs loose, and a pack of them elsewhere. */
function known(blobs: readonly string[]): { dir: string; oids: string[]; pack: string } {
  const dir = newServer();
  const oids = blobs.map((blob) => gitInput(dir, blob, "hash-object", "-w", "--stdin"));
  const name = gitInput(dir, `${oids.join("\n")}\n`, "pack-objects", "-q", path.join(dir, "arrived"));
  return { dir, oids, pack: path.join(dir, `arrived-${name}.pack`) };
}

async function check(dir: string, file: string, end = Number.POSITIVE_INFINITY): Promise<void> {
  const repo = openRepository(dir);
  const pack = new Pack(file, repo.format);
  try {
    await refuseCollisions(pack, end, repo.objects);
  } finally {
    pack.close();
    repo.close();
  }
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
  const repo = openRepository(dir);
  const arrived = new Pack(pack, repo.format);
  await check(dir, pack, arrived.find(oids[25]!));
  arrived.close();
  repo.close();
});

test("a known object that is damaged says nothing", async () => {
  const { dir, oids, pack } = known(["a", "b", "c"]);
  replaceLoose(dir, oids[1]!, "blob 99\0short");
  await check(dir, pack);
});
