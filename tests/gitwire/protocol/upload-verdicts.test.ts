/**
 * Every answer of upload-pack beside that of `git upload-pack` (2.39): the same raw request to both, the packets and the words compared.
 * Where we differ on purpose the row says why (docs/design/253).
 */

import { setDefaultTimeout } from "bun:test";
import * as fs from "node:fs";
import { git, gitInput } from "../../support/git.ts";
import { OTHER_FORMAT, TEST_FORMAT } from "../../support/test-format.ts";
import { type Exemption, scene, type Verdict, verdictTests } from "../../support/verdicts.ts";

setDefaultTimeout(60_000);

const FORMAT = `object-format=${TEST_FORMAT.name}`;
const { oids } = scene();

/** The first line of a v0 request for `b`. */
const want = (capabilities: string): string => `want $b ${capabilities} side-band-64k ofs-delta no-progress ${FORMAT}`;
/** A v0 request for `b`, done at once. */
const v0 = (capabilities: string, ...lines: string[]): string[] => [want(capabilities), ...lines, "0000", "done"];
/** A v2 command. */
const v2 = (command: string, ...args: string[]): string[] => [`command=${command}`, FORMAT, "0001", ...args, "0000"];
const fetch = (...args: string[]): string[] => v2("fetch", "no-progress", ...args);

const symref = (name: string, target: string) => (dir: string) => git(dir, "symbolic-ref", name, target);
const file = (name: string, text: string) => (dir: string) => fs.writeFileSync(`${dir}/${name}`, `${text}\n`);
const symrefs = (dir: string): void => {
  symref("refs/heads/alias", "refs/heads/main")(dir);
  symref("refs/heads/again", "refs/heads/alias")(dir);
  symref("refs/heads/broken", "refs/heads/nowhere")(dir);
};

const HUNG_UP: Exemption = { why: "a client may go away", from: (words) => words.filter((word) => word !== "fails") };
const PROGRESS: Exemption = {
  why: "one line at the beginning and one at the end is enough for people",
  from: (words) => words.filter((word) => !/^remote: (?:Counting|Compressing) /.test(word)),
};
const OBJECT_INFO: Exemption = {
  why: "object-info tells the sizes of objects that nobody may fetch",
  from: (words) => words.filter((word) => word !== "object-info"),
};
const IN_OUR_WORDS: Exemption = {
  why: "the same verdict in our words",
  from: (words) => words.map((word) => word.replace(/^ERR .*/, "ERR")),
};
const SECTION: Exemption = {
  why: "git has begun a section when it sees that it cannot go on",
  from: (words) => words.filter((word) => word !== "shallow-info"),
};

/** The same request, or advertisement, in both versions. */
function inBoth(name: string, what: Omit<Verdict, "name" | "version">): Verdict[] {
  const v2Only = what.advertise === "only" ? { but: OBJECT_INFO } : {};
  return [
    { ...what, name: `v0 ${name}`, version: 0 },
    { ...what, ...v2Only, name: `v2 ${name}`, version: 2 },
  ];
}

