/**
 * git's glob for paths (wildmatch.c with WM_PATHNAME): `?` one character but `/`; `*` any run without `/`; `**` between
 * slashes any number of folders; `[a-z]`, `[!a-z]`, `[[:alpha:]]` a character; `\x` x itself.
 */

export interface WildmatchOptions {
  readonly ignoreCase?: boolean;
}

/** True when the whole of `text` fits `pattern`. A pattern that is not closed properly fits nothing. */
export function wildmatch(pattern: string, text: string, options: WildmatchOptions = {}): boolean {
  const source = translate(pattern);
  return source !== undefined && new RegExp(`^(?:${source})$`, options.ignoreCase === true ? "isu" : "su").test(text);
}

/** The pattern as the source of a regular expression, or undefined where it is malformed. */
function translate(pattern: string): string | undefined {
  let out = "";
  for (let at = 0; at < pattern.length; ) {
    const c = pattern[at]!;
    if (c === "*") {
      const stars = countStars(pattern, at);
      const [source, used] = translateStars(pattern, at, stars);
      out += source;
      at += used;
    } else if (c === "?") {
      out += "[^/]";
      at++;
    } else if (c === "[") {
      const set = translateSet(pattern, at);
      if (set === undefined) return undefined;
      out += set.source;
      at = set.end;
    } else {
      if (c === "\\" && ++at >= pattern.length) return undefined;
      const char = String.fromCodePoint(pattern.codePointAt(at)!);
      out += quote(char);
      at += char.length;
    }
  }
  return out;
}

function countStars(pattern: string, at: number): number {
  let count = 0;
  while (pattern[at + count] === "*") count++;
  return count;
}

/** `**` is special only where slashes or the ends of the pattern stand on both sides. */
function translateStars(pattern: string, at: number, stars: number): [source: string, used: number] {
  const before = pattern[at - 1];
  const after = pattern.startsWith("\\/", at + stars) ? "\\/" : pattern[at + stars];
  const isWhole = (before === undefined || before === "/") && (after === undefined || after.endsWith("/"));
  if (stars < 2 || !isWhole) return ["[^/]*", stars];
  if (after === "/") return ["(?:.*/)?", stars + 1];
  return [".*", stars];
}

const CLASSES: Readonly<Record<string, string>> = {
  alnum: "a-zA-Z0-9",
  alpha: "a-zA-Z",
  blank: " \\t",
  cntrl: "\\x00-\\x1f\\x7f",
  digit: "0-9",
  graph: "\\x21-\\x7e",
  lower: "a-z",
  print: "\\x20-\\x7e",
  punct: "\\x21-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\x7e",
  space: " \\t\\n\\v\\f\\r",
  upper: "A-Z",
  xdigit: "0-9a-fA-F",
};

function translateSet(pattern: string, open: number): { source: string; end: number } | undefined {
  let at = open + 1;
  const negated = pattern[at] === "!" || pattern[at] === "^";
  if (negated) at++;
  let body = "";
  for (let first = true; first || pattern[at] !== "]"; first = false) {
    if (at >= pattern.length) return undefined;
    const named = /^\[:([a-z]+):\]/.exec(pattern.slice(at, at + 16));
    if (named !== null) {
      const members = CLASSES[named[1]!];
      if (members === undefined) return undefined;
      body += members;
      at += named[0].length;
      continue;
    }
    const low = setChar(pattern, at);
    if (low === undefined) return undefined;
    at = low.end;
    body += quote(low.char);
    if (pattern[at] === "-" && at + 1 < pattern.length && pattern[at + 1] !== "]") {
      const high = setChar(pattern, at + 1);
      if (high === undefined) return undefined;
      // A range the wrong way round holds nothing but its first character.
      if (high.char >= low.char) body += `-${quote(high.char)}`;
      at = high.end;
    }
  }
  return { source: `(?!/)[${negated ? "^" : ""}${body}]`, end: at + 1 };
}

function setChar(pattern: string, at: number): { char: string; end: number } | undefined {
  const start = pattern[at] === "\\" ? at + 1 : at;
  const code = pattern.codePointAt(start);
  if (code === undefined) return undefined;
  const char = String.fromCodePoint(code);
  return { char, end: start + char.length };
}

function quote(char: string): string {
  return /[A-Za-z0-9_/]/.test(char) ? char : `\\u{${char.codePointAt(0)!.toString(16)}}`;
}
