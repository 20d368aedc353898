/** Ranges of bytes, as HTTP has them (RFC 9110, section 14.1.1): `A-B` both included, `A-` to the end, `-N` the last N. */

import { KvError } from "../errors.ts";

/** Bytes from `start` up to `end`, which is not included. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

const RANGE = /^(\d{0,15})-(\d{0,15})$/;

/** What `text` means of a value of `size` bytes. Throws INPUT_INVALID where it is no range, or none of the value's bytes. */
export function parseRange(text: string, size: number): ByteRange {
  const [, from = "", to = ""] = RANGE.exec(text) ?? [];
  if (from === "" && to === "") throw notRange(text);
  const start = from === "" ? Math.max(0, size - Number(to)) : Number(from);
  const end = from === "" || to === "" ? size : Math.min(size, Number(to) + 1);
  if (from !== "" && to !== "" && Number(to) < Number(from)) throw notRange(text);
  if (start < size && start < end) return { start, end };
  throw new KvError("INPUT_INVALID", `--range: the value has ${size} bytes, ${text} is none of them`);
}

function notRange(text: string): KvError {
  return new KvError("INPUT_INVALID", `--range: '${text}' is not a range`, {
    hint: "0-99 are the first hundred bytes, 100- all after them, -100 the last hundred",
  });
}
