/**
 * Ways to a server that the runtime's fetch does not know. It can be told to connect to a socket in the file system instead of a
 * host; every connection to that socket is led on to the server by `dial`. TLS is from end to end: what passes here are bytes. The
 * socket lies in a folder that nobody else can enter.
 */

import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";

/** Makes a connection to the server. */
export type Dial = () => Promise<net.Socket>;

export class Tunnel {
  readonly path: string;
  readonly #server: net.Server;
  readonly #open = new Set<net.Socket>();
  /** Why the last connection could not be made. */
  failure: unknown;

  private constructor(socketPath: string, dial: Dial) {
    this.path = socketPath;
    this.#server = net.createServer((client) => void this.#lead(client, dial));
  }

  static async open(dial: Dial): Promise<Tunnel> {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "git-kv-"));
    const tunnel = new Tunnel(path.join(folder, "s"), dial);
    await new Promise<void>((resolve, reject) => {
      tunnel.#server.once("error", reject);
      tunnel.#server.listen(tunnel.path, resolve);
    });
    tunnel.#server.unref();
    return tunnel;
  }

  /** Ends all connections and removes the socket. */
  close(): void {
    this.#server.close();
    for (const socket of this.#open) socket.destroy();
    fs.rmSync(path.dirname(this.path), { recursive: true, force: true });
  }

  async #lead(client: net.Socket, dial: Dial): Promise<void> {
    this.#keep(client);
    try {
      const server = await dial();
      this.#keep(server);
      const end = (): void => {
        client.destroy();
        server.destroy();
      };
      client.on("close", end);
      server.on("close", end);
      this.failure = undefined;
      client.pipe(server).pipe(client);
    } catch (error) {
      this.failure = error;
      client.destroy();
    }
  }

  #keep(socket: net.Socket): void {
    this.#open.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#open.delete(socket));
  }
}
