/** Commands that show and check what happened. */

import type { Command } from "../../cli/command.ts";
import { AT } from "./flags.ts";

export const AUDIT: readonly Command[] = [
  {
    name: "history",
    topic: "Audit",
    summary: "Show the revisions of a key, newest first",
    args: [{ name: "key", count: "one", complete: "key", summary: "The key" }],
    flags: [
      { name: "limit", alias: "n", type: "string", value: "N", summary: "At most N revisions" },
      {
        name: "epochs",
        type: "boolean",
        summary: "In earlier epochs too; their archives are fetched where they are not here",
      },
      { name: "patch", alias: "p", type: "boolean", summary: "Show with each how the value changed" },
    ],
    details:
      "Commit, time (UTC), signer, set or del, revision, state of the signature, subject and value (its size, in how many pieces it is, the " +
      "beginning of its etag; --json has it all), with tabs between them. The signer is " +
      "what the policy of the day calls the key, else its fingerprint; the author is named where that is somebody else, and for what " +
      "is not signed.\n\n" +
      "States: good; unsigned; no writer (a good signature by a key that the policy did not let write); unknown key (an OpenPGP key that " +
      "is not in the policy); BAD. 'git kv verify' looks closer. Exit 6 where the key was never set.",
    examples: ["history cfg:theme", "history cfg:theme --limit 1 --patch", "history cfg:theme --json"],
    brief: true,
    load: () => import("../history.ts"),
  },
  {
    name: "log",
    topic: "Audit",
    summary: "Show the transactions, newest first",
    flags: [
      { name: "limit", alias: "n", type: "string", value: "N", summary: "At most N transactions" },
      { name: "prefix", type: "string", value: "P", summary: "Only transactions that change keys which begin with P" },
      { name: "keys", type: "boolean", summary: "Name with each the keys it changed; with --prefix those alone" },
      {
        ...AT,
        summary: "From there on back: a commit or tag, a transaction, its number, a time, a time ago (2h) or -N",
      },
    ],
    details:
      "Commit, time (UTC), signer, sequence number, keys set and deleted, state of the signature and subject, with tabs between " +
      "them; signer and states as in 'git kv help history'. Of the current epoch, and of earlier ones whose archives are here.",
    examples: ["log --limit 10", "log --prefix cfg: --keys", "log --at 2026-05-02 --limit 1"],
    load: () => import("../log.ts"),
  },
  {
    name: "diff",
    topic: "Audit",
    summary: "Show the keys in which two states differ",
    args: [
      {
        name: "a",
        count: "one",
        summary: "The earlier state: a commit or tag, a transaction, its number, a time, a time ago (2h) or -N",
      },
      { name: "b", count: "optional", summary: "The later one (default: the newest)" },
    ],
    flags: [
      { name: "prefix", type: "string", value: "P", summary: "Only keys that begin with P" },
      { name: "patch", alias: "p", type: "boolean", summary: "Show with each how the value changed" },
      { name: "count", type: "boolean", summary: "Only their number" },
    ],
    details:
      "One line a key, in byte order: + for added, - for deleted, ~ for changed in value, media type, expiry or labels. A key that was " +
      "changed and changed back is left out. Costs the keys that differ, not those there are.",
    examples: ["diff -1", "diff 1041 1042", "diff 2026-05-01 2026-05-02 --prefix cfg: --patch"],
    brief: true,
    load: () => import("../diff.ts"),
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
    load: () => import("../verify.ts"),
  },
];
