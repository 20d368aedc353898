/** The agent protocol: a real ssh-agent, and agents that misbehave. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as net from "node:net";
import * as path from "node:path";
import { decodeSshKey } from "../../src/gitwire/object/ssh-key.ts";
import { sshString, uint32 } from "../../src/gitwire/object/ssh-wire.ts";
import { verifySshSignature } from "../../src/gitwire/object/sshsig.ts";
import { agentIdentities, agentSign } from "../../src/gitwire/ssh-agent.ts";
import { failureOf } from "../support/failure.ts";
import { newKey, SSH_TYPES, startAgent, type TestAgent } from "../support/signing.ts";
import { tempDir } from "../support/temp.ts";

const { signal } = new AbortController();
let agent: TestAgent;
beforeAll(async () => {
  agent = await startAgent();
});
afterAll(() => agent.stop());

/** An agent that answers every request with `bytes`, a few at a time, and then ends or stays. */
async function fakeAgent(bytes: Buffer, options: { stay?: boolean } = {}): Promise<{ socket: string; stop(): void }> {
  const socket = path.join(tempDir("agent"), "socket");
  const server = net.createServer((connection) => {
    connection.on("error", () => {});
    connection.once("data", () => {
      for (let at = 0; at < bytes.length; at += 7) connection.write(bytes.subarray(at, at + 7));
      if (!options.stay) connection.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return { socket, stop: () => server.close() };
}
const message = (type: number, ...parts: Buffer[]): Buffer => sshString(Buffer.concat([Buffer.of(type), ...parts]));

test("a real agent lists its keys and signs with each", async () => {
  const keys = SSH_TYPES.map((type) => newKey(type));
  for (const key of keys) agent.add(key);
  const identities = await agentIdentities(agent.socket, signal);
  expect(identities.map(({ blob }) => blob.toString("base64"))).toEqual(keys.map(({ line }) => line.split(" ")[1]!));
  expect(identities.map(({ comment }) => comment)).toEqual(SSH_TYPES.map((type) => `${type} test`));
  // Larger than what a socket takes at once.
  for (const data of [Buffer.from("x"), Buffer.alloc(200_000, 1)]) {
    for (const { blob } of identities) {
      const signature = await agentSign(agent.socket, blob, data, signal);
      expect(await verifySshSignature(decodeSshKey(blob), signature, data)).toBe(true);
    }
  }
});

test("a key it does not hold is refused", async () => {
  const blob = Buffer.from(newKey().line.split(" ")[1]!, "base64");
  expect(await failureOf(agentSign(agent.socket, blob, Buffer.from("x"), signal))).toMatchObject({
    code: "IO",
    message: "the SSH agent refused to sign",
  });
});

describe("agents that misbehave", () => {
  const cases: readonly (readonly [string, Buffer, string])[] = [
    ["says nothing and goes", Buffer.alloc(0), "closed the connection"],
    ["ends early", message(12, uint32(1)).subarray(0, 6), "closed the connection"],
    ["claims too long a message", Buffer.concat([uint32(1 << 30), Buffer.of(12)]), "malformed answer"],
    ["sends an empty message", uint32(0), "malformed answer"],
    ["says more than it was asked", Buffer.concat([message(12, uint32(0)), Buffer.of(1)]), "more than it was asked"],
    ["claims more keys than fit", message(12, uint32(2), sshString("a"), sshString("b")), "malformed answer"],
    ["claims too many keys", message(12, uint32(100_000)), "claims to hold 100000 keys"],
    ["has bytes behind its keys", message(12, uint32(0), Buffer.of(0)), "malformed answer"],
    ["answers something else", message(99), "does not tell which keys it holds"],
  ];
  for (const [what, bytes, problem] of cases) {
    test(what, async () => {
      const { socket, stop } = await fakeAgent(bytes);
      const failure = await failureOf(agentIdentities(socket, signal));
      stop();
      expect(failure.code).toBe("IO");
      expect(failure.message).toContain(problem);
    });
  }

  test("nobody there", async () => {
    const failure = await failureOf(agentIdentities("/nonexistent/socket", signal));
    expect(failure).toMatchObject({ code: "IO", message: expect.stringContaining("cannot be reached") });
  });

  test("one that never answers is waited for until the command is interrupted", async () => {
    const { socket, stop } = await fakeAgent(Buffer.of(0), { stay: true });
    const controller = new AbortController();
    const asked = agentIdentities(socket, controller.signal);
    controller.abort(new Error("interrupted"));
    await expect(asked).rejects.toThrow("interrupted");
    stop();
  });
});
