/**
 * git's configuration as a program sees it (git-config, "FILES", "SCOPES", "ENVIRONMENT"): system, global, local, worktree
 * and command line, in this order, later ones winning, with their includes in place.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import { commandLineEntries } from "./config/command-line.ts";
import { type FileEntry, parseConfigEntries } from "./config/config-file.ts";
import { canonicalName, splitName } from "./config/config-name.ts";
import { expandPath, homeFolder, parseBool, parseInteger } from "./config/config-value.ts";
import { asksForRemoteUrls, conditionHolds, type IncludeContext, includedFile } from "./config/include.ts";
import { matchUrlEntries } from "./config/url-match.ts";
import { readFileIfThere } from "./disk.ts";

export type ConfigScope = "system" | "global" | "local" | "worktree" | "command";

/** A variable and where it was set. `value` is undefined where it was written without `=`, which means true. */
export interface ConfigEntry {
  /** Canonical `section.variable` or `section.Subsection.variable`. */
  readonly name: string;
  readonly value: string | undefined;
  readonly scope: ConfigScope;
  /** The file and the 1-based line; undefined and 0 for the command line. */
  readonly file: string | undefined;
  readonly line: number;
}

/** Variables of files that were read already, by the file's name, so that none is read twice; undefined: there is no such file. */
export type FilesRead = Map<string, readonly FileEntry[] | undefined>;

export interface ConfigLocation {
  /** Folder of the worktree's own git files; undefined outside a repository. */
  readonly gitDir?: string;
  /** Folder all worktrees share; default `gitDir`. */
  readonly commonDir?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What is read is taken from here where it is known, and kept here. */
  readonly read?: FilesRead;
}

export class GitConfig {
  readonly #entries: readonly ConfigEntry[];
  readonly #byName = new Map<string, ConfigEntry[]>();
  readonly #env: ConfigLocation["env"];

  constructor(entries: readonly ConfigEntry[], env: ConfigLocation["env"]) {
    this.#entries = entries;
    this.#env = env;
    for (const entry of entries) {
      const same = this.#byName.get(entry.name);
      if (same === undefined) this.#byName.set(entry.name, [entry]);
      else same.push(entry);
    }
  }

  /** Reads everything that applies at `location`. Throws CONFIG with file and line on a syntax error. */
  static load(location: ConfigLocation): GitConfig {
    const read: FilesRead = location.read ?? new Map();
    return new GitConfig(new Loader({ ...location, read }).load(), location.env);
  }

  /** All variables, weakest first. */
  entries(): readonly ConfigEntry[] {
    return this.#entries;
  }

  /** The winning entry, or undefined where the variable is not set. */
  entry(name: string): ConfigEntry | undefined {
    return this.#byName.get(canonicalName(name))?.at(-1);
  }

  /** The winning value ("" where it is written without `=`), or undefined where the variable is not set. */
  get(name: string): string | undefined {
    const entry = this.entry(name);
    return entry === undefined ? undefined : (entry.value ?? "");
  }

