/**
 * The hook's side of proc-receive (git: githooks "proc-receive"), on standard input and output.
 *
 *     git:  PKT-LINE("version=1" NUL capabilities) flush
 *     hook: PKT-LINE("version=1" NUL "push-options") flush       (push-options where git offers it)
 *     git:  *PKT-LINE(old SP new SP ref) flush [*PKT-LINE(push-option) flush]
 *     hook: *PKT-LINE("ok" SP ref / "ng" SP ref SP reason) flush
 */

import { KvError } from "../errors.ts";
import type { ByteSink, ByteSource } from "../gitwire/protocol/byte-stream.ts";
import { FLUSH, lineText, PktReader, pktLine } from "../gitwire/protocol/pkt-line.ts";
import type { PushCommand } from "../gitwire/protocol/receive-commands.ts";
import type { RefResult } from "../gitwire/protocol/report-status.ts";
import { LIMITS } from "../limits.ts";

export interface ProcReceiveRequest {
  readonly commands: readonly PushCommand[];
  readonly options: readonly string[];
}

/** Reads what git hands over. Throws PROTOCOL, LIMIT_EXCEEDED, NETWORK. */
export async function readProcReceive(input: ByteSource, output: ByteSink): Promise<ProcReceiveRequest> {
  const reader = new PktReader(input);
  const [greeting] = await lines(reader, 1);
  const [version, capabilities = ""] = (greeting ?? "").split("\0");
  if (version !== "version=1") throw new KvError("PROTOCOL", "git speaks another version of proc-receive");
  const hasOptions = capabilities.split(" ").includes("push-options");
  await output.write(Buffer.concat([pktLine(`version=1${hasOptions ? "\0push-options" : ""}\n`), FLUSH]));
  const commands = (await lines(reader, LIMITS.refsPerPush)).map(parseCommandLine);
  const options = hasOptions ? await lines(reader, LIMITS.pushOptions) : [];
  return { commands, options };
}

/** The lines up to the next flush, at most `most`. */
async function lines(reader: PktReader, most: number): Promise<string[]> {
  const found: string[] = [];
  for (;;) {
    const packet = await reader.read();
    if (packet.kind === "flush") return found;
    if (packet.kind !== "data") throw new KvError("PROTOCOL", `${packet.kind} where git's lines were expected`);
    if (found.length >= most) throw new KvError("LIMIT_EXCEEDED", `git hands over more than ${most} lines`);
    found.push(lineText(packet.data));
  }
}

/** `<old> <new> <ref>`, as pre-receive gets them too. */
export function parseCommandLine(line: string): PushCommand {
  const [oldOid = "", newOid = "", ...ref] = line.split(" ");
  return { oldOid, newOid, ref: ref.join(" ") };
}

/** What became of each command, for git. */
export function formatResults(results: readonly RefResult[]): Buffer {
  const line = (one: RefResult): string =>
    one.status === "ok" ? `ok ${one.ref}\n` : `ng ${one.ref} ${one.reason.replace(/\s+/g, " ").slice(0, 1_000)}\n`;
  return Buffer.concat([...results.map((one) => pktLine(line(one))), FLUSH]);
}
