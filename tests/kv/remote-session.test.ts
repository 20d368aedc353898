/** What a connection of a workspace says of its address when it breaks. */

import { expect, test } from "bun:test";
import * as net from "node:net";
import type { KvError } from "../../src/errors.ts";
import { pktLine } from "../../src/gitwire/protocol/pkt-line.ts";
import { fetchObjects } from "../../src/kv/remote-session.ts";
import { failureOf } from "../support/failure.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { newRepository, workspaceAt } from "../support/workspace.ts";

/** What comes of a fetch from a server that answers so. */
async function fetchedFrom(answer: string): Promise<{ url: string; error: KvError }> {
  const server = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.end(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `git://127.0.0.1:${(server.address() as net.AddressInfo).port}/x.git`;
  const { repo, around } = workspaceAt(newRepository(TEST_FORMAT));
  try {
    return { url, error: await failureOf(fetchObjects(repo, around, url, ["refs/kv"])) };
  } finally {
    server.close();
    repo.close();
  }
}

test.each([
  ["00", "NETWORK", "the connection ended in the middle of a packet"],
  ["0040version 2\n", "NETWORK", "the connection ended in the middle of a packet"],
  ["zzzz", "PROTOCOL", "protocol error: bad line length character: zzzz"],
] as const)("an answer of %j is an error that names the address", async (answer, code, words) => {
  const { url, error } = await fetchedFrom(answer);
  expect([error.code, error.exit, error.message]).toEqual([code, 5, `${url}: ${words}`]);
});

test.each([
  ["NOT_LEADER: another one leads\nhint: ask that one", "NOT_LEADER", 9, "another one leads", "ask that one"],
  ["FORBIDDEN: no", "FORBIDDEN", 3, "no", undefined],
  // Whether a key is there is not said by a server that begins no session, nor is anything by a word that is no code.
  ["KEY_NOT_FOUND: gone", "REMOTE_REJECTED", 5, "remote error: KEY_NOT_FOUND: gone", undefined],
  ["SOMETHING: else", "REMOTE_REJECTED", 5, "remote error: SOMETHING: else", undefined],
] as const)("the error line %j", async (line, code, exit, message, hint) => {
  const { error } = await fetchedFrom(pktLine(`ERR ${line}\n`).toString());
  expect([error.code, error.exit, error.message, error.hint]).toEqual([code, exit, message, hint]);
});
