/** Snapshots and imports for programs. */

import * as os from "node:os";
import { KvError } from "../errors.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { TimeSlice } from "../time-slice.ts";
import { checkImport } from "./snapshot/check-import.ts";
import { EntrySpool } from "./snapshot/entry-spool.ts";
import { exportedKeys } from "./snapshot/exported.ts";
import { formatOf, leftBehindBy, readFormat, writerOf } from "./snapshot/formats.ts";
import { spooledInput } from "./snapshot/import-input.ts";
import { importRules } from "./snapshot/import-rules.ts";
import { writeImport } from "./snapshot/write-import.ts";
import type { NamespaceState } from "./state.ts";
import { demand, parseUserPrefix } from "./user-operation.ts";
import type { AtOption, SignalOption } from "./user-options.ts";
import type { Workspace } from "./workspace.ts";

/** What is imported: whole, or part by part. */
export type KvSource = string | Uint8Array | AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>;

/** How keys and values stand in a file. */
export type KvFormat = "jsonl" | "etcd" | "consul" | "json" | "yaml" | "dotenv";

export interface ExportOptions extends AtOption {
  /** Default: `jsonl`, which alone takes every key and value, with all that is known of it. */
  readonly format?: KvFormat;
  readonly prefix?: string;
  /** The prefix is left out of the keys. */
  readonly stripPrefix?: boolean;
  /** What makes maps within maps of a JSON or YAML document. Default: nothing, it is flat. */
  readonly separator?: string;
  readonly allowExpired?: boolean;
}

export interface ImportOptions extends SignalOption {
  /** Default: `jsonl`. */
  readonly format?: KvFormat;
  /** What goes before each key. */
  readonly prefix?: string;
  /** What joins the names on the way to a value that lies deeper in a document. Default: `.`. */
  readonly separator?: string;
  /** Keys that are there already are left as they are. */
  readonly ifAbsent?: boolean;
  readonly message?: string;
}

/** What an import brought. */
export interface Imported {
  /** The ledger commit it ended at; undefined where nothing was brought. */
  readonly oid: Oid | undefined;
  readonly keys: number;
  /** Keys that were set. */
  readonly set: number;
  /** Keys that were as they are already, or were left so. */
  readonly unchanged: number;
  readonly transactions: number;
}

/** Characters that are handed on together. */
const PORTION = 256 * 1024;

/** The text of a snapshot of `state`, read as of `moment`, in portions. Throws INPUT_INVALID for what the format cannot hold. @internal */
export async function* exportText(
  workspace: Workspace,
  state: NamespaceState,
  moment: number | undefined,
  options: ExportOptions,
): AsyncGenerator<string, void, undefined> {
  const { prefix = "", stripPrefix = false, separator, allowExpired = false } = options;
  let text = "";
  const format = namedFormat(options.format);
  const left = await leftBehindBy(format);
  const writer = await writerOf(format, state, { strip: stripPrefix ? prefix : "", separator }, (more) => {
    text += more;
  });
  const range = { prefix: parseUserPrefix(prefix), now: allowExpired ? undefined : (moment ?? workspace.now()) };
  const slice = new TimeSlice(1);
  writer.begin();
  for await (const some of exportedKeys(workspace, state, range)) {
    if (slice.isOver()) await slice.pause(workspace.around.signal);
    for (const exported of some) {
      await writer.add(exported);
      left?.add(exported);
      if (text.length < PORTION) continue;
      yield text;
      text = "";
    }
  }
  writer.end();
  if (text !== "") yield text;
  if (left?.said !== undefined) workspace.around.warn(left.said);
}

/** Sets the keys that `source` has, in transactions of bounded size. Nothing is written where anything of it cannot be used. @internal */
export async function importFrom(
  workspace: Workspace,
  source: KvSource,
  { format, prefix = "", separator = ".", ifAbsent = false, message }: ImportOptions,
): Promise<Imported> {
  const { signal, warn } = workspace.around;
  const named = namedFormat(format);
  const reading = { now: workspace.now(), prefix, separator };
  const rules = await importRules(workspace);
  const parts = bytesIn(source);
  const read = async (): Promise<Buffer | undefined> => (await parts.next()).value ?? undefined;
  const spool = new EntrySpool(os.tmpdir());
  try {
    const input = await spooledInput(read, os.tmpdir(), signal);
    try {
      const first = readFormat(named, input.read(), { ...reading, warn });
      const summary = await checkImport(first, signal, { spool, rules: rules.content });
      const items = spool.isWhole ? spool.items(() => {}) : readFormat(named, input.read(), reading);
      const { ledger, set, unchanged, transactions } = await writeImport(workspace, items, summary, {
        keep: ifAbsent,
        message: message ?? "import",
        most: rules.mostKeys,
        demandSame: input.demandSame,
      });
      return { oid: ledger?.oid, keys: summary.keys, set, unchanged, transactions };
    } finally {
      input.close();
    }
  } finally {
    spool.close();
    await parts.return();
  }
}

/** Programs that no compiler has checked may give anything. */
function namedFormat(format: string | undefined): KvFormat {
  try {
    return formatOf(format, "");
  } catch (cause) {
    throw new KvError("INPUT_INVALID", `'${format}' is no format of snapshots`, { cause });
  }
}

async function* bytesIn(source: AsyncIterable<unknown> | Iterable<unknown>): AsyncGenerator<Buffer, void, undefined> {
  if (ArrayBuffer.isView(source) || typeof source === "string") return yield* bytesIn([source]);
  const isGiven = typeof source === "object" && source !== null;
  demand(
    isGiven && (Symbol.asyncIterator in source || Symbol.iterator in source),
    "the source is neither text, bytes nor something that gives them",
  );
  for await (const part of source) {
    if (typeof part === "string") yield Buffer.from(part);
    else if (ArrayBuffer.isView(part)) yield Buffer.from(part.buffer, part.byteOffset, part.byteLength);
    else throw new KvError("INPUT_INVALID", "what is imported has parts that are neither text nor bytes");
  }
}
