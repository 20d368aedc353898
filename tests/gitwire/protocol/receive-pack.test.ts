import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { deflateSync } from "node:zlib";
import { KvError } from "../../../src/errors.ts";
import { hashObject, type Oid } from "../../../src/gitwire/object/oid.ts";
import { bytesSource } from "../../../src/gitwire/protocol/byte-stream.ts";
import { capabilities, capabilityValue } from "../../../src/gitwire/protocol/capabilities.ts";
import { PktReader } from "../../../src/gitwire/protocol/pkt-line.ts";
import { encodePushRequest } from "../../../src/gitwire/protocol/receive-commands.ts";
import { receivePack } from "../../../src/gitwire/protocol/receive-pack.ts";
import type { Push, ReceivePackHost } from "../../../src/gitwire/protocol/receive-pack-host.ts";
import { readGreeting } from "../../../src/gitwire/protocol/ref-advertisement.ts";
import { readReport } from "../../../src/gitwire/protocol/report-status.ts";
import { repositoryHost } from "../../../src/gitwire/protocol/repository-host.ts";
import { openRepository, type Repository } from "../../../src/gitwire/repo.ts";
import { LIMITS } from "../../../src/limits.ts";
import { fsck, git, gitInput } from "../../support/git.ts";
import { handPack, packOf } from "../../support/hand-pack.ts";
import { random } from "../../support/random.ts";
import { push, serveReceivePack } from "../../support/sessions.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

// Processes of git, on machines that may be busy.
setDefaultTimeout(60_000);

const ZERO = TEST_FORMAT.zeroOid;

interface Setup {
  readonly repo: Repository;
  readonly server: string;
  readonly client: string;
  readonly first: Oid;
  readonly second: Oid;
  /** What the server lacks of `second`. */
  readonly pack: Buffer;
}

/** A bare server with one commit on main, and a client one commit ahead. */
function setup(): Setup {
  const dir = tempDir("receive");
  const [server, client] = [`${dir}/server.git`, `${dir}/client`];
  git(dir, "init", "-q", "--bare", "-b", "main", server);
  git(dir, "init", "-q", "-b", "main", client);
  fs.writeFileSync(`${client}/a`, "one\n");
  git(client, "add", ".");
  git(client, "commit", "-q", "-m", "one");
  git(client, "push", "-q", server, "main");
  fs.mkdirSync(`${client}/sub`);
  fs.writeFileSync(`${client}/sub/b`, "two\n");
  git(client, "add", ".");
  git(client, "commit", "-q", "-m", "two");
  const [first, second] = [git(client, "rev-parse", "HEAD^"), git(client, "rev-parse", "HEAD")];
  return { repo: openRepository(server), server, client, first, second, pack: packOf(client, [second, `^${first}`]) };
}

/** Everything in the server's object folder, to see that nothing was left. */
function objectFiles(server: string): string[] {
  return (fs.readdirSync(`${server}/objects`, { recursive: true }) as string[]).sort();
}

const ng = (ref: string, reason: string) => ({ ref, status: "ng", reason }) as const;
const ok = (ref: string) => ({ ref, status: "ok" }) as const;

test("advertises what git itself advertises", async () => {
  const { repo, server, client } = setup();
  git(client, "tag", "-a", "-m", "t", "v1", "HEAD^");
  git(client, "push", "-q", server, "v1", "HEAD^:refs/kv/main");
  for (const version of [0, 1] as const) {
    const { output } = await serveReceivePack(repo, Buffer.alloc(0), { advertise: "only", stateless: false, version });
    const ours = await readGreeting(new PktReader(bytesSource(output)));
    if (ours.kind !== "refs") throw new Error("no refs");
    expect(ours.version).toBe(version);
    expect(Array.from(ours.refs, ({ name, oid }) => `${oid} ${name}`)).toEqual(
      git(server, "for-each-ref", "--format=%(objectname) %(refname)").split("\n"),
    );
    const names = "report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta object-format agent";
    expect([...ours.capabilities.keys()]).toEqual(names.split(" "));
    expect(capabilityValue(ours.capabilities, "object-format")).toBe(TEST_FORMAT.name);
  }
  const http = await serveReceivePack(repo, Buffer.alloc(0), { advertise: "only" });
  expect(http.output.toString()).toStartWith("001f# service=git-receive-pack\n0000");
});

