/** The arguments of this process, and whether they arrived as they were given. */

import * as fs from "node:fs";

/**
 * The number (from 1) of the first argument that is not UTF-8, or undefined. The runtime puts U+FFFD for what it cannot decode, so
 * that two keys would become one and a value another. Only such arguments are looked at again, where the system shows
 * their bytes (Linux).
 */
export function undecodableArgument(argv: readonly string[], rawPath = "/proc/self/cmdline"): number | undefined {
  if (!argv.join(" ").includes("\ufffd")) return undefined;
  let raw: Buffer;
  try {
    raw = fs.readFileSync(rawPath);
  } catch {
    return undefined;
  }
  const all = splitAtNul(raw);
  // What stands before them is the executable, or the runtime and the script.
  const own = all.slice(Math.max(0, all.length - argv.length));
  const found = own.findIndex((bytes) => !isUtf8(bytes));
  return found < 0 ? undefined : found + 1;
}

function splitAtNul(raw: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < raw.length; ) {
    const nul = raw.indexOf(0, at);
    const end = nul < 0 ? raw.length : nul;
    parts.push(raw.subarray(at, end));
    at = end + 1;
  }
  return parts;
}

const isUtf8 = (bytes: Buffer): boolean => Buffer.from(bytes.utf8Slice()).equals(bytes);