const advertisements: Verdict[] = [
  { name: "v1 advertisement", lines: [], advertise: "only", version: 1 },
  ...inBoth("advertisement", { lines: [], advertise: "only" }),
  ...[
    "uploadpack.allowFilter",
    "uploadpack.allowTipSHA1InWant",
    "uploadpack.allowReachableSHA1InWant",
    "uploadpack.allowAnySHA1InWant",
    "uploadpack.allowRefInWant",
    "uploadpack.advertiseSidebandAll",
    "transfer.advertiseObjectInfo",
    "uploadpack.advertiseBundleURIs",
  ].flatMap((name) => inBoth(`advertisement, ${name}`, { config: [`${name}=true`], lines: [], advertise: "only" })),
  ...["lsrefs.unborn=ignore", "lsrefs.unborn=allow", "transfer.hideRefs=refs/heads/side"].flatMap((config) =>
    inBoth(`advertisement, ${config}`, { config: [config], lines: [], advertise: "only" }),
  ),
  ...inBoth("advertisement, symbolic refs", { change: symrefs, lines: [], advertise: "only" }),
  ...inBoth("advertisement, detached HEAD", { change: file("HEAD", oids.a!), lines: [], advertise: "only" }),
  ...inBoth("advertisement, HEAD leads nowhere", {
    change: symref("HEAD", "refs/heads/nowhere"),
    lines: [],
    advertise: "only",
  }),
  ...inBoth("advertisement, shallow", { change: file("shallow", oids.b!), lines: [], advertise: "only" }),
  {
    name: "advertisement, a damaged ref",
    change: file("refs/heads/junk", "junk"),
    lines: [],
    advertise: "only",
    but: { why: "git advertises the zero id for it", from: (words) => words.filter((word) => !word.startsWith("$0 ")) },
  },
  {
    name: "advertisement, no refs",
    change: (dir) => {
      fs.rmSync(`${dir}/refs`, { recursive: true });
      fs.rmSync(`${dir}/packed-refs`, { force: true });
      fs.mkdirSync(`${dir}/refs`);
    },
    lines: [],
    advertise: "only",
    ours: [
      "as git since 2.41: a client learns the object format",
      "$0 capabilities^{}\0multi_ack thin-pack side-band side-band-64k ofs-delta shallow deepen-since deepen-not deepen-relative no-progress include-tag multi_ack_detailed no-done agent=",
      "0000",
      "-refs/heads/main $b",
      "-refs/heads/side $a",
      "-refs/tags/v1 $t",
    ],
  },
  {
    name: "advertisement, the branch of HEAD is hidden",
    config: ["transfer.hideRefs=refs/heads/main"],
    lines: [],
    advertise: "only",
    but: {
      why: "HEAD has the value of the branch that is hidden",
      from: (words) =>
        words
          .map((word) => word.replace(/^\$\w+ \S+\0| symref=\S+/g, ""))
          .filter((word) => word !== "$a refs/heads/side"),
    },
  },
  {
    name: "advertisement, HEAD is hidden",
    config: ["transfer.hideRefs=HEAD"],
    lines: [],
    advertise: "only",
    but: { why: "nothing of it is told", from: (words) => words.map((word) => word.replace(/ symref=\S+/, "")) },
  },
  { name: "v0 wants nothing", lines: ["0000"], advertise: "both" },
  { name: "v1 wants nothing", lines: ["0000"], advertise: "both", version: 1 },
  { name: "v2 wants nothing", lines: ["0000"], advertise: "both", version: 2, but: OBJECT_INFO },
  { name: "v0 is dropped", lines: [], advertise: "both", but: HUNG_UP },
];