test("takes a push, makes it last, and says so", async () => {
  const { repo, server, first, second, pack } = setup();
  const commands = [
    { ref: "refs/heads/main", oldOid: first, newOid: second },
    { ref: "refs/kv/main", oldOid: ZERO, newOid: second },
  ];
  const { report, progress } = await push(repo, commands, pack, { atomic: true });
  expect(report).toEqual({ unpack: "ok", refs: [ok("refs/heads/main"), ok("refs/kv/main")] });
  expect(progress).toBe("");
  expect(git(server, "rev-parse", "main", "refs/kv/main")).toBe(`${second}\n${second}`);
  expect(fsck(server)).toBe("");
  expect(objectFiles(server).filter((name) => name.startsWith("tmp"))).toEqual([]);
});

test("a pack that is cut or damaged anywhere changes nothing", async () => {
  const { repo, server, first, second, pack } = setup();
  const before = objectFiles(server);
  const commands = [{ ref: "refs/heads/main", oldOid: first, newOid: second }];
  const rnd = random("damaged pack");
  const damaged: Buffer[] = [];
  for (let length = 0; length < pack.length; length += 7) damaged.push(pack.subarray(0, length));
  for (let at = 0; at < pack.length; at += 5) {
    const bytes = Buffer.from(pack);
    bytes[at] = bytes[at]! ^ (1 << rnd.int(8));
    damaged.push(bytes);
  }
  const more = Buffer.from(pack);
  more.writeUInt32BE(more.readUInt32BE(8) + 1, 8);
  damaged.push(more);
  for (const bytes of damaged) {
    const { report } = await push(repo, commands, bytes);
    expect(report.unpack).toMatch(/^(BAD_PACK|LIMIT_EXCEEDED): /);
    expect(report.refs).toEqual([ng("refs/heads/main", "unpacker error")]);
  }
  expect(objectFiles(server)).toEqual(before);
  expect(git(server, "rev-parse", "main")).toBe(first);
  // And the server is none the worse for it.
  expect((await push(repo, commands, pack)).report.refs).toEqual([ok("refs/heads/main")]);
});

test("a tip whose objects are not all there is refused, the others are not", async () => {
  const { repo, server, client, first, second } = setup();
  const before = objectFiles(server);
  const blob = git(client, "rev-parse", `${second}:sub/b`);
  const without = packOf(client, [second, `^${first}`, `^${blob}`]);
  const commands = [
    { ref: "refs/heads/main", oldOid: first, newOid: second },
    { ref: "refs/heads/copy", oldOid: ZERO, newOid: first },
  ];
  const atomic = await push(repo, commands, without, { atomic: true });
  expect(atomic.report).toEqual({
    unpack: "ok",
    refs: [ng("refs/heads/main", "missing necessary objects"), ng("refs/heads/copy", "atomic push failure")],
  });
  expect(atomic.progress).toContain(`missing blob ${blob}`);
  expect(objectFiles(server)).toEqual(before);
  const { report } = await push(repo, commands, without);
  expect(report.refs).toEqual([ng("refs/heads/main", "missing necessary objects"), ok("refs/heads/copy")]);
  expect(git(server, "rev-parse", "main", "copy")).toBe(`${first}\n${first}`);
  const nowhere = [{ ref: "refs/heads/new", oldOid: ZERO, newOid: "1".repeat(TEST_FORMAT.hexSize) }];
  expect((await push(repo, nowhere, handPack([]))).report.refs).toEqual([
    ng("refs/heads/new", "missing necessary objects"),
  ]);
});

