/** A server that ends the connection after any number of bytes of a fetch: a typed error, and nothing left behind. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { fetchPack, lsRefs } from "../../../src/gitwire/protocol/fetch-pack.ts";
import { openRepository } from "../../../src/gitwire/repo.ts";
import { connect } from "../../../src/gitwire/transport/connect.ts";
import { AGENT, connectOptions } from "../../support/connect.ts";
import { failureOf } from "../../support/failure.ts";
import { bareRepository, repositoryWith } from "../../support/push.ts";
import { freePort } from "../../support/sshd.ts";

/** Bytes from one cut to the next. */
const STRIDE = 61;

/** Before a daemon: passes on so many bytes of its answers and hangs up. */
class Cutter {
  limit = Number.POSITIVE_INFINITY;
  /** Bytes the daemon sent on the last connection. */
  total = 0;
  readonly server: net.Server;

  constructor(port: number) {
    this.server = net.createServer((client) => {
      const daemon = net.connect(port, "127.0.0.1");
      this.total = 0;
      for (const socket of [client, daemon]) socket.on("error", () => {});
      client.pipe(daemon);
      client.on("close", () => daemon.destroy());
      daemon.on("end", () => client.end());
      daemon.on("data", (bytes: Buffer) => {
        client.write(bytes.subarray(0, Math.max(0, this.limit - this.total)));
        this.total += bytes.length;
        if (this.total < this.limit) return;
        client.end();
        daemon.destroy();
      });
    });
  }
}

async function fetchInto(dir: string, address: string): Promise<void> {
  const repo = openRepository(dir, {});
  const transport = await connect(address, "git-upload-pack", connectOptions());
  try {
    const { refs } = await lsRefs(transport, [], { agent: AGENT });
    await fetchPack(transport, { wants: refs.map(({ oid }) => oid), haves: [], destination: repo, agent: AGENT });
  } finally {
    await transport.close();
    repo.close();
  }
}

const descriptors = (): number => fs.readdirSync("/proc/self/fd").length;

test("cut at every stage", async () => {
  const { dir } = repositoryWith(5);
  const port = await freePort();
  const args = ["--listen=127.0.0.1", `--port=${port}`, "--export-all", "--verbose", path.dirname(dir)];
  const daemon = Bun.spawn(["git", "daemon", ...args], { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  const cutter = new Cutter(port);
  try {
    await daemon.stderr.getReader().read();
    await new Promise<void>((resolve) => cutter.server.listen(0, "127.0.0.1", resolve));
    const address = `git://127.0.0.1:${(cutter.server.address() as net.AddressInfo).port}${dir}`;
    await fetchInto(bareRepository(), address);
    const whole = cutter.total;
    expect(whole).toBeGreaterThan(10 * STRIDE);
    const into = bareRepository();
    const files = (): string[] => fs.readdirSync(into, { recursive: true }).map(String).sort();
    const before = files();
    let open: number | undefined;
    for (cutter.limit = 0; cutter.limit < whole; cutter.limit += STRIDE) {
      const { code, exit } = await failureOf(fetchInto(into, address));
      expect([cutter.limit, code, exit]).toEqual([cutter.limit, "NETWORK", 5]);
      expect(files()).toEqual(before);
      open ??= descriptors();
    }
    expect(descriptors()).toBeLessThanOrEqual(open! + 2);
  } finally {
    daemon.kill();
    cutter.server.close();
  }
}, 60_000);