const requests: Verdict[] = [
  { name: "v0 clone", lines: v0("") },
  { name: "v0 without sidebands", lines: ["want $b", "0000", "done"] },
  { name: "v0 small sideband", lines: ["want $b side-band no-progress", "0000", "done"] },
  { name: "v0 progress", lines: ["want $b side-band-64k", "0000", "done"], but: PROGRESS },
  { name: "v0 capabilities nobody knows", lines: v0("frotz x=y") },
  {
    name: "v0 capabilities behind the second want",
    lines: ["want $b", "want $a side-band-64k no-progress", "0000", "done"],
  },
  { name: "v0 an id in capitals", lines: [`want ${oids.b!.toUpperCase()} side-band-64k no-progress`, "0000", "done"] },
  { name: "v0 a tag", lines: ["want $t side-band-64k no-progress", "0000", "done"] },
  ...["n", "a", "c", "file", "tree"].flatMap((name): Verdict[] => [
    { name: `v0 want $${name} over HTTP`, lines: [`want $${name} side-band-64k no-progress`, "0000", "done"] },
    {
      name: `v0 want $${name} on a connection`,
      lines: [`want $${name} side-band-64k no-progress`, "0000", "done"],
      advertise: "both",
    },
  ]),
  ...["allowReachableSHA1InWant", "allowTipSHA1InWant", "allowAnySHA1InWant"].flatMap((key) =>
    ["n", "a", "file"].map(
      (name): Verdict => ({
        name: `v0 want $${name}, uploadpack.${key}`,
        config: [`uploadpack.${key}=true`, "transfer.hideRefs=refs/heads/side", "transfer.hideRefs=refs/tags"],
        lines: [`want $${name} side-band-64k no-progress`, "0000", "done"],
        advertise: "both",
      }),
    ),
  ),
  {
    name: "v0 a hidden tip",
    config: ["uploadpack.hideRefs=refs/heads/side", "transfer.hideRefs=refs/tags"],
    lines: ["want $a side-band-64k", "0000", "done"],
    advertise: "both",
  },
  {
    name: "v0 receive.hideRefs hides nothing from a fetch",
    config: ["receive.hideRefs=refs/heads/main"],
    lines: v0(""),
    advertise: "both",
  },
  {
    name: "v0 uploadpack.packObjectsHook of the repository",
    config: ["uploadpack.packObjectsHook=false"],
    lines: v0(""),
  },

  { name: "v0 a want that is none", lines: ["want xyz", "0000"] },
  { name: "v0 no want", lines: ["hello", "0000"] },
  { name: "v0 a have for a want", lines: ["have $b", "0000"] },
  {
    name: "v0 no space behind the id",
    lines: [`want ${oids.b}x`, "0000"],
    ours: [
      "git takes it for a capability",
      `ERR git upload-pack: protocol error, expected to get object ID, not 'want ${oids.b}x'`,
      "fails",
    ],
  },
  { name: "v0 a length that is none", lines: [Buffer.from("zzzzq")] },
  { name: "v0 the end behind the wants", lines: [want("")] },
  { name: "v0 the end behind the flush", lines: [want(""), "0000"] },
  { name: "v0 no have", lines: [want(""), "0000", "0000"] },
  { name: "v0 no line of the negotiation", lines: [want(""), "0000", "what"] },
  { name: "v0 a have that is none", lines: [want(""), "0000", "have xyz"] },
  {
    name: "v0 a delimiter",
    lines: [want(""), "0001"],
    ours: ["git takes it for a flush", "ERR delim inside the request", "fails"],
  },
  ...["", "multi_ack", "multi_ack_detailed", "multi_ack_detailed no-done"].flatMap((mode): Verdict[] => {
    const talk = (name: string, ...lines: string[]): Verdict => ({
      name: `v0 [${mode}] ${name}`,
      lines: [want(mode), "0000", ...lines],
    });
    const connected = (name: string, ...lines: string[]): Verdict => ({ ...talk(name, ...lines), advertise: "both" });
    const tag = connected("have a tag", "have $t", "0000", "done");
    const peels: Exemption = {
      why: "who has a tag has its commit",
      from: (words) => words.filter((word) => word !== "ACK $t ready"),
    };
    return [
      talk("have a, flush", "have $a", "0000"),
      talk("have a, done", "have $a", "done"),
      talk("have n, flush", "have $n", "0000"),
      talk("have n a n, flush, done", "have $n", "have $a", "have $n", "0000", "done"),
      connected("have a n, flush, n, flush, done", "have $a", "have $n", "0000", "have $n", "0000", "done"),
      connected("have b", "have $b", "0000", "done"),
      connected("have n", "have $n", "0000", "done"),
      connected("have a blob", "have $file", "0000", "done"),
      connected("have a b b", "have $a", "have $b", "have $b", "0000", "done"),
      mode.includes("detailed") ? { ...tag, but: peels } : tag,
    ];
  }),
];

const depths = [
  "deepen 1",
  "deepen 2147483647",
  "deepen 99999999999",
  "deepen 0",
  "deepen -1",
  "deepen x",
  "deepen 1x",
];
depths.push("deepen-since 1000", "deepen-since 4000000000", "deepen-since x", "deepen-since 0", "deepen-not side");
depths.push("deepen-not refs/heads/side", "deepen-not v1", "deepen-not nothing", "deepen-not $a", "deepen-not main");

