/** The unix socket door: sshd's forced command and the stdio programs hand their bytes to the daemon here. */

import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { utf8 } from "../bytes.ts";
import type { Clock } from "../clock.ts";
import { toKvError } from "../errors.ts";
import type { ByteSink, ByteSource } from "../gitwire/protocol/byte-stream.ts";
import { pktLine } from "../gitwire/protocol/pkt-line.ts";
import { SocketClaim } from "../socket-claim.ts";
import { readHookRequest } from "./hook-call.ts";
import { answerHook } from "./hook-push.ts";
import type { Log } from "./log.ts";
import type { Registry } from "./registry.ts";
import { protocolVersion, type Served, serveSession } from "./service.ts";
import { readCall, type SocketCall } from "./socket-call.ts";
import { socketSink, socketSource } from "./socket-stream.ts";
import { statusOf } from "./status.ts";
import { answerSync, errorAnswer, parseSyncRequest } from "./sync-call.ts";
import { allows, type Identity } from "./tokens.ts";

export class SocketDoor {
  readonly #claim: SocketClaim;
  readonly #server: net.Server;
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #sockets = new Set<net.Socket>();
  readonly #sessions = new Set<Promise<void>>();

  private constructor(claim: SocketClaim, registry: Registry, clock: Clock, log: Log) {
    this.#claim = claim;
    this.#registry = registry;
    this.#clock = clock;
    this.#log = log;
    this.#server = net.createServer({ allowHalfOpen: true }, (socket) => this.#take(socket));
  }

  /** Listens at `socketPath`; a socket a dead process left there is replaced. Throws LOCKED where another one listens, IO. */
  static async listen(socketPath: string, registry: Registry, clock: Clock, log: Log): Promise<SocketDoor> {
    fs.mkdirSync(path.dirname(socketPath), { recursive: true, mode: 0o750 });
    const claim = await SocketClaim.take(socketPath, "stop it, or give another --socket");
    try {
      const door = new SocketDoor(claim, registry, clock, log);
      await new Promise<void>((resolve, reject) => {
        door.#server.once("error", (error) => reject(toKvError(error)));
        door.#server.listen(socketPath, resolve);
      });
      fs.chmodSync(socketPath, 0o660);
      return door;
    } catch (error) {
      claim.release();
      throw error;
    }
  }

  /** Takes nothing new and waits for what is under way, `most` milliseconds at the most. */
  async close(most: number): Promise<void> {
    this.#server.close();
    await Promise.race([Promise.allSettled([...this.#sessions]), Bun.sleep(most)]);
    for (const socket of this.#sockets) socket.destroy();
    this.#claim.release();
  }

  #take(socket: net.Socket): void {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    // Errors show at the next read or write; without a listener they would end the process.
    socket.on("error", () => {});
    const session = this.#serve(socket).catch((error: unknown) => {
      const { code, message } = toKvError(error);
      this.#log(code === "BUG" ? "error" : "info", "socket", { code, message });
    });
    this.#sessions.add(session);
    session.finally(() => {
      this.#sessions.delete(session);
      socket.end();
    });
  }

  async #serve(socket: net.Socket): Promise<void> {
    const output = socketSink(socket);
    const { call, rest } = await readCall(socketSource(socket));
    const served = this.#registry.byNameOrPath(call.repo);
    if (served === undefined) return output.write(pktLine("ERR no such repository\n"));
    if (call.service === "status")
      return output.write(utf8(`${JSON.stringify(statusOf(served, this.#clock.now()))}\n`));
    if (call.service === "hook") return this.#hook(served, call, rest, output);
    const refusal = refuse(call);
    if (refusal !== undefined) return output.write(pktLine(`ERR ${refusal}\n`));
    const { service, user, scope, door, key, protocol } = call;
    const who = { name: user, scope, door, key };
    if (service === "sync") return this.#sync(served, call, who, output);
    const version = protocolVersion(protocol);
    const gone = new AbortController();
    socket.on("close", () => gone.abort());
    const session = { service, version, stateless: false, advertise: "both", who, gone: gone.signal } as const;
    await serveSession(served, { input: rest, output }, session);
  }

  async #sync(served: Served, { request }: SocketCall, who: Identity, output: ByteSink): Promise<void> {
    const answer = await Promise.resolve()
      .then(() => answerSync(served, parseSyncRequest(request ?? ""), who))
      .catch(errorAnswer);
    await output.write(utf8(`${JSON.stringify(answer)}\n`));
  }

  async #hook(served: Served, { user, scope, door }: SocketCall, rest: ByteSource, output: ByteSink): Promise<void> {
    const request = await readHookRequest(rest, served.gate.repo.format);
    const answer = await answerHook(served, { name: user, scope, door }, request);
    await output.write(utf8(`${JSON.stringify(answer)}\n`));
  }
}

function refuse({ service, scope, user }: SocketCall): string | undefined {
  const needed = service === "git-receive-pack" ? "write" : "read";
  return allows(scope, needed) ? undefined : `FORBIDDEN: '${user}' may ${scope}, ${needed} is needed`;
}
