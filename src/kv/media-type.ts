/** Media types of values: text and JSON are recognised, everything else is bytes (docs/formats/data-format.md, section 4). */

import { decodeUtf8 } from "../bytes.ts";
import { KvError } from "../errors.ts";

export const BYTES = "application/octet-stream";
const TEXT = "text/plain; charset=utf-8";
const JSON_TYPE = "application/json";

/** Longest value that is looked at; a longer one is bytes. */
export const SNIFF_BYTES = 1024 * 1024;
const BINARY = /[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]/;

/** The media type of a value nobody named one for. */
export function detectMediaType(value: Uint8Array): string {
  if (value.length === 0 || value.length > SNIFF_BYTES) return BYTES;
  const text = decodeUtf8(value);
  if (text === undefined || BINARY.test(text)) return BYTES;
  return isJsonDocument(text) ? JSON_TYPE : TEXT;
}

/** Only objects and arrays: a bare number or word is text to most people. */
function isJsonDocument(text: string): boolean {
  const first = text.trimStart()[0];
  if (first !== "{" && first !== "[") return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

const MEDIA_TYPE =
  /^[A-Za-z0-9!#$&^_.+-]{1,127}\/[A-Za-z0-9!#$&^_.+-]{1,127}(?:\s*;\s*[A-Za-z0-9!#$&^_.+-]+=(?:[A-Za-z0-9!#$&^_.+-]+|"(?:[ !#-[\]-~]|\\[ -~])*"))*$/;

/** True where `text` is a media type of at most 255 characters (RFC 9110, section 8.3.1). */
export function isMediaType(text: string): boolean {
  if (text === TEXT || text === BYTES || text === JSON_TYPE) return true;
  return text.length <= 255 && MEDIA_TYPE.test(text);
}

/** `text` where it is a media type. Throws INPUT_INVALID. */
export function parseMediaType(text: string): string {
  if (isMediaType(text)) return text;
  throw new KvError("INPUT_INVALID", `'${text}' is not a media type`, {
    hint: "such as text/plain or application/json",
  });
}