test("an object of the wrong kind or shape is refused where it is linked", async () => {
  const { repo, server, client, first } = setup();
  const before = objectFiles(server);
  const person = "A <a@b> 1 +0000";
  const commit = (tree: Oid, parents: readonly Oid[] = []): Buffer =>
    Buffer.from(
      `tree ${tree}\n${parents.map((p) => `parent ${p}\n`).join("")}author ${person}\ncommitter ${person}\n\nx\n`,
    );
  const entry = (mode: string, oid: Oid): Buffer =>
    Buffer.concat([Buffer.from(`${mode} x\0`), Buffer.from(oid, "hex")]);
  const blob = git(client, "rev-parse", `${first}:a`);
  const tree = git(client, "rev-parse", `${first}^{tree}`);
  const bad: [string, (readonly ["commit" | "tree" | "blob" | "tag", Buffer])[]][] = [
    ["a blob as tree", [["commit", commit(blob)]]],
    ["a tree as parent", [["commit", commit(tree, [tree])]]],
    [
      "a tree as blob",
      [
        ["commit", commit(hashObject(TEST_FORMAT, "tree", entry("100644", tree)))],
        ["tree", entry("100644", tree)],
      ],
    ],
    [
      "a blob as subtree",
      [
        ["commit", commit(hashObject(TEST_FORMAT, "tree", entry("40000", blob)))],
        ["tree", entry("40000", blob)],
      ],
    ],
    ["a missing parent", [["commit", commit(tree, ["1".repeat(TEST_FORMAT.hexSize)])]]],
    [
      "an author without an address",
      [
        [
          "commit",
          Buffer.from(
            commit(tree)
              .toString()
              .replace(/<.*?> /, ""),
          ),
        ],
      ],
    ],
    [
      "a tree with '.git' in it",
      [
        [
          "commit",
          commit(
            hashObject(
              TEST_FORMAT,
              "tree",
              Buffer.from(`40000 .git\0${Buffer.from(tree, "hex").latin1Slice()}`, "latin1"),
            ),
          ),
        ],
        ["tree", Buffer.from(`40000 .git\0${Buffer.from(tree, "hex").latin1Slice()}`, "latin1")],
      ],
    ],
    ["no commit at all", [["commit", Buffer.from("tree")]]],
    ["half a commit", [["commit", Buffer.from(`tree ${tree}\nparent ${first}`)]]],
    ["an empty commit", [["commit", Buffer.alloc(0)]]],
    [
      "a torn tree",
      [
        ["commit", commit(hashObject(TEST_FORMAT, "tree", Buffer.from("40000 x\0abc")))],
        ["tree", Buffer.from("40000 x\0abc")],
      ],
    ],
    ["a tag on nothing", [["tag", Buffer.from(`object ${"1".repeat(TEST_FORMAT.hexSize)}\ntype commit\ntag x\n`)]]],
    ["a tag that lies", [["tag", Buffer.from(`object ${blob}\ntype commit\ntag x\n`)]]],
    ["a torn tag", [["tag", Buffer.from("object")]]],
  ];
  const linked: string[] = [];
  for (const [name, objects] of bad) {
    const [kind, data] = objects[0]!;
    const commands = [{ ref: "refs/heads/bad", oldOid: ZERO, newOid: hashObject(TEST_FORMAT, kind, data) }];
    const { report, progress } = await push(repo, commands, handPack(objects));
    // What the pack does not hold is missing; what it holds and is not sound cannot be unpacked.
    const isMissing = report.unpack === "ok";
    if (isMissing) linked.push(name);
    else expect(report.unpack).toStartWith("BAD_OBJECT: ");
    expect([name, report.refs]).toEqual([
      name,
      [ng("refs/heads/bad", isMissing ? "missing necessary objects" : "unpacker error")],
    ]);
    expect(progress).toStartWith("error: ");
  }
  const wrongLinks = ["a blob as tree", "a tree as parent", "a tree as blob", "a blob as subtree", "a missing parent"];
  expect(linked).toEqual([...wrongLinks, "a tag on nothing", "a tag that lies"]);
  expect(objectFiles(server)).toEqual(before);
});

