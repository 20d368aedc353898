/**
 * Content-defined chunking: FastCDC as fastcdc-rs 1.0 has it (docs/formats/data-format.md, section 6), by the raw exports of
 * fastcdc-wasm.
 *
 * The package's own wrapper copies its input into the module and back and reads its file beside itself, which a compiled
 * executable does not have. Here the bytes are read into the module's memory to begin with and the pieces are views of it.
 */

import * as fs from "node:fs";
import wasmFile from "fastcdc-wasm/fastcdc_wasm_bg.wasm" with { type: "file" };
import { assert } from "../errors.ts";
import type { Chunker } from "./chunker.ts";
import type { Chunking } from "./chunking.ts";
import { Window } from "./window.ts";

/** Bytes looked at in one call; a piece of the largest size fits. */
const WINDOW_BYTES = 16 * 1024 * 1024;
/** What the module returns a list in: its address and its length. */
const RETURN_BYTES = 16;

/** What the module offers. */
export interface FastCdcExports {
  readonly memory: { readonly buffer: ArrayBuffer };
  __wbindgen_add_to_stack_pointer(bytes: number): number;
  __wbindgen_malloc(bytes: number): number;
  __wbindgen_free(address: number, bytes: number): void;
  get_chunks(result: number, address: number, length: number, min: number, avg: number, max: number): void;
}

type FastCdc = Extract<Chunking, { mode: "fastcdc" }>;

/** An instance of the module and the window in its memory. */
interface Engine {
  readonly exports: FastCdcExports;
  readonly address: number;
}

/** The engine of a chunker that has finished: instances are made for chunkers that run side by side only. */
let idle: Engine | undefined;
let compiled: WebAssembly.Module | undefined;

function takeEngine(): Engine {
  if (idle !== undefined) {
    const engine = idle;
    idle = undefined;
    return engine;
  }
  compiled ??= new WebAssembly.Module(fs.readFileSync(wasmFile));
  const exports = new WebAssembly.Instance(compiled, {}).exports as unknown as FastCdcExports;
  return { exports, address: exports.__wbindgen_malloc(WINDOW_BYTES) };
}

/** The window as the memory has it now: it is elsewhere after each call that makes the memory grow. */
function windowOf({ exports, address }: Engine): Buffer {
  return Buffer.from(exports.memory.buffer, address, WINDOW_BYTES);
}

/** The numbers have been checked. */
export function openFastCdc(chunking: FastCdc): Chunker {
  const engine = takeEngine();
  const window = new Window(windowOf(engine));

  /** Cuts the pieces whose ends cannot change by what follows: there is a whole `max` to look at, or nothing follows. */
  const complete = (isLast: boolean): Buffer[] => {
    let left = window.filled.length;
    const cuts = cutOffsets(engine, window.start, left, chunking);
    window.moved(windowOf(engine));
    const pieces: Buffer[] = [];
    for (let cut = 1; cut < cuts.length && (isLast || left >= chunking.max); cut++) {
      const size = cuts[cut]! - cuts[cut - 1]!;
      pieces.push(window.cut(size));
      left -= size;
    }
    return pieces;
  };

  return {
    room: () => window.room(),
    take(count) {
      window.fill(count);
      // What is left over is looked at again: only a full window makes that little of the whole.
      return window.isFull ? complete(false) : [];
    },
    finish() {
      const pieces = complete(true);
      idle = engine;
      return pieces;
    },
  };
}

/** Where `length` bytes from `start` in the window are cut: 0, the end of each piece. */
function cutOffsets(engine: Engine, start: number, length: number, { min, avg, max }: FastCdc): Uint32Array {
  const { exports, address } = engine;
  const result = exports.__wbindgen_add_to_stack_pointer(-RETURN_BYTES);
  exports.get_chunks(result, address + start, length, min, avg, max);
  const [list, count] = new Uint32Array(exports.memory.buffer, result, 2) as unknown as [number, number];
  const offsets = new Uint32Array(exports.memory.buffer, list, count).slice();
  exports.__wbindgen_free(list, count * Uint32Array.BYTES_PER_ELEMENT);
  exports.__wbindgen_add_to_stack_pointer(RETURN_BYTES);
  assert(offsets[0] === 0 && offsets.at(-1) === length, "pieces make up what was looked at");
  return offsets;
}
