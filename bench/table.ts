/** The result: one row for each thing measured against one alternative. */

export type Unit = "ms" | "bytes" | "MB" | "per second" | "count";

export interface Row {
  readonly name: string;
  readonly unit: Unit;
  readonly ours: number;
  /** What it is held against; undefined where a figure stands alone. */
  readonly other?: { readonly name: string; readonly value: number };
  /** What we set out to reach. */
  readonly target?: Target;
  /** Counts and figures beside. */
  readonly extra?: string;
}

/** A bound on our figure, or on our figure divided by the other. */
export type Target =
  | { readonly kind: "value"; readonly most: number }
  | { readonly kind: "ratio"; readonly most: number }
  | { readonly kind: "times"; readonly least: number };

/** At most `most` milliseconds, bytes ... */
export const atMost = (most: number): Target => ({ kind: "value", most });
/** At most `most` times the alternative's figure. */
export const timesOther = (most: number): Target => ({ kind: "ratio", most });
/** At least `least` times the alternative's figure. */
export const atLeastTimes = (least: number): Target => ({ kind: "times", least });

const HEADINGS = ["case", "ours", "against", "theirs", "ratio", "target", "met", "beside"];

/** The rows as a Markdown table, its columns aligned for a terminal. */
export function formatTable(rows: readonly Row[]): string {
  const lines = [HEADINGS, ...rows.map(cells)];
  // The last column is prose: padding it would only wrap the lines.
  const widths = HEADINGS.map((_, i) =>
    i === HEADINGS.length - 1 ? 0 : Math.max(...lines.map((line) => line[i]!.length)),
  );
  const show = (line: readonly string[]): string => `| ${line.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`;
  const rule = `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`;
  return [show(lines[0]!), rule, ...lines.slice(1).map(show)].join("\n");
}

function cells(row: Row): string[] {
  const { name, unit, ours, other, target, extra } = row;
  const ratio = other === undefined ? undefined : ours / other.value;
  return [
    name,
    figure(ours, unit),
    other?.name ?? "",
    other === undefined ? "" : figure(other.value, unit),
    ratio === undefined ? "" : ratio.toFixed(2),
    target === undefined ? "" : bound(target, unit),
    target === undefined ? "" : isMet(target, ours, ratio) ? "yes" : "no",
    extra ?? "",
  ];
}

function bound(target: Target, unit: Unit): string {
  if (target.kind === "value") return `<= ${figure(target.most, unit)}`;
  if (target.kind === "times") return `ratio >= ${target.least}`;
  return `ratio <= ${Number(target.most.toFixed(2))}`;
}

function isMet(target: Target, ours: number, ratio: number | undefined): boolean {
  if (target.kind === "value") return ours <= target.most;
  return target.kind === "times" ? ratio! >= target.least : ratio! <= target.most;
}

function figure(value: number, unit: Unit): string {
  if (unit === "bytes") return `${Math.round(value).toLocaleString("en")} B`;
  if (unit === "per second") return `${Math.round(value).toLocaleString("en")} /s`;
  if (unit === "count") return value.toFixed(1);
  if (unit === "MB") return `${Math.round(value).toLocaleString("en")} MB`;
  if (value < 1) return `${(value * 1000).toFixed(0)} us`;
  return value < 10_000 ? `${value.toFixed(value < 100 ? 1 : 0)} ms` : `${(value / 1000).toFixed(1)} s`;
}

/** `1 push`, `2 pushes` */
export function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : what.endsWith("h") ? "es" : "s"}`;
}
