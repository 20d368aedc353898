/**
 * A folder as a store: a file's path below it, with `/` between the names, is its key, and its bytes are the value. Links and what is
 * neither file nor folder are not followed; `.git` is passed over.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { decodeUtf8 } from "../../bytes.ts";
import { KvError, toKvError } from "../../errors.ts";
import { keyText, parseKey } from "../key.ts";
import { ANY } from "./dumps.ts";
import type { ExportedKey } from "./exported.ts";
import {
  badInput,
  type ImportContext,
  type ImportEntry,
  type ImportItem,
  type ImportItems,
  itemAt,
  NO_OPTIONS,
} from "./item.ts";

/** Deepest folder. */
const MOST_DEPTH = 100;

/** A repository in a folder is no part of the settings. */
const REPOSITORY = ".git";
/** What no file of a key is called. */
const NO_FILES: ReadonlySet<string> = new Set(["", ".", "..", REPOSITORY]);

/** Reads the files below `root`, folder by folder, names in byte order. */
export async function* readFolder(root: string, context: ImportContext): ImportItems {
  yield* readBelow(root, "", 0, context);
}

async function* readBelow(root: string, below: string, depth: number, context: ImportContext): ImportItems {
  if (depth > MOST_DEPTH) throw badInput(`${below}: folders nest deeper than ${MOST_DEPTH}`);
  const folder = path.join(root, below);
  let names: Buffer[];
  try {
    names = fs.readdirSync(folder, { encoding: "buffer" }).sort(Buffer.compare);
  } catch (error) {
    yield [{ kind: "bad", place: placeOf(below || "."), message: `cannot be read: ${toKvError(error).message}` }];
    return;
  }
  let files: ImportItem[] = [];
  for (const raw of names) {
    const name = decodeUtf8(raw);
    const place = placeOf(below + raw.latin1Slice());
    if (name === undefined) {
      files.push({ kind: "bad", place, message: "the name is not UTF-8" });
      continue;
    }
    if (name === REPOSITORY) continue;
    const stat = fs.lstatSync(path.join(folder, name));
    if (stat.isDirectory()) {
      yield files;
      files = [];
      yield* readBelow(root, `${below}${name}/`, depth + 1, context);
    } else if (stat.isFile()) files.push(fileItem(root, below + name, context));
    else files.push({ kind: "bad", place, message: stat.isSymbolicLink() ? "is a symbolic link" : "is no file" });
  }
  yield files;
}

/** A path in one line. */
const placeOf = (name: string): string => (/[\x00-\x1f\x7f]/.test(name) ? JSON.stringify(name) : name);

function fileItem(root: string, name: string, { prefix }: ImportContext): ImportItem {
  const place = placeOf(name);
  return itemAt(place, (): ImportEntry => {
    const file = path.join(root, name);
    try {
      fs.accessSync(file, fs.constants.R_OK);
    } catch (error) {
      throw badInput(`cannot be read: ${toKvError(error).message}`);
    }
    return {
      kind: "entry",
      place,
      key: parseKey(prefix + name),
      value: { kind: "file", path: file },
      options: NO_OPTIONS,
    };
  });
}

/**
 * The path below a folder of the file that `key` is written to, less `prefix`: one that {@link readFolder} makes the same key of.
 * Throws INPUT_INVALID where there is none.
 */
export function pathOf({ key }: ExportedKey, prefix: string): string {
  const text = keyText(key);
  const name = text.slice(prefix.length);
  const parts = name.split("/");
  const isPath =
    parts.length <= MOST_DEPTH + 1 && parts.every((part) => !NO_FILES.has(part) && Buffer.byteLength(part) <= 255);
  // A backslash or a colon means something else elsewhere.
  if (isPath && !(process.platform === "win32" && /[\\:*?"<>|]/.test(name))) return name;
  throw new KvError("INPUT_INVALID", `${JSON.stringify(text)} cannot be the path of a file`, { hint: ANY });
}
