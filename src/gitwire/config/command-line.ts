/**
 * Config that comes with the command line: `git -c name=value` passes it on in GIT_CONFIG_PARAMETERS, scripts set
 * GIT_CONFIG_COUNT and GIT_CONFIG_KEY_<n>, GIT_CONFIG_VALUE_<n> (git-config, "ENVIRONMENT").
 *
 *   GIT_CONFIG_PARAMETERS = parameter *( SP parameter )
 *   parameter             = quoted-name "=" [ quoted-value ] | quoted( name [ "=" value ] )      (the second form is old)
 */

import { KvError } from "../../errors.ts";
import type { FileEntry } from "./config-file.ts";
import { canonicalName } from "./config-name.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** Most variables GIT_CONFIG_COUNT may announce. */
const MOST_PAIRS = 100_000;

/** The variables the environment brings, weakest first. Throws CONFIG. */
export function commandLineEntries(env: Env): FileEntry[] {
  return [...countedEntries(env), ...parameterEntries(env.GIT_CONFIG_PARAMETERS ?? "")];
}

function countedEntries(env: Env): FileEntry[] {
  const announced = env.GIT_CONFIG_COUNT;
  if (announced === undefined || announced === "") return [];
  const count = /^[0-9]+$/.test(announced) ? Number(announced) : Number.NaN;
  if (!(count <= MOST_PAIRS)) throw new KvError("CONFIG", `GIT_CONFIG_COUNT '${announced.slice(0, 40)}' is no count`);
  return Array.from({ length: count }, (_, i) => {
    const key = env[`GIT_CONFIG_KEY_${i}`];
    const value = env[`GIT_CONFIG_VALUE_${i}`];
    if (key === undefined) throw new KvError("CONFIG", `GIT_CONFIG_KEY_${i} is missing`);
    if (value === undefined) throw new KvError("CONFIG", `GIT_CONFIG_VALUE_${i} is missing`);
    return { name: canonicalName(key), value, line: 0 };
  });
}

function parameterEntries(text: string): FileEntry[] {
  const entries: FileEntry[] = [];
  let at = 0;
  for (;;) {
    while (text[at] === " ") at++;
    if (at >= text.length) return entries;
    const first = unquote(text, at);
    at = first.end;
    if (text[at] === "=") {
      at++;
      const value = at < text.length && text[at] !== " " ? unquote(text, at) : undefined;
      at = value?.end ?? at;
      entries.push({ name: canonicalName(first.text), value: value?.text, line: 0 });
    } else {
      const equals = first.text.indexOf("=");
      const name = equals < 0 ? first.text : first.text.slice(0, equals);
      entries.push({
        name: canonicalName(name),
        value: equals < 0 ? undefined : first.text.slice(equals + 1),
        line: 0,
      });
    }
    if (at < text.length && text[at] !== " ") throw malformed();
  }
}

/** A shell word in single quotes at `text[at]`; outside them only `\'` and `\!` may stand. */
function unquote(text: string, at: number): { text: string; end: number } {
  let out = "";
  let pos = at;
  do {
    if (text[pos] !== "'") throw malformed();
    const close = text.indexOf("'", pos + 1);
    if (close < 0) throw malformed();
    out += text.slice(pos + 1, close);
    pos = close + 1;
    const escaped = text[pos] === "\\" && (text[pos + 1] === "'" || text[pos + 1] === "!") && text[pos + 2] === "'";
    if (!escaped) break;
    out += text[pos + 1];
    pos += 2;
  } while (pos < text.length);
  return { text: out, end: pos };
}

function malformed(): KvError {
  return new KvError("CONFIG", "GIT_CONFIG_PARAMETERS is malformed");
}
