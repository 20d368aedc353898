/**
 * Writes a pack of objects that each stand alone, into a file: no deltas, nothing looked up. An object's content comes at
 * once or, where it is large, in pieces. Memory: 40 bytes an object and one object, or a piece of it, at a time.
 */

import { assert } from "../../errors.ts";
import { inSlices } from "../../time-slice.ts";
import type { ObjectFormat, ObjectKind, Oid } from "../object/oid.ts";
import { EntryWriter } from "./entry-writer.ts";
import { withRoom } from "./grow.ts";
import { packHeader } from "./pack-builder.ts";
import { encodeEntryHeader, kindType, MAX_ENTRY_HEADER } from "./pack-entry.ts";
import { installPack, type PackPaths, rehashPack } from "./pack-install.ts";
import { createTemp, type TempFile } from "./temp-file.ts";

export class WholeEntries {
  readonly #dir: string;
  readonly #format: ObjectFormat;
  readonly #temp: TempFile;
  readonly #writer: EntryWriter;
  readonly #ids: Buffer[] = [];
  #offsets = new Float64Array(64);
  #crcs = new Uint32Array(64);

  /** Begins a pack in the folder `dir`. */
  constructor(dir: string, format: ObjectFormat) {
    this.#dir = dir;
    this.#format = format;
    this.#temp = createTemp(dir, "tmp_pack_");
    this.#writer = new EntryWriter(this.#temp, 0);
    this.#writer.write(packHeader(0));
  }

  /** Objects written. */
  get count(): number {
    return this.#ids.length;
  }

  /** Bytes written. */
  get byteLength(): number {
    return this.#writer.position;
  }

  /** Adds the object `oid` of `size` bytes; `stream`: its content as one zlib stream. */
  add(oid: Oid, kind: ObjectKind, size: number, stream: Uint8Array): void {
    const crc = this.#begin(oid, kind, size);
    this.#writer.write(stream);
    this.#crcs[this.count - 1] = Bun.hash.crc32(stream, crc);
  }

  /** As {@link add}, the stream in pieces. Where they reject, the object is not in the pack. */
  async addPieces(oid: Oid, kind: ObjectKind, size: number, pieces: AsyncIterable<Uint8Array>): Promise<void> {
    const start = this.#writer.position;
    let crc = this.#begin(oid, kind, size);
    try {
      for await (const piece of pieces) {
        this.#writer.write(piece);
        crc = Bun.hash.crc32(piece, crc);
      }
    } catch (error) {
      this.#ids.pop();
      this.#writer.rewind(start);
      throw error;
    }
    this.#crcs[this.count - 1] = crc;
  }

  /** Completes the pack and gives it its name, not synced. There must be an object in it. */
  async finish(): Promise<PackPaths> {
    assert(this.count > 0, "a pack without objects is not kept");
    this.#writer.flush();
    const end = this.#writer.position;
    const checksum = await inSlices(rehashPack(this.#temp, this.#format, this.count, end));
    this.#temp.write(checksum, end);
    this.#temp.truncate(end + checksum.length);
    const objects = { count: this.count, ids: Buffer.concat(this.#ids), offsets: this.#offsets, crcs: this.#crcs };
    return inSlices(installPack(this.#dir, this.#format, this.#temp, objects, checksum, { fsync: false }));
  }

  /** Removes what is not finished; harmless afterwards. */
  discard(): void {
    this.#temp.discard();
  }

  /** Writes the header of an entry; returns its CRC-32. */
  #begin(oid: Oid, kind: ObjectKind, size: number): number {
    const number = this.#ids.push(Buffer.from(oid, "hex")) - 1;
    this.#offsets = withRoom(this.#offsets, number);
    this.#crcs = withRoom(this.#crcs, number);
    this.#offsets[number] = this.#writer.position;
    const bytes = header.subarray(0, encodeEntryHeader(header, this.#format, kindType(kind), size, 0, undefined));
    this.#writer.write(bytes);
    return Bun.hash.crc32(bytes);
  }
}

const header = Buffer.allocUnsafeSlow(MAX_ENTRY_HEADER);
