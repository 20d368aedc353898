/** The commands that take keys out of a store and into one. */

import type { Command } from "../../cli/command.ts";
import type { FlagSpec } from "../../cli/spec.ts";
import { AT, MESSAGE, READ_FROM, WAIT } from "./flags.ts";

const FORMAT: FlagSpec = {
  name: "format",
  type: "string",
  choices: ["jsonl", "etcd", "consul", "json", "yaml", "dotenv"],
  summary: "What is in the file (default: by its name, else jsonl)",
};
const SEPARATOR: FlagSpec = {
  name: "separator",
  type: "string",
  value: "SEP",
  summary: "Between the names of maps within maps in JSON and YAML (default: .)",
};

export const TRANSFER: readonly Command[] = [
  {
    name: "snapshot",
    topic: "Import and export",
    summary: "Write all keys with their values to a file or a folder",
    flags: [
      {
        name: "export",
        type: "string",
        value: "FILE",
        complete: "file",
        summary: "The file; - is standard output, a name that ends in .gz is compressed",
      },
      {
        name: "dir",
        type: "string",
        value: "DIR",
        complete: "directory",
        summary: "A folder instead, which is made: a file for each key, / in keys being folders",
      },
      FORMAT,
      { name: "prefix", type: "string", value: "P", summary: "Only keys that begin with P" },
      { name: "strip-prefix", type: "boolean", summary: "Leave P out of the keys that are written" },
      { name: "nested", type: "boolean", summary: "Maps within maps in JSON and YAML, names split at the separator" },
      SEPARATOR,
      { name: "allow-expired", type: "boolean", summary: "Expired keys besides live ones" },
      READ_FROM,
      AT,
    ],
    details:
      "JSON lines in byte order of the keys, with media type, expiry, labels, revision, size and etag; values that are not UTF-8 in base64, " +
      "long ones in parts. Other formats: etcd (etcdctl get --prefix -w json), consul (consul kv export), json and yaml, dotenv. " +
      "The file or folder appears whole or not at all. What a format has no place for is named in a warning.",
    examples: [
      "snapshot --export backup.jsonl.gz",
      "snapshot --export - --prefix cfg:",
      "snapshot --export app.env --prefix app: --strip-prefix",
      "snapshot --dir settings --prefix cfg: --strip-prefix",
    ],
    load: () => import("../snapshot.ts"),
  },
  {
    name: "import",
    topic: "Import and export",
    summary: "Set the keys of a snapshot",
    args: [
      {
        name: "file",
        count: "one",
        complete: "file",
        summary: "The snapshot, also compressed by gzip, or a folder; - is standard input",
      },
    ],
    flags: [
      FORMAT,
      { name: "prefix", type: "string", value: "P", summary: "Put P before every key" },
      SEPARATOR,
      { name: "if-absent", type: "boolean", summary: "Leave keys alone that are there" },
      { name: "overwrite", type: "boolean", summary: "Set keys that are there, too (default)" },
      { name: "dry-run", type: "boolean", summary: "Only check the input, and say what it would set" },
      {
        name: "batch",
        type: "string",
        value: "N",
        summary: "Most keys of one transaction (default: 100000, or what the policy allows)",
      },
      MESSAGE,
      WAIT,
    ],
    details:
      "The whole input is checked before anything is written: each bad entry is named with its line. Then keys are set in transactions of " +
      "bounded size; each is atomic, the import as a whole only where it is one transaction. Importing the same again goes on where it was " +
      "interrupted: what is there is not written twice. Keys that the input does not name stay as they are.",
    examples: [
      "import backup.jsonl.gz",
      "import - --format etcd < dump.json",
      "import settings/ --prefix cfg:",
      "import backup.jsonl --dry-run",
    ],
    load: () => import("../import.ts"),
  },
];
