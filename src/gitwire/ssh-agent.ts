/**
 * The SSH agent at SSH_AUTH_SOCK (draft-ietf-sshm-ssh-agent): which keys it holds, and signing with one.
 *
 *   message = uint32 length, byte type, contents
 *   11 REQUEST_IDENTITIES                                        -> 12 IDENTITIES_ANSWER: uint32 n, n (string blob, string comment)
 *   13 SIGN_REQUEST: string blob, string data, uint32 flags      -> 14 SIGN_RESPONSE: string signature
 *                                                                ->  5 FAILURE
 */

import { deferred } from "../deferred.ts";
import { KvError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import { SshReader, sshString, uint32 } from "./object/ssh-wire.ts";

/** A key the agent can sign with. */
export interface AgentIdentity {
  readonly blob: Buffer;
  readonly comment: string;
}

const REQUEST_IDENTITIES = 11;
const IDENTITIES_ANSWER = 12;
const SIGN_REQUEST = 13;
const SIGN_RESPONSE = 14;
/** Asks an RSA key for rsa-sha2-512; other keys do not mind. */
const RSA_SHA2_512 = 4;

/** The keys of the agent listening at `socket`. Throws IO where nobody answers there. */
export async function agentIdentities(socket: string, signal: AbortSignal): Promise<AgentIdentity[]> {
  const answer = await ask(socket, REQUEST_IDENTITIES, Buffer.alloc(0), signal);
  if (answer.type !== IDENTITIES_ANSWER) throw agentError("does not tell which keys it holds");
  return reading(() => {
    const read = new SshReader(answer.body, "SSH agent's answer");
    const count = read.uint32();
    if (count > LIMITS.agentKeys) throw agentError(`claims to hold ${count} keys`);
    const identities: AgentIdentity[] = [];
    for (let i = 0; i < count; i++) {
      identities.push({ blob: Buffer.from(read.string()), comment: read.string().toString() });
    }
    read.end();
    return identities;
  });
}

/**
 * Signs `data` with the agent's key `blob`: string algorithm, string signature, ... The agent may ask its user first, so
 * this takes as long as it takes. Throws IO where the agent does not sign.
 */
export async function agentSign(socket: string, blob: Buffer, data: Buffer, signal: AbortSignal): Promise<Buffer> {
  const body = Buffer.concat([sshString(blob), sshString(data), uint32(RSA_SHA2_512)]);
  const answer = await ask(socket, SIGN_REQUEST, body, signal);
  if (answer.type !== SIGN_RESPONSE) {
    throw new KvError("IO", "the SSH agent refused to sign", {
      hint: "was it locked, or did its user say no? 'ssh-add -L' lists its keys",
    });
  }
  return reading(() => {
    const read = new SshReader(answer.body, "SSH agent's answer");
    const signature = read.string();
    read.end();
    return Buffer.from(signature);
  });
}

const agentError = (problem: string, cause?: unknown): KvError =>
  new KvError("IO", `the SSH agent ${problem}`, { cause, hint: "is SSH_AUTH_SOCK the socket of an SSH agent?" });

function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof KvError && cause.code === "BAD_SIGNATURE") throw agentError("gave a malformed answer", cause);
    throw cause;
  }
}

interface Answer {
  readonly type: number;
  readonly body: Buffer;
}

/** One question, one answer, one connection. */
async function ask(path: string, type: number, body: Buffer, signal: AbortSignal): Promise<Answer> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = deferred<Answer>();
  promise.catch(() => {});
  let received = Buffer.alloc(0);
  const take = (bytes: Buffer): void => {
    received = Buffer.concat([received, bytes]);
    if (received.length < 4) return;
    const length = received.readUInt32BE(0);
    if (length === 0 || length > LIMITS.agentMessage) reject(agentError("gave a malformed answer"));
    else if (received.length > 4 + length) reject(agentError("said more than it was asked"));
    else if (received.length === 4 + length) resolve({ type: received[4]!, body: received.subarray(5) });
  };
  const socket = await Bun.connect({
    unix: path,
    socket: {
      data: (_, bytes) => take(Buffer.from(bytes)),
      close: () => reject(agentError("closed the connection")),
      error: (_, cause) => reject(agentError("cannot be talked to", cause)),
      drain: () => send(),
    },
  }).catch((cause: unknown) => {
    throw agentError(`cannot be reached at ${path}`, cause);
  });
  let message = Buffer.concat([uint32(1 + body.length), Buffer.of(type), body]);
  const send = (): void => {
    if (message.length > 0) message = message.subarray(socket.write(message));
  };
  const stop = (): void => reject(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  try {
    // It may have been aborted while the connection was made.
    signal.throwIfAborted();
    send();
    return await promise;
  } finally {
    signal.removeEventListener("abort", stop);
    socket.end();
  }
}
