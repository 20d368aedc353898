/** What each command answers with --json: the JSON Schema of a line. Read for help and documentation only. */

import {
  type AnswerSchema,
  choice,
  either,
  integer,
  list,
  oid,
  orNull,
  record,
  text,
  time,
  truth,
} from "../../answer-schema.ts";
import { BUILTIN_ANSWERS } from "../../cli/builtin-answers.ts";
import { STARGATE_STATUS, SYNC_REPORT } from "../../kv/report-answers.ts";

const DOOR = orNull(text("How it came in: http, ssh, socket, hook"));

const TOKEN = {
  name: text("Its name"),
  scope: choice(["read", "write", "admin"], "What it may do"),
};

const TERMS = {
  "expires?": integer("When it ends, Unix seconds"),
  "namespaces?": list(text("A namespace"), "The only namespaces it may write to"),
};

export const ANSWERS: Readonly<Record<string, AnswerSchema>> = {
  ...BUILTIN_ANSWERS,
  init: record({
    gitDir: text("The repository"),
    isNew: truth("Whether it was made"),
    policy: choice(["written", "found"], "Where the first policy is from"),
    signaturesRequired: truth("Whether the policy wants signatures"),
    "mirror?": text("The mirror's address"),
    caughtUp: list(
      record({
        ns: text("The namespace"),
        from: integer("Sequence number of the first transaction"),
        to: integer("Sequence number of the last one"),
      }),
      "With --catch-up: what was taken over",
    ),
    mirrorHasMore: truth("Whether the mirror has what is not here"),
    "mirrorError?": text("Why it could not be brought up to date"),
  }),
  status: STARGATE_STATUS,
  sync: SYNC_REPORT,
  log: either(
    record({
      result: choice(
        ["accepted", "unfinished", "noted"],
        "unfinished: it is in the journal and not in the refs; noted: no ref of the Stargate moved",
      ),
      time: time("When it came"),
      kind: choice(
        ["txn", "policy", "branch", "ref", "restore", "foreign", "fork", "force"],
        "A transaction, a policy, branches and tags (ref: made by init); a restore, what the mirror had that was not here, a decision to go on beside it, one to overwrite it",
      ),
      ns: text('The namespace; "" for what belongs to none'),
      seq: integer("Sequence number of the transaction; 0 for what is none"),
      txn: text("Its id, a ULID"),
      oid: oid("The commit"),
      who: text("Name of the token, or the account"),
      door: DOOR,
      signer: orNull(text("Fingerprint of the key that signed it")),
      keysSet: integer("Keys set"),
      keysDel: integer("Keys deleted"),
      mirrored: orNull(time("When the mirror had it")),
      "refs?": list(
        record({
          ref: text("The ref"),
          oldOid: oid("Where it was; zeros where it was not"),
          newOid: oid("Where it is; zeros where it is deleted"),
        }),
        "Branches and tags that moved",
      ),
    }),
    record({
      result: choice(["rejected"], "It was refused"),
      time: time("When it came"),
      ns: text('The namespace; "" for what belongs to none'),
      code: text("One of the codes of exit-codes.md"),
      message: text("What was said"),
      who: text("Name of the token, or the account"),
      door: DOOR,
    }),
  ),
  fsck: either(
    record({
      fault: record(
        {
          part: text("What is at fault: objects, refs, journal, attestation ..."),
          subject: text("Which one"),
          code: text("One of the codes of exit-codes.md"),
          message: text("What is wrong"),
        },
        "Something that is wrong",
      ),
    }),
    record({
      summary: record(
        {
          faults: integer("How many there are"),
          refs: integer("Refs that were checked"),
          objects: integer("Objects"),
          namespaces: integer("Namespaces"),
          transactions: integer("Transactions"),
          rows: integer("Rows of the journal"),
        },
        "The last line",
      ),
    }),
  ),
  backup: record({
    id: text("Its id"),
    place: text("Where it is"),
    base: orNull(text("The backup it builds on")),
    refs: integer("Refs"),
    objects: integer("Objects that were written"),
    bytes: integer("Bytes that were written"),
    checked: integer("Packs of earlier backups that were read back"),
    checkedSince: orNull(time("Since when each pack it needs was read back; null where one has not been so far")),
  }),
  restore: record({
    id: text("The backup"),
    created: time("When it was made"),
    dir: orNull(text("The repository that was made; null with --check")),
    refs: integer("Refs"),
    objects: integer("Objects"),
    transactions: integer("Transactions that were verified"),
  }),
  "token add": record({ ...TOKEN, token: text("The token: it is shown once"), ...TERMS }),
  "token list": record({
    ...TOKEN,
    created: integer("When it was made, Unix seconds"),
    "expired?": truth("Whether its time is over"),
    ...TERMS,
  }),
};
