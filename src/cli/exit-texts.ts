/** What each exit status means, in the words of docs/exit-codes.md. */

import { EXIT } from "../errors.ts";
import { OutputClosed } from "./output.ts";

export const EXIT_TEXTS: readonly (readonly [status: number, text: string])[] = [
  [EXIT.ok, "done"],
  [EXIT.bug, "a bug in git-kv; the error says how to report it"],
  [EXIT.conflict, "conflict: the state the caller expected is not there"],
  [EXIT.policy, "policy says no"],
  [EXIT.invalid, "key, namespace or input invalid, also as the value of a flag"],
  [EXIT.io, "I/O, network, git or server error"],
  [EXIT.notFound, "key or namespace not found"],
  [EXIT.expired, "key expired"],
  [EXIT.attestation, "the commits do not say what the trees hold"],
  [EXIT.notLeader, "this Stargate is not the leader"],
  [EXIT.timeout, "timed out waiting for the mirror"],
  [EXIT.syncRefused, "sync refused: something would be overwritten"],
  [
    EXIT.usage,
    "usage: unknown command or flag, a missing argument, a value that is none of the flag's choices or no number",
  ],
  [EXIT.interrupted, "interrupted (SIGINT, Ctrl-C)"],
  [OutputClosed.exit, "whoever read the output went away; nothing is said"],
  [EXIT.terminated, "ended (SIGTERM)"],
];
