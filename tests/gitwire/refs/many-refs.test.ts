/** A million packed refs: those that are asked for are found without reading, or holding, the others. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { FLUSH, pktLine } from "../../../src/gitwire/protocol/pkt-line.ts";
import { git, gitBytes, gitInput, tryGit } from "../../support/git.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

setDefaultTimeout(120_000);

const COUNT = 1_000_000;
const SRC = path.resolve(import.meta.dir, "../../../src/gitwire");
const nameOf = (i: number): string => `refs/changes/${String(i).padStart(7, "0")}/head`;

/** A repository whose packed-refs file has so many lines; main leads to a commit, and so do all the others. */
function crowded(): { dir: string; commit: string } {
  const dir = tempDir("many");
  git(dir, "init", "-q", "--bare", "-b", "main", ".");
  const commit = git(dir, "commit-tree", "-m", "x", gitInput(dir, "", "mktree"));
  const fd = fs.openSync(path.join(dir, "packed-refs"), "w");
  fs.writeSync(fd, "# pack-refs with: peeled fully-peeled sorted \n");
  for (let i = 0; i < COUNT; i += 10_000) {
    fs.writeSync(fd, Array.from({ length: 10_000 }, (_, k) => `${commit} ${nameOf(i + k)}\n`).join(""));
  }
  fs.writeSync(fd, `${commit} refs/heads/main\n`);
  fs.closeSync(fd);
  return { dir, commit };
}

/** Runs a script that prints one JSON value; `repo`, `host` and `grown` (KiB of memory since they were made) are there. */
function inChild(dir: string, script: string): unknown {
  const run = Bun.spawnSync(
    [
      process.execPath,
      "-e",
      `
    const fs = await import("node:fs");
    const { openRepository } = await import("${SRC}/repo.ts");
    const { repositoryUploadHost } = await import("${SRC}/protocol/upload-pack-host.ts");
    const { uploadPack } = await import("${SRC}/protocol/upload-pack.ts");
    const most = () => Number(/VmHWM:\\s+(\\d+)/.exec(fs.readFileSync("/proc/self/status", "utf8"))[1]);
    const repo = openRepository("${dir}");
    const host = repositoryUploadHost(repo);
    const before = most();
    const grown = () => most() - before;
    ${script}`,
    ],
    { stdout: "pipe", stderr: "inherit" },
  );
  return JSON.parse(run.stdout.toString());
}

test("an ls-refs with a prefix answers from a million refs within a few megabytes", () => {
  const { dir, commit } = crowded();
  const script = `
    const refs = [...host.refs(["HEAD", "refs/heads/", "refs/changes/0500"])];
    const one = repo.refs.resolve("${nameOf(COUNT - 1)}");
    const none = repo.refs.resolve("refs/changes/none");
    // Ours comes on top of them, and is found.
    await repo.refs.update([{ name: "refs/heads/new", newOid: one }]);
    const after = [...host.refs(["refs/heads/"])].map(({ name }) => name);
    console.log(JSON.stringify({ count: refs.length, first: refs[0], one, none, after, grown: grown() }));
  `;
  const { grown, ...found } = inChild(dir, script) as { grown: number };
  console.error(`${grown} KiB more`);
  expect(found).toEqual({
    count: 1_000 + 2,
    first: { name: "HEAD", oid: commit, symref: "refs/heads/main" },
    one: commit,
    after: ["refs/heads/main", "refs/heads/new"],
  });
  expect(grown).toBeLessThan(64 * 1024);
  expect(fs.statSync(path.join(dir, "packed-refs")).size).toBeGreaterThan(COUNT * TEST_FORMAT.hexSize);
  expect(git(dir, "rev-parse", "refs/heads/new", nameOf(7))).toBe(`${commit}\n${commit}`);
});

test("a million refs are advertised, listed and asked for as git does it, from the file of the packed refs", () => {
  const { dir, commit } = crowded();
  git(dir, "tag", "-a", "-m", "t", "v1", commit);
  git(dir, "config", "uploadpack.hideRefs", "refs/changes/0999");
  const absent = "1".repeat(TEST_FORMAT.hexSize);
  const found = inChild(
    dir,
    `
    const { pktLine, FLUSH } = await import("${SRC}/protocol/pkt-line.ts");
    const serve = async (version, input, advertise) => {
      const hash = new Bun.CryptoHasher("sha256");
      const chunks = input === undefined ? [] : [input];
      let first;
      const write = async (chunk) => {
        // What comes first names us.
        if (first === undefined && version === 0) {
          first = parseInt(chunk.latin1Slice(0, 4), 16);
          chunk = chunk.subarray(first);
        }
        first ??= chunk.latin1Slice();
        hash.update(chunk);
      };
      const options = { host, stateless: true, advertise, version, agent: "t" };
      if (version === 0) options.stateless = false;
      let error;
      await uploadPack({ input: { read: async () => chunks.shift() }, output: { write } }, options).catch((e) => (error = e.message));
      return { hash: hash.digest("hex"), error };
    };
    const format = "object-format=${TEST_FORMAT.name}";
    const ask = (command, ...args) => Buffer.concat([...[\`command=\${command}\`, format].map((l) => pktLine(l)), Buffer.from("0001"), ...args.map((a) => pktLine(a)), FLUSH]);
    const advertised = await serve(0, undefined, "only");
    const listed = await serve(2, ask("ls-refs", "peel", "symrefs"), "skip");
    const fetched = await serve(2, ask("fetch", "want ${commit}", "done"), "skip");
    const refused = await serve(2, ask("fetch", "want ${absent}", "done"), "skip");
    console.log(JSON.stringify({ advertised, listed, fetched: fetched.error ?? "", refused: refused.error, grown: grown() }));
  `,
  ) as { advertised: { hash: string }; listed: { hash: string }; fetched: string; refused: string; grown: number };
  console.error(`${found.grown} KiB more`);
  const advertisement = gitBytes(dir, "upload-pack", "--advertise-refs", ".");
  const command = [`command=ls-refs`, `object-format=${TEST_FORMAT.name}`].map((line) => pktLine(line));
  const request = Buffer.concat([...command, Buffer.from("0001"), pktLine("peel"), pktLine("symrefs"), FLUSH]);
  const env = { GIT_PROTOCOL: "version=2" };
  const list = tryGit(dir, ["upload-pack", "--stateless-rpc", "."], { input: request, env }).stdout;
  const first = Number.parseInt(advertisement.latin1Slice(0, 4), 16);
  expect(found.advertised.hash).toBe(sha256(advertisement.subarray(first)));
  expect(found.listed.hash).toBe(sha256(list));
  expect([found.fetched, found.refused]).toEqual(["", `upload-pack: not our ref ${absent}`]);
  // The file itself, 67 MB (91 MB with long ids), is mapped; it is touched from end to end. 60 MB of garbage come on top;
  // a million refs held would be 1.2 GB.
  expect(found.grown).toBeLessThan(fs.statSync(path.join(dir, "packed-refs")).size / 1024 + 96 * 1024);
});

function sha256(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
}
