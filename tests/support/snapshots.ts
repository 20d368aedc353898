/** Exporting and importing in one process, as the commands do it. */

import { gzipSync } from "node:zlib";
import { utf8ToByteString } from "../../src/bytes.ts";
import { checkImport, type ImportSummary } from "../../src/kv/snapshot/check-import.ts";
import { EntrySpool } from "../../src/kv/snapshot/entry-spool.ts";
import { exportedKeys } from "../../src/kv/snapshot/exported.ts";
import { type ImportInput, spooledInput } from "../../src/kv/snapshot/import-input.ts";
import type { ImportContext, ImportItems } from "../../src/kv/snapshot/item.ts";
import { type ImportOutcome, writeImport } from "../../src/kv/snapshot/write-import.ts";
import type { SnapshotWriter, WriteText } from "../../src/kv/snapshot/writer.ts";
import type { NamespaceState } from "../../src/kv/state.ts";
import type { Workspace } from "../../src/kv/workspace.ts";
import type { ByteReader } from "../../src/lines.ts";
import { tempDir } from "./temp.ts";

export const READING: ImportContext = { now: 1_000, prefix: "", separator: "." };

/** The text of a snapshot of the newest state. */
export async function exportText(
  workspace: Workspace,
  writerOf: (state: NamespaceState, write: WriteText) => SnapshotWriter,
  prefix = "",
): Promise<string> {
  const parts: string[] = [];
  const state = workspace.requireState();
  const writer = writerOf(state, (text) => void parts.push(text));
  writer.begin();
  for await (const some of exportedKeys(workspace, state, { prefix: utf8ToByteString(prefix), now: undefined }))
    for (const exported of some) await writer.add(exported);
  writer.end();
  return parts.join("");
}

/** Hands out `bytes` in portions of `size`. */
export function portions(bytes: Buffer, size: number): ByteReader {
  let at = 0;
  return () => {
    if (at >= bytes.length) return undefined;
    const portion = bytes.subarray(at, at + size);
    at += size;
    return portion;
  };
}

/** Bytes as an input that can be read twice. */
export function inputOf(bytes: Buffer | string, size = 10_000): Promise<ImportInput> {
  return spooledInput(portions(Buffer.from(bytes), size), tempDir("spool"), new AbortController().signal);
}

/** The first reading. */
export async function check(
  bytes: Buffer | string,
  itemsOf: (read: ByteReader) => ImportItems,
): Promise<ImportSummary> {
  const input = await inputOf(bytes);
  try {
    return await checkImport(itemsOf(input.read()), new AbortController().signal);
  } finally {
    input.close();
  }
}

/** Both readings, of the bytes compressed where `gzip` says so; the second one from a spool where `spooled` does. */
export async function importAll(
  workspace: Workspace,
  bytes: Buffer | string,
  itemsOf: (read: ByteReader) => ImportItems,
  options: {
    readonly most?: number;
    readonly keep?: boolean;
    readonly gzip?: boolean;
    readonly spooled?: boolean;
  } = {},
): Promise<ImportOutcome> {
  const { most = 100_000, keep = false, gzip = false, spooled = false } = options;
  const spool = new EntrySpool(tempDir("spool"));
  if (!spooled) spool.close();
  const input = await inputOf(gzip ? gzipSync(bytes) : bytes);
  try {
    const summary = await checkImport(itemsOf(input.read()), new AbortController().signal, { spool });
    const items = spool.isWhole ? spool.items(() => {}) : itemsOf(input.read());
    return await writeImport(workspace, items, summary, { most, keep, message: "import" });
  } finally {
    spool.close();
    input.close();
  }
}
