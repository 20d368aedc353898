/** Flags that several commands take. */

import type { FlagSpec } from "../../cli/spec.ts";

export const MESSAGE: FlagSpec = {
  name: "message",
  alias: "m",
  type: "string",
  value: "MSG",
  summary: "Subject and body of the commit, instead of the usual subject",
};
export const EXPECT_TREE: FlagSpec = {
  name: "expect-tree",
  type: "string",
  value: "OID",
  summary: "Write only if the ledger is at this tree (exit 2 otherwise)",
};
export const EXPECT_BLOB: FlagSpec = {
  name: "expect-blob",
  type: "string",
  value: "OID",
  summary: "Write only if the key's value is this blob; 0 = the key is not there (exit 2 otherwise)",
};
export const WAIT: FlagSpec = {
  name: "wait",
  type: "boolean",
  summary:
    "Return when the mirror shows the commit, exit 10 after 60 s; --no-wait: at once (default: as the policy says)",
};
export const READ_FROM: FlagSpec = {
  name: "read-from",
  type: "string",
  choices: ["local", "mirror", "github", "stargate"],
  summary: "Which copy to read (default: kv.readFrom, else local)",
};
export const IGNORE_MISSING: FlagSpec = {
  name: "ignore-missing",
  type: "boolean",
  summary: "Leave keys out that are not there, instead of exit 6",
};

export const SET_FLAGS: readonly FlagSpec[] = [
  { name: "file", type: "string", value: "PATH", complete: "file", summary: "Take the value from a file" },
  { name: "ctype", type: "string", value: "TYPE", summary: "Media type (default: text and JSON are recognised)" },
  {
    name: "ttl",
    type: "string",
    value: "DURATION",
    summary: "Let the key expire after 90s, 15m, 2h, 30d ... (default: as the policy says); or never",
  },
  {
    name: "expires",
    type: "string",
    value: "TIME",
    summary: "Let the key expire at an RFC 3339 time, a date or @unix; or never",
  },
  { name: "label", type: "repeatable", value: "NAME=VALUE", summary: "A label of your own" },
  MESSAGE,
  EXPECT_TREE,
  EXPECT_BLOB,
];

export const AT: FlagSpec = {
  name: "at",
  type: "string",
  value: "WHEN",
  summary:
    "As it was: a commit or tag, a transaction, its number, a time, a time ago (2h) or -N for N transactions back",
};
