/** Stands between a client and a server on the loopback and counts what passes. */

import * as net from "node:net";

export interface Traffic {
  readonly connections: number;
  readonly requests: number;
  /** Bytes to the server, HTTP headers included. */
  readonly sent: number;
  readonly received: number;
  /** Bytes sent from `PACK` on: the pack, and the few bytes that frame it in HTTP. */
  readonly pack: number;
}

/** The head of a request: the first of its connection, or behind the end of a body of packets or lines. */
const REQUEST = /(?:^|\n|0000)(?:GET|POST) [^\r\n]* HTTP\/1\.1\r\n/g;

export class TrafficCounter {
  readonly port: number;
  readonly #server: net.Server;
  readonly #sent: Buffer[][] = [];
  #received = 0;

  private constructor(server: net.Server) {
    this.#server = server;
    this.port = (server.address() as net.AddressInfo).port;
  }

  /** Listens on a free port and passes everything on to `target`, a port of the loopback. */
  static async start(target: number): Promise<TrafficCounter> {
    const server = net.createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const counter = new TrafficCounter(server);
    server.on("connection", (client) => counter.#join(client, target));
    return counter;
  }

  get traffic(): Traffic {
    const streams = this.#sent.map((chunks) => Buffer.concat(chunks));
    const sum = (of: (stream: Buffer) => number): number => streams.reduce((total, stream) => total + of(stream), 0);
    return {
      connections: streams.length,
      requests: sum((stream) => [...stream.toString("latin1").matchAll(REQUEST)].length),
      sent: sum((stream) => stream.length),
      received: this.#received,
      pack: sum((stream) => {
        const start = stream.indexOf("PACK");
        return start < 0 ? 0 : stream.length - start;
      }),
    };
  }

  stop(): void {
    this.#server.close();
  }

  #join(client: net.Socket, target: number): void {
    const server = net.connect(target, "127.0.0.1");
    const sent: Buffer[] = [];
    this.#sent.push(sent);
    client.on("data", (chunk: Buffer) => {
      sent.push(chunk);
      server.write(chunk);
    });
    server.on("data", (chunk: Buffer) => {
      this.#received += chunk.length;
      client.write(chunk);
    });
    client.on("close", () => server.destroy());
    server.on("close", () => client.destroy());
    client.on("error", () => server.destroy());
    server.on("error", () => client.destroy());
  }
}
