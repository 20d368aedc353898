/**
 * Every command of git-kv with its arguments and flags. A verb is the module `src/commands/<name>.ts` (a space in the
 * name is a dash) that exports `run(context)`; it is loaded only when it runs.
 */

import { builtins } from "../cli/builtins.ts";
import type { Command, Program } from "../cli/command.ts";
import { COMMON_FLAGS } from "../cli/globals.ts";
import type { FlagSpec } from "../cli/spec.ts";

const GLOBALS: readonly FlagSpec[] = [
  { name: "ns", type: "string", value: "NAME", summary: "The namespace (default: kv.namespace, else main)" },
  {
    name: "repo",
    type: "string",
    value: "URL|PATH",
    complete: "directory",
    summary: "The repository, where it is not the one around here; a URL is used without a clone",
  },
  ...COMMON_FLAGS,
];

const TOPICS = ["Start", "Read and write", "Audit", "Policy", "Remote", "Other"] as const;

const MESSAGE: FlagSpec = {
  name: "message",
  alias: "m",
  type: "string",
  value: "MSG",
  summary: "Subject and body of the commit, instead of the usual subject",
};
const EXPECT_TREE: FlagSpec = {
  name: "expect-tree",
  type: "string",
  value: "OID",
  summary: "Write only if the ledger is at this tree (exit 2 otherwise)",
};
const EXPECT_BLOB: FlagSpec = {
  name: "expect-blob",
  type: "string",
  value: "OID",
  summary: "Write only if the key's value is this blob; 0 = the key is not there (exit 2 otherwise)",
};
const WAIT: FlagSpec = {
  name: "wait",
  type: "boolean",
  summary: "Return when the mirror shows the commit, exit 10 after 60 s (default: as the policy says)",
};
const READ_FROM: FlagSpec = {
  name: "read-from",
  type: "string",
  value: "COPY",
  choices: ["local", "mirror", "github", "stargate"],
  summary: "Which copy to read (default: kv.readFrom, else local)",
};
const IGNORE_MISSING: FlagSpec = {
  name: "ignore-missing",
  type: "boolean",
  summary: "Leave keys out that are not there, instead of exit 6",
};