const shallow: Verdict[] = [
  ...depths.flatMap((line): Verdict[] => [
    { name: `v0 ${line}`, lines: v0("shallow", line) },
    {
      name: `v2 ${line}`,
      version: 2,
      lines: fetch("want $b", line, "done"),
      ...(/ (?:40+|main)/.test(line) && { but: SECTION }),
    },
  ]),
  ...["deepen 0x1", "deepen +1"].map(
    (line): Verdict => ({
      name: `v0 ${line}`,
      lines: v0("shallow", line),
      ours: ["a number is written in digits", `ERR Invalid deepen: ${line}`, "fails"],
    }),
  ),
  { name: "v0 two depths", lines: v0("shallow", "deepen 1", "deepen 2") },
  { name: "v0 depth and date", lines: v0("shallow", "deepen 1", "deepen-since 1") },
  {
    name: "v2 depth and branch",
    version: 2,
    lines: fetch("want $b", "deepen 1", "deepen-not side", "done"),
    but: SECTION,
  },
  ...[["deepen 2"], [], ["deepen 1"]].flatMap((lines): Verdict[] => [
    { name: `v0 shallow $b ${lines}`, lines: v0("shallow", "shallow $b", ...lines) },
    { name: `v2 shallow $b ${lines}`, version: 2, lines: fetch("want $b", "shallow $b", ...lines, "have $b", "done") },
  ]),
  { name: "v0 deepen-relative", lines: v0("deepen-relative", "shallow $b", "deepen 1") },
  {
    name: "v2 deepen-relative",
    version: 2,
    lines: fetch("want $b", "shallow $b", "deepen 1", "deepen-relative", "done"),
  },
  { name: "v2 deepen-relative to nothing", version: 2, lines: fetch("want $b", "deepen-relative", "done") },
  { name: "v2 unshallow", version: 2, lines: fetch("want $b", "shallow $b", "deepen 2147483647", "have $b", "done") },
  ...["n", "file", "t"].map(
    (name): Verdict => ({ name: `v0 shallow $${name}`, lines: v0("shallow", `shallow $${name}`, "deepen 1") }),
  ),
  { name: "v2 shallow $file", version: 2, lines: fetch("want $b", "shallow $file", "deepen 1", "done") },
  { name: "v2 shallow $n", version: 2, lines: fetch("want $b", "shallow $n", "done") },
  { name: "v0 a shallow line that is none", lines: v0("shallow", "shallow xyz") },
  { name: "v0 depth, without done", lines: [want("shallow multi_ack_detailed"), "deepen 1", "0000"] },
  { name: "v0 depth, then gone", lines: [want("shallow"), "deepen 1", "0000"], advertise: "both", but: HUNG_UP },
  { name: "v2 depth, nothing in common", version: 2, lines: fetch("want $b", "deepen 1", "have $n") },
  { name: "v2 depth, ready", version: 2, lines: fetch("want $b", "deepen 1", "have $a") },
  { name: "v2 a shallow server", version: 2, change: file("shallow", oids.b!), lines: fetch("want $b", "done") },
];

const specs = ["blob:none", "blob:limit=1", "blob:limit=1k", "blob:limit=0", "blob:limit=x", "blob:limit=", "tree:0"];
specs.push("tree:1", "tree:x", "tree:", "object:type=blob", "object:type=commit", "object:type=frotz", "combine:");
specs.push("combine:blob:none", "combine:blob:none+tree:1", "combine:tree:x+blob:none", "combine:blob%3Anone+tree%3A1");
specs.push("combine:blob: none", "sparse:path=x", "frotz", "", "blob:nonee", "Blob:none", "tree:18446744073709551616");
specs.push("blob:limit=-1", "auto");

