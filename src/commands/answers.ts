/** What each command answers with --json: the JSON Schema of a line. Read for help and documentation only. */

import {
  type AnswerSchema,
  anything,
  choice,
  either,
  integer,
  list,
  map,
  oid,
  orNull,
  record,
  text,
  time,
  truth,
} from "../answer-schema.ts";
import { BUILTIN_ANSWERS } from "../cli/builtin-answers.ts";
import { STARGATE_STATUS, SYNC_REPORT } from "../kv/report-answers.ts";

const KEY = text("The key");
const LEDGER = oid("The ledger commit");
const TREE = oid("The ledger's tree");
const TXN = text("The transaction's id, a ULID");
const SEQ = integer("The transaction's sequence number");
const REV = integer("The key's revision, from 1");
const OP = choice(["set", "del"], "What was done to the key");
const EXPIRES = integer("When it expires, Unix seconds");
const KIND = choice(["inline", "chunked"], "How it is stored: a blob, or in pieces");
const ETAG = text("blake3: and the digest of the value");
const CTYPE = text("Media type");
const LABELS = map(text("Value"), "The labels");

/** What metadata says of a value. */
const VALUE = {
  type: KIND,
  size: integer("Bytes of the value"),
  etag: ETAG,
  ctype: CTYPE,
  "expires?": EXPIRES,
  "labels?": LABELS,
};

/** What is known of a value that was looked up. */
const FOUND = {
  ...VALUE,
  oid: oid("The value's blob, or its manifest"),
  rev: REV,
  "pieces?": integer("Pieces of a chunked value"),
};

/** What `list --long` says of it. */
const { "labels?": _labels, ...LISTED } = FOUND;

const BYTES = record(
  { new: integer("Bytes of new pieces"), reused: integer("Bytes of pieces that were there") },
  "Of a value in pieces",
);

const WRITTEN = either(
  record({
    oid: LEDGER,
    txn: TXN,
    seq: SEQ,
    "rev?": REV,
    tree: TREE,
    set: integer("Keys set"),
    del: integer("Keys deleted"),
    "bytes?": BYTES,
  }),
  record({
    oid: LEDGER,
    seq: SEQ,
    tree: TREE,
    unchanged: choice([true], "All was there already: no commit was made"),
    "bytes?": BYTES,
  }),
);

/** What history and log say of a transaction. */
const MADE = {
  oid: LEDGER,
  txn: TXN,
  seq: SEQ,
  tree: TREE,
  epoch: text("Label of the epoch"),
  time: time("When it was made"),
  author: record({ name: text("Name"), email: text("Address") }, "The author"),
  signature: record(
    {
      state: choice(
        ["unsigned", "good", "stranger", "unknown", "bad"],
        "good: by a key that is a writer; stranger: by another; unknown: it cannot be told; bad: not over this commit",
      ),
      "signer?": text("Fingerprint of the key"),
      "name?": text("What the policy calls it"),
      "problem?": text("What is wrong with it"),
    },
    "Whose signature it has",
  ),
  subject: text("First line of the message"),
};

const optional = (fields: Readonly<Record<string, AnswerSchema>>): Record<string, AnswerSchema> =>
  Object.fromEntries(Object.entries(fields).map(([name, schema]) => [name.endsWith("?") ? name : `${name}?`, schema]));

const SET_UP = record({
  remote: text("The remote"),
  pushurl: text("The Stargate, where pushes go"),
  fetch: list(text("A refspec"), "What is fetched"),
});

const EPOCH_FIGURES = {
  live: integer("Keys that are kept"),
  expired: integer("Expired keys that are left behind"),
  tombstones: integer("Deleted keys that are left behind"),
  pieces: integer("Pieces that are kept"),
  pieceBytes: integer("Their bytes"),
};

const BEGUN = record({
  oid: LEDGER,
  txn: TXN,
  seq: SEQ,
  tree: TREE,
  epoch: text("The new epoch"),
  closed: record({ label: text("Its label"), last: oid("Its last ledger commit") }, "The epoch that ended"),
  ...EPOCH_FIGURES,
});

const DIFF_SIDE = record({ ...VALUE, rev: REV });

