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
import type { CutGuide } from "./cut-guide.ts";
import { Window } from "./window.ts";

/** Bytes looked at in one call; a piece of the largest size fits. */
const WINDOW_BYTES = 16 * 1024 * 1024;
/** What the module returns a list in: its address and its length. */
const RETURN_BYTES = 16;
/** How far the module looks ahead where a guide may cut elsewhere: more would be for nothing, less another call for each piece. */
const GUIDED_REACH = 4;

/** Where the module is: beside the bundle for Node.js, at a path of its own in Bun. */
const WASM = wasmFile.startsWith("./") ? new URL(wasmFile, import.meta.url) : wasmFile;

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
  compiled ??= new WebAssembly.Module(fs.readFileSync(WASM));
  const exports = new WebAssembly.Instance(compiled, {}).exports as unknown as FastCdcExports;
  return { exports, address: exports.__wbindgen_malloc(WINDOW_BYTES) };
}

/** The window as the memory has it now: it is elsewhere after each call that makes the memory grow. */
function windowOf({ exports, address }: Engine): Buffer {
  return Buffer.from(exports.memory.buffer, address, WINDOW_BYTES);
}

/** The numbers have been checked. */
export function openFastCdc(chunking: FastCdc, guide?: CutGuide): Chunker {
  const engine = takeEngine();
  const window = new Window(windowOf(engine));
  const cuts = new ContentCuts(engine, window, chunking);

  /** Cuts the pieces whose ends cannot change by what follows: there is a whole `max` to look at, or nothing follows. */
  const complete = function* (isLast: boolean): Generator<Buffer> {
    cuts.forget();
    for (;;) {
      const { filled } = window;
      if (filled.length === 0 || (!isLast && filled.length < chunking.max)) return;
      const seen = filled.subarray(0, chunking.max);
      const guided = guide?.next(seen, isLast && seen.length === filled.length);
      const size = guided ?? cuts.next(guide === undefined ? filled.length : GUIDED_REACH * chunking.max);
      // Looking for a cut may have moved the window.
      const piece = window.cut(size);
      if (guided === undefined) guide?.passed(piece);
      guide?.foresee?.(window.filled.subarray(0, chunking.max));
      yield piece;
    }
  };

  return {
    room: () => window.room(),
    take(count) {
      window.fill(count);
      // What is left over is looked at again: only a full window makes that little of the whole.
      return window.isFull ? complete(false) : [];
    },
    *finish() {
      yield* complete(true);
      idle = engine;
    },
  };
}

/** The cuts of the module, which finds many at once. */
class ContentCuts {
  readonly #engine: Engine;
  readonly #window: Window;
  readonly #chunking: FastCdc;
  /** Offsets in the window, the first being where they begin. */
  #found: readonly number[] = [];
  /** Which of them is the start of the next piece; -1: none is known. */
  #at = -1;
  /** Up to where was looked. */
  #end = 0;

  constructor(engine: Engine, window: Window, chunking: FastCdc) {
    this.#engine = engine;
    this.#window = window;
    this.#chunking = chunking;
  }

  /** The window has been filled: offsets in it are others, and more can be seen. */
  forget(): void {
    this.#at = -1;
  }

  /** The size of the piece that begins at the window's start; about `reach` bytes are looked at where none are known yet. */
  next(reach: number): number {
    const { start, filled } = this.#window;
    const { max } = this.#chunking;
    const left = filled.length;
    while (this.#at >= 0 && this.#found[this.#at]! < start)
      this.#at = this.#at + 1 < this.#found.length ? this.#at + 1 : -1;
    // What ends where the look ended may end later.
    const isKnown = this.#at >= 0 && this.#found[this.#at] === start && this.#end - start >= Math.min(left, max);
    if (!isKnown) {
      const length = Math.min(left, reach);
      this.#found = Array.from(cutOffsets(this.#engine, start, length, this.#chunking), (offset) => start + offset);
      this.#window.moved(windowOf(this.#engine));
      this.#at = 0;
      this.#end = start + length;
    }
    return this.#found[++this.#at]! - start;
  }
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
