/** Writes the seeds of corpus/ from what git makes: `bun tests/fuzz/make-corpus.ts`. The same git writes the same seeds. With GIT_KV_TEST_FORMAT=sha256 those of corpus-sha256/. */

import * as fs from "node:fs";
import * as path from "node:path";
import { createDelta } from "../../src/gitwire/pack/delta-search.ts";
import { DELIM, FLUSH, pktLine } from "../../src/gitwire/protocol/pkt-line.ts";
import { git, gitBytes, gitInput } from "../support/git.ts";
import { packOf } from "../support/hand-pack.ts";
import { removeTempDirs, tempDir } from "../support/temp.ts";
import { OTHER_FORMAT, SIGNATURE_HEADER, TEST_FORMAT } from "../support/test-format.ts";
import { keep } from "./corpus.ts";

Object.assign(process.env, {
  LC_ALL: "C",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_AUTHOR_NAME: "Test Author",
  GIT_AUTHOR_EMAIL: "author@example.com",
  GIT_COMMITTER_NAME: "Test Committer",
  GIT_COMMITTER_EMAIL: "committer@example.com",
});

const A = "1".repeat(TEST_FORMAT.hexSize);
const B = "2".repeat(TEST_FORMAT.hexSize);
const ZERO = TEST_FORMAT.zeroOid;
const seed = (name: string, bytes: Buffer | string): string =>
  keep(name, "seed", Buffer.from(bytes as string, "latin1"));
const lines = (...texts: (string | Buffer)[]): Buffer =>
  Buffer.concat(texts.map((text) => (typeof text === "string" ? pktLine(text) : text)));

const dir = tempDir("corpus");
git(dir, "init", "-q", "-b", "main", `--object-format=${TEST_FORMAT.name}`, ".");
let text = "";
for (let i = 0; i < 12; i++) {
  text += `line ${i} of a file that grows\n`;
  fs.mkdirSync(path.join(dir, "dir"), { recursive: true });
  fs.writeFileSync(path.join(dir, "dir", "file"), text);
  fs.writeFileSync(path.join(dir, `small${i % 3}`), `small ${i}\n`);
  git(dir, "add", ".");
  git(dir, "commit", "-q", "-m", `commit ${i}`);
}
git(dir, "tag", "-a", "v1", "-m", "a tag");
git(dir, "branch", "side", "HEAD~3");
git(dir, "pack-refs", "--all");
git(dir, "repack", "-a", "-d", "-f", "-q");

const packDir = path.join(dir, ".git", "objects", "pack");
for (const name of fs.readdirSync(packDir)) {
  const bytes = fs.readFileSync(path.join(packDir, name));
  if (name.endsWith(".pack"))
    for (const first of ["\0", "\x01"]) seed("pack", Buffer.concat([Buffer.from(first), bytes]));
  if (name.endsWith(".idx")) seed("index", bytes);
  if (!name.endsWith(".pack")) continue;
  git(dir, "index-pack", "--index-version=1", "-o", "v1.idx", path.join(packDir, name));
  seed("index", fs.readFileSync(path.join(dir, "v1.idx")));
  fs.rmSync(path.join(dir, "v1.idx"));
  git(dir, "index-pack", "--index-version=2,0x40", "-o", "large.idx", path.join(packDir, name));
  seed("index", fs.readFileSync(path.join(dir, "large.idx")));
}
seed("pack", Buffer.concat([Buffer.from("\x01"), packOf(dir, ["main", "^main~2"], "--thin")]));
seed("pack", Buffer.concat([Buffer.from("\x01"), packOf(dir, ["main"], "--no-reuse-delta")]));
seed("index", "no index");
seed("packed-refs", fs.readFileSync(path.join(dir, ".git", "packed-refs")));
seed("packed-refs", `${A} refs/heads/b\n${B} refs/heads/a\n`);
seed("packed-refs", `# pack-refs with: peeled\n${A} refs/tags/a`);

for (const name of ["HEAD^{tree}", "HEAD:dir"]) seed("tree", gitBytes(dir, "cat-file", "tree", name));
seed(
  "tree",
  Buffer.concat(
    [..."ab"].map((name) => Buffer.concat([Buffer.from(`160000 ${name}\0`), Buffer.alloc(TEST_FORMAT.rawSize, 1)])),
  ),
);
seed("tree", Buffer.concat([Buffer.from("100644 a\0"), Buffer.alloc(10)]));
seed("commit", gitBytes(dir, "cat-file", "commit", "HEAD"));
const signed = `${SIGNATURE_HEADER} -----BEGIN SSH SIGNATURE-----\n U1NIU0lH\n -----END SSH SIGNATURE-----\n`;
const who = "A <a@example.com> 1700000000 +0130";
seed("commit", `tree ${A}\nparent ${A}\nparent ${B}\nauthor ${who}\ncommitter ${who}\nencoding latin1\n${signed}\nm\n`);
seed("commit", `tree ${A}\nauthor ${who}\n\nno committer\n`);
seed("tag", gitBytes(dir, "cat-file", "tag", "v1"));
seed("tag", `object ${A}\ntype blob\ntag old\n\nwithout a tagger\n`);
seed("tag", `object ${A}\ntype nothing\ntag x\n\n`);
const blob = gitInput(dir, "a loose object\n", "hash-object", "-w", "--stdin");
seed("loose", fs.readFileSync(path.join(dir, ".git", "objects", blob.slice(0, 2), blob.slice(2))));
seed("loose", "not zlib");
seed("config", fs.readFileSync(path.join(dir, ".git", "config")));
seed("config", `[a "b\\"c\\\\"]\n\tx = y ; z\n# c\n[d.E]f\n  g = "h # i" \\\n  j\\tk\n[include]path=~/x\n`);
seed("config", "[a\n");
for (const name of [
  "refs/heads/main",
  "HEAD",
  "refs/kv/main",
  "refs/tags/v1.0",
  "refs/heads/\u00e9",
  "worktrees/x/HEAD",
  "refs/a..b",
])
  keep("ref-name", "seed", Buffer.from(name));
