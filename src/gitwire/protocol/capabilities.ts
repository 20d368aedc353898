/**
 * Capability lists (git: gitprotocol-capabilities; gitprotocol-v2 "Capability Advertisement").
 *
 *     v0/v1: capability-list  =  capability *(SP capability)        capability = name ["=" value]
 *     v2:    capability-advertisement  =  "version 2" LF  *(name ["=" value] LF)  flush-pkt
 *
 * A name may come more than once (`symref=HEAD:refs/heads/main`), so each has a list of values; a capability without `=`
 * has the empty list.
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { type ObjectFormat, objectFormat } from "../object/oid.ts";
import { FLUSH, lineText, type PktReader, pktLine } from "./pkt-line.ts";

/** Values by capability name, in the order they came. */
export type Capabilities = ReadonlyMap<string, readonly string[]>;

/** One capability to be written; a list writes the name once for each value. */
export type CapabilityEntry = readonly [name: string, value?: string | readonly string[]];

/** Capabilities from entries (the encoders' usual argument). */
export function capabilities(...entries: readonly CapabilityEntry[]): Capabilities {
  const map = new Map<string, string[]>();
  for (const [name, value] of entries) {
    const values = map.get(name) ?? [];
    if (typeof value === "string") values.push(value);
    else if (value !== undefined) values.push(...value);
    map.set(name, values);
  }
  return map;
}

/** The first value of `name`: undefined where it is absent or has none. */
export function capabilityValue(list: Capabilities, name: string): string | undefined {
  return list.get(name)?.[0];
}

/** The space-separated list of v0 and v1. */
export function formatCapabilities(list: Capabilities): string {
  const words: string[] = [];
  for (const [name, values] of list) {
    if (values.length === 0) words.push(name);
    for (const value of values) words.push(`${name}=${value}`);
  }
  return words.join(" ");
}

/** Parses the list of v0 and v1; leading, trailing and doubled spaces are ignored, as git does. */
export function parseCapabilities(text: string): Capabilities {
  return collect(text.split(" ").filter((word) => word !== ""));
}

/** The v2 advertisement, flush included. */
export function encodeCapabilityAdvertisement(list: Capabilities): Buffer {
  const lines = [pktLine("version 2\n")];
  for (const [name, values] of list) {
    if (values.length === 0) lines.push(pktLine(`${name}\n`));
    for (const value of values) lines.push(pktLine(`${name}=${value}\n`));
  }
  lines.push(FLUSH);
  return Buffer.concat(lines);
}

/** Reads the rest of a v2 advertisement, from behind its `version 2` line to the flush. */
export async function readCapabilityAdvertisement(reader: PktReader): Promise<Capabilities> {
  const lines: string[] = [];
  for (;;) {
    const packet = await reader.read();
    if (packet.kind === "flush") return collect(lines);
    if (packet.kind === "eof") throw new KvError("NETWORK", "the connection ended inside the capability advertisement");
    if (packet.kind !== "data") throw new KvError("PROTOCOL", `${packet.kind} inside the capability advertisement`);
    if (lines.length >= MAX_CAPABILITIES) throw new KvError("LIMIT_EXCEEDED", "too many capabilities advertised");
    lines.push(lineText(packet.data));
  }
}

/** The object format a list names; sha1 where it names none. Throws UNSUPPORTED on a name git does not know. */
export function capabilityFormat(list: Capabilities): ObjectFormat {
  return objectFormat(capabilityValue(list, "object-format") ?? "sha1");
}

/** `agent` as it may stand in a list: git writes every byte that is not printable ASCII as a dot. */
export function agentToken(agent: string): string {
  return agent.replace(/[^\x21-\x7e]/g, ".").slice(0, LIMITS.refName);
}

const MAX_CAPABILITIES = 1_000;

/** Groups `name` and `name=value` words. */
export function collect(words: readonly string[]): Capabilities {
  const map = new Map<string, string[]>();
  for (const word of words) {
    const equals = word.indexOf("=");
    const name = equals < 0 ? word : word.slice(0, equals);
    const values = map.get(name) ?? [];
    if (equals >= 0) values.push(word.slice(equals + 1));
    map.set(name, values);
  }
  return map;
}
