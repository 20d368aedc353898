/**
 * What a hook asks of the process that leads the repository, and its answer: one line of JSON each, ended by LF.
 *
 *     request = {"phase":PHASE,"commands":[{"ref","oldOid","newOid"},...],"options":[TEXT,...],"quarantine":PATH}
 *     answer  = {"results":[{"ref","status":"ok"|"ng","reason"},...],"said":TEXT}
 */

import { KvError } from "../errors.ts";
import { isOid, type ObjectFormat } from "../gitwire/object/oid.ts";
import type { ByteSource } from "../gitwire/protocol/byte-stream.ts";
import type { PushCommand } from "../gitwire/protocol/receive-commands.ts";
import type { RefResult } from "../gitwire/protocol/report-status.ts";
import { isValidRefName } from "../gitwire/refs/ref-name.ts";
import { LIMITS } from "../limits.ts";

/** `judge`: may it come in? `accept`: move the refs. `moved`: git says that it has moved them. */
export type HookPhase = "judge" | "accept" | "moved";

export interface HookRequest {
  readonly phase: HookPhase;
  readonly commands: readonly PushCommand[];
  readonly options: readonly string[];
  /** Folder of the objects that have come, while they wait. */
  readonly quarantine?: string | undefined;
}

export interface HookAnswer {
  /** One for each command, or none where there is nothing to say against them yet. */
  readonly results: readonly RefResult[];
  /** For the person who pushes. */
  readonly said: string;
}

/** Reads a request of at most LIMITS.requestBody bytes and checks it as a push is checked. Throws PROTOCOL, LIMIT_EXCEEDED. */
export async function readHookRequest(source: ByteSource, format: ObjectFormat): Promise<HookRequest> {
  const chunks: Buffer[] = [];
  let size = 0;
  for (let ended = false; !ended; ) {
    const chunk = await source.read();
    if (chunk === undefined) break;
    ended = chunk.includes(0x0a);
    size += chunk.length;
    if (size > LIMITS.requestBody) throw new KvError("LIMIT_EXCEEDED", "the hook's request is too large");
    chunks.push(Buffer.from(chunk));
  }
  let request: HookRequest | undefined;
  try {
    request = JSON.parse(Buffer.concat(chunks).toString("utf8")) as HookRequest;
  } catch {}
  if (request === undefined || !isRequest(request)) throw new KvError("PROTOCOL", "the hook's request is malformed");
  checkPush(request, format);
  return request;
}

function isRequest({ phase, commands, options, quarantine }: HookRequest): boolean {
  return (
    ["judge", "accept", "moved"].includes(phase) &&
    Array.isArray(commands) &&
    Array.isArray(options) &&
    options.every((option) => typeof option === "string") &&
    commands.every((one) => [one?.ref, one?.oldOid, one?.newOid].every((text) => typeof text === "string")) &&
    (quarantine === undefined || typeof quarantine === "string")
  );
}

/** The rules receive-pack reads a push by, for one that stock git has read. Throws PROTOCOL, LIMIT_EXCEEDED. */
export function checkPush(
  { commands, options }: Pick<HookRequest, "commands" | "options">,
  format: ObjectFormat,
): void {
  if (commands.length === 0) throw new KvError("PROTOCOL", "the push names no ref");
  if (commands.length > LIMITS.refsPerPush)
    throw new KvError("LIMIT_EXCEEDED", `a push moves at most ${LIMITS.refsPerPush} refs`);
  for (const { ref, oldOid, newOid } of commands) {
    if (!isValidRefName(ref) || !isOid(format, oldOid) || !isOid(format, newOid))
      throw new KvError("PROTOCOL", "the push names a ref or an object that cannot be one");
  }
  if (new Set(commands.map(({ ref }) => ref)).size < commands.length)
    throw new KvError("PROTOCOL", "the push names a ref twice");
  const most = `${LIMITS.pushOptions} push options of ${LIMITS.pushOptionBytes} bytes`;
  if (options.length > LIMITS.pushOptions || options.some((one) => Buffer.byteLength(one) > LIMITS.pushOptionBytes))
    throw new KvError("LIMIT_EXCEEDED", `at most ${most} are taken`);
  if (options.some((one) => /[\x00-\x1f\x7f]/.test(one))) throw new KvError("PROTOCOL", "a push option is unprintable");
}
