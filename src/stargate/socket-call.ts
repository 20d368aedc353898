/**
 * What goes over the daemon's unix socket: one line of JSON, then the bytes of git's protocol, in both directions.
 *
 *     call  = header LF *OCTET
 *     header = {"v":1,"service":"git-upload-pack"|"git-receive-pack"|"status"|"sync"|"hook","repo":NAME-OR-PATH,"protocol":TEXT,"user":NAME,"scope":SCOPE,"door":DOOR[,"key":FINGERPRINT]}
 *
 * Whoever can open the socket is believed about `user`, `scope` and `door`: sshd has seen to that. File permissions guard it.
 */

import { utf8 } from "../bytes.ts";
import { KvError } from "../errors.ts";
import type { ByteSource } from "../gitwire/protocol/byte-stream.ts";
import { DOORS, type Door, SCOPES, type Scope } from "./tokens.ts";

export interface SocketCall {
  /** `hook`: what follows is a hook's request (hook-call.ts). */
  readonly service: "git-upload-pack" | "git-receive-pack" | "status" | "sync" | "hook";
  /** The name a repository is served under, or its absolute path. */
  readonly repo: string;
  /** GIT_PROTOCOL; "" for none. */
  readonly protocol: string;
  readonly user: string;
  readonly scope: Scope;
  /** How they came to the socket. */
  readonly door: Door;
  /** Fingerprint of the SSH key that logged in. */
  readonly key?: string | undefined;
  /** `sync`: what is asked for, as JSON (sync-call.ts). */
  readonly request?: string | undefined;
}

const MAX_HEADER = 8_192;

export function encodeCall(call: SocketCall): Buffer {
  return utf8(`${JSON.stringify({ v: 1, ...call })}\n`);
}

/** Reads the header; the bytes that came after it are the start of `rest`. Throws PROTOCOL. */
export async function readCall(source: ByteSource): Promise<{ readonly call: SocketCall; readonly rest: ByteSource }> {
  let head: Buffer = Buffer.alloc(0);
  let end = -1;
  while (end < 0) {
    if (head.length > MAX_HEADER) throw new KvError("PROTOCOL", "the call's header is too long");
    const chunk = await source.read();
    if (chunk === undefined) throw new KvError("PROTOCOL", "the call ended inside its header");
    head = Buffer.concat([head, chunk]);
    end = head.indexOf(0x0a);
  }
  let first: Buffer | undefined = head.subarray(end + 1);
  const rest: ByteSource = {
    read: async () => {
      const taken = first;
      first = undefined;
      return taken !== undefined && taken.length > 0 ? taken : source.read();
    },
  };
  return { call: parseCall(head.toString("utf8", 0, end)), rest };
}

function parseCall(line: string): SocketCall {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {}
  const call = value as (SocketCall & { v?: unknown }) | null | undefined;
  const isText = (text: unknown): boolean => typeof text === "string" && text.length <= 4_096;
  if (
    call?.v === 1 &&
    ["git-upload-pack", "git-receive-pack", "status", "sync", "hook"].includes(call.service) &&
    isText(call.repo) &&
    isText(call.protocol) &&
    isText(call.user) &&
    SCOPES.includes(call.scope) &&
    DOORS.includes(call.door) &&
    (call.key === undefined || isText(call.key)) &&
    (call.request === undefined || isText(call.request))
  ) {
    return call;
  }
  throw new KvError("PROTOCOL", "the call's header is malformed");
}
