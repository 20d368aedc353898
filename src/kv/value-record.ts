/** A value and what is known of it as JSON has it: what `get --json` and `serve` say. */

import { decodeUtf8 } from "../bytes.ts";
import type { FoundKey } from "./read.ts";

/** The value as JSON has it. */
export function jsonValue(data: Buffer): object {
  const text = decodeUtf8(data);
  return text === undefined ? { value_b64: data.toString("base64") } : { value: text };
}

/** What is known of a value; `pieces` of one that is stored in pieces. */
export function facts({ oid, meta }: FoundKey, pieces?: number): object {
  const { type, size, etag, ctype, rev, expires, labels } = meta;
  return { type, oid, size, etag, ...(pieces !== undefined && { pieces }), ctype, rev, expires, labels };
}
