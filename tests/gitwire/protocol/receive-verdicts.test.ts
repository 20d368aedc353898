/**
 * Every answer of receive-pack beside that of `git receive-pack` (2.39): the same raw request to both, the packets, the words on the
 * sideband and the refs compared. Where we differ on purpose the row says why (docs/design/253).
 */

import { setDefaultTimeout } from "bun:test";
import * as fs from "node:fs";
import { git } from "../../support/git.ts";
import { handPack } from "../../support/hand-pack.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { type Exemption, packFor, scene, type Verdict, verdictTests } from "../../support/verdicts.ts";

setDefaultTimeout(60_000);

const FORMAT = `object-format=${TEST_FORMAT.name}`;
const C = packFor(["$c", "^$b"]);
const EMPTY = packFor([]);
const NO_PACK = Buffer.alloc(0);
/** `c` without its file. */
const HOLE = packFor(["$c", "^$b", "^$cfile"]);

/** The commands with the usual capabilities, and what follows them. */
function push(commands: readonly string[], pack: Buffer = C, more = ""): (string | Buffer)[] {
  const [first, ...others] = commands;
  const list = `${first}\0 report-status side-band-64k quiet ${FORMAT}${more}`;
  return [list, ...others, "0000", pack];
}

/** A push of `c` to main with these capabilities. */
function using(capabilities: string): (string | Buffer)[] {
  return [`$b $c refs/heads/main\0 ${capabilities} ${FORMAT}`, "0000", C];
}

/** A push of `c` to main whose pack is another. */
function packed(edit: (pack: Buffer) => Buffer | undefined): (string | Buffer)[] {
  const copy = Buffer.from(C);
  return push(["$b $c refs/heads/main"], edit(copy) ?? copy);
}