const base = Buffer.from(text.slice(0, 200));
const target = Buffer.from(`${text.slice(50, 180)} and new text ${text.slice(0, 90)}`);
seed("delta", Buffer.concat([Buffer.from([base.length]), base, createDelta(base, target)!]));
seed("delta", Buffer.from([3, 97, 98, 99, 3, 6, 0x90, 3, 0x90, 3]));
seed("delta", Buffer.from([3, 97, 98, 99, 3, 6, 0]));

seed("pkt-line", lines("one\n", "two", "", FLUSH, DELIM, Buffer.from("0002"), "x".repeat(300)));
seed("pkt-line", "0003");
seed("pkt-line", "000aab");
const list = `report-status report-status-v2 side-band-64k atomic ofs-delta push-options object-format=${TEST_FORMAT.name} agent=git/2.39.5`;
seed(
  "capabilities",
  lines(
    "version=1\n",
    "agent=git/2.39.5\n",
    "fetch=shallow wait-for-done filter\n",
    `object-format=${TEST_FORMAT.name}`,
    FLUSH,
  ),
);
seed("capabilities", list);
seed(
  "commands",
  lines(
    `${ZERO} ${A} refs/heads/a\0 ${list}`,
    `${A} ${B} refs/heads/b`,
    `${B} ${ZERO} refs/heads/c`,
    FLUSH,
    "an option",
    "b=c",
    FLUSH,
  ),
);
seed("commands", lines(`shallow ${A}`, `${ZERO} ${A} refs/heads/a\0report-status`, FLUSH, "PACK"));
seed("commands", lines(`push-cert\0${list}\n`));
seed("commands", lines(`${ZERO} ${A} refs/heads/a\0object-format=${OTHER_FORMAT.name}`, FLUSH));
const wanted = "multi_ack_detailed no-done side-band-64k thin-pack ofs-delta agent=git/2.39.5";
seed(
  "upload-pack",
  lines(`want ${A} ${wanted}\n`, `want ${B}\n`, `shallow ${A}\n`, "deepen 3\n", FLUSH, `have ${B}\n`, FLUSH, "done\n"),
);
seed(
  "upload-pack",
  lines(
    `want ${A} ${wanted}\n`,
    "deepen-since 1700000000\n",
    "deepen-not refs/heads/x\n",
    "filter blob:none\n",
    FLUSH,
    "done\n",
  ),
);
const v2 = ["agent=git/2.39.5", `object-format=${TEST_FORMAT.name}`, DELIM];
const rest = [
  "thin-pack",
  "ofs-delta",
  "include-tag",
  "no-progress",
  "wait-for-done",
  "filter blob:limit=1k",
  "deepen-relative",
  "deepen 1",
];
seed(
  "upload-pack",
  lines("command=fetch", ...v2, ...rest, `want ${A}\n`, `have ${B}\n`, "want-ref refs/heads/x", "done\n", FLUSH),
);
seed(
  "upload-pack",
  lines("command=ls-refs\n", ...v2, "peel\n", "symrefs\n", "unborn\n", "ref-prefix refs/heads/\n", FLUSH),
);
seed("upload-pack", lines("want something\n", FLUSH));
seed(
  "answers",
  lines(
    "unpack ok\n",
    "ok refs/heads/a\n",
    "option refname refs/heads/b\n",
    `option old-oid ${A}\n`,
    `option new-oid ${B}\n`,
    "option forced-update\n",
    "ng refs/heads/c why not\n",
    FLUSH,
  ),
);
seed(
  "answers",
  lines(
    `${A} HEAD\0multi_ack symref=HEAD:refs/heads/main object-format=${TEST_FORMAT.name} agent=git/2\n`,
    `${A} refs/heads/main\n`,
    `${B} refs/tags/v1\n`,
    `${A} refs/tags/v1^{}\n`,
    `shallow ${B}\n`,
    FLUSH,
  ),
);
seed(
  "answers",
  lines(
    `${A} HEAD symref-target:refs/heads/main\n`,
    `${B} refs/tags/v1 peeled:${A}\n`,
    "unborn HEAD symref-target:refs/heads/x\n",
    FLUSH,
  ),
);
seed(
  "answers",
  lines(
    "version 2\n",
    "agent=git/2\n",
    "ls-refs=unborn\n",
    "fetch=shallow\n",
    `object-format=${TEST_FORMAT.name}\n`,
    FLUSH,
  ),
);
seed("answers", lines("ERR no such thing\n"));
removeTempDirs();
