/**
 * What is wrong with the blobs git reads settings from (git: fsck.c, fsck_gitmodules and fsck_gitattributes): a clone with
 * submodules runs what `.gitmodules` says, so a bad one is an attack and not a mistake.
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { type FileEntry, parseConfigFile } from "../config/config-file.ts";
import type { FsckRules } from "../object/fsck-rules.ts";
import type { GitObject } from "../object/object.ts";

/** Largest `.gitattributes`, and the longest line of one (git: attr.h). */
const ATTRIBUTES_BYTES = 100 * 1024 * 1024;
const ATTRIBUTES_LINE = 2_048;

/** The first fault that counts of what a tree calls `.gitmodules` or `.gitattributes`; `object` is undefined where it is missing. */
export function dotFileFault(
  file: "gitmodules" | "gitattributes",
  object: GitObject | undefined,
  rules: FsckRules,
): string | undefined {
  if (object === undefined) return rules.fault(`${file}Missing`, `.${file} is not here`);
  if (object.kind !== "blob") return rules.fault(`${file}Blob`, `.${file} is a ${object.kind}`);
  return file === "gitmodules" ? modulesFault(object.data, rules) : attributesFault(object.data, rules);
}

function modulesFault(data: Buffer, rules: FsckRules): string | undefined {
  if (data.length > LIMITS.configBytes) return rules.fault("gitmodulesLarge", ".gitmodules is too large to look at");
  const { entries, isWhole } = readEntries(data.latin1Slice());
  for (const entry of entries) {
    const [, name, key] = /^submodule\.(.*)\.([^.]*)$/s.exec(entry.name) ?? [];
    const fault = name === undefined ? undefined : submoduleFault(name, key!, entry.value, rules);
    if (fault !== undefined) return fault;
  }
  return isWhole ? undefined : rules.fault("gitmodulesParse", ".gitmodules is not in the syntax of config files");
}

/** The variables before the first mistake, which is where git stops. */
function readEntries(text: string): { readonly entries: readonly FileEntry[]; readonly isWhole: boolean } {
  const parse = (part: string): FileEntry[] =>
    parseConfigFile(part, ".gitmodules").flatMap((each) => (each.kind === "entry" ? [each.entry] : []));
  try {
    return { entries: parse(text), isWhole: true };
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    const line = Number(error.data?.line ?? 1);
    return { entries: entriesBefore(text.split("\n").slice(0, line - 1), parse), isWhole: false };
  }
}

/** A value may go on over several lines, so the last lines before the mistake may be no whole ones. */
function entriesBefore(lines: readonly string[], parse: (part: string) => FileEntry[]): FileEntry[] {
  for (let count = lines.length; count > 0; count--) {
    try {
      return parse(`${lines.slice(0, count).join("\n")}\n`);
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
    }
    if (lines.length - count > 16) break;
  }
  return [];
}

function submoduleFault(name: string, key: string, value: string | undefined, rules: FsckRules): string | undefined {
  if (name === "" || name.split(/[/\\]/).includes("..")) {
    return rules.fault("gitmodulesName", "a submodule has a name that leads out of its folder");
  }
  if (value === undefined) return undefined;
  if (key === "url" && isBadUrl(value)) return rules.fault("gitmodulesUrl", "a submodule has a bad URL");
  if (key === "path" && value.startsWith("-")) return rules.fault("gitmodulesPath", "a submodule has a bad path");
  if (key === "update" && value.startsWith("!")) return rules.fault("gitmodulesUpdate", "a submodule runs a command");
  return undefined;
}

/** Git's check_submodule_url: options in disguise, newlines for a credential helper, and what leaves its own host. */
function isBadUrl(url: string): boolean {
  if (url.startsWith("-")) return true;
  if (/^\.\.?\//.test(url)) {
    const [, rest = ""] = /^(?:\.\/|\.\.\/)*(.*)$/s.exec(url)!;
    const climbs = /^(?:\.\/)*\.\.\//.test(url);
    return decoded(url).includes("\n") || (climbs && /^[:/]/.test(rest));
  }
  const plain = /^(?:https?|ftps?)::(.*)$/s.exec(url)?.[1] ?? (/^(?:https?|ftps?):\/\//.test(url) ? url : undefined);
  if (plain === undefined) return false;
  return !isHttpUrl(plain) || decoded(plain).includes("\n");
}

/** A URL that git's url_normalize takes, as far as that goes here: a scheme and a host. */
function isHttpUrl(url: string): boolean {
  const [, authority] = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/([^/?#]*)/.exec(url) ?? [];
  return authority !== undefined && authority.slice(authority.lastIndexOf("@") + 1) !== "";
}

function decoded(url: string): string {
  return url.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function attributesFault(data: Buffer, rules: FsckRules): string | undefined {
  if (data.length > ATTRIBUTES_BYTES) return rules.fault("gitattributesLarge", ".gitattributes is too large");
  const nul = data.indexOf(0);
  const end = nul < 0 ? data.length : nul;
  for (let at = 0; at < end; ) {
    const newline = data.indexOf(0x0a, at);
    const eol = newline < 0 || newline > end ? end : newline;
    if (eol - at >= ATTRIBUTES_LINE)
      return rules.fault("gitattributesLineLength", ".gitattributes has too long a line");
    at = eol + 1;
  }
  return undefined;
}