test("a stale old value moves nothing, in git's words", async () => {
  const { repo, server, first, second, pack } = setup();
  const before = objectFiles(server);
  const stale = [{ ref: "refs/heads/main", oldOid: second, newOid: second }];
  const lone = await push(repo, stale, pack);
  expect(lone.report.refs).toEqual([ng("refs/heads/main", "failed to update ref")]);
  expect(lone.progress).toBe(`error: cannot lock ref 'refs/heads/main': is at ${first} but expected ${second}\n`);
  const created = await push(repo, [{ ref: "refs/heads/main", oldOid: ZERO, newOid: second }], pack);
  expect(created.progress).toBe("error: cannot lock ref 'refs/heads/main': reference already exists\n");
  const gone = await push(repo, [{ ref: "refs/heads/x", oldOid: first, newOid: second }], pack);
  expect(gone.progress).toBe("error: cannot lock ref 'refs/heads/x': unable to resolve reference 'refs/heads/x'\n");
  const both = [...stale, { ref: "refs/kv/main", oldOid: ZERO, newOid: second }];
  const together = await push(repo, both, pack, { atomic: true });
  expect(together.report.refs).toEqual([
    ng("refs/heads/main", "atomic transaction failed"),
    ng("refs/kv/main", "atomic transaction failed"),
  ]);
  expect(objectFiles(server)).toEqual(before);
  expect((await push(repo, both, pack)).report.refs).toEqual([
    ng("refs/heads/main", "failed to update ref"),
    ok("refs/kv/main"),
  ]);
  expect(fsck(server)).toBe("");
});

test("odd ref names and a ref named twice", async () => {
  const { repo, first } = setup();
  const create = (ref: string) => ({ ref, oldOid: ZERO, newOid: first });
  const names = ["HEAD", "refs/heads/a..b", "refs/heads/x.lock", "main", "refs/../evil", "refs/heads/a b"];
  for (const name of names) {
    const { report, progress } = await push(repo, [create(name)], handPack([]));
    // A name with a space reads as a shorter name in a report, so only the session's own words tell.
    expect(report.refs[0]?.status).toBe("ng");
    expect(progress).toBe(`error: refusing to create funny ref '${name}' remotely\n`);
  }
  const twice = await push(repo, [create("refs/heads/x"), create("refs/heads/x")], handPack([]));
  expect(twice.report.refs.map(({ status }) => status)).toEqual(["ng", "ng"]);
  expect(repo.refs.resolve("refs/heads/x")).toBeUndefined();
});

test("without sidebands and with the older report", async () => {
  const { repo, first, second, pack } = setup();
  const commands = [{ ref: "refs/heads/main", oldOid: first, newOid: second }];
  const request = encodePushRequest({
    commands,
    capabilities: capabilities(["report-status"], ["object-format", TEST_FORMAT.name]),
    pushOptions: [],
  });
  const { output } = await serveReceivePack(repo, Buffer.concat([request, pack]));
  expect(await readReport(new PktReader(bytesSource(output)))).toEqual({ unpack: "ok", refs: [ok("refs/heads/main")] });
  const silent = encodePushRequest({
    commands: [{ ref: "refs/heads/main", oldOid: second, newOid: ZERO }],
    capabilities: capabilities(["delete-refs"], ["object-format", TEST_FORMAT.name]),
    pushOptions: [],
  });
  expect((await serveReceivePack(repo, silent)).output.length).toBe(0);
});

