/**
 * The dumps of other stores: one JSON document with every key and value in base64.
 *
 *   etcd    etcdctl get --prefix "" -w json    {"header":{...},"kvs":[{"key":B,"value":B,"mod_revision":N,...},...],"count":N}
 *   consul  consul kv export                   [{"key":K,"flags":N,"value":B},...]
 *
 * Flags of Consul other than 0 are kept as the label `consul-flags`, its namespaces and partitions as `consul-namespace` and `consul-partition`.
 */

import { decodeUtf8 } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import type { ByteReader } from "../../lines.ts";
import { decodeBase64, parseLabels } from "../batch.ts";
import { type JsonFields, parseJsonObject } from "../json-object.ts";
import { keyText, parseKey } from "../key.ts";
import type { Labels } from "../record.ts";
import { wholeValue } from "./exported.ts";
import { badInput, type ImportContext, type ImportEntry, type ImportItems, itemAt, NO_OPTIONS } from "./item.ts";
import { parseJsonDocument } from "./json-document.ts";
import { type JsonElement, jsonElements } from "./json-elements.ts";
import type { SnapshotWriter, WriteText } from "./writer.ts";

const [FLAGS, SPACE, PART] = ["consul-flags", "consul-namespace", "consul-partition"];

/** A label that the format has a place for. */
export const isConsulLabel = (name: string, value: string): boolean =>
  name === FLAGS ? areFlags(value) && value !== "0" : (name === SPACE || name === PART) && value !== "";

/** Reads what `etcdctl get --prefix -w json` prints. */
export async function* readEtcd(read: ByteReader, context: ImportContext): ImportItems {
  const counts = { keys: 0, values: 0, leases: 0, there: 0 };
  const others = (name: string, value: unknown): boolean => {
    if (name === "count" && typeof value === "number") counts.there = value;
    return name === "header";
  };
  yield* readDump(jsonElements(read, "kvs", others), (fields) => {
    counts.keys++;
    const key = decodeUtf8(base64Of(fields, "key"));
    if (key === undefined) throw badInput("the key is not UTF-8");
    const { value, lease = 0 } = fields;
    if (value !== undefined) counts.values++;
    if (lease !== 0 && lease !== "0") counts.leases++;
    // etcdctl leaves an empty value out.
    const data = value === undefined ? EMPTY : base64Of(fields, "value");
    return { key: parseKey(context.prefix + key), data, labels: undefined };
  });
  warnOf(counts, context);
}

interface EtcdCounts {
  readonly keys: number;
  readonly values: number;
  readonly leases: number;
  /** Keys that etcd says there are in the range that was asked for. */
  readonly there: number;
}

function warnOf({ keys, values, leases, there }: EtcdCounts, { warn = () => {} }: ImportContext): void {
  if (leases > 0) warn(`leases of etcd are not taken over: ${leases} of ${keys} keys have one and will not expire`);
  if (there > keys) warn(`the dump has ${keys} of ${there} keys, as one made with --limit or --count-only`);
  if (keys > 0 && values === 0) warn("no key of the dump has a value, as in one made with --keys-only");
}

/** Reads what `consul kv export` prints. */
export function readConsul(read: ByteReader, context: ImportContext): ImportItems {
  return readDump(jsonElements(read), (fields, text) => {
    const { key, value } = fields;
    if (typeof key !== "string") throw badInput('"key" is not a string');
    const data = value === null || value === undefined ? EMPTY : base64Of(fields, "value");
    return { key: parseKey(context.prefix + key), data, labels: consulLabels(fields, text) };
  });
}

function consulLabels(fields: JsonFields, text: string): Labels | undefined {
  const flags = flagsOf(fields, text);
  // Of Consul Enterprise.
  const { namespace = "", partition = "" } = fields;
  const labels = Object.entries({ [FLAGS]: flags === "0" ? "" : flags, [SPACE]: namespace, [PART]: partition });
  const given = labels.filter(([, value]) => value !== "");
  return given.length === 0 ? undefined : parseLabels(Object.fromEntries(given));
}

/** Flags have 64 bits, more than a number of JavaScript. */
function flagsOf({ flags = 0 }: JsonFields, text: string): string {
  const written = Number.isSafeInteger(flags) ? String(flags) : textOfMember(text, "flags");
  if (areFlags(written)) return written;
  throw badInput('"flags" is not a number of 64 bits');
}

function textOfMember(object: string, wanted: string): string {
  const node = parseJsonDocument(object);
  const member = node.kind === "map" ? node.members.find(([name]) => name === wanted)?.[1] : undefined;
  return member?.kind === "leaf" ? member.text : "";
}

const areFlags = (text: string): boolean => /^(?:0|[1-9]\d{0,19})$/.test(text) && BigInt(text) < 2n ** 64n;

const EMPTY = Buffer.alloc(0);

interface Dumped {
  readonly key: string;
  readonly data: Buffer;
  readonly labels: Labels | undefined;
}

async function* readDump(
  elements: AsyncIterable<readonly JsonElement[]>,
  entryOf: (fields: JsonFields, text: string) => Dumped,
): ImportItems {
  for await (const some of elements) {
    yield some.map(({ text, line, number }) => {
      const place = `line ${line}, entry ${number}`;
      return itemAt(place, (): ImportEntry => {
        const { key, data, labels } = entryOf(parseJsonObject(text), text);
        const value = { kind: "bytes", data } as const;
        return { kind: "entry", place, key, value, options: { ...NO_OPTIONS, labels } };
      });
    });
  }
}

function base64Of(fields: JsonFields, name: string): Buffer {
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
      const { [FLAGS]: flags = "0", [SPACE]: namespace, [PART]: partition } = exported.meta.labels ?? {};
      const places = { namespace: namespace || undefined, partition: partition || undefined };
      const value = (await wholeValue(exported)).toString("base64");
      // A number that JSON.stringify would round.
      const [start, rest] = [JSON.stringify({ key }), JSON.stringify({ value, ...places })];
      const entry = `${start.slice(0, -1)},"flags":${areFlags(flags) ? flags : "0"},${rest.slice(1)}`;
      write(`${keys++ === 0 ? "" : ","}\n\t${entry}`);
    },
    end: () => write("\n]\n"),
  };
}

/** What to do about a key or value that a format cannot have. */
export const ANY = "the format jsonl takes every key and value";
