/** The formats of snapshots and imports by name. What reads and writes one is loaded where it is used. */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import type { ByteReader } from "../../lines.ts";
import type { NamespaceState } from "../state.ts";
import type { ImportContext, ImportItems } from "./item.ts";
import type { LeftBehind } from "./left-behind.ts";
import { LineCursor } from "./line-cursor.ts";
import type { SnapshotWriter, WriteText } from "./writer.ts";

export const FORMATS = ["jsonl", "etcd", "consul", "json", "yaml", "dotenv"] as const;
export type Format = (typeof FORMATS)[number];

const SUFFIXES: readonly (readonly [pattern: RegExp, format: Format])[] = [
  [/\.json$/i, "json"],
  [/\.ya?ml$/i, "yaml"],
  [/\.env$|(?:^|[/\\])\.env\.[^/\\]+$/i, "dotenv"],
];

/** The format that `given` names, else the one that the name of a file suggests. Throws USAGE. */
export function formatOf(given: string | undefined, file: string): Format {
  const plain = file.replace(/\.gz$/i, "");
  if (given === undefined) return SUFFIXES.find(([pattern]) => pattern.test(plain))?.[1] ?? "jsonl";
  const found = FORMATS.find((format) => format === given);
  if (found !== undefined) return found;
  throw new KvError("USAGE", `--format: '${given}' is none of ${FORMATS.join(", ")}`);
}

/** What of the keys' metadata has no place in a format; undefined: nothing. */
export async function leftBehindBy(format: Format | "folder"): Promise<LeftBehind | undefined> {
  if (format === "jsonl") return undefined;
  const { LeftBehind } = await import("./left-behind.ts");
  return new LeftBehind(format === "consul" ? (await import("./dumps.ts")).isConsulLabel : () => false);
}

/** The items of what `read` gives. */
export async function* readFormat(format: Format, read: ByteReader, context: ImportContext): ImportItems {
  switch (format) {
    case "jsonl":
      return yield* (await import("./json-lines.ts")).readJsonLines(new LineCursor(read, LIMITS.batchLine), context);
    case "etcd":
      return yield* (await import("./dumps.ts")).readEtcd(read, context);
    case "consul":
      return yield* (await import("./dumps.ts")).readConsul(read, context);
    case "dotenv":
      return yield* (await import("./dotenv.ts")).readDotenv(new LineCursor(read, LIMITS.batchLine), context);
    default:
      return yield* (await import("./document.ts")).readDocument(format, read, context);
  }
}

/** How keys are written. */
export interface WriterOptions {
  /** What is taken off every key. */
  readonly strip: string;
  /** What makes maps within maps of a document; undefined: nothing. */
  readonly separator: string | undefined;
}

/** Writes `state` in a format. */
export async function writerOf(
  format: Format,
  state: NamespaceState,
  { strip, separator }: WriterOptions,
  write: WriteText,
): Promise<SnapshotWriter> {
  switch (format) {
    case "jsonl":
      return (await import("./json-lines-writer.ts")).jsonLinesWriter(state, write, strip);
    case "etcd":
      return (await import("./dumps.ts")).etcdWriter(state.ledger.seq, strip, write);
    case "consul":
      return (await import("./dumps.ts")).consulWriter(strip, write);
    case "dotenv":
      return (await import("./dotenv.ts")).dotenvWriter(strip, write);
    default:
      return (await import("./document.ts")).documentWriter({ format, prefix: strip, separator }, write);
  }
}
