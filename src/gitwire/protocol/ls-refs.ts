/**
 * The `ls-refs` command of protocol v2 (git: gitprotocol-v2 "ls-refs").
 *
 *     arguments:  "symrefs"  "peel"  "unborn"  "ref-prefix" SP prefix
 *     output         =  *ref flush-pkt
 *     ref            =  PKT-LINE(obj-id-or-unborn SP refname *(SP ref-attribute) LF)
 *     ref-attribute  =  "symref-target:" symref-target / "peeled:" obj-id
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { isOid, type ObjectFormat } from "../object/oid.ts";
import type { RefCursor } from "../refs/ref-snapshot.ts";
import { PktBlock } from "./pkt-block.ts";
import { FLUSH, type PktReader, quoted, tryLineText } from "./pkt-line.ts";
import { type RemoteRef, throwIfErr } from "./ref-advertisement.ts";

export interface LsRefsRequest {
  readonly symrefs: boolean;
  readonly peel: boolean;
  readonly unborn: boolean;
  /** Refs that begin with one of these; all refs where the list is empty. */
  readonly prefixes: readonly string[];
}

/** A line of the answer: a ref, or HEAD pointing at a branch without a commit. */
export type LsRefsLine =
  | ({ readonly kind: "ref" } & RemoteRef)
  | { readonly kind: "unborn"; readonly name: string; readonly symref: string };

/** Most prefixes that are looked at; git's own limit, above which it shows every ref. */
const MAX_PREFIXES = 65_536;

/** The command's arguments. */
export function formatLsRefsRequest(request: LsRefsRequest): string[] {
  const args: string[] = [];
  if (request.peel) args.push("peel");
  if (request.symrefs) args.push("symrefs");
  if (request.unborn) args.push("unborn");
  for (const prefix of request.prefixes) args.push(`ref-prefix ${prefix}`);
  return args;
}

/** Parses the arguments. Throws PROTOCOL on one that is not known. */
export function parseLsRefsRequest(args: readonly string[]): LsRefsRequest {
  const prefixes: string[] = [];
  const flags = { symrefs: false, peel: false, unborn: false };
  for (const arg of args) {
    if (arg === "symrefs" || arg === "peel" || arg === "unborn") flags[arg] = true;
    else if (arg.startsWith("ref-prefix ")) prefixes.push(arg.slice(11));
    else throw new KvError("PROTOCOL", `unexpected line: ${quoted(arg)}`);
  }
  return { ...flags, prefixes: prefixes.length > MAX_PREFIXES ? [] : prefixes };
}

const LF = Buffer.from("\n");
const PEELED = Buffer.from(" peeled:");

/** Yields the answer in pieces of about 64 KiB, flush included: `lines`, then what `listed` goes over, with `symrefs` if asked. */
export function* encodeLsRefs(lines: Iterable<LsRefsLine>, listed?: RefCursor, symrefs = false): Generator<Buffer> {
  const block = new PktBlock();
  for (const line of lines) {
    block.begin();
    block.text(formatLine(line));
    block.end();
    if (block.isFull) yield block.take();
  }
  while (listed?.next() === true) {
    const { bytes, start, nameStart, end, peeledStart, symref } = listed;
    block.begin();
    block.copy(bytes, start, end);
    if (symrefs && symref !== undefined) block.text(` symref-target:${symref}`);
    if (peeledStart >= 0) {
      block.append(PEELED);
      block.copy(bytes, peeledStart, peeledStart + (nameStart - 1 - start));
    }
    block.append(LF);
    block.end();
    if (block.isFull) yield block.take();
  }
  block.add(FLUSH);
  yield block.take();
}

function formatLine(line: LsRefsLine): string {
  const id = line.kind === "unborn" ? "unborn" : line.oid;
  const symref = line.symref === undefined ? "" : ` symref-target:${line.symref}`;
  const peeled = line.kind === "unborn" || line.peeled === undefined ? "" : ` peeled:${line.peeled}`;
  return `${id} ${line.name}${symref}${peeled}\n`;
}

/** Reads the answer up to its flush. Refs whose names are not UTF-8 are left out. */
export async function readLsRefs(reader: PktReader, format: ObjectFormat): Promise<LsRefsLine[]> {
  const lines: LsRefsLine[] = [];
  for (;;) {
    const packet = await reader.read();
    throwIfErr(packet);
    if (packet.kind === "flush") return lines;
    if (packet.kind === "eof") throw new KvError("NETWORK", "the connection ended inside the list of refs");
    if (packet.kind !== "data") throw new KvError("PROTOCOL", `${packet.kind} inside the list of refs`);
    if (lines.length >= LIMITS.refs) throw new KvError("LIMIT_EXCEEDED", "the server has too many refs");
    const line = tryLineText(packet.data);
    if (line !== undefined) lines.push(parseLine(format, line));
  }
}

function parseLine(format: ObjectFormat, line: string): LsRefsLine {
  const [id = "", name = "", ...attributes] = line.split(" ");
  let symref: string | undefined;
  let peeled: string | undefined;
  for (const attribute of attributes) {
    if (attribute.startsWith("symref-target:")) symref = attribute.slice(14);
    else if (attribute.startsWith("peeled:")) peeled = attribute.slice(7);
  }
  if (name === "" || (peeled !== undefined && !isOid(format, peeled))) throw malformed(line);
  if (id === "unborn") {
    if (symref === undefined) throw malformed(line);
    return { kind: "unborn", name, symref };
  }
  if (!isOid(format, id)) throw malformed(line);
  return {
    kind: "ref",
    name,
    oid: id,
    ...(peeled === undefined ? {} : { peeled }),
    ...(symref === undefined ? {} : { symref }),
  };
}

function malformed(line: string): KvError {
  return new KvError("PROTOCOL", `malformed line in the list of refs: ${quoted(line)}`);
}
