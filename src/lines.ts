/** Text that arrives in pieces, line by line. */

import { decodeUtf8 } from "./bytes.ts";
import { KvError } from "./errors.ts";

/** The next bytes, or undefined at the end. The bytes may be overwritten by the next call. */
export type ByteReader = () => Buffer | undefined | Promise<Buffer | undefined>;

const LF = 0x0a;

/**
 * Calls `use` with each line of UTF-8 text, without its newline, and waits where it asks to; a last line without one counts.
 * Throws INPUT_INVALID for bytes that are not UTF-8 and for a line of more than `limit` bytes.
 */
export async function readLines(
  read: ByteReader,
  limit: number,
  use: (line: string) => void | Promise<void>,
): Promise<void> {
  let number = 0;
  let rest: Buffer[] = [];
  let held = 0;
  const emit = (bytes: Buffer): void | Promise<void> => {
    number++;
    const line = decodeUtf8(held === 0 ? bytes : Buffer.concat([...rest, bytes]));
    rest = [];
    held = 0;
    if (line === undefined) throw new KvError("INPUT_INVALID", `line ${number} is not UTF-8`);
    return use(line);
  };
  for (let chunk = await read(); chunk !== undefined; chunk = await read()) {
    let start = 0;
    for (let end = chunk.indexOf(LF); end >= 0; end = chunk.indexOf(LF, start)) {
      const wait = emit(chunk.subarray(start, end));
      if (wait instanceof Promise) await wait;
      start = end + 1;
    }
    if (start === chunk.length) continue;
    held += chunk.length - start;
    if (held > limit) throw new KvError("INPUT_INVALID", `line ${number + 1} is longer than ${limit} bytes`);
    rest.push(Buffer.from(chunk.subarray(start)));
  }
  if (held > 0) await emit(Buffer.alloc(0));
}
