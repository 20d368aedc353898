/**
 * YAML files held to a schema: the one door to the packages `yaml` and (for the check itself) `valibot`.
 *
 * Reading is strict, and every problem of a file is found in one go, each with its path and its line, so that a person
 * mends a file once. Keys that a schema does not know are problems too: a mistyped setting must not be silently without effect.
 */

import * as v from "valibot";
import { type Document, isMap, isScalar, isSeq, LineCounter, parseDocument, type Scalar, visit } from "yaml";
import { optionsOf } from "./choice-schema.ts";
import { KvError } from "./errors.ts";
import { nearest } from "./nearest.ts";

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

/** A problem that the reader of a file found, which knows the place by its keys only. */
export interface YamlFinding {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** A file as it was parsed. */
export type OpenedYaml =
  | { readonly kind: "broken"; readonly problems: readonly YamlProblem[] }
  | {
      readonly kind: "read";
      /** What it says, by no schema. */
      readonly raw: unknown;
      /** Holds it to `schema`; `findings` are problems besides. */
      judge<T>(schema: v.GenericSchema<unknown, T>, findings?: readonly YamlFinding[]): YamlResult<T>;
    };

/** Parses `text` and holds it to `schema`. An empty file is an empty map. */
export function readYaml<T>(text: string, schema: v.GenericSchema<unknown, T>): YamlResult<T> {
  const opened = openYaml(text);
  return opened.kind === "broken" ? failed(opened.problems) : opened.judge(schema);
}

/** The package would hold each key of a map against all before it: of 100,000 that takes minutes. {@link keysTwice} does it. */
const PARSE = { prettyErrors: false, uniqueKeys: false, merge: false } as const;

/** Parses `text`: YAML 1.2 without aliases, merge keys, tags of its own, or more than one document. */
export function openYaml(text: string): OpenedYaml {
  const fail = (line: number, message: string): OpenedYaml => ({
    kind: "broken",
    problems: [{ path: "", line, message }],
  });
  if (text.length > MAX_BYTES) return fail(1, `is larger than ${MAX_BYTES} bytes`);
  const lines = new LineCounter();
  let document: Document.Parsed;
  let raw: unknown;
  try {
    document = parseDocument(text, { ...PARSE, lineCounter: lines });
    // Aliases are refused: a few lines of them can stand for gigabytes.
    const [alias] = text.includes("*") ? aliasesOf(document) : [];
    if (alias !== undefined) return fail(lines.linePos(alias).line, "aliases (*name) are not taken");
    raw = document.toJS({ maxAliasCount: 0 }) ?? {};
  } catch (error) {
    return fail(1, error instanceof RangeError ? "nests too deeply" : "is no YAML that is taken here");
  }
  const problems = [...document.errors, ...document.warnings].map(
    (error): YamlProblem => ({ path: "", line: lines.linePos(error.pos[0]).line, message: sentence(error) }),
  );
  if (problems.length > 0) return { kind: "broken", problems: problems.slice(0, MAX_PROBLEMS) };
  // A key that is there twice leaves the rest of the file readable, so that the rest of the problems can be said too.
  const twice = keysTwice(document, ({ value }) => String(value ?? "")).slice(0, MAX_PROBLEMS);
  for (const offset of twice) problems.push({ path: "", line: lines.linePos(offset).line, message: TWICE });
  return {
    kind: "read",
    raw,
    judge: (schema, findings) => judge({ document, lines, raw, problems }, schema, findings),
  };
}

interface Parsed {
  readonly document: Document.Parsed;
  readonly lines: LineCounter;
  readonly raw: unknown;
  readonly problems: readonly YamlProblem[];
}

function judge<T>(
  { document, lines, raw, problems }: Parsed,
  schema: v.GenericSchema<unknown, T>,
  findings: readonly YamlFinding[] = [],
): YamlResult<T> {
  const checked = v.safeParse(schema, raw);
  if (checked.success && findings.length === 0 && problems.length === 0) return { ok: true, value: checked.output };
  const lineOf = (keys: readonly unknown[]): number => {
    for (let depth = keys.length; depth > 0; depth--) {
      const offset = offsetOf(document.getIn(keys.slice(0, depth - 1), true) ?? document.contents, keys[depth - 1]);
      if (offset !== undefined) return lines.linePos(offset).line;
    }
    return 1;
  };
  const issues = (checked.issues ?? [])
    .flatMap(leaves)
    .slice(0, MAX_PROBLEMS)
    .map((issue) => problemOf(issue, schema, lineOf));
  const others = findings.map(({ path, message }) => ({ path: path.join("."), line: lineOf(path), message }));
  return failed([...problems, ...issues, ...others].sort((a, b) => a.line - b.line));
}

function sentence({ code, message }: { code: string; message: string }): string {
  return code === "MULTIPLE_DOCS" ? "another document begins here: a file has one" : message;
}

const TWICE = "a key is there twice: keys of a map must be unique";

/** Where keys stand that are in their map already, by the name that `nameOf` says they get. */
function keysTwice(document: Document.Parsed, nameOf: (key: Scalar) => string): number[] {
  const found: number[] = [];
  visit(document, {
    Map: (_, { items }) => {
      const seen = new Set<string>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        const name = nameOf(key);
        if (seen.has(name)) found.push(key.range?.[0] ?? 0);
        seen.add(name);
      }
    },
  });
  return found;
}

