/** The JSON Schema of what a Stargate tells of itself and of its mirror (stargate-status.ts, sync-report.ts). */

import { choice, integer, list, oid, orNull, record, text, truth } from "../answer-schema.ts";
import { SYNC_MODES } from "./sync-report.ts";

const POLICY = record(
  {
    oid: oid("The policy commit in force"),
    "pushUrl?": text("Where it says pushes go"),
    drift: choice(["same", "differs", "no file"], "How the file on the default branch stands to it"),
    "error?": text("What is wrong with it"),
  },
  "The policy in force",
);

const NAMESPACE = record({
  ns: text("The namespace"),
  ledger: oid("Its ledger commit"),
  "chunks?": oid("Its chunk commit"),
  seq: integer("Sequence number of the last transaction"),
  epoch: text("Label of the epoch"),
  requireSignedCommits: truth("Whether the policy wants signatures"),
  verify: text("How transactions are checked: replay, sample:N or attested"),
  "backlog?": integer("Transactions the mirror does not have; missing without a mirror"),
  "lag?": integer("Age of the oldest of them in milliseconds, 0 where there is none"),
  "mirror?": choice(
    ["current", "behind", "diverged", "unknown"],
    "How the mirror's copy stands; diverged: it has what is not here; unknown: it was not seen since a restore; missing without a mirror",
  ),
});

const LANE = record({
  ns: text("The namespace"),
  state: choice(["waiting", "blocked", "diverged"], "What it waits for"),
  error: text("What the mirror said"),
  since: integer("Since when, Unix milliseconds"),
  nextTry: integer("When it is tried again, Unix milliseconds"),
  failures: integer("Tries that failed"),
});

const MIRROR = record(
  {
    remote: text("Its address, without a password"),
    state: choice(["idle", "waiting", "pushing", "blocked", "diverged"], "How it is"),
    "error?": text("What it said last, where it did not take something"),
    "nextTry?": integer("When it is tried again, Unix milliseconds"),
    "lastSuccess?": integer("When it last took something, Unix milliseconds"),
    failures: integer("Tries that failed since"),
    diverged: list(text("A namespace"), "Namespaces that it has a ledger of that is not part of ours"),
    stuck: list(LANE, "Namespaces that it does not take, while others go on"),
  },
  "The mirror",
);

export const STARGATE_STATUS = record({
  name: text("The repository's name"),
  agent: text("Program and version"),
  role: choice(["leader", "stopped"], "Whether a daemon runs"),
  format: choice(["sha1", "sha256"], "Object format"),
  writable: truth("Whether whoever asked may write"),
  "error?": text("What is wrong with the repository"),
  "refused?": list(
    record({
      ns: text('The namespace; "" stands for all'),
      since: integer("Since when, Unix milliseconds"),
      why: text("What the mirror has"),
    }),
    "Namespaces that no writes are taken to, because the mirror has what is not here",
  ),
  policy: orNull(POLICY),
  namespaces: list(NAMESPACE, "The namespaces"),
  mirror: orNull(MIRROR),
});

const SYNCED_REF = record({
  ns: text('The namespace; "" for the policy'),
  ref: text("The ref"),
  "here?": oid("Where it is at the Stargate"),
  "there?": oid("Where it is at the mirror"),
  standing: choice(["equal", "behind", "ahead", "diverged", "missing", "extra"], "How the mirror's stands to it"),
  action: choice(["none", "planned", "pushed", "forced", "left", "refused", "forked"], "What was done"),
  "reason?": text("Why it was refused"),
});

export const SYNC_REPORT = record({
  mode: choice(SYNC_MODES, "What was asked for"),
  remote: text("The mirror's address, without a password"),
  refs: list(SYNCED_REF, "Every ref that is mirrored"),
});
