/**
 * The dumps of other stores: one JSON document with every key and value in base64.
 *
 *   etcd    etcdctl get --prefix "" -w json    {"header":{...},"kvs":[{"key":B,"value":B,"mod_revision":N,...},...],"count":N}
 *   consul  consul kv export                   [{"key":K,"flags":N,"value":B},...]
 *
 * A consul flag other than 0 is kept as the label `consul-flags`.
 */

import { decodeUtf8 } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import type { ByteReader } from "../../lines.ts";
import { decodeBase64 } from "../batch.ts";
import { keyText, parseKey } from "../key.ts";
import type { Labels } from "../record.ts";
import { wholeValue } from "./exported.ts";
import { badInput, type ImportContext, type ImportEntry, type ImportItems, itemAt, NO_OPTIONS } from "./item.ts";
import { jsonElements } from "./json-elements.ts";
import type { SnapshotWriter, WriteText } from "./writer.ts";

type Fields = Readonly<Record<string, unknown>>;

const FLAGS = "consul-flags";

/** Reads what `etcdctl get --prefix -w json` prints. */
export function readEtcd(read: ByteReader, context: ImportContext): ImportItems {
  return readDump(read, "kvs", (fields) => {
    const key = decodeUtf8(base64Of(fields, "key"));
    if (key === undefined) throw badInput("the key is not UTF-8");
    // etcdctl leaves an empty value out.
    const data = fields.value === undefined ? EMPTY : base64Of(fields, "value");
    const { lease = 0 } = fields;
    return { key: parseKey(context.prefix + key), data, labels: undefined, isLeased: lease !== 0 && lease !== "0" };
  });
}

/** Reads what `consul kv export` prints. */
export function readConsul(read: ByteReader, context: ImportContext): ImportItems {
  return readDump(read, undefined, (fields) => {
    const { key, flags = 0 } = fields;
    if (typeof key !== "string") throw badInput('"key" is not a string');
    if (!(typeof flags === "number" && flags >= 0)) throw badInput('"flags" is not a number');
    const data = fields.value === null || fields.value === undefined ? EMPTY : base64Of(fields, "value");
    return { key: parseKey(context.prefix + key), data, labels: flags === 0 ? undefined : { [FLAGS]: String(flags) } };
  });
}

const EMPTY = Buffer.alloc(0);

interface Dumped {
  readonly key: string;
  readonly data: Buffer;
  readonly labels: Labels | undefined;
  readonly isLeased?: boolean | undefined;
}

async function* readDump(
  read: ByteReader,
  member: string | undefined,
  entryOf: (fields: Fields) => Dumped,
): ImportItems {
  for await (const some of jsonElements(read, member)) {
    yield some.map(({ text, line, number }) => {
      const place = `line ${line}, entry ${number}`;
      return itemAt(place, (): ImportEntry => {
        const { key, data, labels, isLeased } = entryOf(fieldsOf(text));
        const value = { kind: "bytes", data } as const;
        return { kind: "entry", place, key, value, options: { ...NO_OPTIONS, labels }, isLeased };
      });
    });
  }
}

function fieldsOf(text: string): Fields {
  try {
    const fields: unknown = JSON.parse(text);
    if (typeof fields === "object" && fields !== null && !Array.isArray(fields)) return fields as Fields;
  } catch {
    // Said below.
  }
  throw badInput("not a JSON object");
}

function base64Of(fields: Fields, name: string): Buffer {
  const text = fields[name];
  if (typeof text !== "string") throw badInput(`"${name}" is not a string`);
  try {
    return decodeBase64(text);
  } catch {
    throw badInput(`"${name}" is not base64`);
  }
}

/** Writes what `etcdctl get --prefix -w json` would print. */
export function etcdWriter(seq: number, strip: string, write: WriteText): SnapshotWriter {
  let keys = 0;
  return {
    begin: () => write(`{"header":{"revision":${seq}},"kvs":[`),
    add: async (exported) => {
      const key = Buffer.from(keyText(exported.key).slice(strip.length)).toString("base64");
      const value = (await wholeValue(exported)).toString("base64");
      write(
        `${keys++ === 0 ? "" : ","}\n${JSON.stringify({ key, create_revision: 1, mod_revision: 1, version: 1, value })}`,
      );
    },
    end: () => write(`\n],"count":${keys}}\n`),
  };
}

/** Writes what `consul kv export` would print, and `consul kv import` takes. */
export function consulWriter(strip: string, write: WriteText): SnapshotWriter {
  let keys = 0;
  return {
    begin: () => write("["),
    add: async (exported) => {
      const key = keyText(exported.key).slice(strip.length);
      if (key.startsWith("/")) {
        throw new KvError("INPUT_INVALID", `consul has no key ${JSON.stringify(key)}: none begins with '/'`, {
          hint: ANY,
        });
      }
      const flags = Number(exported.meta.labels?.[FLAGS] ?? 0);
      const value = (await wholeValue(exported)).toString("base64");
      write(
        `${keys++ === 0 ? "" : ","}\n\t${JSON.stringify({ key, flags: Number.isSafeInteger(flags) ? flags : 0, value })}`,
      );
    },
    end: () => write("\n]\n"),
  };
}

/** What to do about a key or value that a format cannot have. */
export const ANY = "the format jsonl takes every key and value";
