/** How a value changed, for people: the difference of two texts line by line, or a sentence where one of them is no short text. */

import { decodeUtf8 } from "../bytes.ts";
import type { ObjectSource } from "../gitwire/object/object.ts";
import { unifiedDiff } from "../line-diff.ts";
import { formatSize } from "../quantity.ts";
import type { Key } from "./key.ts";
import { findKey, inlineValue } from "./read.ts";
import type { Metadata } from "./record.ts";
import type { NamespaceState } from "./state.ts";

/** Longest value that is compared line by line. */
const MOST_BYTES = 256 * 1024;

/** A key's value in a state; `meta` undefined: it is not there. */
export interface ValueSide {
  readonly state: NamespaceState;
  readonly meta: Metadata | undefined;
}

/** What became of the value of `key`; "" where it is the same. Lines without the last newline. */
export function valuePatch(objects: ObjectSource, key: Key, before: ValueSide | undefined, after: ValueSide): string {
  const [old, now] = [before?.meta, after.meta];
  if (old?.etag === now?.etag) return "";
  const texts = [before, after].map((side) => textOf(objects, key, side));
  if (texts[0] !== undefined && texts[1] !== undefined) return unifiedDiff(texts[0], texts[1]);
  return `${describe(old)} -> ${describe(now)}`;
}

/** The value where it is a short text, "" where there is none; else undefined. */
function textOf(objects: ObjectSource, key: Key, side: ValueSide | undefined): string | undefined {
  if (side?.meta === undefined) return "";
  if (side.meta.type !== "inline" || side.meta.size > MOST_BYTES) return undefined;
  const found = findKey(objects, side.state, key, { now: 0, allowExpired: true });
  const text = decodeUtf8(inlineValue(objects, found));
  return text === undefined || /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/.test(text) ? undefined : text;
}

function describe(meta: Metadata | undefined): string {
  if (meta === undefined) return "nothing";
  return `${formatSize(meta.size)} of ${meta.ctype}, ${meta.etag.slice(0, 23)}`;
}
