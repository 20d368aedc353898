/** Names of config variables: `section.variable` or `section.subsection.variable`, the subsection with any dots. */

import { KvError } from "../../errors.ts";

export interface ConfigName {
  /** Lower case. */
  readonly section: string;
  /** As written; undefined where there is none. */
  readonly subsection: string | undefined;
  /** Lower case. */
  readonly variable: string;
}

/** Whether the character with this code is one of `A-Z` and `a-z`. */
export function isLetter(code: number): boolean {
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x7a;
}

/** Whether it can be part of a section's or a variable's name: a letter, a digit or `-`. */
export function isNameChar(code: number): boolean {
  return isLetter(code) || (code >= 0x30 && code <= 0x39) || code === 0x2d;
}

function isNameText(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (!isNameChar(text.charCodeAt(at))) return false;
  return text !== "";
}

/** Takes a name apart. Throws CONFIG where it is none. */
function parseConfigName(name: string): ConfigName {
  const first = name.indexOf(".");
  const last = name.lastIndexOf(".");
  const section = name.slice(0, first);
  const variable = name.slice(last + 1);
  if (first < 0 || !isNameText(section) || !isNameText(variable) || !isLetter(variable.charCodeAt(0))) {
    throw new KvError("CONFIG", `'${name.slice(0, 200)}' is no config name`, { hint: "write section.variable" });
  }
  const subsection = first === last ? undefined : name.slice(first + 1, last);
  if (subsection?.includes("\n")) throw new KvError("CONFIG", "a config name cannot hold a line end");
  return { section: section.toLowerCase(), subsection, variable: variable.toLowerCase() };
}

/** The name with section and variable in lower case; equal names compare equal so. Throws CONFIG. */
export function canonicalName(name: string): string {
  const { section, subsection, variable } = parseConfigName(name);
  return subsection === undefined ? `${section}.${variable}` : `${section}.${subsection}.${variable}`;
}

/** Takes apart a name that comes from a file, where a section's name may hold dots; undefined where it has no section. */
export function splitName(name: string): ConfigName | undefined {
  const first = name.indexOf(".");
  const last = name.lastIndexOf(".");
  if (first < 0) return undefined;
  const subsection = first === last ? undefined : name.slice(first + 1, last);
  return { section: name.slice(0, first), subsection, variable: name.slice(last + 1) };
}