const filters: Verdict[] = [
  ...specs.map(
    (spec): Verdict => ({
      name: `v2 filter ${spec}`,
      version: 2,
      config: ["uploadpack.allowFilter=true"],
      lines: fetch("want $b", `filter ${spec}`, "done"),
    }),
  ),
  {
    name: "v2 filter of an empty part",
    version: 2,
    config: ["uploadpack.allowFilter=true"],
    lines: fetch("want $b", "filter combine:blob:none+", "done"),
    but: IN_OUR_WORDS,
  },
  {
    name: "v2 filter sparse:oid",
    version: 2,
    config: ["uploadpack.allowFilter=true"],
    lines: fetch("want $b", "filter sparse:oid=main:file", "done"),
    ours: ["it needs a file of the repository as its input", "ERR filter 'sparse:oid' not supported", "fails"],
  },
  {
    name: "v2 two filters",
    version: 2,
    config: ["uploadpack.allowFilter=true"],
    lines: fetch("want $b", "filter blob:none", "filter tree:1", "done"),
  },
  ...[
    "uploadpackfilter.allow=false",
    "uploadpackfilter.blob:none.allow=false",
    "uploadpackfilter.tree.maxDepth=0",
    "uploadpackfilter.combine.allow=false",
  ].flatMap((config) =>
    ["blob:none", "tree:1", "combine:blob:none+tree:1"].map(
      (spec): Verdict => ({
        name: `v2 filter ${spec}, ${config}`,
        version: 2,
        config: ["uploadpack.allowFilter=true", config],
        lines: fetch("want $b", `filter ${spec}`, "done"),
      }),
    ),
  ),
  { name: "v2 filter where it is not offered", version: 2, lines: fetch("want $b", "filter blob:none", "done") },
  { name: "v0 filter where it is not offered", lines: v0("filter", "filter blob:none") },
  { name: "v0 filter", config: ["uploadpack.allowFilter=true"], lines: v0("filter", "filter blob:none") },
  {
    name: "v0 filter without its capability",
    config: ["uploadpack.allowFilter=true"],
    lines: v0("", "filter blob:none"),
  },
  { name: "v0 include-tag", lines: v0("include-tag") },
  { name: "v0 include-tag, have a", lines: [want("include-tag"), "0000", "have $a", "done"] },
];

const lists: Verdict[] = [
  ...[
    [],
    ["peel", "symrefs", "unborn"],
    ["ref-prefix refs/heads/s", "ref-prefix HEAD"],
    ["symrefs", "ref-prefix H"],
  ].map((args): Verdict => ({ name: `ls-refs ${args}`, version: 2, lines: v2("ls-refs", ...args) })),
  ...[["ref-prefix refs/he", "ref-prefix refs/heads/main"], ["ref-prefix "], ["ref-prefix"], ["frotz"]].map(
    (args): Verdict => ({ name: `ls-refs ${args}`, version: 2, lines: v2("ls-refs", ...args) }),
  ),
  { name: "ls-refs want", version: 2, lines: v2("ls-refs", "want $b"), but: IN_OUR_WORDS },
  { name: "ls-refs, chains of symbolic refs", version: 2, change: symrefs, lines: v2("ls-refs", "symrefs", "peel") },
  {
    name: "ls-refs, HEAD by a chain",
    version: 2,
    change: (dir) => {
      symrefs(dir);
      symref("HEAD", "refs/heads/again")(dir);
    },
    lines: v2("ls-refs", "symrefs", "ref-prefix HEAD"),
  },
  ...[["unborn"], ["unborn", "symrefs"], ["symrefs"], []].map(
    (args): Verdict => ({
      name: `ls-refs, HEAD leads nowhere: ${args}`,
      version: 2,
      change: symref("HEAD", "refs/heads/nowhere"),
      lines: v2("ls-refs", ...args, "ref-prefix HEAD"),
    }),
  ),
  {
    name: "ls-refs, lsrefs.unborn=frotz",
    version: 2,
    config: ["lsrefs.unborn=frotz"],
    lines: v2("ls-refs", "unborn", "symrefs"),
    but: {
      why: "a fault in the server's config is not the client's to read",
      from: (words) => words.filter((word) => !word.startsWith("ERR ")),
    },
  },
  ...["ignore", "allow", "advertise"].map(
    (value): Verdict => ({
      name: `ls-refs, HEAD leads nowhere, lsrefs.unborn=${value}`,
      version: 2,
      config: [`lsrefs.unborn=${value}`],
      change: symref("HEAD", "refs/heads/nowhere"),
      lines: v2("ls-refs", "unborn", "symrefs"),
    }),
  ),
  { name: "ls-refs, HEAD is hidden", version: 2, config: ["transfer.hideRefs=HEAD"], lines: v2("ls-refs", "symrefs") },
  ...[symref("HEAD", "refs/heads/nowhere"), undefined].map(
    (change): Verdict => ({
      name: `ls-refs, the branch of HEAD is hidden${change === undefined ? "" : " and not there"}`,
      version: 2,
      config: ["transfer.hideRefs=refs/heads"],
      ...(change !== undefined && { change }),
      lines: v2("ls-refs", "symrefs", "unborn"),
      but: {
        why: "neither value nor name of a hidden branch is told",
        from: (words) => words.filter((word) => !/^(?:\$b|unborn) HEAD /.test(word)),
      },
    }),
  ),
];

