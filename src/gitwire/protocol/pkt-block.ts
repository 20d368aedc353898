/** Packets collected in blocks of some 64 KiB, written in place: long lists of refs are made of bytes that are copied once. */

import { assert } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { BufferMeter } from "../../memory.ts";

/** A block is given out from this size on. */
const FULL = 65_536;

const DIGITS = Buffer.from("0123456789abcdef");

export class PktBlock {
  #bytes = newBlock();
  #length = 0;
  #packetStart = 0;
  /** A list of a million refs goes out in a thousand blocks. */
  readonly #garbage = new BufferMeter();

  /** Whether it is time to {@link take} the block. */
  get isFull(): boolean {
    return this.#length >= FULL;
  }

  /** Begins a packet, of at most LIMITS.packet bytes in all. */
  begin(): void {
    this.#packetStart = this.#length;
    this.#length += 4;
  }

  /** Adds a run of bytes to the packet. */
  copy(source: Buffer, start: number, end: number): void {
    // Short runs: a call into native code costs more than the loop.
    const target = this.#bytes;
    let to = this.#length;
    for (let at = start; at < end; at++) target[to++] = source[at]!;
    this.#length = to;
  }

  /** Adds all of `source` to the packet. */
  append(source: Buffer): void {
    this.copy(source, 0, source.length);
  }

  /** Adds text, as UTF-8, to the packet. */
  text(text: string): void {
    this.#length += this.#bytes.write(text, this.#length);
  }

  /** Ends the packet: its length is known now. */
  end(): void {
    const length = this.#length - this.#packetStart;
    assert(length <= LIMITS.packet, "a packet is too long");
    for (let i = 0; i < 4; i++) this.#bytes[this.#packetStart + i] = DIGITS[(length >> (12 - 4 * i)) & 15]!;
  }

  /** Adds packets that are encoded already. */
  add(packets: Buffer): void {
    packets.copy(this.#bytes, this.#length);
    this.#length += packets.length;
  }

  /** What was collected; the next block is begun. */
  take(): Buffer {
    const block = this.#bytes.subarray(0, this.#length);
    this.#bytes = newBlock();
    this.#length = 0;
    this.#garbage.add(block.length);
    return block;
  }
}

/** Room for a block that is not quite full and two packets more. */
function newBlock(): Buffer {
  return Buffer.allocUnsafeSlow(FULL + 2 * LIMITS.packet);
}