export const ANSWERS: Readonly<Record<string, AnswerSchema>> = {
  ...BUILTIN_ANSWERS,
  init: either(
    record({ oid: LEDGER, txn: TXN, seq: SEQ, tree: TREE, ns: text("The namespace"), epoch: text("Its epoch") }),
    record({
      oid: LEDGER,
      seq: SEQ,
      tree: TREE,
      ns: text("The namespace"),
      unchanged: choice([true], "It was there already"),
    }),
  ),
  clone: SET_UP,
  "remote setup": either(
    SET_UP,
    record({ remote: text("The remote"), undone: choice([true], "The set-up was taken back") }),
  ),
  get: record({
    key: KEY,
    "value?": text("The value, where it is UTF-8 and not written to a file"),
    "value_b64?": text("The value in base64, where it is not UTF-8"),
    "file?": text("The file it was written to"),
    "range?": text("The bytes that are here, both ends included"),
    ...FOUND,
  }),
  set: WRITTEN,
  "cas set": WRITTEN,
  mset: WRITTEN,
  del: WRITTEN,
  revert: WRITTEN,
  list: either(
    record({ key: KEY, "expires?": EXPIRES, "deleted?": choice([true], "With --deleted") }),
    record({ key: KEY, ...LISTED }),
    record({ key: KEY, deleted: choice([true], "It is deleted"), rev: REV }),
    record({ count: integer("How many") }),
  ),
  history: record({
    key: KEY,
    op: OP,
    rev: REV,
    ...optional(MADE),
    "value?": record(FOUND, "Unless it was deleted"),
    "patch?": text("With --patch: what changed from the revision before"),
  }),
  log: record({
    ...MADE,
    set: integer("Keys set"),
    del: integer("Keys deleted"),
    "keys?": list(record({ op: OP, key: KEY, rev: REV }), "With --keys: the keys"),
  }),
  diff: either(
    record({
      op: choice(["add", "change", "del"], "From A to B"),
      key: KEY,
      "before?": { ...DIFF_SIDE, description: "The value in A" },
      "after?": { ...DIFF_SIDE, description: "The value in B" },
      "patch?": text("With --patch: what changed"),
    }),
    record({ count: integer("How many") }),
  ),
  verify: either(
    record({
      finding: record(
        {
          "ns?": text("The namespace; missing where it is about the policy"),
          "seq?": SEQ,
          oid: oid("The commit"),
          code: text("One of the codes of exit-codes.md"),
          message: text("What is wrong"),
        },
        "Something that is wrong",
      ),
    }),
    record({
      summary: record(
        {
          findings: integer("How many there are"),
          namespaces: list(
            record({
              ns: text("The namespace"),
              tip: LEDGER,
              seq: SEQ,
              firstSeq: integer("Sequence number of the first transaction that was checked"),
              transactions: integer("Transactions that were checked"),
              signed: integer("Those of them with a good signature"),
              keysSet: integer("Keys set in them"),
              keysDel: integer("Keys deleted in them"),
              chunked: integer("New values in pieces"),
              chunkedUnread: integer("Those of them whose pieces are not in this clone"),
              signers: map(integer("Transactions"), "Transactions by fingerprint"),
            }),
            "What was checked",
          ),
          policy: orNull(
            record(
              {
                root: oid("The first policy commit"),
                tip: oid("The last one"),
                commits: integer("Commits between, both included"),
                trust: choice(["as pinned", "pinned now", "changed", "none"], "How the root stands to kv.policyRoot"),
              },
              "The chain of policies",
            ),
          ),
        },
        "The last line",
      ),
    }),
  ),
  "policy check": either(
    record({
      path: text("Where in the file"),
      line: integer("Line, from 1"),
      message: text("What is wrong"),
    }),
    record({
      op: choice(["set", "del", "check", "transaction"], "The operation, or all of them together"),
      "key?": KEY,
      allowed: truth("Whether a Stargate would let it in"),
      rule: text("The rule that decides"),
      "code?": text("The code of the refusal"),
      "message?": text("What it says"),
      "hint?": text("The way out"),
    }),
  ),
  "policy show": record({
    oid: oid("The policy commit in force"),
    ref: text("Where it was found"),
    root: oid("The first policy commit"),
    commits: integer("Commits from the root"),
    drift: choice(["same", "differs", "no file"], "How the file in the worktree stands to it"),
    policy: anything("The policy; 'git kv policy schema' prints its schema"),
    text: text("The file"),
  }),
  "policy schema": anything("The JSON Schema of a policy file"),
  "policy apply": record({ oid: oid("The policy commit in force"), applied: truth("Whether it is new") }),
  fetch: either(
    record({
      ref: text("A ref that moved"),
      "from?": oid("Where it was; missing where it is new"),
      "to?": oid("Where it is; missing where it is gone"),
    }),
    record({
      from: choice(["stargate"], "With --read-from stargate"),
      "oid?": LEDGER,
      "seq?": SEQ,
    }),
  ),
  wait: record({ oid: LEDGER, visible: choice([true], "The mirror shows it") }),
  watch: record({
    ns: text("The namespace"),
    seq: SEQ,
    oid: LEDGER,
    txn: TXN,
    op: OP,
    key: KEY,
    rev: REV,
    ...optional(VALUE),
    "last?": choice([true], "The last key of its transaction"),
  }),
  doctor: record({
    check: text("What was looked at"),
    status: choice(["ok", "warn", "fail"], "How it is"),
    message: text("What was found"),
    "code?": text("One of the codes of exit-codes.md"),
    "hint?": text("The way out"),
  }),
  "stargate status": STARGATE_STATUS,
  "stargate sync": SYNC_REPORT,
  snapshot: record({
    "file?": text("The file"),
    "dir?": text("The folder"),
    keys: integer("Keys"),
    bytes: integer("Bytes of their values"),
    seq: SEQ,
    oid: LEDGER,
  }),
  import: either(
    record({
      "oid?": LEDGER,
      "seq?": SEQ,
      keys: integer("Keys of the file"),
      bytes: integer("Bytes of their values"),
      set: integer("Keys set"),
      unchanged: integer("Keys that were as they are in the file"),
      transactions: integer("Transactions made"),
    }),
    record({
      dryRun: choice([true], "Nothing was written"),
      keys: integer("Keys of the file"),
      bytes: integer("Bytes of their values"),
      transactions: integer("Transactions it would take"),
    }),
  ),
  "epoch new": BEGUN,
  compact: either(
    BEGUN,
    record({
      epoch: text("The epoch that would begin, or the one that goes on"),
      unchanged: truth("There is nothing to leave behind"),
      dropsPieces: truth("Pieces that no key names would be left behind"),
      ...EPOCH_FIGURES,
    }),
  ),
  "epoch list": record({
    label: text("Its label"),
    current: truth("Whether it goes on"),
    here: truth("Whether it is in this clone"),
    "first?": integer("Its first transaction"),
    last: integer("Its last transaction"),
    "firstOid?": oid("Its first ledger commit"),
    lastOid: oid("Its last ledger commit"),
    "began?": time("When it began"),
  }),
};