function hook(name: string, script: string): (dir: string) => void {
  return (dir) => {
    fs.mkdirSync(`${dir}/hooks`, { recursive: true });
    fs.writeFileSync(`${dir}/hooks/${name}`, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  };
}

const symref = (name: string, target: string) => (dir: string) => {
  git(dir, "symbolic-ref", name, target);
};
const ref = (name: string, text: string) => (dir: string) => fs.writeFileSync(`${dir}/${name}`, `${text}\n`);
const { oids } = scene();

const UNPACK: Exemption = {
  why: "the report says what is wrong with the pack, with its code; git says which of its programs failed, and why on the sideband",
  from: (words) =>
    words
      .filter((word) => !/^remote: (?:fatal|error): /.test(word))
      .map((word) => word.replace(/^unpack (?!ok).*/, "unpack")),
};
const REV_LIST: Exemption = {
  why: "what is missing is said in our words; git lets rev-list say it",
  from: (words) => words.filter((word) => !/^remote: (?:fatal: bad object|fatal: missing|error: missing) /.test(word)),
};

const NOT_TOLD: Exemption = {
  why: "a fault in the server's config is not the client's to read",
  from: (words) => words.filter((word) => !word.startsWith("ERR ")),
};

const names = ["HEAD", "main", "refs/heads", "refs/single", "refs/heads/", "refs/heads/a..b", "refs/heads/a.lock"];
names.push("refs/heads/.a", "refs/heads/a b", "refs/heads/a~b", "refs//heads/a", "refs/heads/@{x", "refs/heads/ä");
names.push("refs/../x", "foo/refs/heads/a", "refs/heads/-x", "refs/heads/HEAD", "refs/heads/a\tb", "refs/heads/@");

/** More refs than are moved one by one. */
const MANY = Array.from({ length: 40 }, (_, i) => `$0 $c refs/tags/many/${i}`);

verdictTests("receive-pack", [
  { name: "advertisement, v0", lines: [], advertise: "only" },
  { name: "advertisement, v1", lines: [], advertise: "only", version: 1 },
  {
    name: "advertisement: atomic, push options and ofs-delta as configured",
    config: ["receive.advertiseAtomic=false", "receive.advertisePushOptions=true", "repack.useDeltaBaseOffset=false"],
    lines: [],
    advertise: "only",
  },
  {
    name: "advertisement: hidden refs",
    config: ["transfer.hideRefs=refs/tags", "receive.hideRefs=refs/heads/side"],
    lines: [],
    advertise: "only",
  },
  { name: "advertisement: all is hidden", config: ["transfer.hideRefs=refs"], lines: [], advertise: "only" },
  {
    name: "advertisement: symbolic refs",
    change: (dir) => {
      symref("refs/heads/alias", "refs/heads/main")(dir);
      symref("refs/heads/broken", "refs/heads/nowhere")(dir);
    },
    lines: [],
    advertise: "only",
  },
  { name: "advertisement: shallow", change: ref("shallow", oids.b!), lines: [], advertise: "only" },
  {
    name: "advertisement: a ref to nothing, and one that is damaged",
    change: (dir) => {
      ref("refs/heads/bad", oids.n!)(dir);
      ref("refs/heads/junk", "junk")(dir);
    },
    lines: [],
    advertise: "only",
    but: {
      why: "git advertises the zero id for a damaged ref",
      from: (words) => words.filter((word) => !word.startsWith("$0")),
    },
  },
  {
    name: "advertisement: transfer.advertiseSID",
    config: ["transfer.advertiseSID=true"],
    lines: [],
    advertise: "only",
    but: {
      why: "nothing here traces sessions",
      from: (words) => words.map((word) => word.replace(/ session-id=\S+/, "")),
    },
  },
  {
    name: "advertisement: receive.certNonceSeed",
    config: ["receive.certNonceSeed=x"],
    lines: [],
    advertise: "only",
    but: {
      why: "push certificates are not taken: a transaction is signed by its commit",
      from: (words) => words.map((word) => word.replace(/ push-cert=\S+/, "")),
    },
  },
  { name: "a connection that wants nothing", lines: ["0000"], advertise: "both" },
  { name: "a push on a connection, v1", lines: using("report-status"), advertise: "both", version: 1 },
  {
    name: "a connection that is dropped",
    lines: [],
    advertise: "both",
    but: { why: "a client may go away without a flush", from: (words) => words.filter((word) => word !== "fails") },
  },

  { name: "report-status, side-band-64k, quiet", lines: push(["$b $c refs/heads/main"]) },
  { name: "without quiet", lines: using("report-status side-band-64k") },
  { name: "report-status alone", lines: using("report-status") },
  { name: "report-status-v2", lines: using("report-status-v2 side-band-64k quiet") },
  { name: "both reports", lines: using("report-status report-status-v2 side-band-64k quiet") },
  { name: "side-band-64k without a report", lines: using("side-band-64k quiet") },
  { name: "no capability", lines: using("") },
  { name: "capabilities nobody knows", lines: using("report-status side-band-64k quiet frotz nonsense=1") },
  { name: "capabilities behind a later command", lines: ["$b $c refs/heads/main", ...push(["$0 $c refs/heads/x"])] },
  {
    name: "capabilities behind two commands",
    lines: [
      `$b $c refs/heads/main\0 report-status ${FORMAT}`,
      `$0 $c refs/heads/x\0 side-band-64k ${FORMAT}`,
      "0000",
      C,
    ],
  },
  { name: "a line feed behind the command", lines: [`$b $c refs/heads/main\0report-status ${FORMAT}\n`, "0000", C] },
  {
    name: "side-band",
    lines: using("report-status side-band quiet"),
    ours: ["the small sideband is spoken too", "unpack ok", "ok refs/heads/main", "0000", "0000", "refs/heads/main $c"],
  },

  ...names.map((name) => ({ name: `a new ref '${name}'`, lines: push([`$0 $b ${name}`], EMPTY) })),
  { name: "HEAD is deleted", lines: push(["$b $0 HEAD"], NO_PACK) },
  {
    name: "a ref of one level is deleted",
    change: ref("refs/single", oids.b!),
    lines: push(["$b $0 refs/single"], NO_PACK),
  },
  { name: "a ref that cannot be is deleted", lines: push(["$b $0 refs/heads/a..b"], NO_PACK) },

  { name: "a stale old value", lines: push(["$a $c refs/heads/main"]) },
  { name: "an old value of nothing", lines: push(["$n $c refs/heads/main"]) },
  { name: "a new ref that is there", lines: push(["$0 $c refs/heads/main"]) },
  { name: "an old value of a ref that is not there", lines: push(["$b $c refs/heads/new"]) },
  { name: "the same value", lines: push(["$b $b refs/heads/main"], EMPTY) },
  { name: "ids in capitals", lines: push([`${oids.b!.toUpperCase()} ${oids.c!.toUpperCase()} refs/heads/main`]) },

  { name: "deletion", lines: push(["$a $0 refs/heads/side"], NO_PACK) },
  { name: "deletion, stale", lines: push(["$b $0 refs/heads/side"], NO_PACK) },
  { name: "deletion, old value of nothing", lines: push(["$n $0 refs/heads/side"], NO_PACK) },
  { name: "deletion, old value zero", lines: push(["$0 $0 refs/heads/side"], NO_PACK) },
  { name: "deletion of no ref, old value here", lines: push(["$b $0 refs/heads/new"], NO_PACK) },
  { name: "deletion of no ref, old value of nothing", lines: push(["$n $0 refs/heads/new"], NO_PACK) },
  { name: "deletion of no ref, old value zero", lines: push(["$0 $0 refs/heads/new"], NO_PACK) },
  { name: "deletion and a pack", lines: push(["$a $0 refs/heads/side"]) },
  { name: "deletion of HEAD's branch", lines: push(["$b $0 refs/heads/main"], NO_PACK) },
  ...["ignore", "warn", "refuse", "true", "false", "updateInstead"].map((value) => ({
    name: `receive.denyDeleteCurrent = ${value}`,
    config: [`receive.denyDeleteCurrent=${value}`],
    lines: push(["$b $0 refs/heads/main"], NO_PACK),
  })),
  {
    name: "receive.denyDeletes",
    config: ["receive.denyDeletes=true"],
    lines: push(["$a $0 refs/heads/side", "$t $0 refs/tags/v1"], NO_PACK),
  },
  ...["$b $d refs/heads/main", "$n $c refs/heads/main", "$a $c refs/heads/main", "$b $t refs/heads/main"].map(
    (command) => ({
      name: `receive.denyNonFastForwards: ${command}`,
      config: ["receive.denyNonFastForwards=true"],
      lines: push([command, "$t $a refs/tags/v1"], packFor(["$c", "$d"])),
    }),
  ),
  ...["ignore", "warn", "refuse", "true", "false", "nonsense"].map((value) => ({
    name: `receive.denyCurrentBranch = ${value}`,
    config: ["core.bare=false", `receive.denyCurrentBranch=${value}`],
    lines: push(["$b $c refs/heads/main"]),
    ...(value === "nonsense" && {
      but: NOT_TOLD,
    }),
  })),
  { name: "a branch that is checked out", config: ["core.bare=false"], lines: push(["$b $c refs/heads/main"]) },
  {
    name: "a setting that cannot be read",
    config: ["receive.denyDeletes=maybe"],
    lines: push(["$a $b refs/heads/side"], EMPTY),
    but: NOT_TOLD,
  },

  { name: "a branch to a tag", lines: push(["$b $t refs/heads/main"], EMPTY) },
  { name: "a branch to a blob", lines: push(["$b $file refs/heads/main"], EMPTY) },
  { name: "a tag to a blob", lines: push(["$0 $file refs/tags/x"], EMPTY) },
  { name: "below a ref", lines: push(["$0 $b refs/heads/main/x"], EMPTY) },
  {
    name: "above a ref",
    change: (dir) => git(dir, "update-ref", "refs/heads/x/y", "main"),
    lines: push(["$0 $b refs/heads/x"], EMPTY),
  },
  {
    name: "above a packed ref",
    change: (dir) => {
      git(dir, "update-ref", "refs/heads/x/y", "main");
      git(dir, "pack-refs", "--all");
    },
    lines: push(["$0 $b refs/heads/x"], EMPTY),
  },
  { name: "two new refs in each other's way", lines: push(["$0 $b refs/heads/n", "$0 $b refs/heads/n/e"], EMPTY) },
  ...[" atomic", ""].map((more) => ({
    name: `a ref goes and one below it comes,${more}`,
    lines: push(["$a $0 refs/heads/side", "$0 $b refs/heads/side/x"], EMPTY, more),
  })),
  {
    name: "two new refs in each other's way, atomic",
    lines: push(["$0 $b refs/heads/n", "$0 $b refs/heads/n/e"], EMPTY, " atomic"),
  },

  { name: "a tip that is not there", lines: push(["$0 $n refs/heads/x"], EMPTY), but: REV_LIST },
  {
    name: "a tip that is not there, and a good one",
    lines: push(["$0 $n refs/heads/x", "$b $c refs/heads/main"]),
    but: REV_LIST,
  },
  { name: "a blob is missing", lines: push(["$b $c refs/heads/main"], HOLE), but: REV_LIST },
  {
    name: "a blob is missing, and another ref needs nothing of the pack",
    lines: push(["$b $c refs/heads/main", "$0 $a refs/heads/x"], HOLE),
    but: REV_LIST,
  },
  {
    name: "a blob is missing, atomic",
    lines: push(["$b $c refs/heads/main", "$0 $a refs/heads/x"], HOLE, " atomic"),
    ours: [
      "git moves the other refs of an atomic push where one lacks objects",
      "unpack ok",
      "ng refs/heads/main missing necessary objects",
      "ng refs/heads/x atomic push failure",
      "0000",
      "0000",
      "remote: error: missing blob $cfile",
    ],
  },
  { name: "no pack", lines: push(["$b $c refs/heads/main"], NO_PACK), but: UNPACK },
  { name: "half a pack header", lines: packed((pack) => pack.subarray(0, 6)), but: UNPACK },
  { name: "no pack signature", lines: packed(() => Buffer.from("JUNKJUNKJUNKJUNK")), but: UNPACK },
  { name: "pack version 9", lines: packed((pack) => void pack.writeUInt8(9, 7)), but: UNPACK },
  { name: "pack version 3", lines: packed((pack) => void pack.writeUInt8(3, 7)), but: UNPACK },
  { name: "a pack that is cut", lines: packed((pack) => pack.subarray(0, -30)), but: UNPACK },
  { name: "a pack without its checksum", lines: packed((pack) => pack.subarray(0, -TEST_FORMAT.rawSize)), but: UNPACK },
  {
    name: "a wrong checksum",
    lines: packed((pack) => void pack.writeUInt8(pack.at(-1)! ^ 1, pack.length - 1)),
    but: UNPACK,
  },
  { name: "a pack that is damaged", lines: packed((pack) => void pack.writeUInt16BE(0x55aa, 15)), but: UNPACK },
  { name: "more objects than declared", lines: packed((pack) => void pack.writeUInt8(2, 11)), but: UNPACK },
  { name: "fewer objects than declared", lines: packed((pack) => void pack.writeUInt8(4, 11)), but: UNPACK },
  { name: "bytes behind the pack", lines: packed((pack) => Buffer.concat([pack, Buffer.from("more")])) },
  {
    name: "bytes behind a pack that git would keep",
    config: ["receive.unpackLimit=1"],
    lines: packed((pack) => Buffer.concat([pack, Buffer.from("more")])),
    ours: [
      "what follows the pack is not read, however many objects it has",
      "unpack ok",
      "ok refs/heads/main",
      "0000",
      "0000",
      "refs/heads/main $c",
    ],
  },
  {
    name: "a wrong checksum of a pack that git would keep",
    config: ["receive.unpackLimit=1"],
    lines: packed((pack) => void pack.writeUInt8(pack.at(-1)! ^ 1, pack.length - 1)),
    but: UNPACK,
  },
  {
    name: "receive.maxInputSize",
    config: ["receive.maxInputSize=100"],
    lines: push(["$b $c refs/heads/main"]),
    but: UNPACK,
  },
  {
    name: "a broken pack and a deletion, atomic",
    lines: push(["$b $c refs/heads/main", "$a $0 refs/heads/side"], C.subarray(0, -30), " atomic"),
    but: UNPACK,
  },
  {
    name: "a tree that holds .git, under receive.fsckObjects",
    config: ["receive.fsckObjects=true"],
    lines: push(
      ["$0 $b refs/heads/x"],
      handPack([["tree", Buffer.from(`100644 .git\0${"x".repeat(TEST_FORMAT.rawSize)}`)]]),
    ),
    but: UNPACK,
  },
  {
    name: "receive.fsck.<id> with a level that is none",
    config: ["receive.fsckObjects=true", "receive.fsck.missingEmail=wrong"],
    lines: push(["$b $c refs/heads/main"]),
    but: NOT_TOLD,
  },

  {
    name: "a ref named twice",
    lines: push(["$0 $a refs/heads/x", "$a $b refs/heads/x"], EMPTY),
    ours: [
      "a report names each ref once, so neither is done",
      "unpack ok",
      "ng refs/heads/x multiple updates for ref 'refs/heads/x' not allowed",
      "ng refs/heads/x multiple updates for ref 'refs/heads/x' not allowed",
      "0000",
      "0000",
    ],
  },
  {
    name: "a ref named twice, atomic",
    lines: push(["$0 $a refs/heads/x", "$a $b refs/heads/x"], EMPTY, " atomic"),
    but: {
      why: "git says so on the sideband",
      from: (words) =>
        words
          .map((word) => word.replace(/ atomic transaction failed$| multiple updates .*/, ""))
          .filter((word) => !word.startsWith("remote:")),
    },
  },
  {
    name: "a symbolic ref",
    change: symref("refs/heads/alias", "refs/heads/main"),
    lines: push(["$b $c refs/heads/alias"]),
  },
  {
    name: "a symbolic ref and its target, alike",
    change: symref("refs/heads/alias", "refs/heads/main"),
    lines: push(["$b $c refs/heads/alias", "$b $c refs/heads/main"]),
  },
  {
    name: "a symbolic ref and its target, not alike",
    change: symref("refs/heads/alias", "refs/heads/main"),
    lines: push(["$b $a refs/heads/alias", "$b $c refs/heads/main", "$0 $a refs/heads/x"]),
  },
  {
    name: "a symbolic ref and its target, not alike, atomic",
    change: symref("refs/heads/alias", "refs/heads/main"),
    lines: push(["$b $a refs/heads/alias", "$b $c refs/heads/main", "$0 $a refs/heads/x"], C, " atomic"),
    but: {
      why: "git moves the other refs of an atomic push",
      from: (words) => words.filter((word) => !word.includes("refs/heads/x")),
    },
  },
  {
    name: "a symbolic ref to a branch that is not there",
    change: symref("refs/heads/alias", "refs/heads/nowhere"),
    lines: push(["$0 $c refs/heads/alias"]),
  },
  {
    name: "a symbolic ref to itself",
    change: symref("refs/heads/alias", "refs/heads/alias"),
    lines: push(["$0 $c refs/heads/alias", "$b $c refs/heads/main"]),
  },
  {
    name: "a symbolic ref is deleted",
    change: symref("refs/heads/alias", "refs/heads/side"),
    lines: push(["$a $0 refs/heads/alias"], NO_PACK),
  },
  {
    name: "a symbolic ref and its target are deleted",
    change: symref("refs/heads/alias", "refs/heads/side"),
    lines: push(["$a $0 refs/heads/alias", "$a $0 refs/heads/side"], NO_PACK),
  },

  { name: "atomic, one stale", lines: push(["$b $c refs/heads/main", "$b $c refs/heads/side"], C, " atomic") },
  {
    name: "atomic, one no ref can have",
    lines: push(["$b $c refs/heads/main", "$0 $c refs/heads/a..b"], C, " atomic"),
  },
  {
    name: "atomic, one hidden",
    config: ["receive.hideRefs=refs/secret"],
    lines: push(["$b $c refs/heads/main", "$0 $c refs/secret/x"], C, " atomic"),
    ours: [
      "git moves the other refs of an atomic push",
      "unpack ok",
      "ng refs/heads/main atomic push failure",
      "ng refs/secret/x deny updating a hidden ref",
      "0000",
      "0000",
    ],
  },
  {
    name: "atomic where it is not offered",
    config: ["receive.advertiseAtomic=false"],
    lines: push(["$b $c refs/heads/main", "$b $c refs/heads/side"], C, " atomic"),
    ours: [
      "what a client asks for unasked is done: git kv pushes without waiting for the advertisement",
      "unpack ok",
      "ng refs/heads/main atomic transaction failed",
      "ng refs/heads/side atomic transaction failed",
      "0000",
      "0000",
      "remote: error: cannot lock ref 'refs/heads/side': is at $a but expected $b",
    ],
  },
  {
    name: "several at once, some good",
    lines: push([
      "$b $c refs/heads/main",
      "$b $c refs/heads/side",
      "$t $0 refs/tags/v1",
      "$0 $n refs/heads/none",
      "$0 $c refs/x",
    ]),
    but: REV_LIST,
  },
  { name: "many", lines: push(["$a $c refs/heads/side", ...MANY, "$t $0 refs/tags/v1"]) },
  { name: "many, one of them no ref", lines: push([...MANY, "$n $0 refs/tags/none"]) },
  {
    name: "many, some of them not good",
    config: ["receive.hideRefs=refs/secret", "receive.denyDeletes=true"],
    lines: push([
      ...MANY.slice(20),
      "$b $c refs/heads/side",
      "$0 $c refs/secret/x",
      "$0 $c refs/heads/main/x",
      "$0 $c refs/x",
      "$n $0 refs/tags/none",
      ...MANY.slice(0, 20),
      "$0 $c refs/tags/many",
    ]),
    but: { why: "the rules are applied to all of them before any moves", from: (words) => [...words].sort() },
  },
  {
    name: "many, where one goes for one below it",
    lines: push([...MANY, "$a $0 refs/heads/side", "$0 $c refs/heads/side/x"]),
  },
  {
    name: "many, and a hook for each",
    change: hook("update", "echo $1; case $1 in *7) exit 1;; esac"),
    lines: push(MANY),
  },
  ...[["one", "two=2"], [], [""]].map((options) => ({
    name: `push options ${JSON.stringify(options)}`,
    config: ["receive.advertisePushOptions=true"],
    change: hook("pre-receive", 'echo "$GIT_PUSH_OPTION_COUNT $GIT_PUSH_OPTION_0 $GIT_PUSH_OPTION_1"'),
    lines: [...push(["$b $c refs/heads/main"], NO_PACK, " push-options"), ...options, "0000", C],
  })),
  {
    name: "push options where they are not offered",
    lines: [...push(["$b $c refs/heads/main"], NO_PACK, " push-options"), "one", "0000", C],
    ours: ["as for atomic", "unpack ok", "ok refs/heads/main", "0000", "0000", "refs/heads/main $c"],
  },
  {
    name: "a push option with a control character",
    config: ["receive.advertisePushOptions=true"],
    lines: [...push(["$b $c refs/heads/main"], NO_PACK, " push-options"), "a\x01b", "0000", C],
    ours: [
      "logs and hooks get one line of text",
      "unpack ok",
      "ng refs/heads/main PROTOCOL: unprintable push option 'a\\u0001b'",
      "0000",
      "0000",
    ],
  },

  { name: "nothing to push", lines: ["0000"] },
  { name: "nothing to push, but a pack", lines: ["0000", C] },
  {
    name: "no request",
    lines: [],
    but: { why: "a client may go away", from: (words) => words.filter((word) => word !== "fails") },
  },
  { name: "shallow lines alone", lines: ["shallow $c", "0000"] },
  { name: "a shallow line that is none", lines: ["shallow xyz", "0000"] },
  {
    name: "a commit that the client has without its parent, which is here",
    lines: ["shallow $c", ...push(["$b $c refs/heads/main"])],
    ours: [
      "the history is whole here: nothing is cut off",
      "unpack ok",
      "ok refs/heads/main",
      "0000",
      "0000",
      "refs/heads/main $c",
    ],
  },
  ...[[], ["receive.shallowUpdate=true"]].map((config) => ({
    name: `a history that ends where the client's does ${config}`,
    config,
    change: (dir: string) => {
      git(dir, "update-ref", "-d", "refs/heads/main");
      git(dir, "update-ref", "refs/heads/side", oids.a!);
      fs.rmSync(`${dir}/objects`, { recursive: true });
      fs.cpSync(ONLY_A(), `${dir}/objects`, { recursive: true });
    },
    lines: ["shallow $c", ...push(["$0 $c refs/heads/x"])],
  })),
  {
    name: "a delimiter among the commands",
    lines: ["$b $c refs/heads/main", "0001", C],
    ours: ["git takes it for a flush", "ERR delim inside the command list", "fails"],
  },
  { name: "a command without a ref", lines: ["$b $c"] },
  {
    name: "a command with an empty ref",
    lines: ["$b $c ", "0000"],
    ours: ["git lets it pass, without a report", "ERR protocol error: expected old/new/ref, got '$b $c '", "fails"],
  },
  { name: "no command", lines: ["hello", "0000"] },
  {
    name: "the end among the commands",
    lines: ["$b $c refs/heads/main"],
    but: {
      why: "said where somebody may still read it",
      from: (words) => words.filter((word) => !word.startsWith("ERR")),
    },
  },
  { name: "a length that is none", lines: [Buffer.from("zzzzhello")] },
  { name: "a length of three", lines: [Buffer.from("0003")] },
  { name: "a length that no packet has", lines: [Buffer.from("fff5"), Buffer.alloc(0xfff1)] },
  {
    name: "an error line from the client",
    lines: ["ERR oh no", "0000"],
    ours: ["a client sends none", "ERR protocol error: expected old/new/ref, got 'ERR oh no'", "fails"],
  },
  {
    name: "another object format",
    lines: ["$b $c refs/heads/main\0 report-status object-format=md5", "0000", C],
    but: { why: "says which one is spoken here", from: (words) => words.filter((word) => !word.startsWith("ERR")) },
  },
  {
    name: "a push certificate",
    lines: [
      `push-cert\0 report-status side-band-64k quiet ${FORMAT}`,
      "certificate version 0.1\n",
      "pusher x\n",
      "\n",
      "$b $c refs/heads/main\n",
      "push-cert-end\n",
      "0000",
      C,
    ],
    ours: ["git takes one that nobody checks", "ERR push certificates are not taken", "fails"],
  },

  ...[
    ["transfer.hideRefs=refs/heads/side"],
    ["receive.hideRefs=refs/heads/side//"],
    ["uploadpack.hideRefs=refs/heads/side"],
    ["transfer.hideRefs=refs/heads/si"],
    ["transfer.hideRefs=^refs/heads/side"],
    ["transfer.hideRefs=refs/heads", "receive.hideRefs=!refs/heads/side"],
    ["receive.hideRefs=!refs/heads/side", "transfer.hideRefs=refs/heads"],
    ["transfer.hideRefs=refs/heads", "transfer.hideRefs=!^refs/heads/side"],
    ["transfer.hideRefs=refs/heads", "transfer.hideRefs=^!refs/heads/side"],
    ["transfer.hideRefs=refs/heads/side/"],
  ].map((config) => ({
    name: `hidden: ${config.join(" ")}`,
    config,
    lines: push(["$a $b refs/heads/side", "$b $c refs/heads/main", "$t $0 refs/tags/v1"]),
  })),
  {
    name: "a hidden ref is deleted",
    config: ["receive.hideRefs=refs/heads/side"],
    lines: push(["$a $0 refs/heads/side"], NO_PACK),
  },
  {
    name: "receive.procReceiveRefs, and no hook",
    config: ["receive.procReceiveRefs=refs/for"],
    lines: push(["$0 $c refs/for/main", "$b $c refs/heads/main"]),
  },

  {
    name: "pre-receive says no",
    change: hook("pre-receive", "cat; echo no >&2; exit 3"),
    lines: push(["$b $c refs/heads/main", "$b $c refs/heads/side"]),
  },
  {
    name: "pre-receive says no, and nobody hears it",
    change: hook("pre-receive", "echo hi; exit 1"),
    lines: using("report-status"),
  },
  {
    name: "update says no to one",
    change: hook("update", "echo u $*; case $1 in *main) exit 4;; esac"),
    lines: push(["$b $c refs/heads/main", "$a $c refs/heads/side"]),
  },
  {
    name: "post-receive fails",
    change: hook("post-receive", "cat; exit 1"),
    lines: push(["$b $c refs/heads/main", "$b $c refs/heads/side"]),
  },
  { name: "post-update fails", change: hook("post-update", "echo $*; exit 2"), lines: push(["$b $c refs/heads/main"]) },
  {
    name: "pre-receive and a ref that cannot be",
    change: hook("pre-receive", "cat"),
    lines: push(["$b $c refs/heads/main", "$0 $c refs/heads/a..b"]),
    but: {
      why: "the hook is shown what may still be done",
      from: (words) => words.filter((word) => word !== "remote: $0 $c refs/heads/a..b").sort(),
    },
  },

  {
    name: "a ref to nothing is mended",
    change: ref("refs/heads/bad", oids.n!),
    lines: push(["$n $b refs/heads/bad"], EMPTY),
    ours: [
      "git refuses every push while a ref leads to nothing",
      "unpack ok",
      "ok refs/heads/bad",
      "0000",
      "0000",
      "refs/heads/bad $b",
    ],
  },
  {
    name: "a ref to nothing is deleted",
    change: ref("refs/heads/bad", oids.n!),
    lines: push(["$n $0 refs/heads/bad"], NO_PACK),
  },
  {
    name: "a damaged ref is deleted, another moves",
    change: ref("refs/heads/bad", "junk"),
    lines: push(["$n $0 refs/heads/bad", "$a $0 refs/heads/side"], NO_PACK),
    but: { why: "in our words", from: (words) => words.filter((word) => !word.startsWith("remote: ")) },
  },
  {
    name: "a ref that is locked",
    change: (dir) => fs.writeFileSync(`${dir}/refs/heads/side.lock`, ""),
    lines: push(["$a $b refs/heads/side", "$b $c refs/heads/main"]),
    but: {
      why: "says who holds the lock, where that is known",
      from: (words) => words.filter((word) => !word.startsWith("remote: ")),
    },
  },
] satisfies Verdict[]);

/** Object folder of a repository that has `a` alone. */
function ONLY_A(): string {
  const dir = `${scene().client}-a`;
  if (!fs.existsSync(dir))
    git("/", "clone", "-q", "--bare", "--no-local", "--no-tags", "--single-branch", "-b", "side", scene().client, dir);
  return `${dir}/objects`;
}