test("nothing to push, and requests that make no sense", async () => {
  const { repo, first } = setup();
  for (const input of ["", "0000"]) {
    expect(await serveReceivePack(repo, Buffer.from(input))).toEqual({ output: Buffer.alloc(0), error: undefined });
  }
  const bad = await serveReceivePack(repo, Buffer.from("GET / HTTP/1.1\r\n\r\n"));
  expect(bad.error).toBeInstanceOf(KvError);
  expect(bad.output.toString()).toMatch(/^[0-9a-f]{4}ERR protocol error: bad line length/);
  const many = Array.from({ length: 5 }, (_, i) => ({ ref: `refs/heads/${i}`, oldOid: ZERO, newOid: first }));
  const request = encodePushRequest({
    commands: many,
    capabilities: capabilities(["object-format", TEST_FORMAT.name]),
    pushOptions: [],
  });
  const limited = await serveReceivePack(repo, request, { limits: { ...LIMITS, refsPerPush: 4 } });
  expect(limited.output.toString()).toContain("a push moves at most 4 refs");
});

test("limits on the pack", async () => {
  const { repo, server, first, second, pack } = setup();
  const before = objectFiles(server);
  const commands = [{ ref: "refs/heads/main", oldOid: first, newOid: second }];
  for (const limits of [{ packBytes: 100 }, { packObjects: 2 }, { objectBytes: 20 }]) {
    const { report } = await push(repo, commands, pack, { limits: { ...LIMITS, ...limits } });
    expect(report.unpack).toStartWith("LIMIT_EXCEEDED: ");
  }
  expect(objectFiles(server)).toEqual(before);
});

/** A host that refuses or fails as told, over the ordinary one. */
function hostThat(repo: Repository, overrides: Partial<ReceivePackHost>): ReceivePackHost {
  const usual = repositoryHost(repo);
  return { settings: usual.settings, refs: () => usual.refs(), apply: (given) => usual.apply(given), ...overrides };
}

test("a host sees the push with its objects, and its words get through", async () => {
  const { repo, server, first, second, pack } = setup();
  const before = objectFiles(server);
  const commands = [{ ref: "refs/kv/main", oldOid: ZERO, newOid: second }];
  let seen: Push | undefined;
  const host = hostThat(repo, {
    apply: async (given) => {
      seen = given;
      given.progress("looking...\n");
      expect(given.objects.read(second)?.kind).toBe("commit");
      expect(given.objects.read(first)?.kind).toBe("commit");
      expect(repo.objects.has(second)).toBe(false);
      throw new KvError("CAS_CONFLICT", "the tip moved");
    },
  });
  const { report, progress } = await push(repo, commands, pack, { host, pushOptions: ["expect-tree=1", "ü"] });
  expect(report).toEqual({ unpack: "ok", refs: [ng("refs/kv/main", "CAS_CONFLICT: the tip moved")] });
  expect(progress).toBe("looking...\nhint: read the new state and try again\n");
  expect(seen).toMatchObject({ commands, atomic: false, pushOptions: ["expect-tree=1", "ü"], agent: "test/1" });
  expect(objectFiles(server)).toEqual(before);
});

test("a host that refuses beforehand never sees the pack, and needs none to be whole", async () => {
  const { repo, server, first, second, pack } = setup();
  const before = objectFiles(server);
  const commands = [{ ref: "refs/heads/main", oldOid: first, newOid: second }];
  const host = hostThat(repo, {
    preflight: async (intent) => intent.commands.map(({ ref }) => ng(ref, "NOT_LEADER: ask the other one")),
    apply: async () => {
      throw new Error("apply was called");
    },
  });
  for (const bytes of [pack, pack.subarray(0, 50), Buffer.alloc(0)]) {
    const { report } = await push(repo, commands, bytes, { host });
    expect(report.refs).toEqual([ng("refs/heads/main", "NOT_LEADER: ask the other one")]);
  }
  expect(objectFiles(server)).toEqual(before);
});

