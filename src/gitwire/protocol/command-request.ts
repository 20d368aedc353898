/**
 * A command of protocol v2 (git: gitprotocol-v2 "Command Request").
 *
 *     request          =  empty-request / command-request
 *     empty-request    =  flush-pkt                       the client is done
 *     command-request  =  command capability-list delim-pkt command-args flush-pkt
 *     command          =  PKT-LINE("command=" key LF)
 *     capability-list  =  *PKT-LINE(name ["=" value] LF)
 *     command-args     =  *PKT-LINE(command-specific-arg LF)
 *
 * The delimiter is left out where there are no arguments.
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { GarbageMeter } from "../../memory.ts";
import { TimeSlice } from "../../time-slice.ts";
import { type Capabilities, collect } from "./capabilities.ts";
import { DELIM, FLUSH, lineText, type PktReader, pktLine, quoted } from "./pkt-line.ts";

export interface CommandRequest {
  readonly command: string;
  readonly capabilities: Capabilities;
  readonly args: readonly string[];
}

/** Encodes a command with its arguments. */
export function encodeCommandRequest(command: string, list: Capabilities, args: Iterable<string>): Buffer {
  const lines = [pktLine(`command=${command}\n`)];
  for (const [name, values] of list) {
    if (values.length === 0) lines.push(pktLine(`${name}\n`));
    for (const value of values) lines.push(pktLine(`${name}=${value}\n`));
  }
  lines.push(DELIM);
  for (const arg of args) lines.push(pktLine(`${arg}\n`));
  lines.push(FLUSH);
  return Buffer.concat(lines);
}

/**
 * Reads a command; undefined where the client says it is done or hangs up. Arguments that `take` takes are not kept: a fetch
 * may name a million objects. Throws PROTOCOL, NETWORK, or LIMIT_EXCEEDED over LIMITS.fetchLines lines or LIMITS.requestBody
 * bytes.
 */
export async function readCommandRequest(
  reader: PktReader,
  take: (argument: Buffer) => boolean = () => false,
): Promise<CommandRequest | undefined> {
  const words: string[] = [];
  const args: string[] = [];
  const slice = new TimeSlice();
  const garbage = new GarbageMeter();
  let into = words;
  let bytes = 0;
  for (let lines = 0; ; lines++) {
    if (slice.isOver()) await slice.pause();
    const packet = await reader.read();
    if (packet.kind === "eof" && words.length === 0) return undefined;
    if (packet.kind === "eof") throw new KvError("NETWORK", "the connection ended inside a command");
    if (packet.kind === "response-end") throw new KvError("PROTOCOL", "response-end inside a command");
    if (packet.kind === "flush") break;
    if (packet.kind === "delim") {
      if (into === args) {
        const command = words.find((word) => word.startsWith("command="))?.slice("command=".length) ?? "";
        throw new KvError("PROTOCOL", `expected flush after ${command.slice(0, 100)} arguments`);
      }
      into = args;
      continue;
    }
    bytes += packet.data.length;
    garbage.add(1);
    if (lines > LIMITS.fetchLines || bytes > LIMITS.requestBody) {
      throw new KvError("LIMIT_EXCEEDED", "the request is too long");
    }
    if (into === words || !take(packet.data)) into.push(lineText(packet.data));
  }
  if (words.length === 0 && into === words) return undefined;
  return splitCommand(words, args);
}

function splitCommand(words: readonly string[], args: readonly string[]): CommandRequest {
  const list = new Map(collect(words));
  const commands = list.get("command") ?? [];
  list.delete("command");
  const [command] = commands;
  if (command === undefined) throw new KvError("PROTOCOL", "no command requested");
  if (commands.length > 1)
    throw new KvError(
      "PROTOCOL",
      `command ${quoted(commands[1]!)} requested after already requesting command ${quoted(command)}`,
    );
  return { command, capabilities: list, args };
}
