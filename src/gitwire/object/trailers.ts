/**
 * Trailers: the `Key: value` lines of a message's last paragraph (git-interpret-trailers).
 *
 * Two readings: {@link parseTrailers} is strict, for a block a program wrote and judges: every line of the last paragraph
 * is a trailer, nothing is folded, nothing follows. What it does not accept it returns as undefined.
 */

/** One trailer line. */
export interface Trailer {
  readonly key: string;
  readonly value: string;
}

const TRAILER = /^([A-Za-z0-9-]+): (\S(?:.*\S)?)$/;

/** A trailer block, one line each, ending in a newline. */
export function formatTrailers(trailers: readonly Trailer[]): string {
  return trailers.map(({ key, value }) => `${key}: ${value}\n`).join("");
}

/** A message that ends with a trailer block. */
export interface TrailedMessage {
  /** What stands before the block, the empty line included. */
  readonly text: string;
  readonly trailers: readonly Trailer[];
}

/**
 * `message` with its last paragraph as trailers in order, or undefined where it is not a pure trailer block: a line that is
 * no trailer, a folded line, a missing last newline, a block that is the whole message.
 */
export function parseTrailers(message: string): TrailedMessage | undefined {
  if (!message.endsWith("\n") || message.endsWith("\n\n")) return undefined;
  const start = message.lastIndexOf("\n\n");
  if (start < 0) return undefined;
  const trailers: Trailer[] = [];
  for (const line of message.slice(start + 2, -1).split("\n")) {
    const match = TRAILER.exec(line);
    if (match === null) return undefined;
    trailers.push({ key: match[1]!, value: match[2]! });
  }
  return { text: message.slice(0, start + 2), trailers };
}

/** A value without spaces. */
const WORD = /^\S+$/;

/**
 * What {@link parseTrailers} reads of a message that ends with one trailer for each of `keys`, in their order and all of them words, by key;
 * undefined where it has to look.
 */
export function wordTrailers(
  message: string,
  keys: readonly string[],
): { readonly text: string; readonly values: Map<string, string> } | undefined {
  const start = message.lastIndexOf("\n\n") + 2;
  const lines = message.slice(start).split("\n");
  if (start < 2 || lines.length !== keys.length + 1 || lines[keys.length] !== "") return undefined;
  const values = new Map<string, string>();
  for (let i = 0; i < keys.length; i++) {
    const line = lines[i]!;
    const key = keys[i]!;
    const value = line.slice(key.length + 2);
    if (!line.startsWith(key) || !line.startsWith(": ", key.length) || !WORD.test(value)) return undefined;
    values.set(key, value);
  }
  return { text: message.slice(0, start), values };
}