test("a bug in a host is no refusal: the client learns that the outcome is unknown", async () => {
  const { repo, server, first, second, pack } = setup();
  const before = objectFiles(server);
  const host = hostThat(repo, {
    apply: async () => {
      throw new TypeError("secret detail");
    },
  });
  const request = encodePushRequest({
    commands: [{ ref: "refs/heads/main", oldOid: first, newOid: second }],
    capabilities: capabilities(["report-status"], ["side-band-64k"], ["object-format", TEST_FORMAT.name]),
    pushOptions: [],
  });
  const { output, error } = await serveReceivePack(repo, Buffer.concat([request, pack]), { host });
  expect(error).toBeInstanceOf(TypeError);
  expect(output.toString()).toBe("0014\x03internal error\n");
  expect(objectFiles(server)).toEqual(before);
});

test("a host that forgets a command gets it refused", async () => {
  const { repo, first } = setup();
  const host = hostThat(repo, { apply: async () => [] });
  const { report } = await push(repo, [{ ref: "refs/heads/x", oldOid: ZERO, newOid: first }], handPack([]), { host });
  expect(report.refs[0]?.status).toBe("ng");
});

test("any byte of the commands may be another: a report or a typed error, never a bug", async () => {
  const { repo, first, second, pack } = setup();
  const list = capabilities(["report-status"], ["side-band-64k"], ["push-options"], ["atomic"]);
  const commands = [
    { ref: "refs/heads/new", oldOid: ZERO, newOid: second },
    { ref: "refs/heads/main", oldOid: first, newOid: second },
  ];
  const request = encodePushRequest({ commands, capabilities: list, pushOptions: ["a=b"] });
  for (let at = 0; at < request.length; at++) {
    const bytes = Buffer.concat([request, pack]);
    bytes[at] = bytes[at]! ^ (at % 2 === 0 ? 0x01 : 0x80);
    const { error } = await serveReceivePack(repo, bytes);
    if (error !== undefined) expect(error).toBeInstanceOf(KvError);
    if (error instanceof KvError) expect(error.code).not.toBe("BUG");
    for (const { name, oid } of repo.refs.list()) {
      if (oid !== first) await repo.refs.update([{ name, newOid: name === "refs/heads/main" ? first : ZERO }]);
    }
  }
});

test("another content under a known id is refused, the same one is not, however it is stored", async () => {
  const { repo, server, client, first, second } = setup();
  const blob = git(client, "rev-parse", `${first}:a`);
  const commands = [{ ref: "refs/heads/main", oldOid: first, newOid: second }];
  const pack = packOf(client, [second]);
  // A file that holds something else than its name says is what a collision looks like from here.
  const file = `${server}/objects/${blob.slice(0, 2)}/${blob.slice(2)}`;
  const right = fs.readFileSync(file);
  fs.rmSync(file);
  fs.writeFileSync(file, deflateSync("blob 4\0evil"));
  const before = objectFiles(server);
  const { report } = await push(repo, commands, pack);
  expect(report.unpack).toStartWith(`BAD_OBJECT: collision: the pack has another object ${blob} `);
  expect(report.refs).toEqual([ng("refs/heads/main", "unpacker error")]);
  expect(objectFiles(server)).toEqual(before);
  fs.rmSync(file);
  fs.writeFileSync(file, right);
  git(server, "repack", "-q", "-a", "-d");
  expect((await push(openRepository(server), commands, pack)).report.refs).toEqual([ok("refs/heads/main")]);
  expect(fsck(server)).toBe("");
});

