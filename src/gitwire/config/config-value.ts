/** What config values mean: booleans, integers and paths (git-config, "Values"). */

import { KvError } from "../../errors.ts";

const TRUE = new Set(["true", "yes", "on"]);
const FALSE = new Set(["false", "no", "off", ""]);

/** The value as a boolean; a missing value is true. Throws CONFIG naming `name`. */
export function parseBool(name: string, value: string | undefined): boolean {
  const text = value?.toLowerCase();
  if (text === undefined || TRUE.has(text)) return true;
  if (FALSE.has(text)) return false;
  const number = readInt(text);
  if (number === undefined) throw bad(name, value ?? "", "boolean", "write true or false");
  return number !== 0;
}

/** The value as an integer; k, m, g multiply by 1024 each time. Throws CONFIG naming `name`. */
export function parseInteger(name: string, value: string | undefined): number {
  const number = value === undefined ? undefined : readInt(value);
  if (number === undefined) throw bad(name, value ?? "", "number", "write a number, with k, m or g if need be");
  return number;
}

const INTEGER = /^[ \t\n\v\f\r]*([+-]?)(0x[0-9a-f]+|[0-9]+)([kmg]?)$/i;
const UNITS: Readonly<Record<string, number>> = { "": 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

/** As strtoimax(base 0) reads it: 0x... is hex, a leading 0 octal. */
function readInt(text: string): number | undefined {
  // As most are.
  if (text === "0" || text === "1") return Number(text);
  const match = INTEGER.exec(text);
  if (match === null) return undefined;
  const [, sign, digits, unit] = match as unknown as [string, string, string, string];
  const isOctal = /^0[0-9]/.test(digits);
  if (isOctal && /[89]/.test(digits)) return undefined;
  const magnitude = isOctal ? Number.parseInt(digits, 8) : Number(digits);
  const number = magnitude * UNITS[unit.toLowerCase()]!;
  if (!Number.isSafeInteger(number)) return undefined;
  return sign === "-" ? 0 - number : number;
}

function bad(name: string, value: string, kind: string, hint: string): KvError {
  return new KvError("CONFIG", `bad ${kind} config value '${value.slice(0, 100)}' for '${name}'`, { hint });
}

type Env = Readonly<Record<string, string | undefined>>;

/** The user's home folder as git sees it, or undefined where there is none. */
export function homeFolder(env: Env): string | undefined {
  return env.HOME ?? (process.platform === "win32" ? env.USERPROFILE : undefined);
}

/** A path value with a leading `~/` replaced. Throws CONFIG where there is no home folder, or for `~user/`. */
export function expandPath(path: string, env: Env): string {
  if (!path.startsWith("~")) return path;
  const home = homeFolder(env);
  if (home !== undefined && (path === "~" || path.startsWith("~/"))) return home + path.slice(1);
  throw new KvError("CONFIG", `path '${path.slice(0, 200)}' cannot be expanded`, {
    hint: home === undefined ? "set HOME" : "write the path out: only ~/ is understood",
  });
}
