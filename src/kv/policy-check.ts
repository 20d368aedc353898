/**
 * Everything that must be right with a policy before it comes into force (docs/policy.md): the schema, and what concerns several
 * places of the file or needs its keys read. All problems are found at once, each with its path and line.
 */

import { KvError } from "../errors.ts";
import { parseSize } from "../quantity.ts";
import { describeProblems, openYaml, type YamlFinding, type YamlProblem } from "../yaml-file.ts";
import { parseNamespace } from "./namespace.ts";
import { POLICY_PATH, type Policy } from "./policy.ts";
import { readKey } from "./policy-keys.ts";
import { policySchema } from "./policy-schema.ts";
import { parsePolicy } from "./read-policy.ts";

/** The policy in `text`, checked in full. Throws CONFIG with every problem. */
export async function requireSoundPolicy(text: string, name: string = POLICY_PATH): Promise<Policy> {
  const problems = await policyProblems(text);
  if (problems.length === 0) return parsePolicy(text, name);
  throw new KvError("CONFIG", describeProblems(problems, name), { data: { problems } });
}

/** As {@link requireSoundPolicy}, of a policy that is to be tried or applied: throws INPUT_INVALID with every problem. */
export async function givenPolicy(text: string, name: string): Promise<Policy> {
  try {
    return await requireSoundPolicy(text, name);
  } catch (error) {
    if (!(error instanceof KvError) || error.code !== "CONFIG") throw error;
    throw new KvError("INPUT_INVALID", error.message, {
      cause: error,
      ...(error.data !== undefined && { data: error.data }),
    });
  }
}

/** All that is wrong with a policy, by line. */
export async function policyProblems(text: string): Promise<readonly YamlProblem[]> {
  const opened = openYaml(text);
  if (opened.kind === "broken") return opened.problems;
  const file = mapOf(opened.raw);
  const findings = [...(await keyFindings(file)), ...adminFindings(file), ...namespaceFindings(file)];
  const result = opened.judge(policySchema, findings);
  return result.ok ? [] : result.problems;
}

type Path = readonly (string | number)[];
type Fields = Readonly<Record<string, unknown>>;

const mapOf = (value: unknown): Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const textsOf = (value: unknown): readonly string[] => listOf(value).filter((one) => typeof one === "string");

/** Every list of keys in the file, and where it is. */
function keyLists(file: Fields): { readonly path: Path; readonly entries: readonly unknown[] }[] {
  const namespaces = Object.entries(mapOf(file.namespaces)).flatMap(([ns, rules]) =>
    (["writers", "readers"] as const).map((name) => ({
      path: ["namespaces", ns, name],
      entries: listOf(mapOf(rules)[name]),
    })),
  );
  const groups = Object.entries(mapOf(file.groups)).map(([name, members]) => ({
    path: ["groups", name],
    entries: listOf(members),
  }));
  return [{ path: ["stargate", "admins"], entries: listOf(mapOf(file.stargate).admins) }, ...groups, ...namespaces];
}

/** Keys that cannot be read or are there twice, groups that are not there, dates in the wrong order. */
async function keyFindings(file: Fields): Promise<YamlFinding[]> {
  const groups = mapOf(file.groups);
  const found: YamlFinding[] = [];
  for (const { path, entries } of keyLists(file)) {
    const seen = new Map<string, number>();
    for (const [at, entry] of entries.entries()) {
      const fields = mapOf(entry);
      const { from, until, group } = fields;
      if (typeof group === "string" && !Object.hasOwn(groups, group)) {
        found.push({ path: [...path, at, "group"], message: `there is no group '${group}'` });
      }
      if (typeof from === "string" && typeof until === "string" && !(Date.parse(from) < Date.parse(until))) {
        found.push({ path: [...path, at, "until"], message: "is not after 'from'" });
      }
      const read = await tryKey(entry);
      if (read === undefined) continue;
      if ("problem" in read) {
        found.push({ path: [...path, at, ...read.path], message: read.problem });
        continue;
      }
      const before = seen.get(read.id);
      if (before === undefined) seen.set(read.id, at);
      else found.push({ path: [...path, at], message: `is the key of ${path.join(".")}.${before} again` });
    }
  }
  return found;
}