test("a .gitmodules that attacks whoever clones is refused, wherever its blob comes from", async () => {
  const { repo, client, first } = setup();
  const bad = gitInput(client, '[submodule "x"]\nurl = -upayload\n', "hash-object", "-w", "--stdin");
  const tree = (name: string, mode = "100644 blob"): Oid =>
    gitInput(client, `${mode} ${bad}\t${name}\n`, "mktree", "--missing");
  const commit = (of: Oid): Oid => git(client, "commit-tree", "-m", "x", of);
  const refused = async (of: Oid, without: readonly string[] = []): Promise<string> => {
    const commands = [{ ref: "refs/heads/x", oldOid: ZERO, newOid: of }];
    const { report, progress } = await push(repo, commands, packOf(client, [of, `^${first}`, ...without]));
    expect(report.unpack).toStartWith("BAD_OBJECT: ");
    expect(report.refs).toEqual([ng("refs/heads/x", "unpacker error")]);
    return progress;
  };
  expect(await refused(commit(tree(".gitmodules")))).toContain("gitmodulesUrl");
  expect(await refused(commit(tree("GITMOD~1")))).toContain("gitmodulesUrl");
  expect(await refused(commit(tree(".gitmodules", "120000 blob")))).toContain("gitmodulesSymlink");
  // The blob is here already, under a harmless name.
  const harmless = commit(tree("modules"));
  const commands = [{ ref: "refs/heads/ok", oldOid: ZERO, newOid: harmless }];
  expect((await push(repo, commands, packOf(client, [harmless]))).report.refs).toEqual([ok("refs/heads/ok")]);
  expect(await refused(commit(tree(".gitmodules")), [`^${harmless}`])).toContain("gitmodulesUrl");
});

test("bytes after the pack do not matter, nor which sideband is asked for", async () => {
  const { repo, server, first, second, pack } = setup();
  const commands = [{ ref: "refs/heads/main", oldOid: first, newOid: second }];
  const noise = Buffer.concat([pack, Buffer.from("PACK and more"), Buffer.alloc(100_000, 7)]);
  expect((await push(repo, commands, noise)).report).toEqual({ unpack: "ok", refs: [ok("refs/heads/main")] });
  const back = [{ ref: "refs/heads/main", oldOid: second, newOid: first }];
  const list = capabilities(["report-status"], ["side-band"], ["object-format", TEST_FORMAT.name]);
  const request = encodePushRequest({ commands: back, capabilities: list, pushOptions: [] });
  const { output } = await serveReceivePack(repo, Buffer.concat([request, handPack([])]));
  expect(output.toString()).toContain("\x01000eunpack ok\n");
  expect(git(server, "rev-parse", "main")).toBe(first);
});

test("a client that goes away at any byte leaves nothing: no folder, no lock, no descriptor", async () => {
  const { repo, server, first, second, pack } = setup();
  const commands = [{ ref: "refs/heads/main", oldOid: first, newOid: second }];
  const list = capabilities(["report-status"], ["side-band-64k"], ["object-format", TEST_FORMAT.name]);
  const bytes = Buffer.concat([encodePushRequest({ commands, capabilities: list, pushOptions: [] }), pack]);
  const everything = (): string[] => (fs.readdirSync(server, { recursive: true }) as string[]).sort();
  await serveReceivePack(repo, bytes.subarray(0, bytes.length - 1));
  const [before, fds] = [everything(), fs.readdirSync("/proc/self/fd").length];
  for (let length = 0; length < bytes.length; length += 3) await serveReceivePack(repo, bytes.subarray(0, length));
  // Nobody reads the answer.
  const deaf = { write: () => Promise.reject(new KvError("NETWORK", "gone")) };
  const host = repositoryHost(repo);
  const common = { repo, host, stateless: true, advertise: "skip", version: 0, agent: "git-kv/test" } as const;
  expect(everything()).toEqual(before);
  // Of another test's there may be fewer by now.
  expect(fs.readdirSync("/proc/self/fd").length).toBeLessThanOrEqual(fds);
  await expect(receivePack({ input: bytesSource(bytes), output: deaf }, common)).rejects.toThrow("gone");
  // It was whole, so it has been done.
  expect(git(server, "rev-parse", "main")).toBe(second);
  expect(everything().filter((name) => /tmp[-_]|\.lock$/.test(name))).toEqual([]);
});
