/** Commands that talk to the mirror and the Stargate. */

import type { Command } from "../../cli/command.ts";
import { READ_FROM } from "./flags.ts";

export const REMOTE: readonly Command[] = [
  {
    name: "fetch",
    topic: "Remote",
    summary: "Bring the newest state here",
    flags: [{ ...READ_FROM, choices: ["mirror", "github", "stargate"], summary: "Where from (default: mirror)" }],
    load: () => import("../fetch.ts"),
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
        choices: ["mirror", "github"],
        summary: "Where (default: mirror)",
      },
      { name: "timeout", type: "string", value: "DURATION", summary: "How long to wait (default: 60s); then exit 10" },
    ],
    load: () => import("../wait.ts"),
  },
  {
    name: "watch",
    topic: "Remote",
    summary: "Print every key that changes",
    flags: [
      { name: "prefix", type: "string", value: "P", complete: "key", summary: "Only keys that begin with P" },
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
    load: () => import("../watch.ts"),
  },
  {
    name: "serve",
    topic: "Remote",
    summary: "Serve the keys over HTTP to programs on this machine, for reading",
    flags: [
      {
        name: "listen",
        type: "string",
        value: "ADDRESS",
        summary: "Where: 127.0.0.1:PORT, [::1]:PORT or unix:PATH; port 0 is a free one (default: 127.0.0.1:7480)",
      },
      { name: "interval", type: "string", value: "DURATION", summary: "How often the remote is asked (default: 10s)" },
      { ...READ_FROM, summary: "Which copy is followed (default: kv.readFrom, else mirror; local asks nobody)" },
      { name: "allow-host", type: "repeatable", value: "NAME", summary: "A further name that requests may use for it" },
    ],
    details:
      "GET /v1/kv/KEY is the value with its media type, ETag and Range; ?json the record; ?wait=SECONDS&since=ETAG waits for a change. " +
      "GET /v1/kv?prefix=P lists keys as JSON, up to limit, on from after. GET /healthz tells how old the answers may be. " +
      "Whoever reaches the address can read every key. SIGTERM ends it in order.",
    examples: [
      "serve",
      "serve --listen unix:/run/app/kv.sock --interval 2s",
      "--repo https://example.com/kv.git serve",
    ],
    load: () => import("../serve.ts"),
  },
  {
    name: "stargate status",
    topic: "Remote",
    summary: "Show how the Stargate and its mirror stand",
    load: () => import("../stargate-status.ts"),
  },
  {
    name: "stargate sync",
    topic: "Remote",
    summary: "Show how the mirror stands ref by ref, and bring it in order",
    flags: [
      { name: "dry-run", type: "boolean", summary: "Only show how every ref stands (default)" },
      { name: "repair", type: "boolean", summary: "Push what is behind or missing; never overwrite" },
      { name: "force", type: "boolean", summary: "Overwrite besides what is ahead or has diverged (admin)" },
      { name: "fork", type: "boolean", summary: "Take writes again beside what the mirror has of its own (admin)" },
    ],
    details:
      "Without --ns all namespaces and the policy. Exit 11 where something is left that only --force would overwrite, 5 where the " +
      "mirror did not take something.",
    examples: ["stargate sync", "stargate sync --repair --ns main"],
    load: () => import("../stargate-sync.ts"),
  },
  {
    name: "doctor",
    topic: "Remote",
    summary: "Check what this clone needs to read and write, and say the way out",
    flags: [{ name: "offline", type: "boolean", summary: "Ask nobody over the network" }],
    details:
      "One line a check: ok, warn or fail, what was looked at, what was found; below it the way out. The clone and its disk, the identity, the " +
      "namespace, the remote's refspecs, the policy and its pinned root, the push URL, the key (by signing with it), the Stargate, the " +
      "mirror, the clock. Nothing is changed. Exit 0 where nothing failed, else as the first failure has it.",
    examples: ["doctor", "doctor --offline --json"],
    load: () => import("../doctor.ts"),
  },
];
