/** A value for programs: whole, or streamed. */

import { decodeUtf8 } from "../bytes.ts";
import { KvError } from "../errors.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { bringPieces } from "./bring-pieces.ts";
import { type ByteRange, parseRange } from "./byte-range.ts";
import { readManifest, streamValue } from "./chunked-value.ts";
import { keyText } from "./key.ts";
import { type FoundKey, inlineValue } from "./read.ts";
import type { Labels } from "./record.ts";
import type { Workspace } from "./workspace.ts";

/** A value and what is known of it. */
export class KvValue {
  readonly key: string;
  readonly bytes: Uint8Array;
  readonly ctype: string;
  /** `blake3:` and 64 hex digits. */
  readonly etag: string;
  readonly rev: number;
  readonly expires: Date | undefined;
  readonly labels: Labels;
  /** The blob that holds the value or its manifest: what a condition names. */
  readonly blob: Oid;

  private constructor({ key, oid, meta }: FoundKey, bytes: Uint8Array) {
    this.key = keyText(key);
    this.bytes = bytes;
    this.ctype = meta.ctype;
    this.etag = meta.etag;
    this.rev = meta.rev;
    this.expires = meta.expires === undefined ? undefined : new Date(meta.expires * 1000);
    this.labels = meta.labels ?? {};
    this.blob = oid;
  }

  /** @internal */
  static async read(workspace: Workspace, found: FoundKey, range?: string): Promise<KvValue> {
    const parts: Buffer[] = [];
    await readValue(workspace, found, (bytes) => void parts.push(Buffer.from(bytes)), range);
    return new KvValue(found, Buffer.concat(parts));
  }

  /** The value as text. Throws INPUT_INVALID where it is not UTF-8. */
  text(): string {
    const text = decodeUtf8(this.bytes);
    if (text === undefined) throw new KvError("INPUT_INVALID", `the value of ${JSON.stringify(this.key)} is not UTF-8`);
    return text;
  }

  /** The value as JSON. Throws INPUT_INVALID where it is none. */
  json(): unknown {
    try {
      return JSON.parse(this.text());
    } catch (cause) {
      if (cause instanceof KvError) throw cause;
      throw new KvError("INPUT_INVALID", `the value of ${JSON.stringify(this.key)} is not JSON`, { cause });
    }
  }
}

/**
 * Hands the bytes of a value, or of a range of it, on in order; they are good until `use` returns, or what it returns is settled. Pieces that are
 * not here are fetched. Throws CORRUPT, INPUT_INVALID.
 *
 * @internal
 */
export async function readValue(
  workspace: Workspace,
  found: FoundKey,
  use: (bytes: Buffer) => void | Promise<void>,
  range?: string,
): Promise<void> {
  const { objects } = workspace.repo;
  const { start, end } = rangeOf(found, range);
  if (found.meta.type === "inline") {
    await use(inlineValue(objects, found).subarray(start, end));
    return;
  }
  const manifest = readManifest(objects, found);
  await bringPieces(workspace, manifest, { start, end });
  await streamValue(objects, manifest, { start, end }, use, workspace.around.signal);
}

/** The same bytes as fast as they are taken, each for the taker to keep. @internal */
export async function* valueStream(
  workspace: Workspace,
  found: FoundKey,
  range?: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { objects } = workspace.repo;
  const part = rangeOf(found, range);
  if (found.meta.type === "inline") {
    yield inlineValue(objects, found).subarray(part.start, part.end);
    return;
  }
  const { openValue } = await import("./serve/value-stream.ts");
  const reader = (await openValue(workspace, readManifest(objects, found), part)).getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    workspace.around.signal.throwIfAborted();
    yield next.value;
  }
}

function rangeOf({ meta: { size } }: FoundKey, range: string | undefined): ByteRange {
  return range === undefined ? { start: 0, end: size } : parseRange(range, size);
}