type ReadKey = { readonly id: string } | { readonly path: Path; readonly problem: string };

/** The key of an entry; undefined where it holds none, or none of the right look (which the schema says). */
async function tryKey(entry: unknown): Promise<ReadKey | undefined> {
  const { key, pgp } = mapOf(entry);
  const ssh = typeof entry === "string" ? entry : key;
  const path = typeof entry === "string" ? [] : [typeof pgp === "string" ? "pgp" : "key"];
  try {
    if (typeof pgp === "string" && pgp.startsWith("-----BEGIN PGP PUBLIC KEY BLOCK-----")) {
      return await readKey({ pgp });
    }
    if (typeof ssh === "string" && /^(?:ssh-|ecdsa-|sk-)\S+ [A-Za-z0-9+/=]+(?: |$)/.test(ssh)) {
      return await readKey({ ssh });
    }
  } catch (error) {
    if (error instanceof KvError && error.code === "INPUT_INVALID") return { path, problem: error.message };
    throw error;
  }
  return undefined;
}

/**
 * Where signatures are required but nobody is admin, whoever holds an admin token could change who may write; where the admins are groups
 * without members, nobody could ever change anything again.
 */
function adminFindings(file: Fields): YamlFinding[] {
  const admins = listOf(mapOf(file.stargate).admins);
  const groups = mapOf(file.groups);
  const isEmpty = (entry: unknown): boolean => {
    const { group } = mapOf(entry);
    return typeof group === "string" && Object.hasOwn(groups, group) && listOf(groups[group]).length === 0;
  };
  if (admins.length > 0) {
    const message = "are groups without members: nobody could change this policy any more";
    return admins.every(isEmpty) ? [{ path: ["stargate", "admins"], message }] : [];
  }
  return Object.entries(mapOf(file.namespaces))
    .filter(([, rules]) => mapOf(rules).require_signed_commits === true)
    .map(([ns]) => ({
      path: ["namespaces", ns, "require_signed_commits"],
      message: "needs stargate.admins: without an admin anybody's policy could replace this one",
    }));
}

function namespaceFindings(file: Fields): YamlFinding[] {
  return Object.entries(mapOf(file.namespaces)).flatMap(([ns, value]) => {
    const rules = mapOf(value);
    const path = ["namespaces", ns];
    return [...nameFindings(ns), ...prefixFindings(rules, path), ...sizeFindings(rules, path)];
  });
}

/** Names that look right and are none: `a..b`, `x.lock`. */
function nameFindings(ns: string): YamlFinding[] {
  if (!/^[a-z0-9][a-z0-9._-]{0,62}$/.test(ns)) return [];
  try {
    parseNamespace(ns);
    return [];
  } catch {
    return [{ path: ["namespaces", ns], message: "is no namespace name: a ref cannot be called so" }];
  }
}

/** A writer's prefix that no key of the namespace can have. */
function prefixFindings(rules: Fields, path: Path): YamlFinding[] {
  const allowed = textsOf(rules.allowed_prefixes);
  if (!Array.isArray(rules.allowed_prefixes)) return [];
  return listOf(rules.writers).flatMap((entry, at) =>
    textsOf(mapOf(entry).prefixes).flatMap((prefix, index): YamlFinding[] => {
      if (allowed.some((one) => prefix.startsWith(one) || one.startsWith(prefix))) return [];
      const message = `'${prefix}' is outside allowed_prefixes (${allowed.join(", ") || "none"})`;
      return [{ path: [...path, "writers", at, "prefixes", index], message }];
    }),
  );
}

function sizeFindings(rules: Fields, path: Path): YamlFinding[] {
  const [inline, total] = [sizeOf(rules.max_value_inline), sizeOf(rules.max_value_total)];
  if (inline === undefined || total === undefined || inline <= total) return [];
  return [{ path: [...path, "max_value_total"], message: "is smaller than max_value_inline" }];
}

function sizeOf(value: unknown): number | undefined {
  try {
    return value === undefined ? undefined : parseSize(String(value));
  } catch {
    return undefined;
  }
}
