/** Who may listen at a socket file: nobody loses it to another one, and nobody is kept from one that is left behind. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { SocketClaim } from "../src/socket-claim.ts";
import { failureOf } from "./support/failure.ts";
import { tempDir } from "./support/temp.ts";

const MODULE = path.join(import.meta.dir, "..", "src", "socket-claim.ts");

/** Another process that listens at `file`, and then does nothing more. */
async function hungListener(file: string): Promise<Bun.Subprocess> {
  const script = `
    import { SocketClaim } from ${JSON.stringify(MODULE)};
    await SocketClaim.take(${JSON.stringify(file)}, "");
    Bun.listen({ unix: ${JSON.stringify(file)}, socket: { data() {} } });
    require("node:fs").writeSync(1, "listens");
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  `;
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
  const { value } = await child.stdout.getReader().read();
  expect(Buffer.from(value ?? []).toString()).toBe("listens");
  return child;
}

/** Connects until nobody more is let in. */
async function fill(file: string): Promise<net.Socket[]> {
  const sockets: net.Socket[] = [];
  while (true) {
    const isIn = await new Promise<boolean>((resolve) => {
      const socket = net.connect(file, () => resolve(true));
      socket.on("error", () => resolve(false));
      sockets.push(socket);
    });
    if (!isIn) return sockets;
  }
}

test("a listener that hangs keeps its socket file, also when its backlog is full; one that was killed does not", async () => {
  const file = path.join(tempDir("claim"), "s");
  const child = await hungListener(file);
  const sockets = await fill(file);
  try {
    const { ino } = fs.lstatSync(file);
    expect(await failureOf(SocketClaim.take(file, "stop it"))).toMatchObject({ code: "LOCKED", hint: "stop it" });
    expect(fs.lstatSync(file).ino).toBe(ino);
  } finally {
    for (const socket of sockets) socket.destroy();
    child.kill("SIGKILL");
    await child.exited;
  }
  expect(fs.existsSync(file)).toBe(true);
  const claim = await SocketClaim.take(file, "");
  expect(fs.existsSync(file)).toBe(false);
  claim.release();
  expect(fs.readdirSync(path.dirname(file))).toEqual([]);
});

test("of many at once one has it, and then the next", async () => {
  const file = path.join(tempDir("claim"), "s");
  for (let round = 0; round < 5; round++) {
    const all = await Promise.allSettled(Array.from({ length: 8 }, () => SocketClaim.take(file, "")));
    const claims = all.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    expect(claims).toHaveLength(1);
    expect(fs.readdirSync(path.dirname(file))).toEqual(["s.claim"]);
    claims[0]!.release();
  }
  expect(fs.readdirSync(path.dirname(file))).toEqual([]);
});

test("one that knows of no lock keeps its socket file too", async () => {
  const file = path.join(tempDir("claim"), "s");
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(file, resolve));
  expect((await failureOf(SocketClaim.take(file, ""))).code).toBe("LOCKED");
  expect(fs.existsSync(file)).toBe(true);
  expect(fs.existsSync(`${file}.claim`)).toBe(false);
  server.close();
});

test.skipIf(process.getuid?.() === 0)("a socket that this account may not use is not removed", async () => {
  const file = path.join(tempDir("claim"), "s");
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(file, resolve));
  fs.chmodSync(file, 0);
  expect((await failureOf(SocketClaim.take(file, ""))).code).toBe("IO");
  expect(fs.existsSync(file)).toBe(true);
  server.close();
});
