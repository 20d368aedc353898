/**
 * YAML files held to a schema: the one door to the packages `yaml` and (for the check itself) `valibot`.
 *
 * Reading is strict, and every problem of a file is found in one go, each with its path and its line, so that a person
 * mends a file once. Keys that a schema does not know are problems too: a mistyped setting must not be silently without effect.
 */

import * as v from "valibot";
import { LineCounter, parseDocument } from "yaml";
import { KvError } from "./errors.ts";

/** Largest file that is parsed, in bytes. */
const MAX_BYTES = 1024 * 1024;
/** Problems that are listed. */
const MAX_PROBLEMS = 50;

/** What is wrong at one place. */
export interface YamlProblem {
  /** `namespaces.main.verify`; "" for the file as a whole. */
  readonly path: string;
  /** Line, from 1. */
  readonly line: number;
  readonly message: string;
}

/** A file as the schema wants it, or everything that is wrong with it. */
export type YamlResult<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly YamlProblem[] };

/** Parses `text` and holds it to `schema`. An empty file is an empty map. */
export function readYaml<T>(text: string, schema: v.GenericSchema<unknown, T>): YamlResult<T> {
  if (text.length > MAX_BYTES) return failed([{ path: "", line: 1, message: `is larger than ${MAX_BYTES} bytes` }]);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const broken = [...document.errors, ...document.warnings];
  if (broken.length > 0) {
    return failed(
      broken.map((error) => ({ path: "", line: lines.linePos(error.pos[0]).line, message: error.message })),
    );
  }
  let value: unknown;
  try {
    // Aliases are refused: a few lines of them can stand for gigabytes.
    value = document.toJS({ maxAliasCount: 0 }) ?? {};
  } catch {
    return failed([{ path: "", line: 1, message: "aliases (*name) are not taken" }]);
  }
  const checked = v.safeParse(schema, value);
  if (checked.success) return { ok: true, value: checked.output };
  const lineOf = (keys: readonly unknown[]): number => {
    for (let depth = keys.length; depth > 0; depth--) {
      const offset = offsetOf(document.getIn(keys.slice(0, depth - 1), true) ?? document.contents, keys[depth - 1]);
      if (offset !== undefined) return lines.linePos(offset).line;
    }
    return 1;
  };
  return failed(checked.issues.flatMap(leaves).map((issue) => problemOf(issue, lineOf)));
}

/** As {@link readYaml}; throws CONFIG with all problems, each as `file:line: path: what`. */
export function requireYaml<T>(text: string, schema: v.GenericSchema<unknown, T>, file: string): T {
  const result = readYaml(text, schema);
  if (result.ok) return result.value;
  throw new KvError("CONFIG", describeProblems(result.problems, file), { data: { problems: result.problems } });
}

/** One line per problem. */
export function describeProblems(problems: readonly YamlProblem[], file: string): string {
  return problems
    .map(({ path, line, message }) => `${file}:${line}: ${path === "" ? "" : `${path}: `}${message}`)
    .join("\n");
}

function failed(problems: readonly YamlProblem[]): YamlResult<never> {
  return { ok: false, problems: problems.slice(0, MAX_PROBLEMS) };
}

/** The issues of the branch of a union that came nearest, so that a message speaks of what was meant. */
function leaves(issue: v.BaseIssue<unknown>): v.BaseIssue<unknown>[] {
  if (issue.type !== "union" || issue.issues === undefined) return [issue];
  const within = issue.issues.filter(
    (inner) => inner.path !== undefined && inner.path.length > (issue.path?.length ?? 0),
  );
  return within.length > 0 ? within.flatMap(leaves) : [issue];
}

function problemOf(issue: v.BaseIssue<unknown>, lineOf: (keys: readonly unknown[]) => number): YamlProblem {
  const keys = (issue.path ?? []).map(({ key }) => key);
  const path = keys.join(".");
  const isUnknown = issue.type === "strict_object" && issue.expected === "never";
  const isMissing = issue.type === "strict_object" && !isUnknown && issue.received === "undefined";
  const message = isUnknown ? "unknown key" : isMissing ? "is missing" : issue.message;
  return { path, line: lineOf(keys), message };
}

interface Pairs {
  readonly items?: readonly {
    readonly key?: { readonly value?: unknown; readonly range?: readonly number[] | null };
  }[];
}

/** Offset of the key (of a map) or the item (of a list) that `key` names in `node`. */
function offsetOf(node: unknown, key: unknown): number | undefined {
  const items = (node as Pairs | undefined)?.items;
  if (typeof key === "number" && Array.isArray(items)) {
    const item = items[key] as unknown as { range?: readonly number[] } | undefined;
    if (item?.range !== undefined) return item.range[0];
  }
  return items?.find((pair) => pair.key !== undefined && String(pair.key?.value) === String(key))?.key?.range?.[0];
}