const commands: Verdict[] = [
  { name: "a command without a delimiter", version: 2, lines: ["command=ls-refs", FORMAT, "0000"] },
  { name: "no request", version: 2, lines: [] },
  { name: "a flush", version: 2, lines: ["0000"] },
  { name: "no command", version: 2, lines: [FORMAT, "0001", "0000"] },
  { name: "no command but an agent", version: 2, lines: ["agent=x", "0000"] },
  { name: "a delimiter first", version: 2, lines: ["0001", "0000"] },
  { name: "a command nobody knows", version: 2, lines: v2("rm") },
  { name: "an empty command", version: 2, lines: v2("") },
  { name: "two commands", version: 2, lines: ["command=fetch", "command=ls-refs", FORMAT, "0001", "0000"] },
  { name: "a command twice", version: 2, lines: ["command=ls-refs", "command=ls-refs", FORMAT, "0001", "0000"] },
  { name: "a command without a name", version: 2, lines: ["command", FORMAT, "0001", "0000"], but: IN_OUR_WORDS },
  ...["frotz", "session-id=x", "ls-refs", "want $b"].map(
    (word): Verdict => ({
      name: `capability ${word}`,
      version: 2,
      lines: ["command=ls-refs", FORMAT, word, "0001", "0000"],
    }),
  ),
  {
    name: "options for the server",
    version: 2,
    lines: ["command=ls-refs", FORMAT, "server-option=x", "server-option=y=z", "agent=x", "0001", "0000"],
  },
  { name: "no object format", version: 2, lines: ["command=ls-refs", "0001", "0000"] },
  {
    name: "the other object format",
    version: 2,
    lines: ["command=ls-refs", `object-format=${OTHER_FORMAT.name}`, "0001", "0000"],
  },
  {
    name: "an object format nobody knows",
    version: 2,
    lines: ["command=ls-refs", "object-format=md5", "0001", "0000"],
  },
  { name: "two delimiters, ls-refs", version: 2, lines: ["command=ls-refs", FORMAT, "0001", "0001", "0000"] },
  { name: "two delimiters, fetch", version: 2, lines: ["command=fetch", FORMAT, "0001", "want $b", "0001", "0000"] },
  { name: "no flush, ls-refs", version: 2, lines: ["command=ls-refs", FORMAT, "0001", "peel"] },
  { name: "no flush, fetch", version: 2, lines: ["command=fetch", FORMAT, "0001", "want $b", "done"] },
  {
    name: "two commands on a connection",
    version: 2,
    advertise: "both",
    lines: [...v2("ls-refs"), ...fetch("want $b", "done"), "0000"],
    but: OBJECT_INFO,
  },
  {
    name: "object-info",
    version: 2,
    lines: v2("object-info", "size", "oid $b"),
    ours: [OBJECT_INFO.why, "ERR invalid command 'object-info'", "fails"],
  },
  { name: "bundle-uri", version: 2, lines: v2("bundle-uri") },
];

