/** A proxy that breaks connections after so many bytes, for tests. */

import * as net from "node:net";

/** Which direction is counted: what the client sends, or what the server answers. */
export type Direction = "request" | "answer";

/** Before a server: passes everything on until it is armed. */
export class Cutter {
  /** Port of the server behind it. */
  target: number;
  /** Connections taken so far. */
  connections = 0;
  /** Bytes since it was armed. */
  readonly passed: Record<Direction, number> = { request: 0, answer: 0 };
  #cut: { readonly direction: Direction; readonly limit: number; readonly forGood: boolean } | undefined;
  #refuses = false;
  readonly #open = new Set<net.Socket>();
  readonly #server: net.Server;

  private constructor(port: number) {
    this.target = port;
    this.#server = net.createServer((client) => {
      this.connections++;
      if (this.#refuses) return void client.destroy();
      const behind = net.connect(this.target, "127.0.0.1");
      const end = (): void => {
        for (const socket of [client, behind]) {
          socket.destroy();
          this.#open.delete(socket);
        }
      };
      for (const socket of [client, behind]) {
        this.#open.add(socket);
        socket.on("error", end);
        socket.on("close", end);
      }
      client.on("data", (bytes: Buffer) => this.#pass("request", bytes, behind, end));
      behind.on("data", (bytes: Buffer) => this.#pass("answer", bytes, client, end));
    });
  }

  /** Listens before the server on `port`. */
  static async start(port: number): Promise<Cutter> {
    const cutter = new Cutter(port);
    await new Promise<void>((resolve) => cutter.#server.listen(0, "127.0.0.1", resolve));
    return cutter;
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }

  /** Passes `limit` more bytes in `direction` and hangs up. `forGood`: whoever comes afterwards is hung up on as well. */
  arm(direction: Direction, limit: number, forGood = false): void {
    this.passed.request = 0;
    this.passed.answer = 0;
    this.#refuses = false;
    this.#cut = { direction, limit, forGood };
  }

  disarm(): void {
    this.#cut = undefined;
    this.#refuses = false;
  }

  /** Hangs up on everybody. */
  cutAll(): void {
    for (const socket of this.#open) socket.destroy();
  }

  stop(): void {
    this.#server.close();
    for (const socket of this.#open) socket.destroy();
  }

  #pass(direction: Direction, bytes: Buffer, to: net.Socket, end: () => void): void {
    const room = this.#cut?.direction === direction ? this.#cut.limit - this.passed[direction] : bytes.length + 1;
    this.passed[direction] += bytes.length;
    if (bytes.length <= room) {
      to.write(bytes);
      if (bytes.length < room) return;
    }
    this.#refuses = this.#cut!.forGood;
    this.#cut = undefined;
    // What was let through arrives before the end does.
    if (bytes.length > room) to.write(bytes.subarray(0, Math.max(0, room)));
    to.end(end);
  }
}
