/**
 * What we are held against: stock git keeping the same keys, in two layouts a careful person would choose.
 *
 * `full`: three files a key with the very content of ours. Value and metadata under data/ and meta/, fanned out by the first four
 * hex digits of the key's SHA-256; the index entry under directories by the start of its name (`user%3A000/1/2/`), which gives
 * about 100 a directory and makes a prefix a path. Larger directories would make `git fast-import` several times slower: it
 * searches them one entry after the other.
 *
 * `values`: the value files alone, which is what someone would do who needs no metadata and no listing.
 */

import { hashObject, SHA1 } from "../src/gitwire/object/oid.ts";
import { etagHasher } from "../src/kv/etag.ts";
import { keyDigits, keyName } from "../src/kv/key.ts";
import { encodeMetadata, encodePointer, encodeTombstone } from "../src/kv/record.ts";
import { type Change, FileWriter } from "./data.ts";
import type { PeakRun } from "./measure.ts";
import type { Scratch } from "./scratch.ts";

export type Layout = "full" | "values";

/** As long as a real one, which ours names in every record. */
const BASE = "1234567890abcdef1234567890abcdef12345678";

/** Writes a commit with `changes` on top of refs/heads/main, as `git fast-import` reads it. `rev`: revision of what is set. */
export async function writeFastImport(
  file: string,
  layout: Layout,
  changes: Iterable<Change>,
  rev: number,
): Promise<void> {
  const etagOf = await etagHasher(Number.POSITIVE_INFINITY);
  const out = new FileWriter(file);
  const put = (path: string, data: string): void => out.text(`M 100644 inline ${path}\ndata ${data.length}\n${data}\n`);
  out.text("commit refs/heads/main\ncommitter Bench <bench@example.com> 1767322800 +0000\ndata 5\nbatch\n");
  if (rev > 1) out.text("from refs/heads/main^0\n");
  for (const [key, value] of changes) {
    const digits = keyDigits(key);
    const name = keyName(key, digits);
    const fan = `${digits.slice(0, 2)}/${digits.slice(2, 4)}`;
    const index = `index/${name.slice(0, 10)}/${name[10]}/${name[11]}/${name}`;
    if (value === undefined) {
      out.text(`D data/${fan}/${name}\n`);
      if (layout === "values") continue;
      out.text(`D meta/${fan}/${name}.meta\nD ${index}.ref\n`);
      put(`${index}.del`, encodeTombstone(key, rev, BASE).join(""));
      continue;
    }
    put(`data/${fan}/${name}`, value);
    if (layout === "values") continue;
    const bytes = Buffer.from(value);
    const [size, ctype, type] = [bytes.length, "text/plain", "inline"] as const;
    const oid = hashObject(SHA1, "blob", bytes);
    put(
      `meta/${fan}/${name}.meta`,
      encodeMetadata(key, { type, size, etag: etagOf(bytes), ctype, rev, base: BASE }).join(""),
    );
    put(`${index}.ref`, encodePointer(key, { type, oid, size, ctype, rev }).join(""));
  }
  out.close();
}

/** Where the path of a key's value is, in both layouts. */
export function valuePath(key: string): string {
  const digits = keyDigits(key);
  return `data/${digits.slice(0, 2)}/${digits.slice(2, 4)}/${keyName(key, digits)}`;
}

/** Imports a stream into the bare repository `repo`, which is made where it is missing. */
export function fastImport(scratch: Scratch, repo: string, stream: string): PeakRun {
  return scratch.runPeak(repo, ["git", "fast-import", "--quiet"], { input: stream });
}

/** Bytes that `git push` sends for the last commit of `repo`: it runs this very command. */
export function pushedBytes(scratch: Scratch, repo: string): number {
  const script =
    "printf 'refs/heads/main\\n^refs/heads/main^\\n' | git pack-objects --revs --stdout --thin --delta-base-offset -q | wc -c";
  return Number(scratch.run(repo, ["sh", "-c", script]).stdout.toString());
}