const fetches: Verdict[] = [
  ...[
    ["want $b", "done"],
    ["done"],
    [],
    ["want $b"],
    ["want $b", "have $n"],
    ["want $b", "have $a"],
    ["want $b", "have $a", "have $n"],
    ["want $b", "have $b", "have $a"],
    ["want $b", "have $file"],
    ["want $b", "have $a", "done"],
    ["want $b", "have $a", "wait-for-done"],
    ["have $a", "have $n", "wait-for-done"],
    ["want $b", "wait-for-done"],
    ["wait-for-done"],
    ["want $b", "have $a", "wait-for-done", "done"],
    ["want $n", "done"],
    ["want $b", "want $n", "done"],
    ["want $file", "done"],
    [`want ${oids.b!.toUpperCase()}`, "done"],
    ["want xyz", "done"],
    ["want $b", "have xyz"],
    ["want $b", "frotz", "done"],
    ["want $b", "sideband-all", "done"],
    ["want-ref refs/heads/main", "done"],
    ["want $b", "include-tag", "done"],
    ["want $b", "thin-pack", "ofs-delta", "have $a", "done"],
  ].map((args): Verdict => ({ name: `fetch ${args}`, version: 2, lines: fetch(...args) })),
  { name: "fetch, with progress", version: 2, lines: v2("fetch", "want $b", "done"), but: PROGRESS },
  {
    name: "fetch have $a twice",
    version: 2,
    lines: fetch("want $b", "have $a", "have $a", "have $b"),
    but: { why: "acknowledged once", from: (words) => [...new Set(words)] },
  },
  {
    name: "fetch have $t",
    version: 2,
    lines: fetch("want $b", "have $t"),
    ours: [
      "who has a tag has its commit",
      "acknowledgments",
      "ACK $t",
      "ready",
      "0001",
      "packfile",
      "PACK of 3",
      "0000",
    ],
  },
  {
    name: "fetch want and more",
    version: 2,
    lines: fetch("want $b side-band", "done"),
    ours: [
      "there are no capabilities behind a want of v2",
      "ERR git upload-pack: protocol error, expected to get oid, not 'want $b side-band'",
      "fails",
    ],
  },
  {
    name: "fetch packfile-uris",
    version: 2,
    lines: fetch("want $b", "packfile-uris https", "done"),
    ours: ["it is not offered", "ERR unexpected line: 'packfile-uris https'", "fails"],
  },
  ...[
    ["want-ref refs/heads/main", "done"],
    ["want-ref HEAD", "done"],
    ["want-ref refs/heads/side", "want-ref refs/heads/main", "want-ref refs/tags/v1", "done"],
    ["want-ref refs/heads/none", "done"],
    ["want-ref main", "done"],
    ["want-ref refs/secret/x", "done"],
    ["want-ref refs/heads/main", "have $a"],
    ["want-ref refs/heads/main", "have $n"],
  ].map(
    (args): Verdict => ({
      name: `fetch ${args}`,
      version: 2,
      config: ["uploadpack.allowRefInWant=true", "transfer.hideRefs=refs/secret"],
      change: (dir) => git(dir, "update-ref", "refs/secret/x", oids.a!),
      lines: fetch(...args),
    }),
  ),
  {
    name: "fetch want-ref twice",
    version: 2,
    config: ["uploadpack.allowRefInWant=true"],
    lines: fetch("want-ref refs/heads/main", "want-ref refs/heads/main", "done"),
    ours: ["as later versions of git", "ERR duplicate want-ref refs/heads/main", "fails"],
  },
  {
    name: "fetch want-ref and a depth",
    version: 2,
    config: ["uploadpack.allowRefInWant=true"],
    lines: fetch("want-ref refs/heads/main", "have $a", "deepen 1"),
    but: {
      why: "gitprotocol-v2 and git's own client have shallow-info before wanted-refs, its server sends them the other way round",
      from: (words) => [...words].sort(),
    },
  },
  {
    name: "a damaged repository",
    version: 2,
    change: (dir) => {
      const packs = fs.readdirSync(`${dir}/objects/pack`).map((name) => `${dir}/objects/pack/${name}`);
      const pack = fs.readFileSync(packs.find((name) => name.endsWith(".pack"))!);
      for (const name of packs) fs.rmSync(name);
      gitInput(dir, pack, "unpack-objects", "-q");
      fs.rmSync(`${dir}/objects/${oids.file!.slice(0, 2)}/${oids.file!.slice(2)}`);
    },
    lines: fetch("want $b", "done"),
    but: {
      why: "what is missing is for the log",
      from: (words) =>
        words.filter((word) => !word.startsWith("remote: fatal:")).map((word) => word.replace(/\0$/, "")),
    },
  },
];

verdictTests("upload-pack", [
  ...advertisements,
  ...requests,
  ...shallow,
  ...filters,
  ...lists,
  ...commands,
  ...fetches,
]);
