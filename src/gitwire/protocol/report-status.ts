/**
 * The answer to a push (git: gitprotocol-pack "Report Status").
 *
 *     report-status        =  unpack-status 1*(command-status / command-status-v2) flush-pkt
 *     unpack-status        =  PKT-LINE("unpack" SP ("ok" / error-msg))
 *     command-status       =  PKT-LINE("ok" SP refname) / PKT-LINE("ng" SP refname SP error-msg)
 *     command-status-v2    =  command-status *option-line            (after "ok" only)
 *     option-line          =  PKT-LINE("option" SP ("refname" SP refname / "old-oid" SP obj-id / "new-oid" SP obj-id /
 *                             "forced-update"))
 *
 * An `ng` line always carries a text: clients show it to the user as the reason.
 */

import { utf8 } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import type { Oid } from "../object/oid.ts";
import { FLUSH, lineText, type PktReader, pktLine, quoted } from "./pkt-line.ts";

/** What became of one command. `options` (report-status-v2) say what was really done where it differs from the command. */
export type RefResult =
  | { readonly ref: string; readonly status: "ok"; readonly options?: RefResultOptions }
  | { readonly ref: string; readonly status: "ng"; readonly reason: string };

export interface RefResultOptions {
  readonly refname?: string;
  readonly oldOid?: Oid;
  readonly newOid?: Oid;
  readonly forcedUpdate?: boolean;
}

/** `unpack` is "ok" or why the pack was not taken. */
export interface PushReport {
  readonly unpack: string;
  readonly refs: readonly RefResult[];
}

/** Encodes a report; `v2` writes the option lines. Texts are made to fit on one line. */
export function encodeReport(report: PushReport, v2: boolean): Buffer {
  const lines = [pktLine(`unpack ${oneLine(report.unpack, "unpack failed")}\n`)];
  for (const result of report.refs) {
    if (result.status === "ng") {
      lines.push(pktLine(`ng ${result.ref} ${oneLine(result.reason, "failed")}\n`));
      continue;
    }
    lines.push(pktLine(`ok ${result.ref}\n`));
    if (!v2 || result.options === undefined) continue;
    const { refname, oldOid, newOid, forcedUpdate } = result.options;
    if (refname !== undefined) lines.push(pktLine(`option refname ${refname}\n`));
    if (oldOid !== undefined) lines.push(pktLine(`option old-oid ${oldOid}\n`));
    if (newOid !== undefined) lines.push(pktLine(`option new-oid ${newOid}\n`));
    if (forcedUpdate === true) lines.push(pktLine("option forced-update\n"));
  }
  lines.push(FLUSH);
  return Buffer.concat(lines);
}

/**
 * Reads a report. An `ng` without a text gets the reason "failed"; a ref named twice keeps each line. Throws NETWORK
 * where the report is cut off: what became of the push is then unknown.
 */
export async function readReport(reader: PktReader): Promise<PushReport> {
  let unpack: string | undefined;
  const refs: RefResult[] = [];
  for (;;) {
    const packet = await reader.read();
    if (packet.kind === "flush" && unpack !== undefined) return { unpack, refs };
    if (packet.kind === "eof") throw new KvError("NETWORK", "the connection ended before the report was complete");
    if (packet.kind !== "data") throw new KvError("PROTOCOL", `${packet.kind} inside the report`);
    const line = lineText(packet.data);
    if (unpack === undefined) {
      if (!line.startsWith("unpack "))
        throw new KvError("PROTOCOL", `unable to parse remote unpack status: ${quoted(line)}`);
      unpack = line.slice(7);
    } else if (line.startsWith("option ")) {
      addOption(refs, line);
    } else {
      if (refs.length >= LIMITS.refs) throw new KvError("LIMIT_EXCEEDED", "the report names too many refs");
      refs.push(parseResult(line));
    }
  }
}

function parseResult(line: string): RefResult {
  const [, status, ref, reason] = /^(ok|ng) ([^ ]+)(?: (.*))?$/s.exec(line) ?? [];
  if (ref === undefined) throw new KvError("PROTOCOL", `invalid ref status from remote: ${quoted(line)}`);
  if (status === "ok") return { ref, status: "ok" };
  return { ref, status: "ng", reason: oneLine(reason ?? "", "failed") };
}

/** Adds an option line to the result before it; unknown options are for later versions and ignored. */
function addOption(refs: RefResult[], line: string): void {
  const last = refs.pop();
  if (last?.status !== "ok") throw new KvError("PROTOCOL", `option without its ref: ${quoted(line)}`);
  const [, name, value = ""] = /^option ([^ ]+)(?: (.*))?$/s.exec(line) ?? [];
  const option: RefResultOptions =
    name === "refname"
      ? { refname: value }
      : name === "old-oid"
        ? { oldOid: value }
        : name === "new-oid"
          ? { newOid: value }
          : name === "forced-update"
            ? { forcedUpdate: true }
            : {};
  refs.push({ ...last, options: { ...last.options, ...option } });
}

/** `text` on one line, short enough for a packet, never empty. */
function oneLine(text: string, otherwise: string): string {
  const line = text.replace(/[\x00-\x1f\x7f]+/g, " ").trim();
  if (line === "") return otherwise;
  const bytes = utf8(line);
  return bytes.length <= MAX_REASON
    ? line
    : `${bytes
        .subarray(0, MAX_REASON)
        .toString("utf8")
        .replace(/\uFFFD$/, "")}...`;
}

const MAX_REASON = 2_000;
