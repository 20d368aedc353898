/**
 * Whether we understand a repository (git: gitrepository-layout, "repository format version"): version 0 with any
 * extension ignored but a few, version 1 with every extension known.
 */

import { KvError } from "../../errors.ts";
import { parseBool, parseInteger } from "../config/config-value.ts";
import { readEntries } from "../config.ts";
import { type ObjectFormat, objectFormat, SHA1 } from "../object/oid.ts";

export interface RepositoryFormat {
  readonly objectFormat: ObjectFormat;
  /** core.bare; undefined where it is not said. */
  readonly bare: boolean | undefined;
  /** core.worktree as written. */
  readonly worktree: string | undefined;
}

/** Extensions we may meet and need do nothing about. */
const HARMLESS = new Set(["noop", "noop-v1", "preciousobjects", "partialclone", "worktreeconfig", "relativeworktrees"]);

/** What `<commonDir>/config` says of the repository. Throws UNSUPPORTED, CONFIG. */
export function readRepositoryFormat(configFile: string): RepositoryFormat {
  let version = 0;
  let bare: boolean | undefined;
  let worktree: string | undefined;
  const extensions = new Map<string, string | undefined>();
  for (const { name, value } of readEntries(configFile) ?? []) {
    if (name === "core.repositoryformatversion") version = parseInteger(name, value);
    else if (name === "core.bare") bare = parseBool(name, value);
    else if (name === "core.worktree") worktree = value;
    else if (name.startsWith("extensions.")) extensions.set(name.slice("extensions.".length), value);
  }
  if (version > 1) throw unsupported(configFile, `repository format version ${version} is not known`);
  return { objectFormat: checkExtensions(configFile, version, extensions), bare, worktree };
}

function checkExtensions(
  file: string,
  version: number,
  extensions: ReadonlyMap<string, string | undefined>,
): ObjectFormat {
  let format = SHA1;
  for (const [name, value] of extensions) {
    if (name === "objectformat" && version >= 1) format = objectFormat(value ?? "");
    else if (name === "refstorage" && version >= 1) {
      if (value !== "files") throw unsupported(file, `its refs are stored as '${value ?? ""}'`);
    } else if (name === "objectformat" || name === "refstorage" || name === "compatobjectformat") {
      throw unsupported(file, `extension '${name}' needs core.repositoryformatversion 1 or is not known`);
    } else if (version >= 1 && !HARMLESS.has(name)) {
      throw unsupported(file, `extension '${name}' is not known`);
    }
  }
  return format;
}

function unsupported(file: string, what: string): KvError {
  return new KvError("UNSUPPORTED", `repository cannot be used: ${what}`, {
    data: { file },
    hint: `see ${file}; a newer git may have made it`,
  });
}