/** Where aliases stand. */
function aliasesOf(document: Document.Parsed): number[] {
  const found: number[] = [];
  visit(document, { Alias: (_, node) => void found.push(node.range?.[0] ?? 0) });
  return found;
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

function problemOf(
  issue: v.BaseIssue<unknown>,
  schema: v.GenericSchema,
  lineOf: (keys: readonly unknown[]) => number,
): YamlProblem {
  const keys = (issue.path ?? []).map(({ key }) => key);
  const path = keys.join(".");
  const isUnknown = issue.type === "strict_object" && issue.expected === "never";
  const isMissing = issue.type === "strict_object" && !isUnknown && issue.received === "undefined";
  const message = isUnknown ? unknownKey(schema, keys) : isMissing ? "is missing" : issue.message;
  return { path, line: lineOf(keys), message };
}

function unknownKey(schema: v.GenericSchema, keys: readonly unknown[]): string {
  const known = keysAt([schema], keys.slice(0, -1));
  const meant = nearest(String(keys.at(-1)), known);
  return meant === undefined ? "unknown key" : `unknown key; did you mean '${meant}'?`;
}

/** What the schemas of valibot are made of, as far as a walk needs it. */
interface SchemaParts {
  readonly entries?: Readonly<Record<string, v.GenericSchema>>;
  readonly options?: readonly v.GenericSchema[];
  readonly wrapped?: v.GenericSchema;
  readonly item?: v.GenericSchema;
  readonly value?: v.GenericSchema;
}

/** The keys a map may have that lies at `keys`. */
function keysAt(schemas: readonly v.GenericSchema[], keys: readonly unknown[]): string[] {
  const open = schemas.flatMap(bare);
  const [key, ...rest] = keys;
  if (keys.length === 0) return open.flatMap(({ entries }) => Object.keys(entries ?? {}));
  const below = open.flatMap(({ entries, item, value }) => {
    if (entries !== undefined) return Object.hasOwn(entries, String(key)) ? entries[String(key)]! : [];
    return item ?? value ?? [];
  });
  return keysAt(below, rest);
}

/** A schema without what is around it. */
function bare(schema: v.GenericSchema): readonly SchemaParts[] {
  const parts = schema as SchemaParts;
  if (parts.wrapped !== undefined) return bare(parts.wrapped);
  const options = optionsOf(schema) ?? parts.options;
  return options === undefined ? [parts] : options.flatMap(bare);
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

/** A document's nodes, by no schema. */
export type YamlNode =
  | {
      readonly kind: "scalar";
      readonly line: number /** The text of a string; anything else as it is written. */;
      readonly text: string;
    }
  | { readonly kind: "list"; readonly line: number; readonly json: string }
  | {
      readonly kind: "map";
      readonly line: number;
      readonly members: readonly (readonly [name: string, node: YamlNode])[];
    };

/** A document as it was parsed, or what is wrong with it. */
export type YamlNodes =
  | { readonly kind: "broken"; readonly problems: readonly YamlProblem[] }
  | { readonly kind: "read"; readonly root: YamlNode };

/** Largest document whose nodes are looked at. */
const MAX_NODES_BYTES = 16 * 1024 * 1024;

/** Parses `text` as {@link openYaml} does, keeping how scalars are written. A map's keys must be scalars, each there once. */
export function openYamlNodes(text: string): YamlNodes {
  const fail = (line: number, message: string): YamlNodes => ({
    kind: "broken",
    problems: [{ path: "", line, message }],
  });
  if (text.length > MAX_NODES_BYTES) return fail(1, `is larger than ${MAX_NODES_BYTES} bytes`);
  const lines = new LineCounter();
  try {
    // The schema of YAML 1.2, whatever a %YAML line says, and no tags but its own: bytes and sets have no text to take.
    const schema = { schema: "core", resolveKnownTags: false } as const;
    const document = parseDocument(text, { ...PARSE, ...schema, lineCounter: lines });
    const [alias] = text.includes("*") ? aliasesOf(document) : [];
    if (alias !== undefined) return fail(lines.linePos(alias).line, "aliases (*name) are not taken");
    const [problem] = [...document.errors, ...document.warnings];
    if (problem !== undefined) return fail(lines.linePos(problem.pos[0]).line, sentence(problem));
    const [twice] = keysTwice(document, textOf);
    if (twice !== undefined) return fail(lines.linePos(twice).line, TWICE);
    return {
      kind: "read",
      root: nodeOf(document.contents, (node) => lines.linePos((node as Ranged | null)?.range?.[0] ?? 0).line),
    };
  } catch (error) {
    if (error instanceof KvError) return fail(Number(error.data?.line ?? 1), error.message);
    return fail(1, error instanceof RangeError ? "nests too deeply" : "is no YAML that is taken here");
  }
}

type LineOf = (node: unknown) => number;
type Ranged = { readonly range?: readonly number[] };

function nodeOf(node: unknown, lineOf: LineOf): YamlNode {
  const line = lineOf(node);
  if (isMap(node)) {
    const members = node.items.map(({ key, value }) => [nameOf(key, line), nodeOf(value, lineOf)] as const);
    return { kind: "map", line, members };
  }
  if (isSeq(node)) return { kind: "list", line, json: jsonOf(node, lineOf) };
  return { kind: "scalar", line, text: isScalar(node) ? textOf(node) : "" };
}

function nameOf(key: unknown, line: number): string {
  if (isScalar(key)) return textOf(key);
  throw new KvError("INPUT_INVALID", "a key of a map is no scalar", { data: { line } });
}

/** A string's text; of other scalars what stands in the file: 1.10 is no 1.1. */
function textOf({ value, source }: Scalar): string {
  return typeof value === "string" ? value : (source ?? String(value ?? ""));
}

const JSON_NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** What is in a list, as JSON; numbers as they are written, where JSON writes them so: of 20 digits none is lost. */
function jsonOf(node: unknown, lineOf: LineOf): string {
  if (isSeq(node)) return `[${node.items.map((item) => jsonOf(item, lineOf)).join(",")}]`;
  if (isMap(node)) {
    const members = node.items.map(
      ({ key, value }) => `${JSON.stringify(nameOf(key, lineOf(node)))}:${jsonOf(value, lineOf)}`,
    );
    return `{${members.join(",")}}`;
  }
  if (!isScalar(node)) return "null";
  const { value, source = "" } = node;
  if (typeof value !== "number") return JSON.stringify(value) ?? "null";
  if (JSON_NUMBER.test(source)) return source;
  // Not to the digit, but finite and below 2^53.
  if (Math.abs(value) <= Number.MAX_SAFE_INTEGER) return JSON.stringify(value);
  throw new KvError("INPUT_INVALID", `JSON, which a list becomes, has no number ${source}`, {
    data: { line: lineOf(node) },
  });
}
