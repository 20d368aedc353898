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

/** Takes a name apart. Throws CONFIG where it is none. */
export function parseConfigName(name: string): ConfigName {
  const first = name.indexOf(".");
  const last = name.lastIndexOf(".");
  const section = name.slice(0, first);
  const variable = name.slice(last + 1);
  if (first < 0 || !/^[A-Za-z0-9-]+$/.test(section) || !/^[A-Za-z][A-Za-z0-9-]*$/.test(variable)) {
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
