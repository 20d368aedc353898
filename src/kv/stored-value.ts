/** A value for programs: whole, or streamed. */

import { decodeUtf8 } from "../bytes.ts";
import { KvError } from "../errors.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { bringPieces } from "./bring-pieces.ts";
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
  static async read(workspace: Workspace, found: FoundKey): Promise<KvValue> {
    const parts: Buffer[] = [];
    await readValue(workspace, found, (bytes) => void parts.push(Buffer.from(bytes)));
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

/** Hands the bytes of a value on in order; they are good until `use` returns. Pieces that are not here are fetched. Throws CORRUPT. @internal */
export async function readValue(workspace: Workspace, found: FoundKey, use: (bytes: Buffer) => void): Promise<void> {
  const { objects } = workspace.repo;
  if (found.meta.type === "inline") {
    use(inlineValue(objects, found));
    return;
  }
  const manifest = readManifest(objects, found);
  const range = { start: 0, end: manifest.size };
  await bringPieces(workspace, manifest, range);
  await streamValue(objects, manifest, range, use, workspace.around.signal);
}
