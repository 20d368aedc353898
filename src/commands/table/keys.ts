/** Commands that read and write keys. */

import type { Command } from "../../cli/command.ts";
import { AT, EXPECT_BLOB, EXPECT_TREE, IGNORE_MISSING, MESSAGE, READ_FROM, SET_FLAGS, WAIT } from "./flags.ts";

export const KEYS: readonly Command[] = [
  {
    name: "get",
    topic: "Read and write",
    summary: "Print the value of a key",
    args: [{ name: "key", count: "some", complete: "key", summary: "The key; several need --json or --output-dir" }],
    flags: [
      { name: "raw", type: "boolean", summary: "Never add a newline, not even on a terminal" },
      {
        name: "output",
        alias: "o",
        type: "string",
        value: "FILE",
        complete: "file",
        summary: "Write the value to a file; - is standard output",
      },
      {
        name: "output-dir",
        type: "string",
        value: "DIR",
        complete: "directory",
        summary: "Write each value to a file of its key's name",
      },
      { name: "range", type: "string", value: "A-B", summary: "Only these bytes: 0-99, 100-, -100" },
      AT,
      READ_FROM,
      { name: "allow-expired", type: "boolean", summary: "Read a key that has expired" },
    ],
    details:
      "Exit 6 where the key is not there, 7 where it has expired. With --at the key is read as it was then, and as expired what had " +
      "expired then; of a time the newest transaction counts that says it was made then or before.",
    examples: [
      "get cfg:theme",
      "get cfg:theme --at -1",
      "get cfg:theme --at 2026-05-02",
      "get model:weights -o weights.bin",
      "get model:weights --range 0-1023",
    ],
    brief: true,
    load: () => import("../get.ts"),
  },
  {
    name: "set",
    topic: "Read and write",
    summary: "Set a key",
    args: [
      { name: "key", count: "one", complete: "key", summary: "The key" },
      { name: "value", count: "optional", summary: "The value; - takes it from standard input" },
    ],
    flags: [...SET_FLAGS, { name: "if-absent", type: "boolean", summary: "Write only if the key is not there" }, WAIT],
    details: "Prints the commit. A value that is there already makes no commit.",
    examples: ["set cfg:theme dark", "set cfg:logo --file logo.svg", "set job:last - < last.txt"],
    brief: true,
    load: () => import("../set.ts"),
  },
  {
    name: "del",
    topic: "Read and write",
    summary: "Delete keys",
    args: [{ name: "key", count: "some", complete: "key", summary: "The keys" }],
    flags: [IGNORE_MISSING, MESSAGE, EXPECT_TREE, EXPECT_BLOB, WAIT],
    brief: true,
    load: () => import("../del.ts"),
  },
  {
    name: "mset",
    topic: "Read and write",
    summary: "Apply a batch of operations in one transaction",
    flags: [
      { name: "file", type: "string", value: "BATCH", complete: "file", summary: "JSON lines; - reads standard input" },
      IGNORE_MISSING,
      MESSAGE,
      EXPECT_TREE,
      { name: "if-absent", type: "boolean", summary: 'Every set without an "if" demands that its key is not there' },
      WAIT,
    ],
    details:
      'Lines are {"op":"set","key":K,"value":V}, {"op":"del","key":K} and {"op":"check","key":K,"if":C}; a set takes "value", ' +
      '"value_b64" or "file", and "ctype", "ttl", "expires" and "labels"; every line takes "if": {"absent":true}, {"blob":OID} ' +
      'or {"rev":N}. Every bad line is named before anything is written, with a Stargate also those that its policy refuses.',
    examples: ["mset --file batch.jsonl"],
    load: () => import("../mset.ts"),
  },
  {
    name: "cas set",
    topic: "Read and write",
    summary: "Set a key if neither it nor the ledger has changed",
    args: [
      { name: "key", count: "one", complete: "key", summary: "The key" },
      { name: "value", count: "optional", summary: "The value; - takes it from standard input" },
    ],
    flags: [...SET_FLAGS, { name: "if-absent", type: "boolean", summary: "The same as --expect-blob 0" }, WAIT],
    brief: true,
    load: () => import("../cas-set.ts"),
  },
  {
    name: "revert",
    topic: "Read and write",
    summary: "Take a transaction back in a new one",
    args: [{ name: "txn", count: "one", summary: "The transaction: its KV-Txn, its commit or its number" }],
    flags: [MESSAGE, EXPECT_TREE, WAIT],
    details:
      "Every key that the transaction changed gets the value, media type, expiry and labels it had before, or is deleted where it was not " +
      "there. Exit 2 where a key has changed since. What was there stays in the ledger: a revert can be reverted.",
    examples: ["revert 1042", "revert 3f0c91ab -m 'Back to the old theme'"],
    load: () => import("../revert.ts"),
  },
  {
    name: "list",
    topic: "Read and write",
    summary: "List keys in byte order",
    flags: [
      { name: "prefix", type: "string", value: "P", complete: "key", summary: "Only keys that begin with P" },
      { name: "after", type: "string", value: "KEY", complete: "key", summary: "Only keys that sort after KEY" },
      { name: "limit", type: "string", value: "N", summary: "At most N keys" },
      {
        name: "long",
        alias: "l",
        type: "boolean",
        summary: "Size, type, revision, expiry, etag and pieces before each key",
      },
      { name: "deleted", type: "boolean", summary: "Deleted keys instead of live ones" },
      { name: "expired", type: "boolean", summary: "Expired keys instead of live ones" },
      { name: "allow-expired", type: "boolean", summary: "Expired keys besides live ones" },
      { name: "count", type: "boolean", summary: "Only their number" },
      { name: "nul", alias: "0", type: "boolean", summary: "End each key with NUL instead of a newline" },
      AT,
      READ_FROM,
    ],
    examples: ["list --prefix cfg:", "list --after user:0999 --limit 100"],
    brief: true,
    load: () => import("../list.ts"),
  },
];