const SET_FLAGS: readonly FlagSpec[] = [
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

const START: readonly Command[] = [
  {
    name: "init",
    topic: "Start",
    summary: "Make a namespace here, and a repository where there is none",
    flags: [{ name: "epoch", type: "string", value: "LABEL", summary: "Label of the first epoch (default: e1)" }],
    examples: ["init", "init --ns staging"],
    load: () => import("./init.ts"),
  },
  {
    name: "clone",
    topic: "Start",
    summary: "Clone a repository with its namespaces, ready to write through its Stargate",
    args: [
      { name: "url", count: "one", summary: "Where to clone from" },
      {
        name: "dir",
        count: "optional",
        complete: "directory",
        summary: "Folder to make (default: the URL's last part)",
      },
    ],
    flags: [{ name: "no-setup", type: "boolean", summary: "Do not set up writing through the Stargate" }],
    load: () => import("./clone.ts"),
  },
  {
    name: "remote setup",
    topic: "Start",
    summary: "Make this clone write through the Stargate that its policy names",
    flags: [
      { name: "remote", type: "string", value: "NAME", summary: "The remote (default: kv.remote, else origin)" },
      { name: "undo", type: "boolean", summary: "Take the set-up back" },
    ],
    load: () => import("./remote-setup.ts"),
  },
];

const KEYS: readonly Command[] = [
  {
    name: "get",
    topic: "Read and write",
    summary: "Print the value of a key",
    args: [{ name: "key", count: "some", summary: "The key; several need --json or --output-dir" }],
    flags: [
      { name: "raw", type: "boolean", summary: "Never add a newline, not even on a terminal" },
      {
        name: "output",
        alias: "o",
        type: "string",
        value: "FILE",
        complete: "file",
        summary: "Write the value to a file",
      },
      {
        name: "output-dir",
        type: "string",
        value: "DIR",
        complete: "directory",
        summary: "Write each value to a file of its key's name",
      },
      { name: "range", type: "string", value: "A-B", summary: "Only these bytes: 0-99, 100-, -100" },
      READ_FROM,
      { name: "allow-expired", type: "boolean", summary: "Read a key that has expired" },
    ],
    details: "Exit 6 where the key is not there, 7 where it has expired.",
    examples: ["get cfg:theme", "get model:weights -o weights.bin", "get model:weights --range 0-1023"],
    brief: true,
    load: () => import("./get.ts"),
  },
  {
    name: "set",
    topic: "Read and write",
    summary: "Set a key",
    args: [
      { name: "key", count: "one", summary: "The key" },
      { name: "value", count: "optional", summary: "The value; - takes it from standard input" },
    ],
    flags: [...SET_FLAGS, { name: "if-absent", type: "boolean", summary: "Write only if the key is not there" }, WAIT],
    details: "Prints the commit. A value that is there already makes no commit.",
    examples: ["set cfg:theme dark", "set cfg:logo --file logo.svg", "set job:last - < last.txt"],
    brief: true,
    load: () => import("./set.ts"),
  },
  {
    name: "del",
    topic: "Read and write",
    summary: "Delete keys",
    args: [{ name: "key", count: "some", summary: "The keys" }],
    flags: [IGNORE_MISSING, MESSAGE, EXPECT_TREE, EXPECT_BLOB, WAIT],
    brief: true,
    load: () => import("./del.ts"),
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
      'or {"rev":N}. Every bad line is named before anything is written.',
    examples: ["mset --file batch.jsonl"],
    load: () => import("./mset.ts"),
  },
  {
    name: "cas set",
    topic: "Read and write",
    summary: "Set a key if neither it nor the ledger has changed",
    args: [
      { name: "key", count: "one", summary: "The key" },
      { name: "value", count: "optional", summary: "The value; - takes it from standard input" },
    ],
    flags: [...SET_FLAGS, { name: "if-absent", type: "boolean", summary: "The same as --expect-blob 0" }, WAIT],
    brief: true,
    load: () => import("./cas-set.ts"),
  },
  {
    name: "list",
    topic: "Read and write",
    summary: "List keys in byte order",
    flags: [
      { name: "prefix", type: "string", value: "P", summary: "Only keys that begin with P" },
      { name: "after", type: "string", value: "KEY", summary: "Only keys that sort after KEY" },
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
      READ_FROM,
    ],
    examples: ["list --prefix cfg:", "list --after user:0999 --limit 100"],
    brief: true,
    load: () => import("./list.ts"),
  },
];

const AUDIT: readonly Command[] = [
  {
    name: "history",
    topic: "Audit",
    summary: "Show the revisions of a key, newest first",
    args: [{ name: "key", count: "one", summary: "The key" }],
    flags: [
      { name: "limit", alias: "n", type: "string", value: "N", summary: "At most N revisions" },
      { name: "patch", alias: "p", type: "boolean", summary: "Show with each how the value changed" },
    ],
    details:
      "Commit, time (UTC), signer, set or del, revision, state of the signature and subject, with tabs between them. The signer is " +
      "what the policy of the day calls the key, else its fingerprint; the author is named where that is somebody else, and for what " +
      "is not signed.\n\n" +
      "States: good; unsigned; no writer (a good signature by a key that the policy did not let write); unknown key (an OpenPGP key that " +
      "is not in the policy); BAD. 'git kv verify' looks closer. Exit 6 where the key was never set.",
    examples: ["history cfg:theme", "history cfg:theme --limit 1 --patch", "history cfg:theme --json"],
    brief: true,
    load: () => import("./history.ts"),
  },
  {
    name: "verify",
    topic: "Audit",
    summary: "Check signatures, attestations and replay of the ledger, from this clone",
    flags: [
      { name: "since", type: "string", value: "OID", summary: "Trust this ledger commit and all before it" },
      { name: "all", type: "boolean", summary: "All namespaces" },
    ],
    details:
      "Prints each finding as CODE, place, commit and sentence with tabs between them, then a summary. Exit 8 where there is a " +
      "finding. The first policy is the root of trust: kept as kv.policyRoot at the first use, and a finding where it changes.",
    examples: ["verify", "verify --all --json", "verify --since $(cat last-audited)"],
    load: () => import("./verify.ts"),
  },
];

const POLICY_ARG = {
  name: "file",
  count: "optional",
  complete: "file",
  summary: "The policy; - reads standard input",
} as const;

const POLICY: readonly Command[] = [
  {
    name: "policy check",
    topic: "Policy",
    summary: "Find everything that is wrong with a policy, or try a batch against it",
    args: [{ ...POLICY_ARG, summary: "The policy (default: .kv/policy.yaml, else the one in force)" }],
    flags: [
      {
        name: "as",
        type: "string",
        value: "KEY",
        complete: "file",
        summary: "Who would sign: a .pub file, a key, a name in the policy, or 'unsigned'",
      },
      { name: "file", type: "string", value: "BATCH", complete: "file", summary: "The batch, as for mset" },
    ],
    details:
      "Prints each problem with its line; exit 4 where there is one. With --as and --file it decides about a batch with the Stargate's own " +
      "code, says for every key which rule decides, and ends with 3 where one is refused.",
    examples: ["policy check", "policy check new.yaml --as ci.pub --file batch.jsonl"],
    load: () => import("./policy-check.ts"),
  },
  {
    name: "policy show",
    topic: "Policy",
    summary: "Print the policy in force, as far as this clone knows",
    load: () => import("./policy-show.ts"),
  },
  {
    name: "policy apply",
    topic: "Policy",
    summary: "Bring a policy into force (admin)",
    args: [{ ...POLICY_ARG, summary: "The policy (default: .kv/policy.yaml in the worktree); - reads standard input" }],
    flags: [MESSAGE],
    details:
      "Signs the next commit of the policy's chain and pushes it through the Stargate; without one it takes force here.",
    load: () => import("./policy-apply.ts"),
  },
  {
    name: "policy schema",
    topic: "Policy",
    summary: "Print the JSON Schema of the policy file",
    load: () => import("./policy-schema.ts"),
  },
];

const REMOTE: readonly Command[] = [
  {
    name: "fetch",
    topic: "Remote",
    summary: "Bring the newest state here",
    flags: [{ ...READ_FROM, choices: ["mirror", "github", "stargate"], summary: "Where from (default: mirror)" }],
    load: () => import("./fetch.ts"),
  },
  {
    name: "wait",
    topic: "Remote",
    summary: "Wait until the mirror shows a commit",
    flags: [
      { name: "oid", type: "string", value: "HASH", summary: "The ledger commit" },
      {
        name: "visible-on",
        type: "string",
        value: "COPY",
        choices: ["mirror", "github"],
        summary: "Where (default: mirror)",
      },
      { name: "timeout", type: "string", value: "DURATION", summary: "How long to wait (default: 60s); then exit 10" },
    ],
    load: () => import("./wait.ts"),
  },
  {
    name: "watch",
    topic: "Remote",
    summary: "Print every key that changes",
    flags: [
      { name: "prefix", type: "string", value: "P", summary: "Only keys that begin with P" },
      {
        name: "since",
        type: "string",
        value: "SEQ|OID",
        summary: "Begin after this transaction; 0 is the beginning (default: what this clone knows)",
      },
      { name: "follow", alias: "f", type: "boolean", summary: "Go on until interrupted" },
    ],
    details:
      "One line a key: sequence number, set or del, key, with tabs between them. Told by the Stargate where it can be reached, else by " +
      "looking at the mirror. A consumer that was interrupted goes on with --since and the last number it has all of " +
      '("last":true with --json).',
    examples: ["watch --follow --prefix cfg:", "watch --since 1041 --json"],
    load: () => import("./watch.ts"),
  },
  {
    name: "stargate status",
    topic: "Remote",
    summary: "Show how the Stargate and its mirror stand",
    load: () => import("./stargate-status.ts"),
  },
  {
    name: "stargate sync",
    topic: "Remote",
    summary: "Show how the mirror stands ref by ref, and bring it in order",
    flags: [
      { name: "dry-run", type: "boolean", summary: "Only show how every ref stands (default)" },
      { name: "repair", type: "boolean", summary: "Push what is behind or missing; never overwrite" },
      { name: "force", type: "boolean", summary: "Overwrite besides what is ahead or has diverged (admin)" },
    ],
    details:
      "Without --ns all namespaces and the policy. Exit 11 where something is left that only --force would overwrite, 5 where the " +
      "mirror did not take something.",
    examples: ["stargate sync", "stargate sync --repair --ns main"],
    load: () => import("./stargate-sync.ts"),
  },
];

const COMMANDS: readonly Command[] = [...START, ...KEYS, ...AUDIT, ...POLICY, ...REMOTE];

export const PROGRAM: Program = {
  name: "git-kv",
  title: "git kv",
  summary: "An auditable, versioned key-value store with Git as its database.",
  topics: TOPICS,
  globals: GLOBALS,
  manual: async () => (await import("./manual.ts")).MANUAL,
  commands: [...COMMANDS, ...builtins("Other", () => PROGRAM)],
};
