/** What a connection of a workspace says of its address when it breaks. */

import { expect, test } from "bun:test";
import * as net from "node:net";
import { fetchObjects } from "../../src/kv/remote-session.ts";
import { failureOf } from "../support/failure.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { newRepository, workspaceAt } from "../support/workspace.ts";

test.each([
  ["00", "NETWORK", "the connection ended in the middle of a packet"],
  ["0040version 2\n", "NETWORK", "the connection ended in the middle of a packet"],
  ["zzzz", "PROTOCOL", "bad packet length 'zzzz'"],
] as const)("an answer of %j is an error that names the address", async (answer, code, words) => {
  const server = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.end(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `git://127.0.0.1:${(server.address() as net.AddressInfo).port}/x.git`;
  const { repo, around } = workspaceAt(newRepository(TEST_FORMAT));
  try {
    const error = await failureOf(fetchObjects(repo, around, url, ["refs/kv"]));
    expect([error.code, error.exit, error.message]).toEqual([code, 5, `${url}: ${words}`]);
  } finally {
    server.close();
    repo.close();
  }
});
