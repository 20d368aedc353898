/**
 * Whether we understand a repository (git: gitrepository-layout, "repository format version"): version 0 with any
 * extension ignored but a few, version 1 with every extension known.
 */

import { KvError } from "../../errors.ts";
import { parseBool, parseInteger } from "../config/config-value.ts";
import { type FilesRead, readEntries } from "../config.ts";
import { type ObjectFormat, objectFormat, SHA1 } from "../object/oid.ts";

export interface RepositoryFormat {
  readonly objectFormat: ObjectFormat;
  /** core.bare; undefined where it is not said. */
  readonly bare: boolean | undefined;
  /** core.worktree as written. */
  readonly worktree: string | undefined;
  /** Whether each worktree has a `config.worktree` of its own. */
  readonly worktreeConfig: boolean;
}

/** Extensions we may meet and need do nothing about. */
const HARMLESS = new Set(["noop", "noop-v1", "preciousobjects", "partialclone", "worktreeconfig", "relativeworktrees"]);

/** What `<commonDir>/config` says of the repository. Throws UNSUPPORTED, CONFIG. */
export function readRepositoryFormat(configFile: string, read: FilesRead): RepositoryFormat {
  let version = 0;
  let bare: boolean | undefined;
  let worktree: string | undefined;
  const extensions = new Map<string, string | undefined>();
  for (const { name, value } of readEntries(configFile, read) ?? []) {
    if (name === "core.repositoryformatversion") version = parseInteger(name, value);
    else if (name === "core.bare") bare = parseBool(name, value);
    else if (name === "core.worktree") worktree = value;
    else if (name.startsWith("extensions.")) extensions.set(name.slice("extensions.".length), value);
  }
  if (version > 1) {
    throw unsupported(configFile, `its core.repositoryformatversion is ${version}, and 0 and 1 are known`);
  }
  const format = checkExtensions(configFile, version, extensions);
  const flag = "worktreeconfig";
  const worktreeConfig = extensions.has(flag) && parseBool(`extensions.${flag}`, extensions.get(flag));
  return { objectFormat: format, bare, worktree, worktreeConfig };
}

function checkExtensions(
  file: string,
  version: number,
  extensions: ReadonlyMap<string, string | undefined>,
): ObjectFormat {
  let format = SHA1;
  for (const [name, value] of extensions) {
    if (name === "objectformat" && version >= 1) format = objectFormatIn(file, value);
    else if (name === "refstorage" && version >= 1) checkRefStorage(file, value);
    else if (name === "objectformat" || name === "refstorage") {
      throw unsupported(file, `it has extensions.${name}, which counts from core.repositoryformatversion 1 on only`);
    } else if (name === "compatobjectformat" || (version >= 1 && !HARMLESS.has(name))) {
      throw unsupported(file, `its extension '${name}' is not known`);
    }
  }
  return format;
}

function objectFormatIn(file: string, value: string | undefined): ObjectFormat {
  if (value === "sha1" || value === "sha256") return objectFormat(value);
  throw unsupported(file, `its object format is '${value ?? ""}', and sha1 and sha256 are known`);
}

function checkRefStorage(file: string, value: string | undefined): void {
  if (value === "files") return;
  const what = `its refs are stored as '${value ?? ""}', and only 'files' is known`;
  throw unsupported(file, what, value === "reftable" ? "convert it: git refs migrate --ref-format=files" : undefined);
}

function unsupported(file: string, what: string, hint?: string): KvError {
  return new KvError("UNSUPPORTED", `repository cannot be used: ${what}`, {
    data: { file },
    hint: hint ?? `see ${file}; a newer git may have made it`,
  });
}
