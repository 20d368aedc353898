/**
 * Names in the kv-index (docs/formats/data-format.md, section 5): what a listing knows without reading a blob.
 *
 *   file      = name ".ref" / name "@" unix-seconds ".ref" / name ".del"
 *   directory = label "~"        label = the bytes all keys below share after the node's prefix, percent-encoded, 1 to 64 bytes
 */

import { LIMITS } from "../limits.ts";
import { type Key, percentDecode, percentEncode } from "./key.ts";

/** State of a key as its file name tells it. */
export type KeyState =
  | { readonly kind: "live" /** Unix seconds; undefined = never. */; readonly expires: number | undefined }
  | { readonly kind: "deleted" };

/** Longest label in bytes. */
export const LABEL_BYTES = 64;

/** File name of a key in this state. */
export function indexFileName(name: string, state: KeyState): string {
  if (state.kind === "deleted") return `${name}.del`;
  return state.expires === undefined ? `${name}.ref` : `${name}@${state.expires}.ref`;
}

const FILE = /^([^@]+?)(?:@(0|[1-9]\d{0,11}))?\.(ref|del)$/;

const REF = ".ref";
const LIVE: KeyState = { kind: "live", expires: undefined };

/** Name and state a file name tells, or undefined where it is none. */
export function parseIndexFileName(fileName: string): { readonly name: string; readonly state: KeyState } | undefined {
  // Nearly all are live and never expire.
  if (fileName.endsWith(REF) && fileName.length > REF.length && !fileName.includes("@")) {
    return { name: fileName.slice(0, -REF.length), state: LIVE };
  }
  const match = FILE.exec(fileName);
  if (match === null) return undefined;
  const [, name, seconds, suffix] = match;
  if (suffix === "ref") return live(name!, seconds);
  return seconds === undefined ? { name: name!, state: { kind: "deleted" } } : undefined;
}

function live(name: string, seconds: string | undefined): { name: string; state: KeyState } | undefined {
  const expires = seconds === undefined ? undefined : Number(seconds);
  return expires !== undefined && expires > LIMITS.latestTime ? undefined : { name, state: { kind: "live", expires } };
}

/** Name of the directory of the keys that share `label` after their node's prefix. */
export function labelName(label: string): string {
  return `${percentEncode(label)}~`;
}

/** Label of a directory, or undefined where the name is none. */
export function parseLabelName(name: string): string | undefined {
  if (!name.endsWith("~")) return undefined;
  const label = percentDecode(name.slice(0, -1));
  const proper = label !== undefined && label.length > 0 && label.length <= LABEL_BYTES;
  return proper && labelName(label) === name ? label : undefined;
}

/** Whether the file `fileName` is the one of the key named `name`. */
export function isFileOf(fileName: string, name: string): boolean {
  if (!fileName.startsWith(name)) return false;
  const next = fileName.charCodeAt(name.length);
  return (next === 0x2e || next === 0x40) && parseIndexFileName(fileName)?.name === name;
}

/** Length of the longest prefix two byte strings share from `from` on, counted from `from`. */
export function sharedLength(a: Key, b: Key, from: number): number {
  const end = Math.min(a.length, b.length);
  let at = from;
  while (at < end && a.charCodeAt(at) === b.charCodeAt(at)) at++;
  return at - from;
}
