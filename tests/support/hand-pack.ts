/** Packs for tests: made by the real git, or by hand where git would refuse. */

import { deflateSync } from "node:zlib";
import { hashBytes, type ObjectFormat, type ObjectKind } from "../../src/gitwire/object/oid.ts";
import { tryGit } from "./git.ts";
import { TEST_FORMAT } from "./test-format.ts";

/** A pack of what git's `rev-list` finds for `revisions` ("tip", "^base", one each). */
export function packOf(dir: string, revisions: readonly string[], ...flags: string[]): Buffer {
  const run = tryGit(dir, ["pack-objects", "-q", "--revs", "--stdout", ...flags], {
    input: `${revisions.join("\n")}\n`,
  });
  if (run.status !== 0) throw new Error(run.stderr);
  return run.stdout;
}

const TYPES = { commit: 1, tree: 2, blob: 3, tag: 4 };

/** A pack of whole objects. */
export function handPack(
  objects: readonly (readonly [ObjectKind, Buffer])[],
  format: ObjectFormat = TEST_FORMAT,
): Buffer {
  const head = Buffer.from("PACK\0\0\0\x02\0\0\0\0");
  head.writeUInt32BE(objects.length, 8);
  const entries = objects.map(([kind, data]) => {
    const header: number[] = [];
    let byte = (TYPES[kind] << 4) | (data.length & 15);
    for (let rest = data.length >> 4; rest > 0; rest >>= 7) {
      header.push(byte | 0x80);
      byte = rest & 0x7f;
    }
    header.push(byte);
    return Buffer.concat([Buffer.from(header), deflateSync(data)]);
  });
  const body = Buffer.concat([head, ...entries]);
  return Buffer.concat([body, hashBytes(format, body)]);
}
