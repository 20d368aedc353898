/** What the server of a transport said first: read once, however many sessions use the transport. */

import { KvError } from "../../errors.ts";
import { capabilityValue } from "./capabilities.ts";
import { type Packet, PktReader } from "./pkt-line.ts";
import { type Greeting, readGreeting, throwIfErr } from "./ref-advertisement.ts";
import type { Transport } from "./transport.ts";

const greetings = new WeakMap<Transport, Promise<Greeting>>();

/** The greeting; a failure is reported each time it is asked for. */
export function greetingOf(transport: Transport): Promise<Greeting> {
  let greeting = greetings.get(transport);
  if (greeting === undefined) {
    greeting = transport.greeting().then(readGreeting);
    greetings.set(transport, greeting);
  }
  return greeting;
}

/**
 * Whether refs that are asked for once more on the connection are told as they are then. In v0 and v1 they are told once. In v2 git's own
 * upload-pack keeps the loose refs that it has read for as long as its process lives (git: refs/files-backend.c, get_loose_ref_cache): on a
 * connection that stays (git://, ssh, a path) it goes on telling what it told first. Over HTTP each request has a process of its own, and
 * our upload-pack looks anew.
 */
export async function tellsRefsAnew(transport: Transport): Promise<boolean> {
  const greeting = await greetingOf(transport);
  if (greeting.kind === "refs") return false;
  return transport.stateless || capabilityValue(greeting.capabilities, "agent")?.startsWith("git-kv") === true;
}

/**
 * Takes the server's greeting for `greeting` without asking for it, which spares a round trip where requests stand alone (v2 over HTTP).
 * A server that is another than was thought refuses the first request.
 */
export function presumeGreeting(transport: Transport, greeting: Greeting): void {
  greetings.set(transport, Promise.resolve(greeting));
}

/** Throws UNSUPPORTED where the server's objects are of another format than ours. */
export function checkFormat(transport: Transport, greeting: Greeting, format: { readonly name: string }): void {
  if (greeting.format.name === format.name) return;
  throw new KvError("UNSUPPORTED", `${transport.url} is a ${greeting.format.name} repository, ours is ${format.name}`);
}

/**
 * A reader that takes an error line in the place of any packet for what it is: the server's refusal to begin. Throws
 * REMOTE_REJECTED with `data.errorLine` true there.
 */
export class ErrorLineReader extends PktReader {
  readonly #reader: PktReader;

  constructor(reader: PktReader) {
    super({ read: async () => undefined });
    this.#reader = reader;
  }

  override async read(): Promise<Packet> {
    const packet = await this.#reader.read();
    try {
      throwIfErr(packet);
    } catch (error) {
      const { message } = error as KvError;
      throw new KvError("REMOTE_REJECTED", message, { data: { errorLine: true } });
    }
    return packet;
  }

  override rest(): ReturnType<PktReader["rest"]> {
    return this.#reader.rest();
  }
}