  /** All values, weakest first. */
  getAll(name: string): string[] {
    return (this.#byName.get(canonicalName(name)) ?? []).map((entry) => entry.value ?? "");
  }

  /** The value as a boolean, or undefined where the variable is not set. Throws CONFIG where it is none. */
  getBool(name: string): boolean | undefined {
    const entry = this.entry(name);
    return entry === undefined ? undefined : blame(entry, () => parseBool(entry.name, entry.value));
  }

  /** The value as an integer (k, m, g = powers of 1024), or undefined. Throws CONFIG where it is none. */
  getInt(name: string): number | undefined {
    const entry = this.entry(name);
    return entry === undefined ? undefined : blame(entry, () => parseInteger(entry.name, entry.value));
  }

  /** The value as a path with `~/` expanded, or undefined. A relative path stays relative. */
  getPath(name: string): string | undefined {
    const entry = this.entry(name);
    return entry === undefined ? undefined : blame(entry, () => expandPath(entry.value ?? "", this.#env));
  }

  /** Section names in lower case, each once, in order of first appearance. */
  sections(): string[] {
    return [...new Set(this.#entries.flatMap((entry) => splitName(entry.name)?.section ?? []))];
  }

  /** Subsections of `section`, each once, in order of first appearance (the remotes, for "remote"). */
  subsections(section: string): string[] {
    const found = new Set<string>();
    const prefix = `${section.toLowerCase()}.`;
    for (const { name } of this.#entries) {
      if (!name.startsWith(prefix)) continue;
      const subsection = splitName(name)?.subsection;
      if (subsection !== undefined) found.add(subsection);
    }
    return [...found];
  }

  /**
   * Values of `section.key` and of the `section.<url>.key` that fit `url`, by the rules of `http.<url>.*`: values less
   * specific than one before them are dropped, so the last is the one for a variable with one value.
   */
  urlMatch(section: string, key: string, url: string): string[] {
    return matchUrlEntries(this.#entries, section.toLowerCase(), key.toLowerCase(), url).map((e) => e.value ?? "");
  }

  /** As {@link urlMatch}, the last value as a boolean. */
  urlMatchBool(section: string, key: string, url: string): boolean | undefined {
    const entry = matchUrlEntries(this.#entries, section.toLowerCase(), key.toLowerCase(), url).at(-1);
    return entry === undefined ? undefined : blame(entry, () => parseBool(entry.name, entry.value));
  }

  /** Only what the user or the machine's owner set: a repository's own files left out (safe.directory and the like). */
  protectedOnly(): GitConfig {
    const kept = this.#entries.filter((entry) => entry.scope !== "local" && entry.scope !== "worktree");
    return new GitConfig(kept, this.#env);
  }
}

/** Adds file and line to a complaint about a value. */
function blame<T>(entry: ConfigEntry, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof KvError) || entry.file === undefined) throw error;
    throw new KvError("CONFIG", `${error.message} in ${entry.file} at line ${entry.line}`, {
      data: { file: entry.file, line: entry.line },
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    });
  }
}

/** A file that is read when the config is loaded, or the command line. */
type Source = { readonly scope: ConfigScope; readonly file: string } | { readonly scope: "command" };

function configSources(location: LoaderLocation): Source[] {
  const { env, gitDir, commonDir = gitDir } = location;
  const sources: Source[] = [];
  if (!isTrue(env.GIT_CONFIG_NOSYSTEM))
    sources.push({ scope: "system", file: env.GIT_CONFIG_SYSTEM ?? "/etc/gitconfig" });
  for (const file of globalFiles(env)) sources.push({ scope: "global", file });
  if (commonDir !== undefined) {
    const local = path.join(commonDir, "config");
    sources.push({ scope: "local", file: local });
    if (gitDir !== undefined && usesWorktreeConfig(local, location.read)) {
      sources.push({ scope: "worktree", file: path.join(gitDir, "config.worktree") });
    }
  }
  sources.push({ scope: "command" });
  return sources;
}

function isTrue(value: string | undefined): boolean {
  return value !== undefined && parseBool("GIT_CONFIG_NOSYSTEM", value);
}

/** The files of `git config --global`, weakest first. */
function globalFiles(env: ConfigLocation["env"]): string[] {
  if (env.GIT_CONFIG_GLOBAL !== undefined) return [env.GIT_CONFIG_GLOBAL];
  const home = homeFolder(env);
  const xdg = env.XDG_CONFIG_HOME;
  const files: string[] = [];
  if (xdg !== undefined && xdg !== "") files.push(path.join(xdg, "git/config"));
  else if (home !== undefined) files.push(path.join(home, ".config/git/config"));
  if (home !== undefined) files.push(path.join(home, ".gitconfig"));
  return files;
}

function usesWorktreeConfig(local: string, read: FilesRead): boolean {
  let uses = false;
  for (const { name, value } of readEntries(local, read) ?? []) {
    if (name === "extensions.worktreeconfig") uses = parseBool(name, value);
  }
  return uses;
}

/**
 * The variables of one file without its includes, or undefined where there is no such file; taken from `read` where they are
 * there, else added to it. Throws CONFIG.
 */
export function readEntries(file: string, read: FilesRead): readonly FileEntry[] | undefined {
  if (read.has(file)) return read.get(file);
  const content = readConfigFile(file);
  const entries = content === undefined ? undefined : parseConfigEntries(content.latin1Slice(), file);
  read.set(file, entries);
  return entries;
}

/** The bytes of a config file; undefined where there is none. Throws CONFIG where it cannot be read. */
export function readConfigFile(file: string): Buffer | undefined {
  let content: Buffer | undefined;
  try {
    const stat = fs.statSync(file, { throwIfNoEntry: false });
    if (stat === undefined) return undefined;
    if (stat.size > LIMITS.configBytes)
      throw new KvError("LIMIT_EXCEEDED", `config file ${file} is larger than 16 MiB`);
    content = readFileIfThere(file);
  } catch (error) {
    if (error instanceof KvError) throw error;
    const message = error instanceof Error ? error.message : String(error);
    throw new KvError("CONFIG", `config file ${file} cannot be read: ${message}`, { data: { file }, cause: error });
  }
  return content;
}

type LoaderLocation = ConfigLocation & { readonly read: FilesRead };

class Loader {
  readonly #location: LoaderLocation;
  readonly #context: IncludeContext;
  /** Set in the pass that collects the remotes' URLs: every condition about them holds, and finds none. */
  readonly #collecting: boolean;
  #urls: readonly string[] | undefined;

  constructor(location: LoaderLocation, collecting = false) {
    this.#location = location;
    this.#collecting = collecting;
    this.#context = {
      env: location.env,
      gitDir: location.gitDir,
      remoteUrls: () => {
        this.#urls ??= new Loader(location, true)
          .load()
          .flatMap((entry) => (/^remote\..*\.url$/s.test(entry.name) ? [entry.value ?? ""] : []));
        return this.#urls;
      },
    };
  }

  load(): ConfigEntry[] {
    const out: ConfigEntry[] = [];
    for (const source of configSources(this.#location)) {
      if ("file" in source) this.#file(source.file, source.scope, 0, false, out);
      else this.#take(commandLineEntries(this.#context.env), "command", undefined, 0, false, out);
    }
    return out;
  }

  #file(file: string, scope: ConfigScope, depth: number, noUrls: boolean, out: ConfigEntry[]): void {
    if (depth > LIMITS.configIncludeDepth) {
      throw new KvError("CONFIG", `config includes are nested too deep at ${file}`, {
        hint: "does one include itself?",
      });
    }
    const entries = readEntries(file, this.#location.read);
    if (entries !== undefined) this.#take(entries, scope, file, depth, noUrls, out);
  }

  #take(
    entries: readonly FileEntry[],
    scope: ConfigScope,
    file: string | undefined,
    depth: number,
    noUrls: boolean,
    out: ConfigEntry[],
  ): void {
    for (const entry of entries) {
      if (noUrls && /^remote\..*\.url$/s.test(entry.name)) throw forbiddenUrl(file, entry.line);
      out.push({ name: entry.name, value: entry.value, scope, file, line: entry.line });
      const condition = includeCondition(entry.name);
      if (condition === undefined || !this.#holds(condition, file)) continue;
      const target = includedFile(entry.value, file, this.#context);
      this.#file(target, scope, depth + 1, noUrls || asksForRemoteUrls(condition), out);
    }
  }

  #holds(condition: string, file: string | undefined): boolean {
    if (condition === ALWAYS) return true;
    if (this.#collecting && asksForRemoteUrls(condition)) return true;
    return conditionHolds(condition, file, this.#context);
  }
}

const ALWAYS = "";

/** The condition of an include line: ALWAYS for `include.path`, undefined for any other variable. */
function includeCondition(name: string): string | undefined {
  if (name === "include.path") return ALWAYS;
  return name.startsWith("includeif.") ? /^includeif\.(.+)\.path$/s.exec(name)?.[1] : undefined;
}

function forbiddenUrl(file: string | undefined, line: number): KvError {
  return new KvError("CONFIG", `${file} line ${line} sets a remote's URL, but is included on a condition about these`);
}
