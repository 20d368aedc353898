import { afterAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../../src/errors.ts";
import { bytesSource } from "../../../src/gitwire/protocol/byte-stream.ts";
import { type FetchResult, fetchPack, lsRefs } from "../../../src/gitwire/protocol/fetch-pack.ts";
import { PktReader } from "../../../src/gitwire/protocol/pkt-line.ts";
import type { Transport } from "../../../src/gitwire/protocol/transport.ts";
import { openRepository } from "../../../src/gitwire/repo.ts";
import { connect } from "../../../src/gitwire/transport/connect.ts";
import { AGENT, connectOptions } from "../../support/connect.ts";
import { failureOf } from "../../support/failure.ts";
import { fsck, git, gitInput } from "../../support/git.ts";
import { startHttpBackend } from "../../support/http-backend.ts";
import { addCommit, addCommits, bareRepository, repositoryWith } from "../../support/push.ts";
import { OTHER_FORMAT, TEST_FORMAT } from "../../support/test-format.ts";

const { dir: SOURCE, commits: COMMITS } = repositoryWith(40);
git(SOURCE, "tag", "-a", "-m", "a tag", "v1", COMMITS[20]!);
git(SOURCE, "symbolic-ref", "refs/heads/alias", "refs/heads/main");
const http = startHttpBackend(path.dirname(SOURCE));
afterAll(() => {
  http.stop();
});

/** Where a repository is and what serves it: real git over HTTP and over a pipe (as behind ssh), our own session by its path. */
interface Way {
  readonly address: string;
  readonly program: string | undefined;
}
const WAYS: Readonly<Record<string, (dir: string) => Way>> = {
  http: (dir) => ({ address: `${http.url}/${path.basename(dir)}`, program: undefined }),
  pipe: (dir) => ({ address: dir, program: "git upload-pack" }),
  local: (dir) => ({ address: dir, program: undefined }),
};

function open({ address, program }: Way, version: Version): Promise<Transport> {
  return connect(address, "git-upload-pack", { ...connectOptions(), version, program });
}
const VERSIONS = [0, 1, 2] as const;
type Version = (typeof VERSIONS)[number];

/** Fetches what `ref` has into `into` and moves its own branch there, as a fetch does. */
async function fetchInto(
  into: string,
  way: Way,
  version: Version,
  options: { ref?: string; includeTag?: boolean; progress?: (text: string) => void } = {},
): Promise<FetchResult> {
  const repo = openRepository(into);
  const { ref = "refs/heads/main", ...rest } = options;
  const transport = await open(way, version);
  try {
    const { refs } = await lsRefs(transport, [ref], { agent: AGENT });
    const oid = refs.find(({ name }) => name === ref)!.oid;
    const haves = repo.refs.list().map((own) => own.oid);
    const result = await fetchPack(transport, { wants: [oid], haves, destination: repo, agent: AGENT, ...rest });
    git(into, "update-ref", ref, oid);
    return result;
  } finally {
    await transport.close();
    repo.close();
  }
}

for (const [name, way] of Object.entries(WAYS)) {
  // v1 is v0 with one line before it: once is enough, and each way takes its time.
  for (const version of VERSIONS.filter((each) => each !== 1 || name === "http")) {
    test(`${name}, v${version}: refs, tags peeled and symbolic refs told`, async () => {
      const transport = await open(way(SOURCE), version);
      const all = await lsRefs(transport, [], { agent: AGENT });
      await transport.close();
      expect(all.refs.map(({ name, oid }) => `${oid} ${name}`)).toEqual([
        `${COMMITS[39]} HEAD`,
        `${COMMITS[39]} refs/heads/alias`,
        `${COMMITS[39]} refs/heads/main`,
        `${git(SOURCE, "rev-parse", "v1")} refs/tags/v1`,
      ]);
      expect(all.refs.find(({ name }) => name === "HEAD")?.symref).toBe("refs/heads/main");
      expect(all.refs.find(({ name }) => name === "refs/tags/v1")?.peeled).toBe(COMMITS[20]!);
    });

    test(`${name}, v${version}: a clone, then a fetch of what is new only`, async () => {
      const { dir } = repositoryWith(5);
      const into = bareRepository();
      expect((await fetchInto(into, way(dir), version)).objectCount).toBe(15);
      expect(fsck(into)).toBe("");
      const tip = addCommit(dir, "later", "later\n");
      const second = await fetchInto(into, way(dir), version);
      // A thin pack's base may be added to it.
      expect(second.objectCount).toBeLessThanOrEqual(4);
      expect(git(into, "rev-parse", "refs/heads/main")).toBe(tip);
      expect(fsck(into)).toBe("");
    });

    test(`${name}, v${version}: histories that went apart meet at the newest common commit`, async () => {
      const { dir, commits } = repositoryWith(6);
      const into = bareRepository();
      await fetchInto(into, way(dir), version);
      addCommits(into, 60, "own", "refs/heads/own");
      addCommits(into, 60, "mine");
      git(dir, "update-ref", "refs/heads/main", commits[3]!);
      const tip = addCommit(dir, "theirs", "theirs\n");
      const result = await fetchInto(into, way(dir), version);
      // A thin pack's base may be added to it, with what that is a delta of.
      expect(result.objectCount).toBeLessThanOrEqual(5);
      // Which common commits are named depends on how early the server has enough.
      for (const oid of result.common) expect(commits).toContain(oid);
      expect(git(into, "rev-parse", "refs/heads/main")).toBe(tip);
      expect(fsck(into)).toBe("");
    });

    test(`${name}, v${version}: an empty repository`, async () => {
      const transport = await open(way(bareRepository()), version);
      const { refs, unbornHead } = await lsRefs(transport, [], { agent: AGENT });
      await transport.close();
      expect(refs).toEqual([]);
      expect(unbornHead).toBe(version === 2 ? "refs/heads/main" : undefined);
    });
  }

  test(`${name}: a repository of the other format; one that is not ours is refused`, async () => {
    const { dir } = repositoryWith(3, OTHER_FORMAT.name);
    const into = bareRepository(OTHER_FORMAT.name);
    for (const version of [0, 2] as const) await fetchInto(into, way(dir), version);
    expect(fsck(into)).toBe("");
    const error = await failureOf(fetchInto(bareRepository(), way(dir), 2));
    expect([error.code, error.message]).toEqual(["UNSUPPORTED", expect.stringContaining(OTHER_FORMAT.name)]);
  });

  test(`${name}: an annotated tag comes along where it is asked for`, async () => {
    for (const version of [0, 2] as const) {
      const into = bareRepository();
      await fetchInto(into, way(SOURCE), version, { includeTag: true });
      expect(git(into, "cat-file", "-t", git(SOURCE, "rev-parse", "v1"))).toBe("tag");
    }
  });

  test(`${name}: progress is handed on`, async () => {
    let text = "";
    await fetchInto(bareRepository(), way(SOURCE), 2, {
      progress: (piece) => {
        text += piece;
      },
    });
    expect(text).toMatch(/objects: +(100%|120)/);
  });

  test(`${name}: an object the server does not have, or does not give, is refused`, async () => {
    const into = bareRepository();
    for (const version of [0, 2] as const) {
      const repo = openRepository(into);
      const transport = await open(way(SOURCE), version);
      const order = { wants: ["1".repeat(TEST_FORMAT.hexSize)], haves: [], destination: repo, agent: AGENT };
      const error = await failureOf(fetchPack(transport, order));
      await transport.close();
      expect([version, error.code, error.message]).toEqual([
        version,
        "REMOTE_REJECTED",
        expect.stringContaining("not our ref"),
      ]);
    }
    expect(fs.readdirSync(path.join(into, "objects")).sort()).toEqual(["info", "pack"]);
    expect(fs.readdirSync(path.join(into, "objects/pack"))).toEqual([]);
  });
}

test("many fetches on one v2 connection", async () => {
  // Set before: a running upload-pack of git does not see a ref move.
  for (const [i, oid] of [COMMITS[5]!, COMMITS[10]!, COMMITS[39]!].entries()) {
    git(SOURCE, "update-ref", `refs/wanted/${i}`, oid);
  }
  for (const way of [WAYS.pipe!(SOURCE), WAYS.local!(SOURCE)]) {
    const into = bareRepository();
    const repo = openRepository(into);
    const transport = await open(way, 2);
    for (const [i, oid] of [COMMITS[5]!, COMMITS[10]!, COMMITS[39]!].entries()) {
      const { refs } = await lsRefs(transport, [`refs/wanted/${i}`], { agent: AGENT });
      expect(refs.map((ref) => ref.oid)).toEqual([oid]);
      const haves = repo.refs.list().map((own) => own.oid);
      await fetchPack(transport, { wants: [oid], haves, destination: repo, agent: AGENT });
      git(into, "update-ref", "refs/heads/main", oid);
    }
    await transport.close();
    expect(fsck(into)).toBe("");
  }
});

test("a history of long ago is fetched with its faults, as git does", async () => {
  const source = bareRepository();
  const blob = gitInput(source, "x", "hash-object", "-w", "--stdin");
  const inner = gitInput(source, `100644 blob ${blob}\tf\n`, "mktree");
  const data = Buffer.concat([Buffer.from("040000 a\0"), Buffer.from(inner, "hex")]);
  const tree = gitInput(source, data as Uint8Array, "hash-object", "-t", "tree", "-w", "--stdin", "--literally");
  git(source, "update-ref", "refs/heads/main", git(source, "commit-tree", "-m", "x", tree));
  const into = bareRepository();
  await fetchInto(into, WAYS.local!(source), 2);
  expect(git(into, "rev-parse", "refs/heads/main^{tree}")).toBe(tree);
});

test("nothing wanted, nothing sent", async () => {
  const repo = openRepository(bareRepository());
  const transport = await connect(SOURCE, "git-upload-pack", connectOptions());
  const result = await fetchPack(transport, { wants: [], haves: [], destination: repo, agent: AGENT });
  await transport.close();
  expect(result).toEqual({ objectCount: 0, byteLength: 0, common: [], isPartial: false });
});

/** A program that serves this pack with the tip `tip`, whatever is asked for. */
function liar(dir: string, tip: string, objects: string): string {
  const pack = path.join(dir, "lie.pack");
  const made = Bun.spawnSync(["git", "pack-objects", "--stdout"], { cwd: dir, stdin: Buffer.from(`${objects}\n`) });
  fs.writeFileSync(pack, made.stdout);
  const script = path.join(dir, "liar");
  const capabilities = `multi_ack_detailed ofs-delta object-format=${TEST_FORMAT.name}`;
  const line = `${tip} refs/heads/main\0${capabilities}\n`;
  const advertisement = `${(line.length + 4).toString(16).padStart(4, "0")}${line}0000`;
  fs.writeFileSync(path.join(dir, "advertisement"), advertisement);
  fs.writeFileSync(script, `#!/bin/sh\ncat ${dir}/advertisement; sleep 0.1; printf '0008NAK\\n'; cat ${pack}\n`, {
    mode: 0o755,
  });
  return script;
}

/** What a fetch from that program says; nothing of it must stay. */
async function saidOf(dir: string, program: string): Promise<[string, string]> {
  const into = bareRepository();
  const { code, message } = await failureOf(fetchInto(into, { address: dir, program }, 0));
  expect(fs.readdirSync(path.join(into, "objects")).sort()).toEqual(["info", "pack"]);
  expect(fs.readdirSync(path.join(into, "objects/pack"))).toEqual([]);
  return [code, message];
}

test("a server that leaves objects out is found out, and nothing is kept", async () => {
  const { dir } = repositoryWith(2);
  const tip = git(dir, "rev-parse", "main");
  const list = git(dir, "rev-list", "--objects", "--filter=blob:none", "--no-object-names", "main");
  expect(await saidOf(dir, liar(dir, tip, list))).toEqual(["BAD_PACK", expect.stringContaining("missing blob")]);
});

test("so is one that sends an object that is none", async () => {
  const { dir } = repositoryWith(1);
  const torn = gitInput(dir, "100644 f\0short", "hash-object", "-w", "--literally", "-t", "tree", "--stdin");
  const text = `tree ${torn}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nx\n`;
  const tip = gitInput(dir, text, "hash-object", "-w", "--literally", "-t", "commit", "--stdin");
  expect(await saidOf(dir, liar(dir, tip, `${tip}\n${torn}`))).toEqual([
    "BAD_PACK",
    expect.stringContaining("the server sent an unsound object: "),
  ]);
});

test("a connection that ends inside the pack leaves nothing behind", async () => {
  const { dir } = repositoryWith(3);
  const into = bareRepository();
  const script = path.join(dir, "cut");
  fs.writeFileSync(script, '#!/bin/sh\ngit upload-pack "$1" | dd bs=1 count=700 2>/dev/null\n', { mode: 0o755 });
  const error = await failureOf(fetchInto(into, { address: dir, program: script }, 0));
  expect(error.code).toBe("NETWORK");
  expect(fs.readdirSync(path.join(into, "objects")).sort()).toEqual(["info", "pack"]);
});

/** A stateless server that says the same whatever it is asked; `asked` gets the request. */
function played(greeting: Buffer, answer: Buffer, asked: Buffer[] = []): Transport {
  return {
    url: "http://host.invalid/x",
    service: "git-upload-pack",
    stateless: true,
    greeting: async () => new PktReader(bytesSource(greeting)),
    request: (body) => {
      asked.push(Buffer.concat([...body.chunks()]));
      return { reader: new PktReader(bytesSource(answer)), isSent: () => true };
    },
    close: async () => {},
  };
}

function uploadPack(dir: string, input: Buffer, ...args: string[]): Buffer {
  const env = { ...process.env, GIT_PROTOCOL: "version=2" };
  const run = Bun.spawnSync(["git", "upload-pack", "--stateless-rpc", ...args, dir], { stdin: input, env });
  expect(run.exitCode).toBe(0);
  return Buffer.from(run.stdout);
}

test("an answer cut at any byte, or with any byte flipped, is refused and leaves nothing behind", async () => {
  const { dir, commits } = repositoryWith(1);
  const into = bareRepository();
  const repo = openRepository(into);
  const order = { wants: [commits[0]!], haves: [], destination: repo, agent: AGENT };
  const greeting = uploadPack(dir, Buffer.alloc(0), "--advertise-refs");
  const asked: Buffer[] = [];
  await failureOf(fetchPack(played(greeting, Buffer.alloc(0), asked), order));
  const answer = uploadPack(dir, asked[0]!);
  const variants: Buffer[] = [];
  for (let end = 0; end < answer.length; end++) variants.push(answer.subarray(0, end));
  for (let at = 0; at < answer.length; at++) {
    const bytes = Buffer.from(answer);
    bytes[at]! ^= 1 << (at % 8);
    variants.push(bytes);
  }
  const packs = path.join(into, "objects/pack");
  let taken = 0;
  for (const bytes of variants) {
    const outcome = await fetchPack(played(greeting, bytes), order).catch((error: unknown) => error);
    if (outcome instanceof KvError) {
      expect(outcome.code).not.toBe("BUG");
    } else {
      // A flip that makes no difference: in the words of progress, or one kind of end for another.
      taken++;
      expect(outcome).toMatchObject({ objectCount: 3 });
      expect(git(into, "cat-file", "-t", commits[0]!)).toBe("commit");
      repo.close();
      for (const name of fs.readdirSync(packs)) fs.rmSync(path.join(packs, name));
    }
    expect(fs.readdirSync(packs)).toEqual([]);
  }
  expect(fs.readdirSync(path.join(into, "objects")).sort()).toEqual(["info", "pack"]);
  expect(taken).toBeLessThan(variants.length / 10);
});
