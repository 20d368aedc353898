/**
 * The .netrc file: logins by host (ftp(1) "THE .netrc FILE", as curl and so git read it).
 *
 *     netrc    =  *( machine / default / macdef / comment )
 *     machine  =  "machine" name *( "login" word / "password" word / "account" word )
 *     default  =  "default"      *( "login" word / "password" word / "account" word )
 *     macdef   =  "macdef" name LF *line LF          a macro ends at a blank line
 *     word     =  1*non-blank / DQUOTE *( char / "\" char ) DQUOTE
 */

/** Login and password of one host. */
export interface NetrcLogin {
  readonly login: string | undefined;
  readonly password: string | undefined;
}

/**
 * What the file says for `host` (and `login`, where one is given): the first entry that fits, `default` included. Undefined where none does.
 */
export function findNetrc(text: string, host: string, login: string | undefined): NetrcLogin | undefined {
  const words = tokens(text);
  for (let i = 0; i < words.length; ) {
    const word = words[i++]!;
    const applies = word === "default" || (word === "machine" && words[i++]?.toLowerCase() === host.toLowerCase());
    if (word !== "default" && word !== "machine") continue;
    const entry: { login?: string; password?: string } = {};
    for (; i < words.length && words[i] !== "machine" && words[i] !== "default"; i += 2) {
      const value = words[i + 1];
      if (value === undefined) break;
      if (words[i] === "login" && entry.login === undefined) entry.login = value;
      if (words[i] === "password" && entry.password === undefined) entry.password = value;
    }
    if (!applies || (login !== undefined && entry.login !== undefined && entry.login !== login)) continue;
    return { login: entry.login, password: entry.password };
  }
  return undefined;
}

/** The words of the file: macros and comment lines left out, quotes taken off. */
function tokens(text: string): string[] {
  const words: string[] = [];
  let inMacro = false;
  for (const line of text.split(/\r?\n/)) {
    if (inMacro) {
      inMacro = line.trim() !== "";
      continue;
    }
    if (/^\s*#/.test(line)) continue;
    for (const [word] of line.matchAll(/"(?:[^"\\]|\\.)*"|\S+/g)) {
      if (word === "macdef") {
        inMacro = true;
        break;
      }
      words.push(word.startsWith('"') && word.length > 1 && word.endsWith('"') ? unquote(word.slice(1, -1)) : word);
    }
  }
  return words;
}

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t" };

function unquote(text: string): string {
  return text.replace(/\\(.)/g, (_, char: string) => ESCAPES[char] ?? char);
}
