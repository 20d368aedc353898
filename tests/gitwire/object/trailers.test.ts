/** The quick reader of trailers finds what the strict one does, or nothing. */

import { expect, test } from "bun:test";
import { formatTrailers, parseTrailers, wordTrailers } from "../../../src/gitwire/object/trailers.ts";
import { random } from "../../support/random.ts";

const KEYS = ["KV-NS", "KV-Txn", "KV-Seq", "Epoch"];
const BLOCK = formatTrailers([
  { key: "KV-NS", value: "main" },
  { key: "KV-Txn", value: "01JBAXF5Z8J8M7R2TK7GQ4W9YC" },
  { key: "KV-Seq", value: "7" },
  { key: "Epoch", value: "e1" },
]);
const PIECES = ["", "\n", " ", "-", "0", "a", ":", ": ", "\0", "\r", "\u2028", "\u00a0", "e1", "KV-Seq: 7\n", "\n\n"];

function read(message: string): unknown {
  const found = wordTrailers(message, KEYS);
  return found && { text: found.text, trailers: [...found.values].map(([key, value]) => ({ key, value })) };
}

test("a block of words is read", () => {
  const message = `set a\n\n${BLOCK}`;
  expect(read(message)).toEqual(parseTrailers(message)!);
  expect(read(message)).toMatchObject({ text: "set a\n\n" });
});

test("another key, another order, more or fewer of them and values of several words are left to the strict reader", () => {
  for (const block of [
    BLOCK.replace("Epoch", "epoch"),
    BLOCK.replace("KV-NS: main\nKV-Txn", "KV-Txn: main\nKV-NS"),
    `${BLOCK}Keys-Set: 1\n`,
    BLOCK.replace("KV-Seq: 7\n", ""),
    BLOCK.replace("main", "main e2"),
    BLOCK.slice(0, -1),
    `${BLOCK}\n`,
  ])
    expect(read(`set a\n\n${block}`)).toBeUndefined();
  expect(read(BLOCK)).toBeUndefined();
});

test("what it reads of bent messages is what the strict reader reads", () => {
  const { int, pick } = random("trailers");
  let some = 0;
  for (let i = 0; i < 10_000; i++) {
    let message = `set a\n\n${BLOCK}`;
    for (let bends = int(2); bends >= 0; bends--) {
      const at = int(message.length);
      message = message.slice(0, at) + pick(PIECES) + message.slice(at + int(2));
    }
    const found = read(message);
    if (found === undefined) continue;
    some++;
    expect(found).toEqual(parseTrailers(message)!);
  }
  expect(some).toBeGreaterThan(500);
});
