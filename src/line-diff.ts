/**
 * The difference of two texts line by line, in the unified format that diff and git print: the shortest one, by Myers's algorithm
 * ("An O(ND) Difference Algorithm and Its Variations", 1986), or all old lines and all new ones where the texts have too little in
 * common for that to be worth its time.
 */

/** Lines of context around a change. */
const CONTEXT = 3;
/** Most edits that are looked for: memory and time grow with its square. */
const MOST_EDITS = 500;

/** One line of the result. */
type Edit = readonly [kind: " " | "-" | "+", line: string];

/** The unified difference without file names, "" where the texts are the same. */
export function unifiedDiff(before: string, after: string): string {
  if (before === after) return "";
  const [old, now] = [splitLines(before), splitLines(after)];
  // Where just one of them ends with a newline, that is part of what changed.
  if (before.endsWith("\n") !== after.endsWith("\n")) {
    for (const lines of [old, now]) {
      const text = lines === old ? before : after;
      if (lines.length > 0 && !text.endsWith("\n")) lines[lines.length - 1] += NO_NEWLINE;
    }
  }
  return hunks(edits(old, now)).join("\n");
}

const NO_NEWLINE = "\n\\ No newline at end of file";

function splitLines(text: string): string[] {
  if (text === "") return [];
  return (text.endsWith("\n") ? text.slice(0, -1) : text).split("\n");
}

function edits(old: readonly string[], now: readonly string[]): Edit[] {
  let start = 0;
  while (start < old.length && start < now.length && old[start] === now[start]) start++;
  let end = 0;
  while (end < old.length - start && end < now.length - start && old.at(-1 - end) === now.at(-1 - end)) end++;
  const middle = shortest(old.slice(start, old.length - end), now.slice(start, now.length - end));
  const same = (lines: readonly string[]): Edit[] => lines.map((line) => [" ", line]);
  return [...same(old.slice(0, start)), ...middle, ...same(old.slice(old.length - end))];
}

/** Where `find` went at each number of edits: x by diagonal, from -d to d. */
type Trace = readonly Int32Array[];

function shortest(old: readonly string[], now: readonly string[]): Edit[] {
  const trace = find(old, now);
  if (trace === undefined) {
    return [...old.map((line): Edit => ["-", line]), ...now.map((line): Edit => ["+", line])];
  }
  const backwards: Edit[] = [];
  let [x, y] = [old.length, now.length];
  for (let d = trace.length; d > 0; d--) {
    const reached = trace[d - 1]!;
    const k = x - y;
    const isDown = k === -d || (k !== d && at(reached, d - 1, k - 1) < at(reached, d - 1, k + 1));
    const from = isDown ? k + 1 : k - 1;
    const fromX = at(reached, d - 1, from);
    const fromY = fromX - from;
    while (x > fromX && y > fromY && (isDown ? y > fromY + 1 : x > fromX + 1)) {
      backwards.push([" ", old[--x]!]);
      y--;
    }
    if (isDown) backwards.push(["+", now[--y]!]);
    else backwards.push(["-", old[--x]!]);
  }
  while (x > 0) {
    backwards.push([" ", old[--x]!]);
    y--;
  }
  return backwards.reverse();
}

function at(reached: Int32Array, d: number, k: number): number {
  return k < -d || k > d ? -1 : reached[k + d]!;
}

/** The furthest points that 0, 1, 2 ... edits reach, until one is the end; undefined past {@link MOST_EDITS}. */
function find(old: readonly string[], now: readonly string[]): Trace | undefined {
  const trace: Int32Array[] = [];
  for (let d = 0; d <= Math.min(old.length + now.length, MOST_EDITS); d++) {
    const before = trace.at(-1) ?? new Int32Array(0);
    const reached = new Int32Array(2 * d + 1);
    for (let k = -d; k <= d; k += 2) {
      const [left, right] = [at(before, d - 1, k - 1), at(before, d - 1, k + 1)];
      let x = d === 0 ? 0 : k === -d || (k !== d && left < right) ? right : left + 1;
      while (x < old.length && x - k < now.length && x - k >= 0 && old[x] === now[x - k]) x++;
      reached[k + d] = x;
      if (x >= old.length && x - k >= now.length) return trace;
    }
    trace.push(reached);
  }
  return undefined;
}

/** The changes with their context, hunk by hunk. */
function hunks(all: readonly Edit[]): string[] {
  const lines: string[] = [];
  let [oldLine, newLine, next] = [1, 1, 0];
  const count = (edit: Edit): void => {
    if (edit[0] !== "+") oldLine++;
    if (edit[0] !== "-") newLine++;
  };
  while (next < all.length) {
    const first = all.findIndex((edit, i) => i >= next && edit[0] !== " ");
    if (first < 0) break;
    const from = Math.max(next, first - CONTEXT);
    for (; next < from; next++) count(all[next]!);
    const to = hunkEnd(all, first);
    const part = all.slice(from, to);
    const olds = part.filter(([kind]) => kind !== "+").length;
    const news = part.filter(([kind]) => kind !== "-").length;
    lines.push(`@@ -${range(oldLine, olds)} +${range(newLine, news)} @@`);
    for (const edit of part) {
      lines.push(edit[0] + edit[1]);
      count(edit);
    }
    next = to;
  }
  return lines;
}

/** Behind the last line of the hunk whose first change is at `first`: changes near each other share one. */
function hunkEnd(all: readonly Edit[], first: number): number {
  let last = first;
  for (let i = first; i < all.length && i - last <= 2 * CONTEXT; i++) if (all[i]![0] !== " ") last = i;
  return Math.min(all.length, last + CONTEXT + 1);
}

/** As diff writes it: the first line, and how many where that is not one; of none the line before. */
function range(line: number, count: number): string {
  if (count === 1) return String(line);
  return `${count === 0 ? line - 1 : line},${count}`;
}
